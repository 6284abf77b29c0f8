//! What others may do to the system's bus, and what an owner's commands do meanwhile.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::prelude::*;

tests! { Host:
    only_its_own_calls_reach_devboxd,
    without_the_bus_an_owner_goes_on,
    #[slow] nobody_holds_up_dbus_broker,
}

/// `silent N` keeps N connections open that never authenticate, and replaces those that the bus closes;
/// `calls DESTINATION PATH INTERFACE MEMBER` calls that method without end.
const ATTACK: &str = r#"
use strict; use Socket; use POSIX ();
$SIG{PIPE} = 'IGNORE';
sub bus { socket(my $s, AF_UNIX, SOCK_STREAM, 0) or return; connect($s, pack_sockaddr_un('/run/dbus/system_bus_socket')) or return; $s }
$| = 1;
my $mode = shift;
if ($mode eq 'silent') {
  my @held; my $said;
  while (1) {
    @held = grep { my $r = ''; vec($r, fileno $_, 1) = 1; my $n = select($r, undef, undef, 0); !$n } @held;
    while (@held < $ARGV[0]) { my $s = bus() or last; push @held, $s }
    print "attacks\n" unless $said++;
    select undef, undef, undef, 0.05;
  }
}
my ($dest, $path, $iface, $member) = @ARGV;
my $s = bus() or die $!;
my $hex = join '', map { sprintf '%02x', ord } split //, $>;
syswrite $s, "\0AUTH EXTERNAL $hex\r\n"; sysread $s, my $ok, 256; die $ok unless $ok =~ /^OK/; syswrite $s, "BEGIN\r\n";
sub str { my $t = shift; pack('V', length $t) . $t . "\0" }
sub pad { my ($b, $n) = @_; $b . "\0" x ((-length $b) % $n) }
sub message {
  my ($serial, $path, $dest, $iface, $member) = @_;
  my $f = '';
  for (([1, 'o', $path], [6, 's', $dest], [2, 's', $iface], [3, 's', $member])) {
    $f = pad($f, 8) . pack('C', $_->[0]) . "\1$_->[1]\0" . str($_->[2]);
  }
  pad("l\1\0\1" . pack('VVV', 0, $serial, length $f) . $f, 8);
}
syswrite $s, message(1, '/org/freedesktop/DBus', 'org.freedesktop.DBus', 'org.freedesktop.DBus', 'Hello');
my $pid = fork;
if (!$pid) { while (sysread $s, my $x, 65536) {} POSIX::_exit(0) }
print "attacks\n";
my $serial = 2;
while (1) { my $m = join '', map { message($serial++, $path, $dest, $iface, $member) } 1 .. 50; my $at = 0; while ($at < length $m) { my $n = syswrite($s, $m, length($m) - $at, $at); exit unless defined $n; $at += $n } }
"#;

/// Ends with the value.
struct Attack<'a> {
    world: &'a World,
    running: Vec<Running>,
}

impl<'a> Attack<'a> {
    /// Bob's, with so many processes.
    fn begin(world: &'a World, processes: usize, words: &[&str]) -> Result<Self, Failed> {
        let words = [&["perl", "/srv/attack.pl"][..], words].concat();
        let mut running: Vec<_> = (0..processes).map(|_| world.spawn("bob", &words)).collect();
        for one in &mut running {
            same(&one.line()?, &"attacks\n".to_owned(), "it runs")?;
        }
        Ok(Self { world, running })
    }

    fn goes_on(&mut self) -> bool {
        self.running.iter_mut().all(Running::runs)
    }
}

impl Drop for Attack<'_> {
    fn drop(&mut self) {
        self.world.run("root", &["pkill", "-KILL", "-u", "bob", "perl"]);
    }
}

