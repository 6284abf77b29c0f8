//! Many boxes of many owners start at once, as after a boot of the host.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::faults::{MUTE, image, wait_for_start};
use super::prelude::*;

tests! { Host:
    bounded_and_fair_between_owners,
    without_a_broker,
    #[slow] a_devboxd_that_hangs_or_is_gone,
    #[slow] owners_who_keep_their_turns,
    a_killed_boxs_turn_ends,
    what_is_in_line_is_its_owners,
    boxes_from_before_start_too,
}

const MANY: &str = "[defaults]\nmax_boxes = 30\n[host]\nmax_boxes = 90\n";

fn uid(user: &str) -> u32 {
    1000 + ["alice", "bob", "carol"].iter().position(|u| *u == user).map_or(9, |n| u32::try_from(n).unwrap_or(9))
}

/// Boxes that start with their owner's manager.
fn make(world: &World, user: &str, count: usize) -> Outcome {
    for n in 0..count {
        let name = format!("{user}-{n}");
        world.run(user, &["devbox-ctl", "create", &name, "--memory", "256M"]).expect(0)?;
    }
    Ok(())
}

/// Ends managers of owners, and begins them at once; does not wait for their boxes.
fn begin(world: &World, users: &[&str]) -> Outcome {
    let units: Vec<String> = users.iter().map(|user| format!("user@{}.service", uid(user))).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    world.ok("root", &[&["systemctl", "stop"], &units[..]].concat())?;
    // What an earlier test has found out of devboxd, and what no unit takes away that was removed while it was active.
    world.ok("root", &["sh", "-c", "rm -rf /run/user/*/devboxes-turns /run/user/*/devboxes-started"])?;
    world.ok("root", &[&["systemctl", "start"], &units[..]].concat()).map(drop)
}

/// When each box began to start and was ready, in seconds of the host's clock, by systemd's own word.
fn starts(world: &World, user: &str) -> Result<Vec<(f64, f64)>, Failed> {
    world.run(user, &["timeout", "120", "systemctl", "--user", "is-system-running", "--wait"]);
    // systemd may hear of podman's end before it hears which process goes on: then it starts that unit once more.
    let again = "timeout 60 sh -c 'while devbox-ctl list | grep \" starting \"; do sleep 0.05; done'";
    world.run(user, &["sh", "-c", again]).expect(0)?;
    let list = world.run(user, &["devbox-ctl", "list", "--json"]).expect(0)?.json()?;
    let mut all = Vec::new();
    for one in list.as_array().ok_or("an array")? {
        let unit = format!("devbox-{}.service", one["name"].as_str().unwrap_or_default());
        same(&one["state"], &"running", &one.to_string())?;
        let at = |property: &str| -> Result<f64, Failed> {
            let text = world.ok(user, &["systemctl", "--user", "show", "--value", "-p", property, &unit])?;
            Ok(text.trim().parse::<f64>().map_err(|e| format!("{text:?}: {e}"))? / 1e6)
        };
        all.push((at("InactiveExitTimestampMonotonic")?, at("ActiveEnterTimestampMonotonic")?));
    }
    Ok(all)
}

/// How many started at the same time, at the most.
fn at_once(starts: &[(f64, f64)]) -> usize {
    starts
        .iter()
        .map(|(begun, _)| starts.iter().filter(|(b, ready)| b <= begun && begun < ready).count())
        .max()
        .unwrap_or(0)
}

/// What it may take when hindered, in seconds: that long, or more on a machine where it takes long unhindered.
fn bound(plain: Duration, least: u64, more: u64) -> Duration {
    Duration::from_secs(least).max(plain * 2 + Duration::from_secs(more))
}

fn last(starts: &[(f64, f64)]) -> f64 {
    starts.iter().map(|(_, ready)| *ready).fold(0.0, f64::max)
}

