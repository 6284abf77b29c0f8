//! An attacker's turn: bob has an account, and means harm.

use std::time::{Duration, Instant};

use super::broker::{call, held};
use super::world::{Outcome, Tests, World, ensure};

pub(crate) const TESTS: Tests = &[
    ("attack::anothers_name", anothers_name),
    ("attack::what_administrators_see", administrators_only),
    ("attack::another_identity", identity),
    ("attack::another_broker", another_broker),
    ("attack::anothers_files", files),
    ("attack::units_of_ones_own", own_units),
    ("attack::reservations_held_for_ever", starvation),
    ("attack::ten_thousand_calls", flood),
    ("attack::file_descriptors", descriptors),
    ("attack::large_messages", large),
    ("attack::messages_that_are_none", malformed),
    ("attack::the_ledgers_disk_is_full", full_disk),
    ("attack::links_in_every_folder", links),
];

fn anothers_name(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "precious", "--no-start"]).expect(0)?;
    let bob = |method: &str, arguments: &[&str]| world.run("bob", &call(method, arguments)).expect(1);
    bob("Reserve", &["sutb", "precious", "1000", "1073741824", "false"])?.says("taken on this host")?;
    bob("Commit", &["s", "precious"])?.says("you hold no name precious here")?;
    bob("Release", &["s", "precious"])?.says("you hold no name precious here")?;
    bob("Trash", &["s", "precious"])?.says("you hold no name precious here")?;
    bob("Restore", &["sutb", "precious", "1000", "1073741824", "false"])?.says("taken on this host")?;
    bob("Start", &["st", "precious", "1073741824"])?.says("another owner's")?;
    // A report is only what its caller says of itself.
    world.ok("bob", &call("Report", &["a(sutb)txx", "1", "precious", "1000", "1073741824", "true", "0", "0", "0"]))?;
    let found = world.run("root", &["devbox-ctl", "admin", "reconcile", "--fix"]).expect(0)?;
    found.says("bob/precious")?;
    ensure(held(world, "alice")? == 1 && held(world, "bob")? == 0, "still alice's")
}

fn administrators_only(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "precious", "--no-start"]).expect(0)?;
    for (method, arguments) in [
        ("Boxes", &["bs", "true", ""][..]),
        ("Limits", &[]),
        ("Audit", &["xsu", "0", "", "100"]),
        ("Audit", &["xsu", "0", "bob", "100"]),
        ("Reconcile", &["b", "true"]),
        ("Act", &["sss", "destroy", "alice", "precious"]),
        ("Status", &[]),
        ("Hook", &["b", "false"]),
        ("Hook", &["b", "true"]),
    ] {
        let ran = world.run("bob", &call(method, arguments)).expect(1)?;
        ran.says("only administrators may do this")?;
        ensure(!ran.out.contains("precious"), &ran.out)?;
    }
    let own = world.ok("bob", &call("Boxes", &["bs", "false", ""]))?;
    ensure(!own.contains("precious"), &own)
}

fn identity(world: &World) -> Outcome {
    world.install_broker("[users.alice]\nadmin = true\n")?;
    world.ctl(&["create", "precious", "--no-start"]).expect(0)?;
    let spoofed = [
        "env",
        "USER=alice",
        "LOGNAME=alice",
        "HOME=/home/alice",
        "UID=1000",
        "SUDO_UID=0",
        "XDG_RUNTIME_DIR=/run/user/1000",
        "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus",
        "PKEXEC_UID=1000",
    ];
    let bob = |argv: &[&str]| world.run("bob", &[&spoofed, argv].concat());
    bob(&["devbox-ctl", "list", "--all"]).expect(11)?;
    bob(&["devbox-ctl", "admin", "audit"]).expect(11)?;
    bob(&["devbox-ctl", "destroy", "--now", "--yes", "precious"]).expect(10)?;
    bob(&call("Release", &["s", "precious"])).expect(1)?;
    // A name that looks like root's, and one more connection.
    let argv0 = "exec -a '/usr/bin/sudo devbox-ctl' devbox-ctl list --all";
    bob(&["bash", "-c", argv0]).expect(11)?;
    let both = format!(
        "{} & devbox-ctl list --all; code=$?; wait; exit $code",
        call("Boxes", &["bs", "false", "''"]).join(" ")
    );
    bob(&["bash", "-c", &both]).expect(11)?;
    ensure(held(world, "alice")? == 1, "still alice's")
}

