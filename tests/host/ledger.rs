//! The ledger when owners lie, die, or are half done; and administrators who have to mend it.

use super::broker::{call, held, next_second};
use super::prelude::*;

tests! { Host:
    reports_are_not_believed_past_a_limit,
    a_destroyed_box_stays_gone,
    a_box_that_is_there_is_not_forgotten,
    a_name_that_is_anothers_by_now,
    a_create_cut_short_gets_no_name_by_itself,
    an_administrator_takes_a_name_back,
    an_owner_without_an_account,
    a_full_disk_can_be_read,
    a_mode_is_a_change,
}

fn reconcile(world: &World, arguments: &[&str]) -> Result<Ran, libtest_mimic::Failed> {
    world.run("root", &[&["devbox-ctl", "admin", "reconcile"], arguments].concat()).expect(0)
}

fn report(world: &World, user: &str, boxes: &[(&str, u32, u64)]) -> Outcome {
    let mut arguments = vec!["a(sutb)txx".to_owned(), boxes.len().to_string()];
    for (name, cpu, memory) in boxes {
        arguments.extend([(*name).to_owned(), cpu.to_string(), memory.to_string(), "false".to_owned()]);
    }
    arguments.extend(["0", "0", "0"].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Reports are by the second.
    next_second(world)?;
    world.ok(user, &call("Report", &arguments)).map(drop)
}

fn reserve(world: &World, user: &str, name: &str) -> Ran {
    world.run(user, &call("Reserve", &["sutb", name, "1000", "1073741824", "false"]))
}

fn reports_are_not_believed_past_a_limit(world: &World) -> Outcome {
    world.install_broker("[defaults]\nmax_boxes = 2\n[host]\nmax_boxes = 3\n")?;
    let gib = 1 << 30;
    let many: Vec<String> = (1..=7).map(|n| format!("made-up-{n}")).collect();
    let mut boxes: Vec<(&str, u32, u64)> = many.iter().map(|n| (n.as_str(), 1000, gib)).collect();
    boxes.push(("wanted", 1000, gib));
    report(world, "bob", &boxes)?;
    report(world, "alice", &[("wanted", 1000, gib), ("large", 64_000, 1024 * gib)])?;
    let found = reconcile(world, &["--fix"])?;
    found.shows(&expect![[r#"
        FOUND  BOX  WHAT
        orphan  alice/large  is stopped and is not in the ledger; it is not adopted: 64 processors for one box is more than the 8 allowed
        taken  alice/wanted  is stopped, and more than one owner reports this name
        orphan  bob/made-up-1  is stopped and is not in the ledger  mended
        orphan  bob/made-up-2  is stopped and is not in the ledger  mended
        orphan  bob/made-up-3  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        orphan  bob/made-up-4  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        orphan  bob/made-up-5  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        orphan  bob/made-up-6  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        orphan  bob/made-up-7  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        taken  bob/wanted  is stopped, and more than one owner reports this name
    "#]])?;
    ensure(held(world, "bob")? == 2 && held(world, "alice")? == 0, &found.out)?;
    // The name that two want is still free, and the host has room for one.
    reserve(world, "carol", "carols").expect(0)?;
    report(world, "alice", &[("large", 64_000, 1024 * gib)])?;
    reconcile(world, &["--fix"])?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        orphan  alice/large  is stopped and is not in the ledger; it is not adopted: 64 processors for one box is more than the 8 allowed
        orphan  bob/made-up-3  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        orphan  bob/made-up-4  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        orphan  bob/made-up-5  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        orphan  bob/made-up-6  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        orphan  bob/made-up-7  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
        orphan  bob/wanted  is stopped and is not in the ledger; it is not adopted: you already have 2 boxes, and 2 is your limit
    "#]])?;
    same(&held(world, "alice")?, &0, "nothing past a limit")
}

fn a_destroyed_box_stays_gone(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "ghost", "--no-start"]).expect(0)?;
    next_second(world)?;
    world.ctl(&["report"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "ghost"]).expect(0)?;
    reconcile(world, &["--fix"])?.shows(&expect![[r#"
        the ledger and the host agree
    "#]])?;
    reserve(world, "bob", "ghost").expect(0).map(drop)
}

fn a_box_that_is_there_is_not_forgotten(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "newer", "--no-start"]).expect(0)?;
    world.ctl(&["create", "again", "--no-start"]).expect(0)?;
    // Of a later devbox-ctl's format: it cannot be read, and is there.
    world
        .ok("alice", &["sed", "-i", "s/format = 1/format = 2/", ".config/containers/systemd/devbox/newer/box.toml"])?;
    next_second(world)?;
    world.ctl(&["report"]).expect(0)?;
    // Removed by hand, told, and made again.
    world.ok("alice", &["rm", "-r", ".config/containers/systemd/devbox/again"])?;
    world.ok("alice", &["systemctl", "--user", "daemon-reload"])?;
    next_second(world)?;
    world.ctl(&["report"]).expect(0)?;
    next_second(world)?;
    world.ctl(&["create", "again", "--no-start"]).expect(0)?;
    reconcile(world, &["--fix"])?.shows(&expect![[r#"
        the ledger and the host agree
    "#]])?;
    same(&held(world, "alice")?, &2, "both are alice's still")
}

fn a_name_that_is_anothers_by_now(world: &World) -> Outcome {
    world.ctl(&["create", "early", "--no-start"]).expect(0)?;
    world.install_broker("")?;
    reserve(world, "bob", "early").expect(0)?;
    world.ok("bob", &call("Commit", &["s", "early"]))?;
    world.ctl(&["start", "early"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: the name early is another owner's on this host
          this box was made while there was no broker
          hint: `devbox-ctl destroy --keep-volume` keeps its data; create it under another name
    "#]])?;
    world.ctl(&["destroy", "--now", "--yes", "early"]).expect(0)?;
    same(&held(world, "bob")?, &1, "it is bob's")?;
    let after = world.ctl(&["create", "next", "--no-start"]).expect(0)?;
    ensure(after.err.is_empty(), &after.err)
}

fn a_create_cut_short_gets_no_name_by_itself(world: &World) -> Outcome {
    // As a create leaves it that was killed before its name was committed, and that a reboot has started.
    world.ctl(&["create", "half"]).expect(0)?;
    std::fs::write(world.folder("half").join("creating"), "")?;
    world.install_broker("")?;
    reserve(world, "bob", "half").expect(0)?;
    let next = world.ctl(&["create", "next", "--no-start"]).expect(0)?;
    next.shows(&expect![[r#"
        next is created, not started
          start  devbox-ctl start next
        --- standard error
        warning: half runs without a place in the broker's ledger: the name half is taken on this host
    "#]])?;
    ensure(world.folder("half").join("creating").exists(), "the next command asks again")?;
    world.ok("bob", &call("Release", &["s", "half"]))?;
    world.ctl(&["create", "third", "--no-start"]).expect(0)?;
    ensure(!world.folder("half").join("creating").exists() && held(world, "alice")? == 3, "and gets it")
}

fn an_administrator_takes_a_name_back(world: &World) -> Outcome {
    world.install_broker("")?;
    world.run("bob", &["devbox-ctl", "create", "keepme", "--no-start"]).expect(0)?;
    // The owner holds the lock of the box.
    let folder = "/home/bob/.config/containers/systemd/devbox/keepme";
    let holder = world.spawn("bob", &["flock", folder, "sleep", "infinity"]);
    world.ok("root", &["sh", "-c", &format!("while flock --nonblock {folder} true; do sleep 0.01; done")])?;
    let admin = world.spawn("root", &["devbox-ctl", "admin", "destroy", "--now", "--yes", "bob/keepme"]);
    // Its part as the owner waits; whoever runs beside it has none of root's descriptors.
    let fds = "until p=$(pgrep -n -u bob -x devbox-ctl); do sleep 0.01; done; readlink /proc/$p/fd/0 /proc/$p/fd/1 /proc/$p/fd/2; \
               kill -9 $p";
    let seen = world.ok("root", &["sh", "-c", fds])?;
    let seen: Vec<&str> = seen.lines().collect();
    ensure(
        seen[0] == "/dev/null" && seen[1].starts_with("pipe:") && seen[2].starts_with("pipe:"),
        &format!("{seen:?}"),
    )?;
    // The owner killed it: the name is taken all the same.
    let ran = admin.finish();
    ensure(ran.code != 0, &format!("{ran:?}"))?;
    ran.says("the name keepme is taken from bob all the same")?;
    world.ok("root", &["pkill", "-u", "bob", "-x", "sleep"])?;
    drop(holder);
    same(&held(world, "bob")?, &0, "taken")?;
    let trail = world.run("root", &["devbox-ctl", "admin", "audit"]).expect(0)?;
    trail.says("evict")?;
    reserve(world, "alice", "keepme").expect(0)?;
    world
        .run("bob", &call("Evict", &["ss", "alice", "keepme"]))
        .expect(1)?
        .says("only administrators may do this")
        .map(drop)
}

fn an_owner_without_an_account(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ok("root", &["useradd", "--uid", "1050", "temp"])?;
    let as_temp = |method, arguments: &[&str]| {
        let argv =
            [&["setpriv", "--reuid=1050", "--regid=1050", "--clear-groups"][..], &call(method, arguments)].concat();
        world.run("root", &argv)
    };
    let made = as_temp("Reserve", &["sutb", "tempbox", "1000", "1073741824", "false"]).expect(0);
    let committed = as_temp("Commit", &["s", "tempbox"]).expect(0);
    world.ok("root", &["userdel", "temp"])?;
    made?;
    committed?;
    reconcile(world, &[])?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        gone  temp/tempbox  its owner has no account any more  --fix mends it
    "#]])?;
    reconcile(world, &["--fix"])?;
    reserve(world, "alice", "tempbox").expect(0)?;
    // Nobody without an account gets a name: every owner has thousands of ids.
    as_temp("Reserve", &["sutb", "other", "1000", "1073741824", "false"]).expect(1).map(drop)
}

fn a_full_disk_can_be_read(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    let script = "systemctl stop devboxd; cp -a /var/lib/devboxd /srv/kept; mount -t tmpfs -o size=400k,mode=700,uid=$(id -u devboxd),gid=$(id -g devboxd) tmpfs /var/lib/devboxd \
                  && cp -a /srv/kept/. /var/lib/devboxd/; rm -r /srv/kept; dd if=/dev/zero of=/var/lib/devboxd/filler bs=1k; true";
    world.ok("root", &["sh", "-c", script])?;
    let read = held(world, "alice");
    let written = reserve(world, "bob", "more");
    world.ok("root", &["sh", "-c", "systemctl stop devboxd; umount /var/lib/devboxd"])?;
    same(&read?, &1, "what is in it is told")?;
    written.expect(1)?.says("devboxd cannot use its ledger")
}

fn a_mode_is_a_change(world: &World) -> Outcome {
    world.install_broker("[defaults]\nmax_boxes = 1\n")?;
    world.ok("root", &["chmod", "600", "/etc/devbox/users.toml"])?;
    let status = || world.ok("root", &call("Status", &[]));
    ensure(status()?.contains("the last good settings go on"), "it cannot be read")?;
    world.ok("root", &["chmod", "644", "/etc/devbox/users.toml"])?;
    ensure(status()?.contains("settings good"), "it can be read again")
}
