//! A box's data: whose it is, where podman keeps it, and what is shown in its home.

use super::faults::{MUTE, image};
use super::prelude::*;

tests! { Host:
    kept_data_stays_readable,
    the_shells_environment_moves_nothing,
    podman_is_asked_where_the_store_may_be_moved,
    a_volume_of_a_longer_name_is_not_taken,
    folders_shown_in_the_home,
    a_killed_box_comes_back,
    a_box_that_does_not_listen_is_stopped,
    secrets_are_not_shown,
    a_volume_whose_making_was_killed,
}

fn kept_data_stays_readable(world: &World) -> Outcome {
    world.ok("alice", &["mkdir", "-p", "src"])?;
    let mount = ["--mount", "/home/alice/src:/src"];
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "touch", "kept"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "--keep-volume", "abc"]).expect(0)?;
    world.ctl(&[&["create", "abc"][..], &mount].concat()).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: the kept data of abc is of a box without mounts, and cannot be read in one with mounts
          hint: `devbox-ctl create abc` without `--mount` has the data again; choose another name for a box with mounts
    "#]])?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "test -e kept && touch more"]).expect(0)?;
    // The other way round the data decides.
    world.ctl(&[&["create", "other"][..], &mount].concat()).expect(0)?;
    world.ctl(&["exec", "other", "--", "touch", "kept"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "--keep-volume", "other"]).expect(0)?;
    world.ctl(&["create", "other"]).expect(0)?;
    world.ctl(&["exec", "other", "--", "sh", "-c", "test -e kept && touch more"]).expect(0)?;
    world.ctl(&["ssh", "other", "--", "true"]).expect(0)?;
    world.ok("alice", &["rm", "-r", "src"])?;
    Ok(())
}

fn the_shells_environment_moves_nothing(world: &World) -> Outcome {
    let moved = [
        "env",
        "HOME=/tmp",
        "XDG_DATA_HOME=/tmp/data",
        "XDG_CONFIG_HOME=/tmp/config",
        "XDG_RUNTIME_DIR=/tmp",
        "CONTAINER_HOST=tcp://127.0.0.1:1",
        "CONTAINERS_CONF=/nowhere",
        "CONTAINERS_STORAGE_CONF=/nowhere",
        "DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere",
        "devbox-ctl",
    ];
    let ctl = |arguments: &[&str]| world.run("alice", &[&moved, arguments].concat());
    ctl(&["create", "abc"]).expect(0)?;
    ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    ctl(&["ssh", "abc", "--", "true"]).expect(0)?;
    ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

fn podman_is_asked_where_the_store_may_be_moved(world: &World) -> Outcome {
    let conf = "/etc/containers/containers.conf.d/99-moved.conf";
    let asks =
        || world.ctl(&["create", "abc", "--dry-run", "-v"]).expect(0).map(|ran| ran.err.contains("podman volume"));
    ensure(!asks()?, "podman is not asked where nothing moves the store")?;
    world.write(conf, "[engine]\nvolume_path = \"/home/alice/volumes\"\n");
    let asked = asks();
    std::fs::remove_file(world.path(conf))?;
    world.ok("alice", &["rm", "-rf", "volumes"])?;
    ensure(asked?, "podman is asked")
}

fn a_volume_of_a_longer_name_is_not_taken(world: &World) -> Outcome {
    // Podman takes the beginning of a name for it where that is not ambiguous.
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ok("alice", &["systemctl", "--user", "stop", "devbox-abc.service"])?;
    world.ok("alice", &["podman", "volume", "rm", "abc-data"])?;
    world.ok(
        "alice",
        &["podman", "volume", "create", "abc-data2", "--label", "io.devbox.box=abc", "--label", "io.devbox.dev=owner"],
    )?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["podman", "volume", "rm", "abc-data2"])?;
    world.expect_clean()
}

