//! The trash where there is a broker.

use super::broker::{call, held, next_second};
use super::trash::{has_its_data, is_at_rest, is_settled, make, state};
use super::prelude::*;

tests! { Host:
    limits_of_the_broker,
    two_people,
    what_nobody_told_the_broker,
    a_broker_that_fails,
}

fn limits_of_the_broker(world: &World) -> Outcome {
    world.install_broker("[defaults]\nmax_boxes = 2\n[host]\nmax_boxes = 3\n")?;
    let create = |user: &str, name: &str| world.run(user, &["devbox-ctl", "create", name, "--no-start"]);
    for name in ["one", "two"] {
        create("alice", name).expect(0)?;
        world.ctl(&["destroy", "--yes", name]).expect(0)?;
    }
    create("alice", "three").expect(0)?;
    world.ctl(&["destroy", "--yes", "three"]).expect(3)?.shows(&expect![[r#"
        --- standard error
        error: you have 2 boxes in the trash, and 2 is your limit there too
          in the trash: one, two
          hint: `devbox-ctl restore NAME`, `devbox-ctl destroy --now NAME` or `devbox-ctl trash --empty` makes room; with `--now` this box is deleted at once, for good
    "#]])?;
    is_settled(world, "three")?;
    let limits = world.run("root", &["devbox-ctl", "admin", "limits", "--json"]).expect(0)?.json()?;
    ensure(limits[0]["boxes"] == 1 && limits[0]["trashed"] == 2, &limits.to_string())?;
    same(&limits[0]["cpu_millis"], &2000, "what is in the trash is promised nothing")?;
    let all = world.run("root", &["devbox-ctl", "list", "--all"]).expect(0)?;
    ensure(!all.out.contains("one"), &all.out)?;
    // The host is full.
    create("bob", "bobs").expect(0)?;
    create("bob", "bobs-too").expect(0)?;
    world.ctl(&["restore", "one"]).expect(4)?.shows(&expect![[r#"
        --- standard error
        error: this host has 3 boxes, and 3 is its limit
          stopped: three
          one stays in the trash
          hint: `devbox-ctl destroy three` makes room
    "#]])?;
    is_at_rest(world, "one")?;
    world.run("bob", &["devbox-ctl", "destroy", "--yes", "bobs-too"]).expect(0)?;
    world.ctl(&["restore", "one"]).expect(0)?;
    is_settled(world, "one")?;
    // Its owner is.
    world.ctl(&["restore", "two"]).expect(3)?.shows(&expect![[r#"
        --- standard error
        error: you already have 2 boxes, and 2 is your limit
          running: one · stopped: three
          two stays in the trash
          hint: `devbox-ctl destroy three` makes room
    "#]])?;
    world.ctl(&["destroy", "--now", "--yes", "one"]).expect(0)?;
    // And there is no room now.
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_memory = \"4096G\"\n");
    create("alice", "unused").expect(0)?;
    world.ctl(&["create", "huge", "--memory", "4000G", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "huge"]).expect(0)?;
    world.ctl(&["restore", "huge"]).expect(5)?;
    is_at_rest(world, "huge")?;
    world.ctl(&["restore", "huge", "--no-start"]).expect(0)?;
    let trail = world.run("root", &["devbox-ctl", "admin", "audit", "--owner", "alice"]).expect(0)?;
    for line in ["trash alice/three OwnerLimit", "restore alice/one HostLimit", "restore alice/huge NoResources"] {
        let is_told = |told: &str| told.split_whitespace().collect::<Vec<_>>().join(" ").ends_with(line);
        ensure(trail.out.lines().any(is_told), &format!("{line} in {}", trail.out))?;
    }
    Ok(())
}

fn two_people(world: &World) -> Outcome {
    world.install_broker("")?;
    make(world)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    let bob = |arguments: &[&str]| world.run("bob", &[&["devbox-ctl"], arguments].concat());
    bob(&["create", "abc"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: the name abc is taken on this host
          hint: names are one for the whole host; choose another
    "#]])?;
    for verb in [&["restore", "abc"][..], &["status", "abc"], &["destroy", "--now", "--yes", "abc"]] {
        let refused = bob(verb).expect(10)?;
        ensure(!refused.err.contains("trash already") && !refused.err.contains("alice"), &refused.err)?;
    }
    // Without devbox-ctl he gets no further.
    world.run("bob", &call("Trash", &["s", "abc"])).expect(1)?.says("you hold no name abc here")?;
    world.run("bob", &call("Release", &["s", "abc"])).expect(1)?;
    let restore = call("Restore", &["sutb", "abc", "1000", "1073741824", "false"]);
    world.run("bob", &restore).expect(1)?.says("taken on this host")?;
    // And alice's own call does not make a box of it that is not counted.
    world.run("alice", &call("Commit", &["s", "abc"])).expect(1)?;
    world.run("alice", &call("Start", &["st", "abc", "1"])).expect(1)?.says("is in the trash")?;
    world.ctl(&["restore", "abc"]).expect(0)?;
    has_its_data(world)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["trash", "--empty", "--yes"]).expect(0)?;
    bob(&["create", "abc", "--no-start"]).expect(0).map(drop)
}

fn what_nobody_told_the_broker(world: &World) -> Outcome {
    let reconcile = || world.run("root", &["devbox-ctl", "admin", "reconcile", "--fix"]).expect(0);
    let told = || {
        next_second(world)?;
        world.ctl(&["report"]).expect(0).map(drop)
    };
    // Into the trash while there was no broker.
    world.ctl(&["create", "early", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "early"]).expect(0)?;
    world.install_broker("")?;
    told()?;
    reconcile()?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        orphan  alice/early  is in its owner's trash and is not in the ledger  mended
    "#]])?;
    reconcile()?.shows(&expect![[r#"
        the ledger and the host agree
    "#]])?;
    world.run("bob", &["devbox-ctl", "create", "early"]).expect(2)?;
    same(&held(world, "alice")?, &1, "it is held")?;
    told()?;
    reconcile()?.shows(&expect![[r#"
        the ledger and the host agree
    "#]])?;
    world.ctl(&["restore", "early", "--no-start"]).expect(0)?;
    // One that the ledger never knew is restored all the same, as a new one is.
    world.ok("alice", &call("Release", &["s", "early"]))?;
    world.ctl(&["destroy", "--yes", "early"]).expect(0)?;
    world.ok("alice", &call("Release", &["s", "early"]))?;
    world.ctl(&["restore", "early", "--no-start"]).expect(0)?;
    same(&held(world, "alice")?, &1, "it is held again")?;
    // Moved by hand, and said by the timer.
    world.ok("alice", &["sh", "-c", "cd .config/containers && mv systemd/devbox/early devbox-trash/"])?;
    told()?;
    reconcile()?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        trashed  alice/early  its owner has it in the trash  mended
    "#]])?;
    world.ok("alice", &["sh", "-c", "cd .config/containers && mv devbox-trash/early systemd/devbox/"])?;
    world.ctl(&["start", "early"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: early is in the trash, as this host's broker has it
          this box came back while there was no broker
          hint: `devbox-ctl report` tells the broker; then an administrator's `devbox-ctl admin reconcile --fix` mends it
    "#]])?;
    told()?;
    reconcile()?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        orphan  alice/early  is stopped and is in the trash in the ledger  mended
    "#]])?;
    world.ctl(&["start", "early"]).expect(0).map(drop)
}

/// What cannot be told the broker is not done by halves: the next command goes on.
fn a_broker_that_fails(world: &World) -> Outcome {
    world.install_broker("")?;
    make(world)?;
    let broken = |mode: &str| {
        world.ok("root", &["sh", "-c", &format!("systemctl stop devboxd; chmod {mode} /usr/libexec/devbox/devboxd")])
    };
    broken("0")?;
    let destroyed = world.ctl(&["destroy", "--yes", "abc"]);
    let status = state(world, "abc");
    broken("755")?;
    let destroyed = destroyed.expect(7)?;
    destroyed.says("the broker of this host does not answer")?;
    destroyed.says("half destroyed")?;
    same(&status?, &"destroying", "it is said")?;
    world.ctl(&["stop", "nobody"]).expect(10)?.shows(&expect![[r#"
        --- standard error
        warning: destroying abc had been cut short; it is finished now, and abc is in the trash
        error: you have no box called nobody
          hint: `devbox-ctl list` shows yours
    "#]])?;
    is_at_rest(world, "abc")?;
    broken("0")?;
    let restored = world.ctl(&["restore", "abc"]);
    broken("755")?;
    let restored = restored.expect(7)?;
    restored.says("the broker of this host does not answer")?;
    restored.says("abc stays in the trash")?;
    world.ctl(&["restore", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is ready (SECONDS)
          shell  devbox-ctl ssh abc
          command  devbox-ctl exec abc -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host abc
          stop  devbox-ctl stop abc
        --- standard error
        warning: restoring abc had been cut short; it is in the trash as before
    "#]])?;
    has_its_data(world)?;
    is_settled(world, "abc")
}