fn bounded_and_fair_between_owners(world: &World) -> Outcome {
    world.install_broker(&format!("{MANY}max_starting = 2\n"))?;
    make(world, "alice", 9)?;
    make(world, "bob", 1)?;
    make(world, "carol", 2)?;
    world.reboot()?;
    let [alice, bob, carol] = [starts(world, "alice")?, starts(world, "bob")?, starts(world, "carol")?];
    let all = [&alice[..], &bob, &carol].concat();
    ensure(all.len() == 12 && at_once(&all) <= 2, &format!("{} at once: {all:?}", at_once(&all)))?;
    ensure(last(&bob) < last(&alice) && last(&carol) < last(&alice), &format!("{alice:?} {bob:?} {carol:?}"))?;
    // Of nine, alice had two at most before bob had his one.
    let before = alice.iter().filter(|(_, ready)| *ready < bob[0].0).count();
    ensure(before <= 4, &format!("{before} of alice's were before bob's one: {alice:?} {bob:?}"))?;
    // From now on a start is its owner's own.
    let ran = |user: &str| {
        world.ok(
            "root",
            &["sh", "-c", &format!("journalctl -q -o cat _UID={} | grep -c 'Starting devboxes-turn@'", uid(user))],
        )
    };
    let turns = ran("alice")?;
    world.ctl(&["restart", "alice-0"]).expect(0)?;
    world.ok("alice", &["systemctl", "--user", "restart", "devbox-alice-1.service"])?;
    same(&ran("alice")?, &turns, "no process waited for a turn")?;
    let verify = "systemd-analyze --user verify /usr/lib/systemd/user/devboxes-turn@x.service /usr/lib/systemd/user/devboxes-started.service 2>&1";
    let said = world.run("alice", &["sh", "-c", verify]);
    // There are no man pages on these hosts: systemd 257 and 262 say so in other words.
    let of_man = |line: &str| line.contains("man devbox-ctl") || line.contains("Can't show devbox-ctl(1)");
    ensure(!said.out.lines().any(|line| line.contains("devboxes-") && !of_man(line)), &said.out)?;
    ensure(
        world.ok("alice", &["systemctl", "--user", "--failed", "--no-legend", "--plain"])?.is_empty(),
        "nothing failed",
    )
}

fn without_a_broker(world: &World) -> Outcome {
    world.install_without_broker()?;
    world.ok("root", &["systemctl", "--global", "enable", "devboxes-started.service"])?;
    world.write("/etc/devbox/users.toml", MANY);
    make(world, "alice", 8)?;
    begin(world, &["alice"])?;
    let alice = starts(world, "alice")?;
    world.ok("root", &["systemctl", "--global", "disable", "devboxes-started.service"])?;
    let processors: usize = world.ok("alice", &["nproc"])?.trim().parse().map_err(|e| format!("{e}"))?;
    ensure(alice.len() == 8 && at_once(&alice) <= processors, &format!("{} at once: {alice:?}", at_once(&alice)))
}

fn a_devboxd_that_hangs_or_is_gone(world: &World) -> Outcome {
    // Made without a broker: they do not ask it for a key, where systemd itself would wait for it.
    world.write("/etc/devbox/users.toml", MANY);
    make(world, "alice", 6)?;
    world.install_broker(MANY)?;
    let begun = Instant::now();
    begin(world, &["alice"])?;
    same(&starts(world, "alice")?.len(), &6, "all of them where it answers")?;
    let plain = begun.elapsed();
    let most = bound(plain, 40, 20);
    world.override_devboxd("[Service]\nType=exec\nBusName=\nExecStart=\nExecStart=sleep infinity\n")?;
    let begun = Instant::now();
    begin(world, &["alice"])?;
    let alice = starts(world, "alice")?;
    let took = begun.elapsed();
    println!("storm::a_devboxd_that_hangs: 6 boxes after {took:.1?}, and {plain:.1?} where it answers");
    ensure(alice.len() == 6 && took < most, &format!("{took:?}, which may be {most:?}"))?;
    ensure(took > Duration::from_secs(9), "it was asked")?;
    // Its program cannot be run, and then there is not even a socket.
    for breaks in ["chmod 0 /usr/libexec/devbox/devboxd", "systemctl stop devboxd.socket"] {
        world.override_devboxd("")?;
        world.ok("root", &["sh", "-c", breaks])?;
        let begun = Instant::now();
        begin(world, &["alice"])?;
        let alice = starts(world, "alice")?;
        let took = begun.elapsed();
        world.ok("root", &["chmod", "755", "/usr/libexec/devbox/devboxd"])?;
        println!("storm::a_devboxd_that_hangs: {breaks}: 6 boxes after {:.1} s", took.as_secs_f32());
        ensure(alice.len() == 6 && took < most, &format!("{breaks}: {took:?}, which may be {most:?}"))?;
    }
    Ok(())
}