fn folders_shown_in_the_home(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", "mkdir -p 'src dir' && echo mine > 'src dir/file' && echo conf > 'one file'"])?;
    let home = |path: &str| format!("/home/alice/{path}");
    world
        .ctl(&[
            "create",
            "abc",
            "--mount",
            &format!("{}:/home/dev/src", home("src dir")),
            "--mount",
            &format!("{}:/home/dev/.config/deep er/dir", home("src dir")),
            "--mount",
            &format!("{}:/home/dev/.bashrc", home("one file")),
        ])
        .expect(0)?;
    let script = "test -e .tmux.conf && test -e .profile && cat .bashrc src/file '.config/deep er/dir/file' && stat -c %U . .config '.config/deep er' .ssh .tmux.conf";
    let seen = world.ctl(&["exec", "abc", "--", "sh", "-c", script]).expect(0)?.out;
    same(&seen, &"conf\nmine\nmine\ndev\ndev\ndev\ndev\ndev\n", &seen)?;
    // Nothing was added to what is the owner's.
    let left = world.ok("alice", &["sh", "-c", "ls -A 'src dir'; cat 'one file'"])?;
    same(&left, &"file\nconf\n", &left)?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    world.ok("alice", &["rm", "-r", "src dir", "one file"])?;
    Ok(())
}

fn a_killed_box_comes_back(world: &World) -> Outcome {
    world.ctl(&["create", "killed"]).expect(0)?;
    let restarted = "timeout 120 journalctl --user -f -n all -o cat -u devbox-killed.service | grep -q -m 1 'Scheduled restart job'";
    world.ok("alice", &["podman", "kill", "--signal", "KILL", "devbox-killed"])?;
    world.ok("alice", &["sh", "-c", restarted])?;
    world.ok("alice", &["systemctl", "--user", "start", "devbox-killed.service"])?;
    let status = world.ctl(&["status", "killed", "--json"]).expect(0)?.json()?;
    ensure(status["state"] == "running" && status["restarts"] == 1, &status.to_string())
}

fn a_box_that_does_not_listen_is_stopped(world: &World) -> Outcome {
    image(
        world,
        "deaf:1",
        &MUTE
            .replace("exit}", "}")
            .replace("sleep 1 while", "system(q(/usr/libexec/devbox/notify),q(READY=1));sleep 1 while"),
    )?;
    let own = include_str!("../../quadlet-templates/box.container").replace("StopTimeout=10", "StopTimeout=1");
    world.write("/etc/devbox/quadlet-templates/box.container", &own);
    world.ctl(&["create", "abc", "--image", "localhost/deaf:1"]).expect(0)?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    // Killed by the stop, and not started again for it.
    let shown =
        world.ok("alice", &["systemctl", "--user", "show", "-p", "ActiveState,NRestarts", "devbox-abc.service"])?;
    ensure(shown.contains("ActiveState=inactive") && shown.contains("NRestarts=0"), &shown)
}

fn a_volume_whose_making_was_killed(world: &World) -> Outcome {
    // What `podman volume create` leaves when it is killed between the folder and its own record.
    let leave = |name: &str| {
        let folder = format!(".local/share/containers/storage/volumes/{name}/_data");
        world.ok("alice", &["mkdir", "-p", &folder]).map(drop)
    };
    leave("abc-data")?;
    leave("abc--state")?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    leave("abc--state")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()?;
    // With something in it, it is somebody's.
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    leave("abc--state")?;
    let folder = ".local/share/containers/storage/volumes/abc--state";
    world.ok("alice", &["touch", &format!("{folder}/_data/somebodys")])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["test", "-e", &format!("{folder}/_data/somebodys")])?;
    world.ok("alice", &["rm", "-r", folder]).map(drop)
}

fn secrets_are_not_shown(world: &World) -> Outcome {
    for typed in ["s3cr3tword", "s3cr3t word=x", "A=s3cr3t\u{1}"] {
        let ran = world.ctl(&["create", "abc", "--env", typed]).expect(1)?;
        ensure(!format!("{ran:?}").contains("s3cr3t"), &format!("{ran:?}"))?;
    }
    for json in [&[][..], &["--json"]] {
        let ran = world.ctl(&[&["create", "abc", "--dry-run", "--env", "TOKEN=s3cr3t"], json].concat()).expect(0)?;
        ensure(!format!("{ran:?}").contains("s3cr3t") && ran.out.contains("TOKEN=(hidden)"), &format!("{ran:?}"))?;
    }
    Ok(())
}