/// Nobody can be the broker, and no variable makes devbox-ctl talk to another one.
fn another_broker(world: &World) -> Outcome {
    world.install_broker("[defaults]\nmax_boxes = 0\n")?;
    world.ok("root", &["systemctl", "stop", "devboxd"])?;
    let own = [
        "busctl",
        "--system",
        "call",
        "org.freedesktop.DBus",
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "RequestName",
        "su",
        "io.devbox.Broker1",
        "0",
    ];
    world.run("bob", &own).expect(1)?.says("ccess")?;
    let fake = "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/user/1001/bus DBUS_STARTER_BUS_TYPE=session devbox-ctl create abc --no-start";
    world.run("bob", &["sh", "-c", fake]).expect(3).map(drop)
}

fn files(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "precious", "--env", "TOKEN=s3cr3t-value"]).expect(0)?;
    world.ctl(&["exec", "precious", "--", "sh", "-c", "echo mine > file"]).expect(0)?;
    world.ctl(&["exec", "--root", "precious", "--", "sh", "-c", "echo s3cr3t-log > /proc/1/fd/1"]).expect(0)?;
    world.ok("root", &["journalctl", "--sync"])?;
    for attempt in [
        "cat /home/alice/.config/containers/systemd/devbox/precious/box.env",
        "ls /home/alice/.config/containers/systemd/devbox",
        "ls /home/alice/.local/share/containers/storage/volumes",
        "cat /var/lib/devboxd/ledger.sqlite",
        "ls /var/lib/devboxd",
        "cat /home/alice/.local/share/devbox/ssh/id_ed25519",
        "ls /run/user/1000",
        "podman --url unix:///run/user/1000/podman/podman.sock ps",
        "for f in /proc/[0-9]*/environ; do grep -l 's3cr3[t]-' $f; done | grep .",
        "for f in /proc/[0-9]*/cmdline; do grep -l 's3cr3[t]-' $f; done | grep .",
        "journalctl --no-pager -q | grep s3cr3t",
        "journalctl --no-pager -q _UID=1000 | grep s3cr3t",
        "kill -0 $(pgrep -n -x s6-svscan)",
        "nsenter -t $(pgrep -n -x s6-svscan) -m -U true",
        "ls /proc/$(pgrep -n -x s6-svscan)/root/",
    ] {
        let ran = world.run("bob", &["sh", "-c", attempt]);
        ensure(ran.code != 0 && !format!("{ran:?}").contains("s3cr3t-"), &format!("{attempt}: {ran:#?}"))?;
    }
    Ok(())
}

/// What an owner writes is the owner's word to the owner's manager; all of it is in the owner's slice.
fn own_units(world: &World) -> Outcome {
    world.install_broker("[users.bob]\nowner_memory = \"2G\"\nowner_tasks = 300\n")?;
    world.ok("root", &["systemctl", "start", "devbox-limits"])?;
    world.run("bob", &["devbox-ctl", "create", "greedy", "--memory", "1G"]).expect(0)?;
    let edit = "cd .config/containers/systemd/devbox/greedy && sed -i 's/^memory = .*/memory = \"900G\"/' box.toml && \
                sed -i 's/^MemoryMax=.*/MemoryMax=infinity/; s/^Slice=.*/Slice=system.slice/; s/^TasksMax=.*/TasksMax=infinity/' *.container";
    world.ok("bob", &["sh", "-c", edit])?;
    world.ok("bob", &["systemctl", "--user", "daemon-reload"])?;
    world.run("bob", &["devbox-ctl", "restart", "greedy"]).expect(0)?;
    let cgroup = world.ok("bob", &["sh", "-c", "cat /proc/$(pgrep -n -u bob -x conmon)/cgroup"])?;
    ensure(cgroup.contains("/user.slice/user-1001.slice/user@1001.service/"), &cgroup)?;
    for attempt in [
        "systemctl set-property --runtime user-1001.slice MemoryMax=infinity",
        "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager SetUnitProperties 'sba(sv)' user-1001.slice true 1 MemoryMax t 18446744073709551615",
        "echo max > /sys/fs/cgroup/user.slice/user-1001.slice/memory.max",
        "echo $$ > /sys/fs/cgroup/system.slice/cgroup.procs",
        "systemd-run --system --slice=system.slice true",
        "rm -r /run/systemd/system/user-1001.slice.d",
    ] {
        let ran = world.run("bob", &["sh", "-c", attempt]);
        ensure(ran.code != 0, &format!("{attempt}: {ran:#?}"))?;
    }
    let shown = world.ok("root", &["systemctl", "show", "-p", "MemoryMax,TasksMax", "user-1001.slice"])?;
    ensure(shown.contains("MemoryMax=2147483648") && shown.contains("TasksMax=300"), &shown)?;
    // The ledger keeps what was admitted.
    let boxes = world.run("root", &["devbox-ctl", "list", "--all"]).expect(0)?;
    ensure(boxes.out.contains("greedy") && boxes.out.contains("  1G  "), &boxes.out)
}