fn only_its_own_calls_reach_devboxd(world: &World) -> Outcome {
    world.install_broker("")?;
    let to_devboxd = |user: &str, interface: &str, member: &str| {
        world.run(user, &["busctl", "--system", "call", "io.devbox.Broker1", "/io/devbox/Broker1", interface, member])
    };
    let others = ["org.freedesktop.DBus.Introspectable Introspect", "org.freedesktop.DBus.Peer Ping", "io.devbox.Broker1 Nothing"];
    for call in others {
        let (interface, member) = call.split_once(' ').ok_or("a call")?;
        to_devboxd("bob", interface, member).expect(1)?.says("Access denied")?;
    }
    to_devboxd("root", "org.freedesktop.DBus.Introspectable", "Introspect").expect(0)?;
    // The bus has no answer to a signal; it says that it refused one.
    let signal = ["busctl", "--system", "emit", "--destination=io.devbox.Broker1", "/io/devbox/Broker1", "io.devbox.Broker1", "Told"];
    world.ok("bob", &signal)?;
    let refused = "timeout 20 sh -c 'until journalctl -o cat -n 200 | grep Rejected.*signal.*io.devbox.Broker1; do journalctl --sync; done'";
    world.ok("root", &["sh", "-c", refused]).map(drop)
}

/// dbus-daemon lets one user keep all others out. What needs no broker needs no bus either, and the rest says why it fails.
fn without_the_bus_an_owner_goes_on(world: &World) -> Outcome {
    world.install_broker("")?;
    world.write("/srv/attack.pl", ATTACK);
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    let attack = Attack::begin(world, 1, &["silent", "400"])?;
    let begun = Instant::now();
    world.ctl(&["list"]).expect(0)?.says("abc   stopped")?;
    ensure(begun.elapsed() < Duration::from_secs(5), &format!("list took {:?}", begun.elapsed()))?;
    let refused = world.ctl(&["create", "other", "--no-start"]);
    let taken = begun.elapsed();
    drop(attack);
    refused.expect(7)?.shows(&expect![[r#"
        --- standard error
        error: the system's bus takes no connection within SECONDS
          hint: somebody may be flooding it: `sudo devbox-ctl doctor` says what keeps that from happening
    "#]])?;
    ensure(taken < Duration::from_secs(30), &format!("create took {taken:?}"))?;
    world.run("root", &["devbox-ctl", "doctor"]).expect(7)?.shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  devboxd answers
        !!  any user can hold up the system's bus, and with it logins, podman and devboxd: it is dbus-daemon's
            `sudo apt install dbus-broker`, and boot the host anew
        ok  no process is outside of its owner's slice
        --- standard error
        error: there is a problem
    "#]])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

fn nobody_holds_up_dbus_broker(world: &World) -> Outcome {
    world.ok("root", &["sh", "-c", "dpkg -i /var/lib/lab/dbus-broker_*.deb"])?;
    world.reboot()?;
    let done = attacks(world);
    world.ok("root", &["dpkg", "--purge", "dbus-broker"])?;
    world.reboot()?;
    done
}

fn attacks(world: &World) -> Outcome {
    world.install_broker("")?;
    world.write("/srv/attack.pl", ATTACK);
    world.run("root", &["devbox-ctl", "doctor"]).expect(0)?.says("dbus-broker")?;
    world.ctl(&["create", "abc"]).expect(0)?;
    let round = || -> Result<Duration, Failed> {
        let begun = Instant::now();
        for words in [&["list"][..], &["status", "abc"], &["stop", "abc"], &["start", "abc"]] {
            world.ctl(words).expect(0)?;
        }
        world.ctl(&["create", "other", "--no-start"]).expect(0)?;
        world.ctl(&["destroy", "--now", "--yes", "other"]).expect(0)?;
        Ok(begun.elapsed())
    };
    let calm = round()?;
    let bus = ["calls", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"];
    let broker = ["calls", "io.devbox.Broker1", "/io/devbox/Broker1", "io.devbox.Broker1"];
    let introspection = [&broker[..3], &["org.freedesktop.DBus.Introspectable"]].concat();
    for (processes, words) in [
        (1, vec!["silent", "400"]),
        (4, [&bus[..], &["ReloadConfig"]].concat()),
        (4, [&bus[..], &["ListNames"]].concat()),
        (4, [&introspection[..], &["Introspect"]].concat()),
        (4, [&broker[..], &["Nothing"]].concat()),
    ] {
        let mut attack = Attack::begin(world, processes, &words)?;
        for _ in 0..3 {
            let taken = round()?;
            println!("      {words:?}: {:.2} s, {:.2} s before", taken.as_secs_f32(), calm.as_secs_f32());
            let most = calm * 5 + Duration::from_secs(5);
            ensure(taken < most, &format!("{words:?}: {taken:?}, which may be {most:?}"))?;
        }
        ensure(attack.goes_on(), &format!("{words:?} did not last"))?;
        drop(attack);
    }
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}
