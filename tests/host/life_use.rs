//! What is use of a box and what is not, on a clock that is moved.

use super::life::{CLEANUP, WHY, at, pass, says};
use super::login;
use super::world::{Outcome, Running, Tests, World, ensure};

pub(crate) const TESTS: Tests = &[
    ("life::used_after_a_stop_that_was_cut_short", used_again),
    ("life::a_build_keeps_it_awake", build),
    ("life::typing_keeps_it_awake_and_a_silent_terminal_does_not", terminal),
    ("life::an_ssh_session_whose_peer_has_vanished", vanished),
    ("life::a_lease_keeps_it_awake", lease),
    ("life::a_word_from_inside_and_from_its_owner", words),
    ("life::a_hostile_box_is_looked_at", hostile),
    ("life::an_open_tab_is_no_use_by_itself", tab),
];

/// Runs in the box for as long as it is held.
fn within(world: &World, script: &str) -> Running {
    world.spawn("alice", &["devbox-ctl", "exec", "abc", "--", "sh", "-c", script])
}

fn build(world: &World) -> Outcome {
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

fn terminal(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    // A terminal that is open and silent, as one whose other end has vanished.
    let silent = world.spawn("alice", &["script", "-qec", "devbox-ctl exec abc -- sleep 600", "/dev/null"]);
    let there = "until podman exec devbox-abc test -e /dev/pts/0; do :; done";
    world.ok("alice", &["timeout", "120", "sh", "-c", there])?;
    says(&pass(world, 0, 24, WHY)?, "nobody has used it for")?;
    // Somebody types on another.
    let typed = "{ until podman exec devbox-abc test -e /tmp/asks; do :; done; echo yes; } | script -qec \"devbox-ctl exec abc -- sh -c 'touch /tmp/asks; read word; echo got \\$word'\" /dev/null";
    world.run("alice", &["timeout", "120", "sh", "-c", typed]).expect(0)?.says("got yes")?;
    let told = pass(world, 24, 25, WHY)?;
    drop(silent);
    // It is gone again by now: what was typed there is not seen, and nothing keeps the box awake for it.
    says(&told, "nobody has used it for")?;
    let keeps = world.spawn("alice", &["sh", "-c", "{ until podman exec devbox-abc test -e /tmp/reads; do :; done; echo yes; sleep 600; } | script -qec \"devbox-ctl exec abc -- sh -c 'touch /tmp/reads; read word; touch /tmp/got; read more'\" /dev/null"]);
    world.ok("alice", &["timeout", "120", "sh", "-c", "until podman exec devbox-abc test -e /tmp/got; do :; done"])?;
    let told = pass(world, 26, 27, WHY)?;
    drop(keeps);
    says(&told, "typed: on 1 terminal")
}

/// Over a real tailnet, from a device that is killed while somebody is logged in: the session stays, and is no use.
fn vanished(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    login::install(world, &tailnet)?;
    let settings = std::fs::read_to_string(world.path("/etc/devbox/users.toml"))?;
    world.write("/etc/devbox/users.toml", &(settings + "[defaults]\nidle_stop_days = 1\nwarn_days = []\n"));
    world.ctl(&["create", "abc", "--wait-tailnet"]).expect(0)?;
    let device = tailnet.device("alice", "alice-laptop").map_err(login::text)?;
    device.await_peer("abc", super::editor::PATIENCE).map_err(login::text)?;
    let mut ssh = device.plain_ssh(&["-tt"], "dev", "abc");
    let mut session = ssh.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn()?;
    let there = "until podman exec devbox-abc test -e /dev/pts/0; do :; done";
    let logged_in = world.ok("alice", &["timeout", "120", "sh", "-c", there]);
    drop(device);
    session.kill()?;
    session.wait()?;
    logged_in?;
    says(&pass(world, 0, 1, WHY)?, "in 23 hours it is stopped")?;
    world.ok("alice", &["podman", "exec", "devbox-abc", "test", "-e", "/dev/pts/0"])?;
    says(&pass(world, 1, 26, CLEANUP)?, "abc is stopped: nobody had used it for 1 day")
}

fn lease(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["keep-awake", "abc", "--for", "400h"]).expect(11)?.says("168 hours")?;
    world.ctl(&["keep-awake", "abc", "--for", "soon"]).expect(1)?;
    world.ctl(&["keep-awake", "abc", "--for", "100h", "--reason", "training\u{1b}[2J"]).expect(1)?;
    pass(world, 0, 1, "devbox-ctl keep-awake abc --for 100h --reason training")?;
    let told = pass(world, 1, 90, WHY)?;
    says(&told, "kept awake for")?;
    says(&told, "training")?;
    // It ends by itself, and the box's time begins then.
    says(&pass(world, 90, 110, WHY)?, "in 6 days it is stopped")?;
    ensure(pass(world, 110, 200, CLEANUP)?.contains("in 2 days it is stopped"), "warned later")?;
    pass(world, 200, 200, "devbox-ctl keep-awake abc --for 8h && devbox-ctl keep-awake abc --end")?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["keep-awake", "abc", "--for", "8h"]).expect(12)?.says("does not run").map(drop)
}

fn words(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    pass(world, 0, 48, "true")?;
    world.ctl(&["exec", "abc", "--", "touch", "/run/devbox/active"]).expect(0)?;
    says(&pass(world, 49, 49, WHY)?, "said that it is at work")?;
    // A touch is one use, not a promise.
    says(&pass(world, 49, 60, WHY)?, "nobody has used it for 11 hours")?;
    let busy = "mkdir -p .config/devbox; printf '#!/bin/sh\\n[ \"$1\" = abc ]\\n' > .config/devbox/busy; chmod 755 .config/devbox/busy";
    world.ok("alice", &["sh", "-c", busy])?;
    says(&pass(world, 60, 61, WHY)?, "busy, as your `busy` command says")?;
    // One that hangs says nothing, and holds up nothing for long.
    world.ok("alice", &["sh", "-c", "printf '#!/bin/sh\\nexec sleep 600\\n' > .config/devbox/busy"])?;
    world.ok("alice", &["timeout", "120", "devbox-ctl", "sample"])?;
    world.ok("alice", &["rm", "-r", ".config/devbox"]).map(drop)
}

fn hostile(world: &World) -> Outcome {
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

fn tab(world: &World) -> Outcome {
    let (_tailnet, alice) = super::editor::reachable(world, &[])?;
    world.ctl(&["sample"]).expect(0)?;
    let browser = super::editor::edits(world, &alice)?;
    world.ctl(&["sample"]).expect(0)?;
    world.ctl(&["why", "abc"]).expect(0)?.says("abc is in use")?;
    // From here on its window is only open.
    settled(world)?;
    world.ctl(&["sample"]).expect(0)?;
    // Two looks closer than a minute do not show rest.
    std::thread::sleep(std::time::Duration::from_secs(62));
    world.ctl(&["sample"]).expect(0)?;
    world.ctl(&["why", "abc"]).expect(0)?.says("nobody has used it for")?;
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
fn used_again(world: &World) -> Outcome {
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
    world.ctl(&["status", "abc", "--json"]).json().and_then(|box_| ensure(box_["state"] == "running", "it runs"))?;
    says(&pass(world, 1, 27, CLEANUP)?, "abc is stopped")
}