fn starvation(world: &World) -> Outcome {
    world.install_broker("[host]\nmax_boxes = 8\n")?;
    for n in 0..20 {
        world.run("bob", &call("Reserve", &["sutb", &format!("mine-{n}"), "1000", "1073741824", "false"]));
    }
    ensure(held(world, "bob")? == 5, "no more than bob's own limit")?;
    // A lock of bob's on what is bob's, or on what all may read, holds nobody up.
    let locks = "mkdir -p .config/containers/systemd/devbox; flock .config/containers/systemd/devbox flock /etc/passwd flock /usr/libexec/devbox/devboxd sleep 20";
    let locker = world.spawn("bob", &["sh", "-c", locks]);
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    drop(locker);
    world.ok("bob", &["pkill", "-u", "bob", "-x", "sleep"])?;
    Ok(())
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
  put($m); local $SIG{ALRM} = sub { print "silent\n"; exit }; alarm 5;
  my $all = ''; while (sysread $s, my $x, 65536) { $all .= $x; if ($all =~ /io\.devbox\.Error\.(\w+)|org\.freedesktop\.DBus\.Error\.(\w+)/) { print 'refused ', $1 // $2, "\n"; exit } } print "cut off\n";
}
"#;

fn flood(world: &World) -> Outcome {
    world.install_broker("[host]\nmax_boxes = 100\n")?;
    world.write("/srv/flood.pl", FLOOD);
    held(world, "alice")?;
    let floods: Vec<_> = (0..2).map(|_| world.spawn("bob", &["perl", "/srv/flood.pl", "5000", "calls"])).collect();
    let (mut slowest, begun) = (Duration::ZERO, Instant::now());
    let mut calls = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        let one = Instant::now();
        let name = format!("calm-{calls}");
        world.ok("alice", &call("Reserve", &["sutb", &name, "1000", "1073741824", "false"]))?;
        world.ok("alice", &call("Release", &["s", &name]))?;
        slowest = slowest.max(one.elapsed());
        calls += 1;
    }
    let sent: Vec<_> = floods.into_iter().map(super::world::Running::finish).collect();
    println!("{calls} reserves and releases of alice's under a flood of 10,000; the slowest took {slowest:?}");
    for ran in sent {
        ran.expect(0)?.says("sent")?;
    }
    ensure(calls > 3 && slowest < Duration::from_secs(1), &format!("{calls} calls, the slowest {slowest:?}"))?;
    ensure(held(world, "bob")? <= 5, "within bob's limit")?;
    // The trail has a bound a day and a caller.
    let bobs = world.run("root", &["devbox-ctl", "admin", "audit", "--owner", "bob", "--tail", "10000"]).expect(0)?;
    ensure(bobs.out.lines().count() <= 3001, &format!("{} lines", bobs.out.lines().count()))
}

fn malformed(world: &World) -> Outcome {
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
    ensure(held(world, "bob")? == 0, "nothing is held")?;
    ensure(pid(world)? == before, "it is the same devboxd")
}

fn descriptors(world: &World) -> Outcome {
    world.install_broker("")?;
    // The bus queues few descriptors for one service; whoever could send some would keep all others out.
    let script = format!("LISTEN_FDS=1 LISTEN_PID=$$ exec {} 3</dev/null", call("Commit", &["h", "3"]).join(" "));
    for user in ["bob", "root"] {
        world.run(user, &["sh", "-c", &script]).expect(1)?.says("Access denied")?;
    }
    held(world, "alice").map(drop)
}

fn large(world: &World) -> Outcome {
    world.install_broker("")?;
    world.write("/srv/flood.pl", FLOOD);
    held(world, "alice")?;
    let pid = world.ok("root", &["systemctl", "show", "-p", "MainPID", "--value", "devboxd"])?;
    let floods: Vec<_> = (0..4).map(|_| world.spawn("bob", &["perl", "/srv/flood.pl", "16", "many"])).collect();
    for flood in floods {
        flood.finish().expect(0)?;
    }
    let peak = world.ok("root", &["grep", "VmHWM", &format!("/proc/{}/status", pid.trim())])?;
    println!("64 messages of 30 MB: {}", peak.trim());
    let kilobytes: u64 = peak.split_whitespace().nth(1).and_then(|n| n.parse().ok()).ok_or("no peak")?;
    // MemoryMax= of the unit.
    ensure(kilobytes < 256 << 10, &peak)?;
    // What the bus still has for it is before anybody else's call, which the bus refuses meanwhile.
    let answers =
        "until busctl --system call io.devbox.Broker1 /io/devbox/Broker1 org.freedesktop.DBus.Peer Ping; do :; done";
    world.ok("alice", &["timeout", "20", "sh", "-c", answers])?;
    ensure(held(world, "alice")? == 0, "it answers")
}

fn full_disk(world: &World) -> Outcome {
    world.install_broker("[host]\nmax_boxes = 1000\n[defaults]\nmax_boxes = 1000\n")?;
    held(world, "alice")?;
    world.ok("root", &["sh", "-c", "systemctl stop devboxd; rm -rf /var/lib/devboxd/*; mount -t tmpfs -o size=400k,mode=700,uid=$(id -u devboxd),gid=$(id -g devboxd) tmpfs /var/lib/devboxd"])?;
    let checked = (|| {
        world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
        world.run("root", &["dd", "if=/dev/zero", "of=/var/lib/devboxd/filler", "bs=1k"]);
        let mut refused = None;
        for n in 0..200 {
            let ran =
                world.run("bob", &call("Reserve", &["sutb", &format!("fill-{n}"), "1000", "1073741824", "false"]));
            if ran.code != 0 {
                refused = Some(ran);
                break;
            }
        }
        refused.ok_or("it never filled")?.says("devboxd cannot use its ledger")?;
        let before = held(world, "bob")?;
        world.ctl(&["create", "more"]).expect(7)?.says("cannot use its ledger")?;
        // What needs no room goes on, and nothing is lost once there is some.
        ensure(held(world, "alice")? == 1, "reading goes on")?;
        world.ok("root", &["rm", "/var/lib/devboxd/filler"])?;
        ensure(held(world, "bob")? == before, "as many as were admitted")?;
        world.ctl(&["create", "more", "--no-start"]).expect(0)?;
        world.ctl(&["destroy", "--now", "--yes", "more"]).expect(0)?;
        world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0).map(drop)
    })();
    world.ok("root", &["sh", "-c", "systemctl stop devboxd; umount /var/lib/devboxd"])?;
    checked
}

