//! What is use of a box and what is not, on a clock that is moved.

use super::life::{CLEANUP, WHY, at, pass, says};
use super::login;
use super::prelude::*;

tests! { Host:
    used_after_a_stop_that_was_cut_short,
    a_build_keeps_it_awake,
    typing_keeps_it_awake_and_a_silent_terminal_does_not,
    an_ssh_session_whose_peer_has_vanished,
    a_lease_keeps_it_awake,
    a_word_from_inside_and_from_its_owner,
    a_hostile_box_is_looked_at,
    #[slow] an_open_tab_is_no_use_by_itself,
}

/// Runs in the box for as long as it is held.
fn within(world: &World, script: &str) -> Running {
    world.spawn("alice", &["devbox-ctl", "exec", "abc", "--", "sh", "-c", script])
}

fn a_build_keeps_it_awake(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    pass(world, 0, 1, "true")?;
    let spin = within(world, "while :; do :; done");
    let begun = "until [ $(cat /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/devbox.slice/devbox-abc.slice/devbox-abc.service/libpod-payload-*/cpu.stat | sed -n 's/usage_usec //p') -gt 20000000 ]; do sleep 0.2; done";
    // Twenty seconds of a processor: more than five of a hundred of five minutes.
    world.ok("alice", &["timeout", "300", "sh", "-c", begun])?;
    drop(spin);
    let told = at(world, 65, "devbox-ctl sample; devbox-ctl why abc")?;
    says(&told, "computed: ")?;
    says(&told, "abc is in use")
}

