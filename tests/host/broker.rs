//! devboxd: what several owners share, and an administrator's day.

use std::time::{Duration, Instant};

use super::prelude::*;

tests! { Host:
    limits_of_owner_and_host,
    names_are_one_for_the_host,
    no_room_now,
    installed_but_failing,
    fifty_creates_against_a_limit_of_five,
    settings_are_read_when_they_change,
    everything_is_in_the_audit_trail,
    what_the_ledger_and_the_host_disagree_on,
    administrators_act_as_the_owner,
    who_is_an_administrator,
    create_interrupted_gives_the_name_back,
}

/// A method of the broker's, called as a user without devbox-ctl.
pub(crate) fn call<'a>(method: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut argv = vec![
        "busctl",
        "--system",
        "--timeout=60",
        "call",
        "io.devbox.Broker1",
        "/io/devbox/Broker1",
        "io.devbox.Broker1",
        method,
    ];
    argv.extend(arguments);
    argv
}

pub(crate) fn held(world: &World, user: &str) -> Result<usize, libtest_mimic::Failed> {
    let out = world.ok(user, &call("Boxes", &["bs", "false", ""]))?;
    out.split_whitespace().nth(1).and_then(|n| n.parse().ok()).ok_or_else(|| out.into())
}

fn limits_of_owner_and_host(world: &World) -> Outcome {
    world.install_broker("[defaults]\nmax_boxes = 2\nmax_memory = \"64G\"\n[host]\nmax_boxes = 3\ntotal_cpu = 8\ntotal_memory = \"12G\"\n")?;
    world.ctl(&["create", "one", "--no-start"]).expect(0)?;
    world.ctl(&["create", "two", "--no-start"]).expect(0)?;
    let ran = world.ctl(&["create", "three"]).expect(3)?;
    ran.shows(&expect![[r#"
        --- standard error
        error: you already have 2 boxes, and 2 is your limit
          stopped: one, two
          hint: `devbox-ctl destroy one` makes room
    "#]])?;
    let bob = |arguments: &[&str]| world.run("bob", &[&["devbox-ctl", "create", "bobs"], arguments].concat());
    bob(&["--cpu", "5"]).expect(4)?.shows(&expect![[r#"
        --- standard error
        error: this host has promised 4 of its 8 processors, and 5 more are asked for
          hint: the rest is other owners'; an administrator can raise [host] in users.toml
    "#]])?;
    bob(&["--memory", "5G"]).expect(4)?.shows(&expect![[r#"
        --- standard error
        error: this host has promised 8192M of its 12G of memory, and 5120M more are asked for
          hint: the rest is other owners'; an administrator can raise [host] in users.toml
    "#]])?;
    bob(&["--no-start"]).expect(0)?;
    let ran = world.run("carol", &["devbox-ctl", "create", "carols", "--json"]).expect(4)?;
    ran.shows(&expect![[r#"
        {"error":{"code":4,"hint":"the rest is other owners'; an administrator can raise [host] in users.toml","kind":"host-limit","message":"this host has 3 boxes, and 3 is its limit"}}
    "#]])?;
    // Nobody learns from a refusal what others have; an administrator does.
    ensure(!ran.out.contains("one") && !ran.out.contains("alice"), &ran.out)?;
    ensure(!world.path("/home/carol/.config/containers/systemd/devbox/carols").exists(), "nothing was made")?;
    world.ctl(&["destroy", "--now", "--yes", "two"]).expect(0)?;
    world.run("carol", &["devbox-ctl", "create", "carols", "--no-start"]).expect(0)?;
    world.run("root", &["devbox-ctl", "list", "--all"]).expect(0)?.shows(&expect![[r#"
        OWNER  NAME  STATE  CPU  MEMORY  CREATED
        alice  one  stopped  2  4G  SECONDS ago
        bob  bobs  stopped  2  4G  SECONDS ago
        carol  carols  stopped  2  4G  SECONDS ago
    "#]])?;
    world.run("root", &["devbox-ctl", "list", "--all", "--json"]).expect(0)?.json()?;
    world.run("root", &["devbox-ctl", "admin", "limits"]).expect(0)?.says("alice  1/2")
}

fn names_are_one_for_the_host(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "shared", "--no-start"]).expect(0)?;
    let ran = world.run("bob", &["devbox-ctl", "create", "shared"]).expect(2)?;
    ran.shows(&expect![[r#"
        --- standard error
        error: the name shared is taken on this host
          hint: names are one for the whole host; choose another
    "#]])?;
    ensure(!ran.err.contains("alice"), "whose it is, is not told")?;
    // It is free once it is given back.
    world.ctl(&["destroy", "--now", "--yes", "shared"]).expect(0)?;
    world.run("bob", &["devbox-ctl", "create", "shared", "--no-start"]).expect(0)?;
    // A create of a name that was reserved and never used is no quarrel with oneself.
    world.ok("alice", &call("Reserve", &["sutb", "mine", "1000", "1073741824", "false"]))?;
    world.ctl(&["create", "mine", "--no-start"]).expect(0)?;
    // One name that cannot be part of a tag, where tags are made of names.
    world.write("/etc/devbox/users.toml", "[tailnet]\nprovider = \"file\"\npath = \"/etc/devbox/keys\"\n");
    world.ok("root", &["sh", "-c", "id al.ice >/dev/null 2>&1 || useradd --uid 1010 --badname al.ice"])?;
    let odd = ["runuser", "-u", "al.ice", "--"];
    let ran =
        world.run("root", &[&odd[..], &call("Reserve", &["sutb", "odd", "1000", "1073741824", "false"])].concat());
    world.ok("root", &["userdel", "al.ice"])?;
    ran.says("the user name al.ice cannot be part of a tailnet tag")
}

fn no_room_now(world: &World) -> Outcome {
    world.install_broker("[defaults]\nmax_memory = \"4096G\"\n")?;
    let ran = world.ctl(&["create", "huge", "--memory", "4000G"]).expect(5)?;
    ran.says("of memory left now, and starting a box of 4000G needs a quarter of that")?;
    world.expect_clean()?;
    // Made, it is refused at its start as well, and nothing of it changed.
    world.ctl(&["create", "huge", "--memory", "4000G", "--no-start"]).expect(0)?;
    world.ctl(&["start", "huge"]).expect(5)?;
    ensure(world.folder("huge").join("stopped").exists(), "still marked")
}

fn installed_but_failing(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "before"]).expect(0)?;
    world.ok("root", &["systemctl", "stop", "devboxd"])?;
    world.ok("root", &["chmod", "0", "/usr/libexec/devbox/devboxd"])?;
    let made = world.ctl(&["create", "abc"]);
    let listed = world.ctl(&["list"]);
    let stopped = world.ctl(&["stop", "before"]);
    let destroyed = world.ctl(&["destroy", "--now", "--yes", "before"]);
    world.ok("root", &["chmod", "755", "/usr/libexec/devbox/devboxd"])?;
    made.expect(7)?.says("the broker of this host does not answer")?;
    ensure(!world.folder("abc").exists(), "nothing was made")?;
    listed.expect(0)?;
    stopped.expect(0)?;
    // Gone, but for the name; the next command gives it back.
    destroyed.expect(7)?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    same(&held(world, "alice")?, &1, "the name came back")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

fn fifty_creates_against_a_limit_of_five(world: &World) -> Outcome {
    world.install_broker("[host]\nmax_boxes = 100\n")?;
    // By the bus alone, where nothing of the owner's is locked.
    let reserves: Vec<_> = (0..50)
        .map(|n| {
            let name = format!("race-{n}");
            world.spawn("alice", &call("Reserve", &["sutb", &name, "1000", "1073741824", "false"]))
        })
        .collect();
    let won = reserves.into_iter().map(|r| r.finish().code).filter(|code| *code == 0).count();
    ensure(won == 5 && held(world, "alice")? == 5, &format!("{won} were admitted"))?;
    for n in 0..50 {
        world.ok("alice", &call("Release", &["s", &format!("race-{n}")]))?;
    }
    let creates: Vec<_> =
        (0..50).map(|n| world.spawn("bob", &["devbox-ctl", "create", "--no-start", &format!("race-{n}")])).collect();
    let codes: Vec<i32> = creates.into_iter().map(|r| r.finish().code).collect();
    let won = codes.iter().filter(|code| **code == 0).count();
    ensure(won == 5 && codes.iter().all(|code| matches!(code, 0 | 3)), &format!("{codes:?}"))?;
    same(&held(world, "bob")?, &5, "in the ledger")
}

fn settings_are_read_when_they_change(world: &World) -> Outcome {
    world.install_broker("[defaults]\nmax_boxes = 1\n")?;
    let reserve = |name: &str| world.run("alice", &call("Reserve", &["sutb", name, "1000", "1073741824", "false"]));
    reserve("one").expect(0)?;
    reserve("two").expect(1)?.says("1 is your limit")?;
    world.write("/etc/devbox/users.toml.d/10-more.toml", "[defaults]\nmax_boxes = 2\n");
    reserve("two").expect(0)?;
    // A broken edit changes nothing, over a restart too, and is told everywhere.
    world.write("/etc/devbox/users.toml.d/20-broken.toml", "[defaults]\nmax_boxs = 9\n");
    for restarted in [false, true] {
        if restarted {
            world.kill_devboxd()?;
        }
        reserve("three").expect(1)?.says("2 is your limit")?;
        let status = world.ok("root", &call("Status", &[]))?;
        ensure(status.contains("false") && status.contains("20-broken.toml:2: unknown key"), &status)?;
        let shown = world.ok("root", &["systemctl", "show", "--property=StatusText", "devboxd"])?;
        ensure(shown.contains("the last good settings go on") && shown.contains("unknown key"), &shown)?;
    }
    let check = world.run("root", &["devbox-ctl", "admin", "check"]).expect(1)?;
    check.shows(&expect![[r#"
        --- standard error
        error: /etc/devbox/users.toml.d/20-broken.toml:2: unknown key `max_boxs` in [defaults]
          hint: did you mean `max_boxes`?
    "#]])?;
    world.ok("root", &["journalctl", "--sync"])?;
    world.run("root", &["journalctl", "-u", "devboxd", "-o", "cat"]).says("the last good ones go on")?;
    std::fs::remove_file(world.path("/etc/devbox/users.toml.d/20-broken.toml"))?;
    let check = world.run("root", &["devbox-ctl", "admin", "check"]).expect(0)?;
    check.shows(&expect![[r#"
        the settings are good
          host  7 boxes at most
          default  2 boxes at most, of 2 cpu and 4G
          named  nobody
        devboxd: settings good, 2 boxes in the ledger
    "#]])?;
    // An edit is tried before it goes live.
    world.write("/srv/edit.toml", "[defaults]\ncpu = 99\n");
    world.run("alice", &["devbox-ctl", "admin", "check", "/srv/edit.toml"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: /srv/edit.toml:2: 99 processors is outside 0.1 to 64
          hint: an administrator can mend this file; nothing was changed
    "#]])?;
    world.run("alice", &["devbox-ctl", "admin", "check", "/tmp/nowhere.toml"]).expect(7).map(drop)
}

fn everything_is_in_the_audit_trail(world: &World) -> Outcome {
    world.install_broker("[users.bob]\nallowed = false\n")?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    world.run("bob", &["devbox-ctl", "create", "abc"]).expect(11)?;
    world.ctl(&["create", "large", "--memory", "17G"]).expect(1)?;
    world.ctl(&["create", "abc"]).expect(2)?;
    world.ctl(&["create", "dry", "--memory", "17G", "--dry-run"]).expect(1)?;
    world.run("bob", &call("Reserve", &["sutb", "\u{1b}[31mred", "1000", "1", "false"])).expect(1)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["restore", "abc", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["trash", "--empty", "--yes"]).expect(0)?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    let trail = world.run("root", &["devbox-ctl", "admin", "audit", "--json"]).expect(0)?.json()?;
    let lines: Vec<String> = trail
        .as_array()
        .ok_or("an array")?
        .iter()
        .map(|l| {
            format!("{} {} {} {} {}", l["caller"], l["verb"], l["owner"], l["name"], l["outcome"]).replace('"', "")
        })
        .collect();
    let expected = [
        "alice reserve alice abc allowed",
        "alice create alice abc allowed",
        "bob reserve bob abc NotAllowed",
        "alice reserve alice large InvalidInput",
        "bob reserve bob  InvalidInput",
        "alice trash alice abc allowed",
        "alice restore alice abc allowed",
        "alice trash alice abc allowed",
        "alice release alice abc allowed",
        "alice reserve alice abc allowed",
        "alice create alice abc allowed",
        "alice release alice abc allowed",
    ];
    same(&lines, &expected, &format!("{lines:#?}"))?;
    ensure(trail[0]["program"] == "devbox-ctl" && trail[0]["pid"].as_u64() > Some(1), &trail[0].to_string())?;
    let bobs = world.run("root", &["devbox-ctl", "admin", "audit", "--owner", "bob"]).expect(0)?;
    same(&bobs.out.lines().count(), &3, &bobs.out)?;
    let none = world.run("root", &["devbox-ctl", "admin", "audit", "--since", "2100-01-01"]).expect(0)?;
    none.shows(&expect![[r#"
        WHEN  WHO  PROCESS  DID  BOX  OUTCOME
    "#]])
}

/// Reports, and what they are compared with, are by the second.
pub(crate) fn next_second(world: &World) -> Outcome {
    world.ok("root", &["sh", "-c", "s=$(date +%s); until [ $(date +%s) -gt $s ]; do :; done"]).map(drop)
}

fn what_the_ledger_and_the_host_disagree_on(world: &World) -> Outcome {
    let reconcile =
        |arguments: &[&str]| world.run("root", &[&["devbox-ctl", "admin", "reconcile"], arguments].concat()).expect(0);
    // Made while there was no broker.
    world.ctl(&["create", "early"]).expect(0)?;
    world.ctl(&["create", "shelved", "--no-start"]).expect(0)?;
    world.install_broker("")?;
    reconcile(&[])?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        orphan  alice/early  runs and is not in the ledger; its owner's timer has not told its size yet
    "#]])?;
    world.ctl(&["report"]).expect(0)?;
    let found = reconcile(&[])?;
    found.shows(&expect![[r#"
        FOUND  BOX  WHAT
        orphan  alice/early  runs and is not in the ledger  --fix mends it
        orphan  alice/shelved  is stopped and is not in the ledger  --fix mends it
    "#]])?;
    same(&held(world, "alice")?, &0, "said first")?;
    reconcile(&["--fix"])?;
    same(&held(world, "alice")?, &2, "adopted")?;
    reconcile(&[])?.shows(&expect![[r#"
        the ledger and the host agree
    "#]])?;
    let disk = world.run("root", &["devbox-ctl", "admin", "limits", "--json"]).expect(0)?.json()?;
    ensure(disk[0]["disk_bytes"].as_u64() > Some(50 << 20), &disk.to_string())?;

    // Given back and still running, as whoever speaks to the broker without devbox-ctl can have it.
    world.ok("alice", &call("Release", &["s", "early"]))?;
    reconcile(&[])?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        orphan  alice/early  runs and was released; its owner's timer has not told its size yet
    "#]])?;
    // And then somebody else's.
    world.ok("bob", &call("Reserve", &["sutb", "early", "1000", "1073741824", "false"]))?;
    world.ok("bob", &call("Commit", &["s", "early"]))?;
    reconcile(&["--fix"])?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        taken  alice/early  runs under a name that is another owner's
    "#]])?;
    world.ok("bob", &call("Release", &["s", "early"]))?;
    next_second(world)?;
    world.ctl(&["report"]).expect(0)?;
    reconcile(&["--fix"])?;
    // A folder removed by hand: after its owner's next report the name is known to be free.
    world.ok("alice", &["rm", "-r", ".config/containers/systemd/devbox/shelved"])?;
    reconcile(&[])?.shows(&expect![[r#"
        the ledger and the host agree
    "#]])?;
    // Reports are by the second.
    next_second(world)?;
    world.ctl(&["report"]).expect(0)?;
    reconcile(&[])?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        lost  alice/shelved  its owner has no such box any more  --fix mends it
    "#]])?;
    reconcile(&["--fix"])?;
    same(&held(world, "alice")?, &1, "forgotten")?;
    world.ok("alice", &["systemctl", "--user", "daemon-reload"]).map(drop)
}

fn administrators_act_as_the_owner(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "abc"]).expect(0)?;
    let admin = |verb: &str, arguments: &[&str]| {
        world.run("root", &[&["devbox-ctl", "admin", verb, "alice/abc"], arguments].concat())
    };
    admin("stop", &[]).expect(0)?;
    let status = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    same(&status["state"], &"stopped", &status.to_string())?;
    admin("stop", &[]).expect(12)?.shows(&expect![[r#"
        --- standard error
        alice: error: abc is stopped already
        error: `devbox-ctl stop abc` of alice ended with status 12; what it said is above
    "#]])?;
    admin("start", &[]).expect(0)?;
    admin("destroy", &[]).expect(1)?;
    // As the owner: what the owner cannot touch, it cannot either.
    world.ok("root", &["sh", "-c", "mkdir -p /srv/precious && touch /srv/precious/kept"])?;
    world.ok("alice", &["ln", "-s", "/srv/precious", ".config/containers/systemd/devbox/link"])?;
    let linked = world.run("root", &["devbox-ctl", "admin", "destroy", "--now", "--yes", "alice/link"]);
    world.ok("alice", &["rm", ".config/containers/systemd/devbox/link"])?;
    linked.expect(10)?;
    world.ok("root", &["test", "-e", "/srv/precious/kept"])?;
    // Into the owner's trash, where it stays until someone says so.
    admin("destroy", &["--yes"]).expect(0)?;
    let status = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    ensure(status["state"] == "trashed" && status["trashedBy"] == "administrator", &status.to_string())?;
    world.ctl(&["why", "abc"]).expect(0)?.says("it is in the trash: `devbox-ctl restore abc` brings it back")?;
    ensure(status["emptiedAt"].is_null() && status["trashedAt"].is_string(), &status.to_string())?;
    admin("destroy", &["--yes"]).expect(12)?.shows(&expect![[r#"
        --- standard error
        alice: error: abc is in the trash already
        alice:  hint: `devbox-ctl restore abc` brings it back; `devbox-ctl destroy --now abc` deletes it for good
        error: `devbox-ctl destroy abc` of alice ended with status 12; what it said is above
    "#]])?;
    same(&held(world, "alice")?, &1, "the name is alice's still")?;
    admin("destroy", &["--yes", "--now"]).expect(0)?;
    same(&held(world, "alice")?, &0, "and now it is free")?;
    world.expect_clean()?;
    world.run("root", &["devbox-ctl", "admin", "stop", "nobody-here/abc"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: there is no user nobody-here
    "#]])?;
    world.run("bob", &["devbox-ctl", "admin", "stop", "alice/abc"]).expect(11)?;
    let trail = world.run("root", &["devbox-ctl", "admin", "audit", "--owner", "alice"]).expect(0)?;
    trail.says("root")?;
    trail.says("destroy --now")?;
    trail.says("bob")?;
    trail.says("NotAllowed")
}

fn create_interrupted_gives_the_name_back(world: &World) -> Outcome {
    world.install_broker("")?;
    super::faults::image(world, "mute:1", super::faults::MUTE)?;
    let create = world.spawn("alice", &["devbox-ctl", "create", "brk-int", "--image", "localhost/mute:1"]);
    super::faults::wait_for_start(world, "devbox-brk-int.service")?;
    let begun = Instant::now();
    world.ok("alice", &["pkill", "-INT", "-x", "devbox-ctl"])?;
    create.finish().expect(130)?;
    ensure(begun.elapsed() < Duration::from_mins(1), "at once")?;
    same(&held(world, "alice")?, &0, "given back")?;
    world.expect_clean()
}

fn who_is_an_administrator(world: &World) -> Outcome {
    world.install_broker("[users.carol]\nadmin = true\n")?;
    world.run("carol", &["devbox-ctl", "list", "--all"]).expect(0)?;
    world.run("bob", &["devbox-ctl", "list", "--all"]).expect(11)?;
    // devboxd lets her; to act as another user is systemd's to allow.
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    let carol = world.run("carol", &["devbox-ctl", "admin", "stop", "alice/abc"]).expect(11)?;
    carol.says("`sudo devbox-ctl admin stop alice/abc`")?;
    // Where a policy of the host says so, polkit does.
    let rule = "polkit.addRule(function(action, subject) { if (action.id == 'io.devbox.administer' && subject.user == 'bob') return polkit.Result.YES; });";
    world.write("/etc/polkit-1/rules.d/10-bob.rules", rule);
    world.ok("root", &["systemctl", "restart", "polkit"])?;
    let bob = world.run("bob", &["devbox-ctl", "list", "--all"]);
    let alice = world.run("alice", &["devbox-ctl", "list", "--all"]);
    std::fs::remove_file(world.path("/etc/polkit-1/rules.d/10-bob.rules"))?;
    world.ok("root", &["systemctl", "restart", "polkit"])?;
    bob.expect(0)?;
    alice.expect(11).map(drop)
}
