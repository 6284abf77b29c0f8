//! Commands that meet each other, or a signal, at a bad moment.

use super::faults::{MUTE, image, wait_for_start};
use super::prelude::*;

tests! { Host:
    keep_is_never_taken_back,
    another_box_of_the_name_is_left_alone,
    a_box_at_work_is_not_recovered,
    create_waits_until_the_old_box_is_forgotten,
    ctrl_c_ends_a_list_of_boxes,
    ctrl_c_at_the_question,
    an_interrupted_restart_leaves_it_stopped,
    a_full_disk_stops_no_stop_and_no_destroy,
    odd_folders_among_the_units,
    the_first_key_is_made_once,
    the_include_file_knows_every_box,
    root_has_no_boxes,
    logs_do_not_command_the_terminal,
}

const BOXES: &str = ".config/containers/systemd/devbox";

fn keep_is_never_taken_back(world: &World) -> Outcome {
    let kept = || {
        let volumes = world.ok("alice", &["podman", "volume", "ls", "-q"])?;
        ensure(volumes.contains("abc--state\n") && volumes.contains("abc-data\n"), &volumes)
    };
    // Cut short while everything was to go; what is left of it can still be kept.
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ok("alice", &["touch", &format!("{BOXES}/abc/destroying")])?;
    world.ctl(&["destroy", "--now", "--yes", "--keep-volume", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is deleted; its data is kept
    "#]])?;
    kept()?;
    // Cut short while the data was to stay: it stays.
    world.ctl(&["create", "abc"]).expect(0)?;
    let mark = format!("cd {BOXES}/abc && touch keep-abc-data keep-abc--state destroying");
    world.ok("alice", &["sh", "-c", &mark])?;
    world.ctl(&["start", "abc"]).expect(10)?.shows(&expect![[r#"
        --- standard error
        warning: destroying abc had been cut short; it is finished now
        error: you have no box called abc
          hint: `devbox-ctl list` shows yours
    "#]])?;
    kept()?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ok("alice", &["sh", "-c", &mark])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is deleted; its data is kept, as the destroy before this one had said
    "#]])?;
    kept()?;
    // A `keep` without its `destroying` was never decided.
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ok("alice", &["touch", &format!("{BOXES}/abc/keep-abc-data")])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// While a command waits for the lock, the box goes and another of its name comes.
fn another_box_of_the_name_is_left_alone(world: &World) -> Outcome {
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    for verb in [&["destroy", "--now", "--yes", "abc"][..], &["start", "abc"]] {
        let swap = "exec 9<abc; flock 9; echo held; \
                    until ls -l /proc/$(pgrep -x devbox-ctl)/fd 2>/dev/null | grep -q 'devbox/abc$'; do sleep 0.01; done; \
                    cp -a abc ../../new; mv abc ../../old; mv ../../new abc; rm -r ../../old";
        let holder = world.spawn("alice", &["sh", "-c", &format!("cd {BOXES} && {{ {swap}; }}")]);
        world.run("alice", &["sh", "-c", &format!("while flock -n {BOXES}/abc true; do sleep 0.01; done")]);
        world.ctl(verb).expect(10)?;
        holder.finish().expect(0)?;
    }
    let status = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    same(&status["state"], &"stopped", "the other box is as it was")
}

/// Marks of a command that is still at work are its own.
fn a_box_at_work_is_not_recovered(world: &World) -> Outcome {
    world.ctl(&["create", "pee"]).expect(0)?;
    world.ctl(&["create", "que", "--no-start"]).expect(0)?;
    let hold =
        format!("cd {BOXES}; touch pee/destroying que/creating; exec 8<pee 9<que; flock 8; flock 9; echo held; read x");
    let mut holder = world.command("alice", &["sh", "-c", &hold]);
    let mut holder = holder.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn()?;
    world.run("alice", &["sh", "-c", &format!("while flock -n {BOXES}/que true; do sleep 0.01; done")]);
    let ran = world.ctl(&["create", "other", "--no-start"]).expect(0)?;
    let still = world.run("alice", &["test", "-e", &format!("{BOXES}/que/creating")]);
    drop(holder.stdin.take());
    holder.wait()?;
    ensure(ran.err.is_empty(), &ran.err)?;
    still.expect(0)?;
    world.ctl(&["exec", "pee", "--", "true"]).expect(0)?;
    world.ctl(&["stop", "nobody"]).expect(10)?.shows(&expect![[r#"
        --- standard error
        warning: destroying pee had been cut short; it is finished now
        warning: creating que had been cut short; it is not started: `devbox-ctl start que`, or `devbox-ctl destroy que`
        error: you have no box called nobody
          hint: `devbox-ctl list` shows yours
    "#]])
}

fn create_waits_until_the_old_box_is_forgotten(world: &World) -> Outcome {
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    // As a destroy is between its last two steps: withdrawn, and systemd still knows the unit.
    let withdraw = format!(
        "cd {BOXES}; exec 9<abc; flock 9; mv abc ../../devbox-stage/gone-abc--1; \
         until ls -l /proc/$(pgrep -x devbox-ctl)/fd 2>/dev/null | grep -q 'gone-abc--1$'; do sleep 0.01; done; \
         systemctl --user daemon-reload; rm -r ../../devbox-stage/gone-abc--1"
    );
    let destroyer = world.spawn("alice", &["sh", "-c", &withdraw]);
    world.run("alice", &["sh", "-c", "until test -e .config/containers/devbox-stage/gone-abc--1; do sleep 0.01; done"]);
    world.ctl(&["create", "abc"]).expect(0)?;
    destroyer.finish().expect(0).map(drop)
}

fn ctrl_c_ends_a_list_of_boxes(world: &World) -> Outcome {
    image(world, "mute:1", MUTE)?;
    world.ctl(&["create", "ctrl-one", "--no-start", "--image", "localhost/mute:1"]).expect(0)?;
    world.ctl(&["create", "ctrl-two", "--no-start"]).expect(0)?;
    let start = world.spawn("alice", &["devbox-ctl", "start", "ctrl-one", "ctrl-two"]);
    wait_for_start(world, "devbox-ctrl-one.service")?;
    world.ok("alice", &["pkill", "-INT", "-x", "devbox-ctl"])?;
    start.finish().expect(130)?;
    for name in ["ctrl-one", "ctrl-two"] {
        let status = world.ctl(&["status", name, "--json"]).expect(0)?.json()?;
        same(&status["state"], &"stopped", &status.to_string())?;
        ensure(world.folder(name).join("stopped").exists(), "still marked")?;
    }
    Ok(())
}

fn ctrl_c_at_the_question(world: &World) -> Outcome {
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    let typed = "rm -f /tmp/typed; { until grep -q 'Destroy abc' /tmp/typed 2>/dev/null; do sleep 0.01; done; printf '\\003'; } | \
                 script -qfec 'devbox-ctl destroy abc' /tmp/typed";
    let ran = world.run("alice", &["sh", "-c", typed]).expect(130)?;
    ensure(!ran.out.contains("not destroyed"), "it answers the signal, not the end of the input")?;
    world.ctl(&["status", "abc"]).expect(0).map(drop)
}

fn an_interrupted_restart_leaves_it_stopped(world: &World) -> Outcome {
    image(world, "mute:1", MUTE)?;
    world.ctl(&["create", "ctrl-again", "--no-start", "--image", "localhost/mute:1"]).expect(0)?;
    let restart = world.spawn("alice", &["devbox-ctl", "restart", "ctrl-again"]);
    wait_for_start(world, "devbox-ctrl-again.service")?;
    world.ok("alice", &["pkill", "-INT", "-x", "devbox-ctl"])?;
    restart.finish().expect(130)?.shows(&expect![[r#"
        --- standard error
        error: interrupted
          what had been done was taken back
    "#]])?;
    ensure(world.folder("ctrl-again").join("stopped").exists(), "marked again")
}

fn a_full_disk_stops_no_stop_and_no_destroy(world: &World) -> Outcome {
    let folder = "/home/alice/.config/containers";
    world.ok("alice", &["mkdir", "-p", folder])?;
    world.ok("root", &["mount", "-t", "tmpfs", "-o", "size=128k,mode=700,uid=1000,gid=1000", "tmpfs", folder])?;
    let checked = (|| {
        world.ctl(&["create", "abc"]).expect(0)?;
        world.ctl(&["create", "other"]).expect(0)?;
        let fill = world.run("alice", &["dd", "if=/dev/zero", &format!("of={folder}/filler"), "bs=1k"]);
        ensure(fill.code != 0, "the disk was full")?;
        world.ctl(&["stop", "abc"]).expect(0)?;
        ensure(world.folder("abc").join("stopped").exists() || world.ctl(&["stop", "abc"]).code == 12, "marked")?;
        world.ctl(&["stop", "abc"]).expect(12)?;
        world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
        world.ctl(&["destroy", "--now", "--yes", "other"]).expect(0).map(drop)
    })();
    world.ok("root", &["umount", folder])?;
    checked?;
    world.expect_clean()
}

fn odd_folders_among_the_units(world: &World) -> Outcome {
    let make = "mkdir -p .config/containers/systemd/closed && cd .config/containers/systemd && chmod 0 closed && ln -s . loop && ln -s .. up && ln -s nowhere dangling";
    world.ok("alice", &["sh", "-c", make])?;
    let created = world.ctl(&["create", "abc", "--no-start"]);
    let undo = "cd .config/containers/systemd && rm loop up dangling && rmdir closed";
    world.ok("alice", &["sh", "-c", undo])?;
    created.expect(0).map(drop)
}

fn the_first_key_is_made_once(world: &World) -> Outcome {
    let folder = ".local/share/devbox/ssh";
    let whole = format!(
        "cd {folder} && ssh-keygen -y -f id_ed25519 | cut -d' ' -f1,2 > /tmp/derived && cut -d' ' -f1,2 id_ed25519.pub | cmp - /tmp/derived && ls -A"
    );
    world.ok("alice", &["rm", "-rf", folder])?;
    let racers: Vec<_> = (0..12).map(|_| world.spawn("alice", &["devbox-ctl", "ssh-config"])).collect();
    for racer in racers {
        racer.finish().expect(0)?;
    }
    same(&world.ok("alice", &["sh", "-c", &whole])?, &"id_ed25519\nid_ed25519.pub\n", "one pair")?;
    world.ok("alice", &["rm", &format!("{folder}/id_ed25519.pub")])?;
    world.ctl(&["ssh-config"]).expect(0)?;
    world.ok("alice", &["sh", "-c", &whole]).map(drop)
}

fn the_include_file_knows_every_box(world: &World) -> Outcome {
    world.ok("alice", &["rm", "-rf", ".ssh"])?;
    world.ctl(&["ssh-config", "--install"]).expect(0)?;
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxes = 20\n[host]\nmax_boxes = 20\n");
    let names: Vec<String> = (0..10).map(|n| format!("inc-{n}")).collect();
    let racers: Vec<_> =
        names.iter().map(|name| world.spawn("alice", &["devbox-ctl", "create", "--no-start", name])).collect();
    for racer in racers {
        racer.finish().expect(0)?;
    }
    let text = std::fs::read_to_string(world.path("/home/alice/.local/share/devbox/ssh/config"))?;
    for name in &names {
        ensure(text.contains(&format!("Host {name}\n")), &format!("{name} in {text}"))?;
    }
    world.ok("alice", &["rm", "-rf", ".ssh", ".local/share/devbox"])?;
    Ok(())
}

fn root_has_no_boxes(world: &World) -> Outcome {
    for verb in [&["create", "abc"][..], &["list"], &["ssh-config"]] {
        world.run("root", &[&["devbox-ctl"], verb].concat()).expect(11)?.says("root has no boxes")?;
    }
    Ok(())
}

fn logs_do_not_command_the_terminal(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let write = "printf 'before\\033]0;pwned\\007after\\n' > /proc/1/fd/1";
    world.ctl(&["exec", "--root", "abc", "--", "sh", "-c", write]).expect(0)?;
    world.ok("root", &["journalctl", "--sync"])?;
    let shown = world.ok("alice", &["script", "-qec", "devbox-ctl logs abc --tail 20", "/dev/null"])?;
    ensure(shown.contains("before]0;pwnedafter") && !shown.contains('\u{1b}'), &format!("{shown:?}"))?;
    // A pipe gets every byte.
    let piped = world.ctl(&["logs", "abc", "--tail", "20"]).expect(0)?.out;
    ensure(piped.contains("before\u{1b}]0;pwned\u{7}after"), &format!("{piped:?}"))
}
