//! What podman deleted behind a box's back: `podman volume prune` takes the volumes of boxes that do not run.

use super::prelude::*;

tests! { Host:
    a_box_whose_volumes_were_pruned,
    a_trashed_box_whose_volumes_were_pruned,
    a_box_that_lost_its_home_alone,
    a_box_that_was_never_started,
    a_home_that_is_too_deep_for_podman,
    where_devbox_ctl_is_gone,
    volumes_that_are_elsewhere_now,
}

const PRUNE: &[&str] = &["podman", "volume", "prune", "--force"];
const VOLUMES: &[&str] = &["podman", "volume", "ls", "--quiet"];

fn a_box_whose_volumes_were_pruned(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo work >file"]).expect(0)?;
    // A box that runs keeps them.
    world.ok("alice", PRUNE)?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    same(&world.ctl(&["exec", "abc", "--", "cat", "file"]).expect(0)?.out, &"work\n".to_owned(), "kept")?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ok("alice", PRUNE)?;
    world.ctl(&["start", "abc"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: abc-data and abc--state of abc are gone: podman has no such volume any more
          hint: `podman volume prune` deletes the volumes of boxes that do not run, and `podman system reset` all of them; `devbox-ctl destroy --now --keep-volume abc` keeps what is left, and `devbox-ctl create abc` makes it anew, `--from-backup` with your files
    "#]])?;
    for round in ["at once", "after a boot"] {
        world.ctl(&["start", "abc"]).expect(7)?.says("podman has no such volume any more")?;
        world.ctl(&["restart", "abc"]).expect(7)?.says("podman has no such volume any more")?;
        // Nor does systemd start it by itself.
        world.ok("alice", &["rm", "-f", ".config/containers/systemd/devbox/abc/stopped"])?;
        world.run("alice", &["systemctl", "--user", "start", "devbox-abc.service"]).expect(1)?;
        world.ok("alice", &["systemctl", "--user", "stop", "devbox-abc.service"])?;
        same(&world.ok("alice", VOLUMES)?, &String::new(), round)?;
        // As after a boot: what systemd knows of the units that made them.
        let units = ["home", "state"].map(|part| format!("devbox-abc--{part}-volume.service"));
        world.ok("alice", &["systemctl", "--user", "stop", &units[0], &units[1]])?;
    }
    world.ctl(&["backup", "abc"]).expect(7)?.says("podman has no such volume any more")?;
    world.ctl(&["status", "abc"]).expect(0)?.shows(&expect![[r#"
        name  abc
        state  broken
        trouble  podman has no volume abc-data, nor abc--state any more
        cpu  2
        memory  4G
        image  localhost/devbox:latest
        volume  abc-data
        unit  devbox-abc.service
        created  TIME (SECONDS ago)
    "#]])?;
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  CPU  MEMORY  CREATED  IMAGE
        abc  broken  2  4G  SECONDS ago  localhost/devbox:latest
        --- standard error
        warning: abc: podman has no volume abc-data, nor abc--state any more
    "#]])?;
    world.ctl(&["doctor"]).expect(7)?.shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  this host has no broker: names and limits are each owner's own
        ok  podman's locks are yours
        ok  your boxes run without a session of yours
        ok  you have subordinate ids
        !!  limits of single boxes are not enforced: cpu, memory, pids not delegated to you
            `sudo systemctl edit user@.service`: [Service] Delegate=cpu cpuset io memory pids
        ok  you have localhost/devbox:latest
        !!  abc: podman has no volume abc-data, nor abc--state any more
            `devbox-ctl destroy --now --keep-volume abc` keeps what is left; create it again, `--from-backup` with your files
        ok  no process is outside of its owner's slice
        --- standard error
        error: there are 2 problems
    "#]])?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    // The name is as good as new.
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

fn a_trashed_box_whose_volumes_were_pruned(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ok("alice", PRUNE)?;
    world.ctl(&["restore", "abc"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: abc-data and abc--state of abc are gone: podman has no such volume any more
          hint: `podman volume prune` deletes the volumes of boxes that do not run, and `podman system reset` all of them; `devbox-ctl destroy --now --keep-volume abc` keeps what is left, and `devbox-ctl create abc` makes it anew, `--from-backup` with your files
    "#]])?;
    world.ctl(&["trash"]).expect(0)?.shows(&expect![[r#"
        NAME  SIZE  DESTROYED  UNTIL
        abc  0B  SECONDS ago, by you  DATE
        --- standard error
        warning: abc: podman has no volume abc-data, nor abc--state any more
    "#]])?;
    same(&world.ok("alice", VOLUMES)?, &String::new(), "none was made")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// As the hint says: what is left of it is in the next box of its name.
fn a_box_that_lost_its_home_alone(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let key = ["exec", "abc", "--", "sudo", "cat", "/var/lib/devbox/ssh/ssh_host_ed25519_key.pub"];
    let before = world.ctl(&key).expect(0)?.out;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ok("alice", &["podman", "volume", "rm", "abc-data"])?;
    world.ctl(&["start", "abc"]).expect(7)?.says("abc-data of abc is gone")?;
    world.ctl(&["destroy", "--now", "--yes", "--keep-volume", "abc"]).expect(0)?;
    world.ctl(&["create", "abc"]).expect(0)?;
    same(&world.ctl(&key).expect(0)?.out, &before, "the same host key")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// Nothing of it can be gone: its first start makes its volumes.
fn a_box_that_was_never_started(world: &World) -> Outcome {
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    world.ok("alice", PRUNE)?;
    world.ctl(&["start", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// Folders in folders, more than podman's own removal can follow: what is deleted is gone, for the next box of that name too.
fn a_home_that_is_too_deep_for_podman(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let deep = "perl -e 'for (1..30000) { mkdir \"d\" or die $!; chdir \"d\" or die $! } open my $f, \">\", \"secret\" or die $!'";
    world.ctl(&["exec", "abc", "--", "sh", "-c", deep]).expect(0)?;
    world.ctl(&["backup", "abc"]).shows(&expect![[r#"
        --- standard error
        error: reading the volume failed: tar ran out of memory; folders in folders, many thousands deep, are more than it can follow
          hint: it is done by GNU tar of the box's image, in a container; `-v` shows the call
    "#]])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    let store = "/home/alice/.local/share/containers/storage/volumes/abc-data";
    world.run("alice", &["podman", "unshare", "test", "-e", store]).expect(1)?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "test", "!", "-e", "d"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// Without the look that precedes each start there is none: podman would make empty volumes.
fn where_devbox_ctl_is_gone(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ok("alice", &["rm", ".config/containers/systemd/devbox/abc/stopped"])?;
    world.ok("alice", PRUNE)?;
    world.ok("root", &["mv", "/usr/local/bin/devbox-ctl", "/usr/local/bin/devbox-aside"])?;
    let started = world.run("alice", &["systemctl", "--user", "start", "devbox-abc.service"]);
    let volumes = world.ok("alice", VOLUMES);
    world.ok("root", &["mv", "/usr/local/bin/devbox-aside", "/usr/local/bin/devbox-ctl"])?;
    started.expect(1)?;
    same(&volumes?, &String::new(), "none was made")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// What the mark says is asked of podman before anybody is told that a home is gone.
fn volumes_that_are_elsewhere_now(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo work >file"]).expect(0)?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    let mark = ".config/containers/systemd/devbox/abc/made-abc-data";
    world.ok("alice", &["sh", "-c", &format!("echo /nowhere/abc-data/_data >{mark}")])?;
    world.ctl(&["start", "abc"]).expect(0)?;
    same(&world.ctl(&["exec", "abc", "--", "cat", "file"]).expect(0)?.out, &"work\n".to_owned(), "it is the same home")?;
    ensure(!world.ok("alice", &["cat", mark])?.contains("nowhere"), "the mark is mended")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}
