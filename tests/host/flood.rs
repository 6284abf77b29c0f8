//! bob sends what nobody should, and as much of it as he can.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::broker::{call, held};
use super::prelude::*;

tests! { Host:
    reservations_held_for_ever,
    ten_thousand_calls,
    under_many_ids,
    file_descriptors,
    large_messages,
    messages_that_are_none,
}

fn reservations_held_for_ever(world: &World) -> Outcome {
    world.install_broker("[host]\nmax_boxes = 8\n")?;
    for n in 0..20 {
        world.run("bob", &call("Reserve", &["sutb", &format!("mine-{n}"), "1000", "1073741824", "false"]));
    }
    same(&held(world, "bob")?, &5, "no more than bob's own limit")?;
    // A lock of bob's on what is bob's, or on what all may read, holds nobody up.
    let script = "mkdir -p .config/containers/systemd/devbox; flock .config/containers/systemd/devbox flock /etc/passwd flock /usr/libexec/devbox/devboxd sleep infinity";
    let locker = world.spawn("bob", &["sh", "-c", script]);
    let holds = "until pgrep -u bob -x sleep >/dev/null; do sleep 0.05; done";
    let held_by_then = world.run("root", &["timeout", "60", "sh", "-c", holds]);
    let created = world.ctl(&["create", "abc", "--no-start"]);
    drop(locker);
    // It has held them to the end.
    world.ok("bob", &["pkill", "-u", "bob", "-x", "sleep"])?;
    held_by_then.expect(0)?;
    created.expect(0).map(drop)
}