/// Folders that devboxd or root uses are nobody's to put links in; those that are an owner's, they do not use.
fn links(world: &World) -> Outcome {
    world.install_broker("[users.bob]\nowner_tasks = 300\n")?;
    for folder in [
        "/etc/devbox",
        "/var/lib/devboxd",
        "/run/systemd/system",
        "/usr/libexec/devbox",
        "/run/systemd/system/user-1001.slice.d",
        "/etc/systemd/system",
    ] {
        world.run("bob", &["ln", "-s", "/etc/shadow", &format!("{folder}/users.toml.d")]).expect(1)?;
        world.run("bob", &["ln", "/home/bob/.bashrc", &format!("{folder}/ledger.sqlite-wal")]).expect(1)?;
    }
    // Everything of bob's is a link to something precious; administering bob follows none of it as root.
    world.ok("root", &["sh", "-c", "mkdir -p -m 700 /srv/precious && touch /srv/precious/kept"])?;
    world.run("bob", &["devbox-ctl", "create", "trap", "--no-start"]).expect(0)?;
    let trap = "cd .config/containers && mv systemd/devbox/trap real && ln -s /srv/precious systemd/devbox/trap && \
                rm -rf devbox-stage && ln -s /srv/precious devbox-stage && ln -s /etc/passwd systemd/devbox/passwd";
    world.ok("bob", &["sh", "-c", trap])?;
    for verb in [&["stop"][..], &["start"], &["destroy", "--now", "--yes"]] {
        let ran = world.run("root", &[&["devbox-ctl", "admin"], verb, &["bob/trap"]].concat());
        ensure(ran.code != 0, &format!("{ran:?}"))?;
    }
    world.ok("root", &["devbox-ctl", "admin", "apply-limits"])?;
    world.ok("root", &["devbox-ctl", "admin", "reconcile", "--fix"])?;
    world.ok("root", &["test", "-e", "/srv/precious/kept"])?;
    ensure(world.ok("root", &["ls", "-A", "/srv/precious"])? == "kept\n", "untouched")?;
    // Nor does root look into bob's folders at all.
    let watched = "strace -f -qq -o /tmp/root.trace -e trace=%file devbox-ctl admin apply-limits; devbox-ctl admin reconcile; grep -c /home/ /tmp/root.trace";
    let seen = world.run("root", &["sh", "-c", watched]);
    ensure(seen.out.lines().last() == Some("0"), &format!("{seen:?}"))?;
    world.ok("bob", &["rm", "-rf", ".config/containers"])?;
    Ok(())
}
