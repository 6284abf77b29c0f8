//! What goes wrong around a command.

use super::prelude::*;

tests! { Host:
    a_box_that_crashes_at_start,
    a_box_that_is_never_ready,
    progress_shows_after_a_second_on_a_terminal,
    ctrl_c_while_starting,
    the_bus_is_lost,
    the_disk_is_full,
    twenty_creates_of_one_name,
    twenty_creates_of_twenty_names,
    ten_destroys_of_one_box,
    create_and_destroy_without_pause,
    strangers_in_the_stage,
    a_running_container_of_the_name_is_left_alone,
    folders_edited_by_hand,
    a_lock_is_held,
    killed_podman_leftovers,
}

/// It never says that it is ready, and goes when it is told to.
pub(crate) const MUTE: &str = r#"["perl","-e","$SIG{TERM}=sub{exit};sleep 1 while 1"]"#;

/// An image like the box's, with another main program.
pub(crate) fn image(world: &World, name: &str, program: &str) -> Outcome {
    let script = format!(
        "printf 'FROM localhost/devbox:latest\\nENTRYPOINT {program}\\n' | podman build -q -t localhost/{name} -f - ."
    );
    world.ok("alice", &["sh", "-c", &format!("mkdir -p empty && cd empty && {script}")])?;
    Ok(())
}