/// Takes as many turns as it can get, and as many places in line, and keeps them.
const KEEPS: &str = "use IO::Socket::UNIX; my @all; my $most = shift // 2; for (1..80) { push @all, IO::Socket::UNIX->new(Peer => '/run/devboxd/turn.sock') or last } \
                     my $held = 0; while ($held < $most) { for my $one (@all) { my $r = ''; vec($r, fileno $one, 1) = 1; \
                     while (select(my $ready = $r, undef, undef, 0.01)) { sysread($one, my $word, 1) or last; $held++ if $word eq 't' } } } \
                     open my $f, '>', \"/tmp/held-$<\"; close $f; sleep 1000";

/// Connections of as many subordinate ids, of which none is to be kept: how many are closed.
const SUBORDINATE: &str = "use IO::Socket::UNIX; my @all; for (1..600) { $> = $_; \
                           push @all, IO::Socket::UNIX->new(Peer => '/run/devboxd/turn.sock'); $> = 0 } my $closed = 0; \
                           for my $one (@all) { my $r = ''; vec($r, fileno $one, 1) = 1; \
                           select($r, undef, undef, 30) && !sysread($one, my $word, 1) or last; $closed++ } print $closed";

/// Holds so many turns once this is back, until it is dropped.
fn keeps(world: &World, user: &str, most: &str) -> Result<Running, Failed> {
    world.ok("root", &["rm", "-f", &format!("/tmp/held-{}", uid(user))])?;
    let running = world.spawn(user, &["perl", "-e", KEEPS, most]);
    let held = format!("timeout 120 sh -c 'until test -e /tmp/held-{}; do sleep 0.05; done'", uid(user));
    world.ok("root", &["sh", "-c", &held])?;
    Ok(running)
}

fn owners_who_keep_their_turns(world: &World) -> Outcome {
    world.install_broker(&format!("{MANY}max_starting = 4\n"))?;
    make(world, "alice", 6)?;
    let timed = || -> Result<Duration, Failed> {
        let begun = Instant::now();
        begin(world, &["alice"])?;
        same(&starts(world, "alice")?.len(), &6, "all of them")?;
        Ok(begun.elapsed())
    };
    let plain = timed()?;
    let closed = world.ok("bob", &["podman", "unshare", "perl", "-e", SUBORDINATE])?;
    same(&closed, &"600", &format!("{closed} of 600 were not let in"))?;
    let _bob = keeps(world, "bob", "2")?;
    let beside_one = timed()?;
    let _carol = keeps(world, "carol", "2")?;
    let beside_two = timed()?;
    println!(
        "storm::owners_who_keep_their_turns: six boxes after {beside_one:.1?} beside one of them, {beside_two:.1?} beside two, \
         {plain:.1?} beside nobody"
    );
    ensure(beside_one < bound(plain, 25, 15), &format!("{beside_one:?}, and {plain:?} beside nobody"))?;
    // All turns are taken when she comes, once.
    ensure(beside_two < bound(plain, 55, 45), &format!("{beside_two:?}, and {plain:?} beside nobody"))
}