fn typing_keeps_it_awake_and_a_silent_terminal_does_not(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    // A terminal that is open and silent, as one whose other end has vanished.
    let silent = world.spawn("alice", &["script", "-qec", "devbox-ctl exec abc -- sleep 600", "/dev/null"]);
    let there = "until podman exec devbox-abc test -e /dev/pts/0; do sleep 0.01; done";
    world.ok("alice", &["timeout", "120", "sh", "-c", there])?;
    shows(&pass(world, 0, 24, WHY)?, &expect![[r#"
        abc runs, and nobody has used it for 1 day
          evidence
            1 day ago  started
          next
            in 6 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])?;
    // Somebody types on another.
    let typed = "{ until podman exec devbox-abc test -e /tmp/asks; do sleep 0.01; done; echo yes; } | script -qec \"devbox-ctl exec abc -- sh -c 'touch /tmp/asks; read word; echo got \\$word'\" /dev/null";
    world.run("alice", &["timeout", "120", "sh", "-c", typed]).expect(0)?.says("got yes")?;
    let told = pass(world, 24, 25, WHY)?;
    drop(silent);
    // It is gone again by now: what was typed there is not seen, and nothing keeps the box awake for it.
    says(&told, "nobody has used it for")?;
    let keeps = world.spawn("alice", &["sh", "-c", "{ until podman exec devbox-abc test -e /tmp/reads; do sleep 0.01; done; echo yes; sleep 600; } | script -qec \"devbox-ctl exec abc -- sh -c 'touch /tmp/reads; read word; touch /tmp/got; read more'\" /dev/null"]);
    world.ok("alice", &["timeout", "120", "sh", "-c", "until podman exec devbox-abc test -e /tmp/got; do sleep 0.01; done"])?;
    let told = pass(world, 26, 27, WHY)?;
    drop(keeps);
    shows(&told, &expect![[r#"
        abc runs, and nobody has used it for 1 hour
          evidence
            1 hour ago  typed: on 1 terminal
            1 day ago  started
          next
            in 6 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])
}

/// Over a real tailnet, from a device that is killed while somebody is logged in: the session stays, and is no use.
fn an_ssh_session_whose_peer_has_vanished(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    login::install(world, &tailnet)?;
    let settings = std::fs::read_to_string(world.path("/etc/devbox/users.toml"))?;
    world.write("/etc/devbox/users.toml", &(settings + "[defaults]\nidle_stop_days = 1\nwarn_days = []\n"));
    world.ctl(&["create", "abc", "--wait-tailnet"]).expect(0)?;
    let device = tailnet.device("alice", "alice-laptop").map_err(login::text)?;
    device.await_peer("abc", super::editor::PATIENCE).map_err(login::text)?;
    let mut ssh = device.plain_ssh(&["-tt"], "dev", "abc");
    let mut session = ssh.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn()?;
    let there = "until podman exec devbox-abc test -e /dev/pts/0; do sleep 0.01; done";
    let logged_in = world.ok("alice", &["timeout", "120", "sh", "-c", there]);
    drop(device);
    session.kill()?;
    session.wait()?;
    logged_in?;
    says(&pass(world, 0, 1, WHY)?, "in 23 hours it is stopped")?;
    world.ok("alice", &["podman", "exec", "devbox-abc", "test", "-e", "/dev/pts/0"])?;
    shows(&pass(world, 1, 26, CLEANUP)?, &expect![[r#"
        abc is stopped: nobody had used it for 1 day
    "#]])
}

fn a_lease_keeps_it_awake(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["keep-awake", "abc", "--for", "400h"]).expect(11)?.shows(&expect![[r#"
        --- standard error
        error: 16 days is longer than the 168 hours allowed
          hint: ask for less, and again when it is over; an administrator can raise keep_awake_hours
    "#]])?;
    world.ctl(&["keep-awake", "abc", "--for", "soon"]).expect(1)?;
    world.ctl(&["keep-awake", "abc", "--for", "100h", "--reason", "training\u{1b}[2J"]).expect(1)?;
    pass(world, 0, 1, "devbox-ctl keep-awake abc --for 100h --reason training")?;
    shows(&pass(world, 1, 90, WHY)?, &expect![[r#"
        abc is in use
          kept awake for 11 hours more: training
          evidence
            SECONDS ago  kept awake: training
            3 days ago  started
          next
            in 7 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])?;
    // It ends by itself, and the box's time begins then.
    shows(&pass(world, 90, 110, WHY)?, &expect![[r#"
        abc runs, and nobody has used it for 9 hours
          evidence
            9 hours ago  kept awake: training
            4 days ago  started
          next
            in 6 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])?;
    shows(&pass(world, 110, 200, CLEANUP)?, &expect![[r#"
        nobody uses your box abc; in 2 days it is stopped, and its data stays: `devbox-ctl why abc`
    "#]])?;
    pass(world, 200, 200, "devbox-ctl keep-awake abc --for 8h && devbox-ctl keep-awake abc --end")?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["keep-awake", "abc", "--for", "8h"]).expect(12)?.shows(&expect![[r#"
        --- standard error
        error: abc does not run, so that there is nothing to keep awake
          hint: `devbox-ctl start abc` starts it
    "#]]).map(drop)
}

fn a_word_from_inside_and_from_its_owner(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    pass(world, 0, 48, "true")?;
    world.ctl(&["exec", "abc", "--", "touch", "/run/devbox/active"]).expect(0)?;
    shows(&pass(world, 49, 49, WHY)?, &expect![[r#"
        abc is in use
          evidence
            SECONDS ago  said that it is at work: a program touched /run/devbox/active
            2 days ago  started
          next
            in 7 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])?;
    // A touch is one use, not a promise.
    shows(&pass(world, 49, 60, WHY)?, &expect![[r#"
        abc runs, and nobody has used it for 11 hours
          evidence
            11 hours ago  said that it is at work: a program touched /run/devbox/active
            2 days ago  started
          next
            in 6 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])?;
    let busy = "mkdir -p .config/devbox; printf '#!/bin/sh\\n[ \"$1\" = abc ]\\n' > .config/devbox/busy; chmod 755 .config/devbox/busy";
    world.ok("alice", &["sh", "-c", busy])?;
    shows(&pass(world, 60, 61, WHY)?, &expect![[r#"
        abc is in use
          evidence
            SECONDS ago  busy, as your `busy` command says
            12 hours ago  said that it is at work: a program touched /run/devbox/active
            2 days ago  started
          next
            in 7 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])?;
    // One that hangs says nothing, and holds up nothing for long.
    world.ok("alice", &["sh", "-c", "printf '#!/bin/sh\\nexec sleep 600\\n' > .config/devbox/busy"])?;
    world.ok("alice", &["timeout", "120", "devbox-ctl", "sample"])?;
    world.ok("alice", &["rm", "-r", ".config/devbox"]).map(drop)
}

fn a_hostile_box_is_looked_at(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.write("/etc/secret", "not to be looked at");
    // What lies where a look goes is the box's to choose.
    for odd in [
        "rm -rf /run/devbox/active; ln -s /proc/1/root/../../../etc/secret /run/devbox/active",
        "rm -rf /run/devbox/active; mkfifo /run/devbox/active",
        "mv /run/devbox /run/devbox.old; ln -s / /run/devbox",
        "rm -rf /run/devbox; mkdir /run/devbox; touch -d 2999-01-01 /run/devbox/active",
    ] {
        world.ctl(&["exec", "abc", "--", "sudo", "sh", "-c", odd]).expect(0)?;
        world.ok("alice", &["timeout", "60", "devbox-ctl", "sample"])?;
    }
    // Two looks on: a time that lies ahead is a change once, and no use after that.
    says(&pass(world, 0, 24, WHY)?, "nobody has used it for")
}

fn an_open_tab_is_no_use_by_itself(world: &World) -> Outcome {
    let (_tailnet, alice) = super::editor::reachable(world, &[])?;
    world.ctl(&["sample"]).expect(0)?;
    let browser = super::editor::edits(world, &alice)?;
    world.ctl(&["sample"]).expect(0)?;
    world.ctl(&["why", "abc"]).expect(0)?.says("abc is in use")?;
    // From here on its window is only open. On a busy machine what it still does may take the first look or two.
    settled(world)?;
    let mut why = String::new();
    for _ in 0..4 {
        world.ctl(&["sample"]).expect(0)?;
        // Two looks closer than a minute do not show rest.
        std::thread::sleep(std::time::Duration::from_secs(62));
        world.ctl(&["sample"]).expect(0)?;
        why = world.ctl(&["why", "abc"]).expect(0)?.out;
        if why.contains("nobody has used it for") {
            break;
        }
    }
    says(&why, "nobody has used it for")?;
    drop(browser);
    Ok(())
}

/// Waits until what a box did just now is over.
pub(super) fn settled(world: &World) -> Outcome {
    let cgroup = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/devbox.slice/devbox-abc.slice/devbox-abc.service/libpod-payload-*";
    // Less than four of a hundred of a processor for ten seconds.
    let script = format!(
        "used() {{ sed -n 's/usage_usec //p' {cgroup}/cpu.stat; }}; before=$(used); sleep 10; \
         until now=$(used); [ $((now - before)) -lt 400000 ]; do before=$now; sleep 10; done"
    );
    world.ok("alice", &["timeout", "180", "sh", "-c", &script]).map(drop)
}

/// Between its mark and systemd: it runs on, and its owner works on.
fn used_after_a_stop_that_was_cut_short(world: &World) -> Outcome {
    world.write("/etc/devbox/users.toml", "[defaults]\nidle_stop_days = 1\nwarn_days = []\n");
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["sample"]).expect(0)?;
    let mark = world.folder("abc").join("stopped");
    let script = "printf 'at = \"%s\"\nwhy = \"by its owner\"\n' $(date -u +%FT%TZ) >.config/containers/systemd/devbox/abc/stopped";
    world.ok("alice", &["sh", "-c", script])?;
    pass(world, 0, 1, CLEANUP)?;
    ensure(mark.exists(), "its owner has not used it since")?;
    world.ctl(&["exec", "--root", "abc", "--", "touch", "/run/devbox/active"]).expect(0)?;
    pass(world, 1, 2, CLEANUP)?;
    ensure(!mark.exists(), "marked still")?;
    world.ctl(&["status", "abc", "--json"]).json().and_then(|box_| same(&box_["state"], &"running", "it runs"))?;
    shows(&pass(world, 1, 27, CLEANUP)?, &expect![[r#"
        abc is stopped: nobody had used it for 1 day
    "#]])
}