fn a_box_that_crashes_at_start(world: &World) -> Outcome {
    image(world, "crash:1", r#"["sh","-c","echo it was me >\&2; exit 3"]"#)?;
    let ran = world.ctl(&["create", "abc", "--image", "localhost/crash:1"]).expect(7)?;
    ran.says("devbox-abc.service did not start")?;
    ran.says("it was me")?;
    ran.says("what had been done was taken back")?;
    world.expect_clean()
}

fn a_box_that_is_never_ready(world: &World) -> Outcome {
    image(world, "mute:1", MUTE)?;
    // Its 30 s to stop are for podman to remove it too; the program itself ends at once.
    let own =
        include_str!("../../quadlet-templates/box.container").replace("TimeoutStartSec=120", "TimeoutStartSec=10");
    world.write("/etc/devbox/quadlet-templates/box.container", &own);
    world.ctl(&["create", "abc", "--image", "localhost/mute:1"]).expect(13)?;
    world.expect_clean()
}

fn progress_shows_after_a_second_on_a_terminal(world: &World) -> Outcome {
    image(world, "slow:1", r#"["sh","-c","sleep 2; exec /usr/libexec/devbox/init"]"#)?;
    let create = "devbox-ctl create slow --image localhost/slow:1";
    let typed = ["env", "TERM=xterm", "script", "-qec", create, "/dev/null"];
    let ran = world.run("alice", &typed).expect(0)?;
    // How many there are by then is the machine's.
    let step = "start devbox-slow.service and wait until it is ready (";
    let said = format!("{}{}", ran.out, ran.err);
    let counts = |rest: &str| rest.split_once("s)").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
    ensure(said.split(step).skip(1).any(counts), &format!("no seconds are counted: {said}"))?;
    ran.says("slow is ready (")?;
    // Without a terminal, or when told to be quiet, nothing moves.
    world.ctl(&["restart", "slow"]).expect(0).and_then(|ran| ensure(ran.err.is_empty(), &ran.err))
}

/// Waits for an event of the journal, not for a time. The unit's name is used once on this host, so that the event is
/// found whether it is past or to come.
pub(crate) fn wait_for_start(world: &World, unit: &str) -> Outcome {
    let script = format!("timeout 120 journalctl --user -f -n all -o cat -u {unit} | grep -q -m 1 'container start'");
    world.run("alice", &["sh", "-c", &script]).expect(0).map(drop)
}

fn ctrl_c_while_starting(world: &World) -> Outcome {
    image(world, "mute:1", MUTE)?;
    for signal in ["INT", "TERM"] {
        let name = format!("sig-{}", signal.to_lowercase());
        let create = world.spawn("alice", &["devbox-ctl", "create", &name, "--image", "localhost/mute:1"]);
        wait_for_start(world, &format!("devbox-{name}.service"))?;
        world.ok("alice", &["pkill", &format!("-{signal}"), "-x", "devbox-ctl"])?;
        create.finish().expect(130)?.says("what had been done was taken back")?;
        world.expect_clean()?;
    }
    Ok(())
}

fn the_bus_is_lost(world: &World) -> Outcome {
    image(world, "mute:1", MUTE)?;
    let create = world.spawn("alice", &["devbox-ctl", "create", "bus-lost", "--image", "localhost/mute:1"]);
    wait_for_start(world, "devbox-bus-lost.service")?;
    world.ok("root", &["pkill", "-KILL", "-u", "alice", "-x", "dbus-daemon"])?;
    let ran = create.finish().expect(7)?;
    ran.shows(&expect![[r#"
        --- standard error
        error: the connection to your systemd user manager was lost
          and it could not be taken back: the connection to your systemd user manager was lost
          hint: the next devbox-ctl command that changes something finishes it
    "#]])?;
    // The next command that changes something, whatever it is, finishes it.
    let next = world.ctl(&["stop", "other"]).expect(10)?;
    next.shows(&expect![[r#"
        --- standard error
        warning: destroying bus-lost had been cut short; it is finished now
        error: you have no box called other
          hint: `devbox-ctl list` shows yours
    "#]])?;
    world.expect_clean()
}

fn the_disk_is_full(world: &World) -> Outcome {
    world.ctl(&["create", "first", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "first"]).expect(0)?;
    let folder = "/home/alice/.config/containers";
    world.ok("root", &["mount", "-t", "tmpfs", "-o", "size=64k,mode=700,uid=1000,gid=1000", "tmpfs", folder])?;
    world.ok(
        "alice",
        &["mkdir", "-p", "-m", "700", &format!("{folder}/systemd/devbox"), &format!("{folder}/devbox-stage")],
    )?;
    let fill = world.run("alice", &["dd", "if=/dev/zero", &format!("of={folder}/filler"), "bs=1k"]);
    let ran = world.ctl(&["create", "abc"]);
    let list = world
        .run("alice", &["find", &format!("{folder}/systemd"), &format!("{folder}/devbox-stage"), "-mindepth", "1"]);
    world.ok("root", &["umount", folder])?;
    ensure(fill.code != 0, "the disk was full")?;
    ran.expect(7)?.shows(&expect![[r#"
        --- standard error
        error: writing /home/alice/.config/containers/devbox-stage/making-RANDOM/box.toml failed: No space left on device (os error 28)
          hint: make room there; nothing was left of it
    "#]])?;
    same(&list.out.trim(), &format!("{folder}/systemd/devbox"), &format!("left behind: {}", list.out))?;
    world.expect_clean()
}

fn twenty_creates_of_one_name(world: &World) -> Outcome {
    let racers: Vec<_> = (0..20).map(|_| world.spawn("alice", &["devbox-ctl", "create", "abc"])).collect();
    let codes: Vec<i32> = racers.into_iter().map(|r| r.finish().code).collect();
    let won = codes.iter().filter(|c| **c == 0).count();
    ensure(won == 1 && codes.iter().all(|c| matches!(c, 0 | 2)), &format!("{codes:?}"))?;
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    Ok(())
}

fn twenty_creates_of_twenty_names(world: &World) -> Outcome {
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxes = 12\n");
    let racers: Vec<_> =
        (0..20).map(|n| world.spawn("alice", &["devbox-ctl", "create", &format!("box-{n}")])).collect();
    let codes: Vec<i32> = racers.into_iter().map(|r| r.finish().code).collect();
    let won = codes.iter().filter(|c| **c == 0).count();
    ensure(
        won == 12 && codes.iter().all(|c| matches!(c, 0 | 3)),
        &format!("never one more than the limit: {codes:?}"),
    )?;
    let list = world.ctl(&["list", "--json", "--state", "running"]).expect(0)?.json()?;
    ensure(list.as_array().is_some_and(|l| l.len() == 12), "all that were admitted run")
}

fn ten_destroys_of_one_box(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let racers: Vec<_> =
        (0..10).map(|_| world.spawn("alice", &["devbox-ctl", "destroy", "--now", "--yes", "abc"])).collect();
    let ended: Vec<_> = racers.into_iter().map(Running::finish).collect();
    let codes: Vec<i32> = ended.iter().map(|ran| ran.code).collect();
    ensure(codes.contains(&0) && codes.iter().all(|c| matches!(c, 0 | 10)), &format!("{ended:#?}"))?;
    ensure(ended.iter().all(|ran| !ran.err.contains("still fails")), &format!("{ended:#?}"))?;
    world.expect_clean()
}

/// Each of them may come too early or too late, but none may act on another's box or leave half of one.
fn create_and_destroy_without_pause(world: &World) -> Outcome {
    let verbs = [&["create", "abc"][..], &["destroy", "--now", "--yes", "abc"], &["start", "abc"], &["stop", "abc"]];
    let racers: Vec<_> =
        (0..24).map(|n| world.spawn("alice", &[&["devbox-ctl"], verbs[n % verbs.len()]].concat())).collect();
    for racer in racers {
        let ran = racer.finish();
        ensure(matches!(ran.code, 0 | 2 | 10 | 12), &format!("{ran:#?}"))?;
    }
    world.ctl(&["list"]).expect(0)?;
    let last = world.ctl(&["destroy", "--now", "--yes", "abc"]);
    ensure(matches!(last.code, 0 | 10), &format!("{last:#?}"))?;
    world.expect_clean()
}

fn strangers_in_the_stage(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ok(
        "alice",
        &["sh", "-c", "cd .config/containers/devbox-stage; touch stray; mkfifo fifo making-fifo; mkdir other"],
    )?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["sh", "-c", "cd .config/containers/devbox-stage; rm stray fifo making-fifo; rmdir other"])?;
    world.expect_clean()
}

fn a_running_container_of_the_name_is_left_alone(world: &World) -> Outcome {
    let run = ["podman", "run", "-d", "--rm", "--name", "devbox-abc", "localhost/devbox:latest"];
    world.ok("alice", &run)?;
    world.ctl(&["create", "abc"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is already a container devbox-abc that devbox-ctl did not make
          hint: nothing was changed; remove or rename that, or choose another name
    "#]])?;
    world.ok("alice", &["podman", "rm", "-f", "-v", "devbox-abc"])?;
    world.expect_clean()
}

fn folders_edited_by_hand(world: &World) -> Outcome {
    for name in ["good", "no-spec", "bad-spec", "no-unit", "bad-unit"] {
        world.ctl(&["create", name, "--no-start"]).expect(0)?;
    }
    let edit = "cd .config/containers/systemd/devbox; rm no-spec/box.toml; echo '][' > bad-spec/box.toml; rm no-unit/*.container; \
                echo Nonsense=1 >> bad-unit/devbox-bad-unit.container; sed -i 's/^Pull=never/Pull=never\\nNonsense=1/' bad-unit/devbox-bad-unit.container; \
                mkdir -p 'not a box'; touch stray";
    world.ok("alice", &["sh", "-c", edit])?;
    world.ok("alice", &["systemctl", "--user", "daemon-reload"])?;
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  CPU  MEMORY  CREATED  IMAGE
        bad-spec  broken  -  -  -  -
        bad-unit  stopped  2  4G  SECONDS ago  localhost/devbox:latest
        good  stopped  2  4G  SECONDS ago  localhost/devbox:latest
        no-spec  broken  -  -  -  -
        no-unit  broken  -  -  -  -
        --- standard error
        warning: bad-spec: box.toml cannot be read: missing table open, expected `[`
        warning: no-spec: box.toml is missing
        warning: no-unit: devbox-no-unit.container is missing
    "#]])?;
    for broken in ["no-spec", "bad-spec", "no-unit"] {
        world.ctl(&["start", broken]).expect(7)?.says("--keep-volume")?;
    }
    let ran = world.ctl(&["start", "bad-unit"]).expect(7)?;
    ran.says("unsupported key 'Nonsense'")?;
    world.ctl(&["start", "good"]).expect(0)?;
    for name in ["good", "no-spec", "bad-spec", "no-unit", "bad-unit"] {
        world.ctl(&["destroy", "--now", "--yes", name]).expect(0)?;
    }
    world.ok("alice", &["sh", "-c", "cd .config/containers/systemd/devbox; rmdir 'not a box'; rm stray"])?;
    world.expect_clean()
}

fn a_lock_is_held(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let folder = ".config/containers/systemd/devbox/abc";
    let held = "until test -e go; do sleep 0.1; done; systemctl --user is-active devbox-abc.service";
    let holder = world.spawn("alice", &["flock", folder, "sh", "-c", held]);
    world.run("alice", &["sh", "-c", &format!("until ! flock -n {folder} true; do sleep 0.01; done")]);
    // Reading waits for nobody; changing waits its turn.
    world.ctl(&["list"]).expect(0)?;
    world.ctl(&["status", "abc"]).expect(0)?;
    let stop = world.spawn("alice", &["devbox-ctl", "stop", "abc"]);
    let at_the_lock =
        "timeout 120 sh -c 'until ls -l /proc/$(pgrep -x devbox-ctl)/fd | grep -q devbox/abc; do sleep 0.01; done' 2>&1";
    world.ok("alice", &["sh", "-c", &format!("{at_the_lock}; code=$?; touch go; exit $code")])?;
    holder.finish().expect(0)?.says("active")?;
    stop.finish().expect(0)?;
    world.ok("alice", &["rm", "go"]).map(drop)
}

fn killed_podman_leftovers(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    // As after a power cut: the container is left in the store and nothing runs.
    world.ok("alice", &["systemctl", "--user", "kill", "-s", "KILL", "--kill-whom=all", "devbox-abc.service"])?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["start", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}