fn a_killed_boxs_turn_ends(world: &World) -> Outcome {
    world.install_broker(&format!("{MANY}max_starting = 2\n"))?;
    image(world, "mute:1", MUTE)?;
    world.ctl(&["create", "turn-killed", "--no-start", "--image", "localhost/mute:1"]).expect(0)?;
    std::fs::remove_file(world.folder("turn-killed").join("stopped"))?;
    make(world, "bob", 1)?;
    begin(world, &["bob"])?;
    let begun = Instant::now();
    same(&starts(world, "bob")?.len(), &1, "when nobody else starts")?;
    let plain = begun.elapsed();
    begin(world, &["alice"])?;
    wait_for_start(world, "devbox-turn-killed.service")?;
    // The other one is carol's.
    let _carol = keeps(world, "carol", "1")?;
    begin(world, &["bob"])?;
    let shown = world.run("bob", &["devbox-ctl", "list", "--json"]).expect(0)?.json()?;
    same(&shown[0]["state"], &"starting", &format!("it waits, and that is seen: {shown}"))?;
    let begun = Instant::now();
    world.ok("alice", &["podman", "kill", "--signal", "KILL", "devbox-turn-killed"])?;
    let bob = starts(world, "bob")?;
    let took = begun.elapsed();
    world.ctl(&["destroy", "--now", "--yes", "turn-killed"]).expect(0)?;
    ensure(bob.len() == 1 && took < bound(plain, 15, 15), &format!("{took:?}, and {plain:?} alone"))
}

/// What a person does to a box that waits in line: a start that is given up ends nothing that was under way, a new box
/// that is given up is taken back, and one that is destroyed leaves no failed unit.
fn what_is_in_line_is_its_owners(world: &World) -> Outcome {
    world.install_broker(&format!("{MANY}max_starting = 2\n"))?;
    make(world, "alice", 2)?;
    let bob = keeps(world, "bob", "1")?;
    let carol = keeps(world, "carol", "1")?;
    begin(world, &["alice"])?;
    let state = |name: &str| -> Result<String, Failed> {
        let shown = world.ctl(&["status", name, "--json"]).expect(0)?.json()?;
        Ok(shown["state"].as_str().unwrap_or_default().to_owned())
    };
    let given_up = |verb: &str, name: &str| {
        let argv = ["timeout", "--preserve-status", "--signal=INT", "3", "devbox-ctl", verb, name];
        world.run("alice", &argv).expect(130)
    };
    given_up("start", "alice-0")?;
    same(&state("alice-0")?, &"starting", "it is in line still")?;
    given_up("create", "alice-9")?.shows(&expect![[r#"
        --- standard error
        error: interrupted
          what had been done was taken back
    "#]])?;
    world.ctl(&["destroy", "--now", "--yes", "alice-1"]).expect(0)?;
    world.ok("root", &["pkill", "-x", "perl"])?;
    drop((bob, carol));
    let alice = starts(world, "alice")?;
    same(&alice.len(), &1, &format!("{alice:?}"))?;
    let failed = world.ok("alice", &["systemctl", "--user", "--failed", "--no-legend", "--plain"])?;
    ensure(failed.is_empty(), &format!("a unit has failed: {failed}"))
}

/// Units that know nothing of turns, and a host where nothing of that is installed.
fn boxes_from_before_start_too(world: &World) -> Outcome {
    make(world, "alice", 2)?;
    let old = include_str!("../../quadlet-templates/box.container")
        .lines()
        .filter(|line| !line.contains("devboxes-turn@"))
        .fold(String::new(), |text, line| text + line + "\n");
    world.write("/etc/devbox/quadlet-templates/box.container", &old);
    world.ctl(&["create", "old"]).expect(0)?;
    begin(world, &["alice"])?;
    same(&starts(world, "alice")?.len(), &3, "all of them")
}