/// D-Bus by hand: as fast as a socket takes it, without waiting for answers.
const FLOOD: &str = r#"
use strict; use Socket;
my ($calls, $mode) = @ARGV;
socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; connect($s, pack_sockaddr_un('/run/dbus/system_bus_socket')) or die;
my $hex = join '', map { sprintf '%02x', ord } split //, $>;
syswrite $s, "\0AUTH EXTERNAL $hex\r\n"; sysread $s, my $ok, 256; die $ok unless $ok =~ /^OK/; syswrite $s, "BEGIN\r\n";
sub str { my $t = shift; pack('V', length $t) . $t . "\0" }
sub pad { my ($b, $n) = @_; $b . "\0" x ((-length $b) % $n) }
sub message {
  my ($serial, $path, $dest, $iface, $member, $sig, $body) = @_;
  my $f = '';
  for (([1, 'o', $path], [6, 's', $dest], [2, 's', $iface], [3, 's', $member])) {
    $f = pad($f, 8) . pack('C', $_->[0]) . "\1$_->[1]\0" . str($_->[2]);
  }
  $f = pad($f, 8) . pack('C', 8) . "\1g\0" . pack('C', length $sig) . $sig . "\0" if length $sig;
  pad("l\1\0\1" . pack('VVV', length $body, $serial, length $f) . $f, 8) . $body;
}
syswrite $s, message(1, '/org/freedesktop/DBus', 'org.freedesktop.DBus', 'org.freedesktop.DBus', 'Hello', '', '');
my $b = 'io.devbox.Broker1'; my $p = '/io/devbox/Broker1';
sub put { my $m = shift; my $at = 0; while ($at < length $m) { my $n = syswrite($s, $m, length($m) - $at, $at); last unless defined $n; $at += $n } $at == length $m }
if ($mode eq 'calls') {
  my $pid = fork; if (!$pid) { my $n = 0; while (sysread $s, my $x, 65536) {} exit }
  for my $i (1 .. $calls) { my $body = pad(str("flood-$i"), 4) . pack('V', 1000); $body = pad($body, 8) . pack('Q<', 1 << 30) . pack('V', 0); put(message($i + 1, $p, $b, $b, 'Reserve', 'sutb', $body)) or die "cut off at $i" }
  kill 9, $pid if 0; print "sent\n"; sleep 3; kill 'TERM', $pid;
} elsif ($mode eq 'many') {
  my $pid = fork; if (!$pid) { while (sysread $s, my $x, 65536) {} exit }
  my $body = str('x' x (30 << 20)); for my $i (1 .. $calls) { put(message($i + 1, $p, $b, $b, 'Commit', 's', $body)) or last }
  print "sent\n"; kill 'TERM', $pid;
} else {
  my $body = $mode eq 'utf8' ? str("\xff\xfe\xc0") : $mode eq 'long' ? str('x' x (20 << 20)) : $mode eq 'huge' ? str('x' x 1) : str('abc');
  my $m = message(2, $p, $b, $b, 'Commit', 's', $body);
  substr($m, 4, 4) = pack('V', 0x7fffffff) if $mode eq 'huge';
  $m = message(2, $p, $b, $b, 'Commit', 'a(s', $body) if $mode eq 'signature';
  $m = message(2, $p, $b, $b, 'Reserve', 's', $body) if $mode eq 'arguments';
  $m = 'garbage' x 100 if $mode eq 'garbage';
  if ($mode eq 'late') { select undef, undef, undef, 0.02 while getpwuid $> }
  put($m); local $SIG{ALRM} = sub { print "silent\n"; exit }; alarm 60;
  my $all = ''; while (sysread $s, my $x, 65536) { $all .= $x; if ($all =~ /io\.devbox\.Error\.(\w+)|org\.freedesktop\.DBus\.Error\.(\w+)/) { print 'refused ', $1 // $2, "\n"; exit } } print "cut off\n";
}
"#;

fn ten_thousand_calls(world: &World) -> Outcome {
    world.install_broker("[host]\nmax_boxes = 100\n")?;
    world.write("/srv/flood.pl", FLOOD);
    held(world, "alice")?;
    let round = |name: &str| -> Result<Duration, Failed> {
        let begun = Instant::now();
        world.ok("alice", &call("Reserve", &["sutb", name, "1000", "1073741824", "false"]))?;
        world.ok("alice", &call("Release", &["s", name]))?;
        Ok(begun.elapsed())
    };
    let mut calm = Duration::ZERO;
    for n in 0..5 {
        calm = calm.max(round(&format!("before-{n}"))?);
    }
    let mut floods: Vec<_> = (0..2).map(|_| world.spawn("bob", &["perl", "/srv/flood.pl", "5000", "calls"])).collect();
    let (mut slowest, mut calls) = (Duration::ZERO, 0);
    // As long as one of them is there: each ends a moment after it has sent all.
    while calls < 4 || floods.iter_mut().any(Running::runs) {
        slowest = slowest.max(round(&format!("calm-{calls}"))?);
        calls += 1;
    }
    let sent: Vec<_> = floods.into_iter().map(Running::finish).collect();
    println!(
        "{calls} reserves and releases of alice's under a flood of 10,000; the slowest took {slowest:?}, {calm:?} before"
    );
    for ran in sent {
        ran.expect(0)?.says("sent")?;
    }
    let most = calm * 10 + Duration::from_secs(2);
    ensure(slowest < most, &format!("{calls} calls, the slowest {slowest:?}, which may be {most:?}"))?;
    ensure(held(world, "bob")? <= 5, "within bob's limit")?;
    // The trail has a bound a day and a caller.
    let bobs = world.run("root", &["devbox-ctl", "admin", "audit", "--owner", "bob", "--tail", "10000"]).expect(0)?;
    ensure(bobs.out.lines().count() <= 3001, &format!("{} lines", bobs.out.lines().count()))
}

fn messages_that_are_none(world: &World) -> Outcome {
    world.install_broker("")?;
    world.write("/srv/flood.pl", FLOOD);
    let pid = |world: &World| world.ok("root", &["systemctl", "show", "-p", "MainPID", "devboxd"]);
    held(world, "alice")?;
    let before = pid(world)?;
    for (mode, answers) in [
        ("utf8", &["cut off"][..]),
        ("huge", &["cut off"]),
        ("garbage", &["cut off"]),
        ("signature", &["cut off"]),
        ("arguments", &["refused InvalidArgs"]),
        ("long", &["refused InvalidInput", "refused NoSuchBox"]),
    ] {
        let ran = world.run("bob", &["perl", "/srv/flood.pl", "1", mode]).expect(0)?;
        ensure(answers.contains(&ran.out.trim()), &format!("{mode}: {ran:?}"))?;
    }
    for (method, arguments) in [
        ("Reserve", &["sutb", "../../etc/passwd", "1000", "1073741824", "false"][..]),
        ("Reserve", &["sutb", "a'; DROP TABLE boxes; --", "1000", "1073741824", "false"]),
        ("Reserve", &["sutb", "abc", "0", "1073741824", "false"]),
        ("Reserve", &["sutb", "abc", "4294967295", "1073741824", "false"]),
        ("Reserve", &["sutb", "abc", "1000", "18446744073709551615", "false"]),
        ("Reserve", &["sutb", "abc", "1000", "0", "true"]),
    ] {
        world.run("bob", &call(method, arguments)).expect(1)?;
    }
    same(&held(world, "bob")?, &0, "nothing is held")?;
    same(&pid(world)?, &before, "it is the same devboxd")
}

fn file_descriptors(world: &World) -> Outcome {
    world.install_broker("")?;
    // The bus queues few descriptors for one service; whoever could send some would keep all others out.
    let script = format!("LISTEN_FDS=1 LISTEN_PID=$$ exec {} 3</dev/null", call("Commit", &["h", "3"]).join(" "));
    for user in ["bob", "root"] {
        world.run(user, &["sh", "-c", &script]).expect(1)?.says("Access denied")?;
    }
    held(world, "alice").map(drop)
}

fn large_messages(world: &World) -> Outcome {
    world.install_broker("")?;
    world.write("/srv/flood.pl", FLOOD);
    held(world, "alice")?;
    let pid = world.ok("root", &["systemctl", "show", "-p", "MainPID", "--value", "devboxd"])?;
    let floods: Vec<_> = (0..4).map(|_| world.spawn("bob", &["perl", "/srv/flood.pl", "16", "many"])).collect();
    // The bus refuses others' calls meanwhile, and they are made again.
    let beside = world.ctl(&["create", "abc", "--no-start"]);
    // She is no administrator, and is told so each time.
    let asked: Vec<_> = (0..60).map(|_| world.ctl(&["list", "--all"])).collect();
    for flood in floods {
        flood.finish().expect(0)?;
    }
    beside.expect(0)?;
    for ran in asked {
        ran.expect(11)?;
    }
    let peak = world.ok("root", &["grep", "VmHWM", &format!("/proc/{}/status", pid.trim())])?;
    println!("64 messages of 30 MB: {}", peak.trim());
    let kilobytes: u64 = peak.split_whitespace().nth(1).and_then(|n| n.parse().ok()).ok_or("no peak")?;
    // MemoryMax= of the unit.
    ensure(kilobytes < 256 << 10, &peak)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    let answers =
        "until busctl --system call io.devbox.Broker1 /io/devbox/Broker1 io.devbox.Broker1 Boxes bs false ''; do sleep 0.01; done";
    world.ok("alice", &["timeout", "120", "sh", "-c", answers])?;
    same(&held(world, "alice")?, &0, "it answers")
}

/// Each owner has thousands of ids, and what is bounded for each caller must not be had as often.
fn under_many_ids(world: &World) -> Outcome {
    world.install_broker("")?;
    world.write("/srv/flood.pl", FLOOD);
    held(world, "alice")?;
    let reserve = ["sutb", "mine", "1000", "1073741824", "false"];
    // The bus of this host does not even let them in; another's may.
    for id in ["1", "2", "4000"] {
        let become_it = ["podman", "unshare", "setpriv", "--reuid", id, "--regid", id, "--clear-groups"];
        world.run("bob", &[&become_it[..], &call("Reserve", &reserve)].concat()).expect(1)?;
        world.run("bob", &[&become_it[..], &call("Release", &["s", "mine"])].concat()).expect(1)?;
    }
    // One that it has let in while there was an account.
    world.ok("root", &["useradd", "--uid", "1051", "temp"])?;
    let late = ["setpriv", "--reuid=1051", "--regid=1051", "--clear-groups", "perl", "/srv/flood.pl", "1", "late"];
    let late = world.spawn("root", &late);
    let connected = "until busctl --system list --no-pager --no-legend | grep -q ' perl *temp '; do sleep 0.05; done";
    let is_connected = world.ok("root", &["timeout", "120", "sh", "-c", connected]);
    world.ok("root", &["userdel", "--force", "temp"])?;
    let late = late.finish();
    is_connected?;
    late.expect(0)?.says("refused NotAllowed")?;
    let trail = world.run("root", &["devbox-ctl", "admin", "audit", "--json"]).expect(0)?.out;
    ensure(!["reserve", "release", "commit"].iter().any(|verb| trail.contains(verb)), &trail)?;
    // In a namespace of his own bob is bob.
    world.ok("bob", &[&["podman", "unshare"], &call("Reserve", &reserve)[..]].concat())?;
    same(&held(world, "bob")?, &1, "his")
}
