//! An attacker's turn: bob has an account, and means harm.

use super::broker::{call, held};
use super::prelude::*;

tests! { Host:
    anothers_name,
    what_administrators_see,
    another_identity,
    another_broker,
    anothers_files,
    units_of_ones_own,
    the_ledgers_disk_is_full,
    links_in_every_folder,
    the_locks_of_anothers_podman,
    an_owner_who_lies_to_administrators,
    more_control_groups_than_are_looked_at,
    names_that_deceive,
    a_flood_buries_nothing_of_anothers,
    a_box_that_says_where_it_is,
    a_shell_changed_over_and_over,
}

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
    found.shows(&expect![[r#"
        FOUND  BOX  WHAT
        taken  bob/precious  is in its owner's trash under a name that is another owner's
    "#]])?;
    ensure(held(world, "alice")? == 1 && held(world, "bob")? == 0, "still alice's")
}

fn what_administrators_see(world: &World) -> Outcome {
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

fn another_identity(world: &World) -> Outcome {
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
    same(&held(world, "alice")?, &1, "still alice's")
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

fn anothers_files(world: &World) -> Outcome {
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
fn units_of_ones_own(world: &World) -> Outcome {
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
    world.run("root", &["devbox-ctl", "list", "--all"]).expect(0)?.shows(&expect![[r#"
        OWNER  NAME  STATE  CPU  MEMORY  CREATED
        bob  greedy  stopped  2  1G  SECONDS ago
    "#]])
}

fn the_ledgers_disk_is_full(world: &World) -> Outcome {
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
        same(&held(world, "alice")?, &1, "reading goes on")?;
        world.ok("root", &["rm", "/var/lib/devboxd/filler"])?;
        same(&held(world, "bob")?, &before, "as many as were admitted")?;
        world.ctl(&["create", "more", "--no-start"]).expect(0)?;
        world.ctl(&["destroy", "--now", "--yes", "more"]).expect(0)?;
        world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0).map(drop)
    })();
    world.ok("root", &["sh", "-c", "systemctl stop devboxd; umount /var/lib/devboxd"])?;
    checked
}

/// Folders that devboxd or root uses are nobody's to put links in; those that are an owner's, they do not use.
fn links_in_every_folder(world: &World) -> Outcome {
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
    same(&world.ok("root", &["ls", "-A", "/srv/precious"])?, &"kept\n", "untouched")?;
    // Nor does root look into bob's folders at all.
    let watched = "strace -f -qq -o /tmp/root.trace -e trace=%file devbox-ctl admin apply-limits; devbox-ctl admin reconcile; grep -c /home/ /tmp/root.trace";
    let seen = world.run("root", &["sh", "-c", watched]);
    same(&seen.out.lines().last(), &Some("0"), &format!("{seen:?}"))?;
    world.ok("bob", &["rm", "-rf", ".config/containers"])?;
    Ok(())
}

/// Everybody may make files in /dev/shm, and podman's there has a name that everybody knows.
fn the_locks_of_anothers_podman(world: &World) -> Outcome {
    let locks = "/dev/shm/libpod_rootless_lock_1000";
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    // As after a boot, when nobody's podman has run yet.
    world.ok("root", &["rm", "-f", locks])?;
    world.ok("bob", &["touch", locks])?;
    world.ctl(&["create", "other"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: bob has made /dev/shm/libpod_rootless_lock_1000, which your podman needs for its locks
          hint: nothing was changed; an administrator can delete it: `sudo rm /dev/shm/libpod_rootless_lock_1000`
    "#]])?;
    world.ctl(&["start", "abc"]).expect(7)?.says("bob has made /dev/shm/libpod_rootless_lock_1000")?;
    world.ctl(&["doctor"]).expect(7)?.says("bob has made /dev/shm/libpod_rootless_lock_1000")?;
    world.ctl(&["list"]).expect(0)?.says("abc")?;
    world.ok("root", &["rm", locks])?;
    world.ctl(&["start", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// What an administrator's command runs as the owner, the owner can steer: bob's home is his, and with it what his
/// devbox-ctl finds there. Here it finds a box that is stopped already, while the real one runs under its own name.
fn an_owner_who_lies_to_administrators(world: &World) -> Outcome {
    world.install_broker("")?;
    world.run("bob", &["devbox-ctl", "create", "kept"]).expect(0)?;
    // systemd runs the box on; the folder says nothing of it.
    let hide = "cd .config/containers/systemd/devbox && mv kept ../../aside && systemctl --user daemon-reload; \
                systemd-run --user --collect --slice=devbox-kept.slice --unit=goes-on sleep 1000";
    world.ok("bob", &["sh", "-c", hide])?;
    let stopped = world.run("root", &["devbox-ctl", "admin", "stop", "bob/kept"]);
    ensure(stopped.code != 0, &format!("{stopped:?}"))?;
    let destroyed = world.run("root", &["devbox-ctl", "admin", "destroy", "--yes", "--now", "bob/kept"]);
    ensure(destroyed.code != 0, &format!("{destroyed:?}"))?;
    world.ok("bob", &["sh", "-c", "systemctl --user stop goes-on; mv .config/containers/aside .config/containers/systemd/devbox/kept; systemctl --user daemon-reload; devbox-ctl destroy --now --yes kept"]).map(drop)
}

/// Folders of the control groups are the owner's to make: more of them than devboxd looks at hide no box.
fn more_control_groups_than_are_looked_at(world: &World) -> Outcome {
    world.install_broker("")?;
    world.run("bob", &["devbox-ctl", "create", "zzz"]).expect(0)?;
    let top = "/sys/fs/cgroup/user.slice/user-1001.slice/user@1001.service/devbox.slice";
    world.ok("bob", &["sh", "-c", &format!("cd {top} && for i in $(seq 1100); do mkdir devbox-a$i.slice || exit; done")])?;
    let listed = world.run("root", &["devbox-ctl", "list", "--all", "--json"]).expect(0)?.json()?;
    let state = listed.as_array().and_then(|all| all.iter().find(|b| b["name"] == "zzz")).map(|b| b["state"].clone());
    world.ok("bob", &["sh", "-c", &format!("cd {top} && rmdir devbox-a*.slice")])?;
    same(&state, &Some("running".into()), "it runs")?;
    world.run("bob", &["devbox-ctl", "destroy", "--now", "--yes", "zzz"]).expect(0).map(drop)
}

/// A process may call itself anything (prctl(2), PR_SET_NAME); who looks for it sees no text that is turned round or hidden.
fn names_that_deceive(world: &World) -> Outcome {
    let name = "a\u{202e}b\u{200b}c\u{2066}";
    world.ok("root", &["cp", "/bin/sleep", &format!("/srv/{name}")])?;
    world.ok("root", &["systemd-run", "--uid=1001", "--unit=outside", "--collect", &format!("/srv/{name}"), "1000"])?;
    let said = world.run("root", &["devbox-ctl", "doctor"]);
    world.ok("root", &["systemctl", "stop", "outside"])?;
    said.says("abc[")?;
    ensure(!said.out.contains(['\u{202e}', '\u{200b}', '\u{2066}']), &said.out)
}

fn a_flood_buries_nothing_of_anothers(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "precious", "--no-start"]).expect(0)?;
    // What an administrator has to see of alice's: the ledger has a box that she has not.
    world.ok("alice", &call("Reserve", &["sutb", "unknown", "1000", "1073741824", "false"]))?;
    world.ok("alice", &call("Commit", &["s", "unknown"]))?;
    super::broker::next_second(world)?;
    world.ctl(&["report"]).expect(0)?;
    let mut refused = call("Reserve", &["sutb", "precious", "1000", "1073741824", "false"]).join(" ");
    refused = format!("for n in $(seq 100); do {refused}; done 2>/dev/null; true");
    world.ok("bob", &["sh", "-c", &refused])?;
    let boxes: Vec<String> = (0..1000).flat_map(|n| [format!("b{n:04}"), "1000".into(), "1073741824".into(), "false".into()]).collect();
    let mut report = vec!["a(sutb)txx", "1000"];
    report.extend(boxes.iter().map(String::as_str));
    report.extend(["0", "0", "0"]);
    world.ok("bob", &call("Report", &report))?;

    let trail = world.run("root", &["devbox-ctl", "admin", "audit", "--tail", "50"]).expect(0)?;
    let of = |who: &str| trail.out.lines().filter(|line| line.contains(&format!("  {who}  "))).count();
    ensure(of("alice") == 4 && of("bob") > 40, &trail.out)?;
    same(&trail.err, &"warning: there may be more lines: each caller's newest are shown; `--tail`, `--since` and `--owner` show others\n", "it says so")?;
    let found = world.run("root", &["devbox-ctl", "admin", "reconcile"]).expect(0)?;
    ensure(found.out.lines().count() < 30, &found.out)?;
    let first = found.out.lines().nth(1).unwrap_or_default().to_owned();
    ensure(first.contains("alice/unknown"), &found.out)?;
    found.says("980 more of this owner's; `--json` has them all")?;
    world.ok("alice", &call("Release", &["s", "unknown"])).map(drop)
}

/// Without a tailnet no box is at any address, whatever it says.
fn a_box_that_says_where_it_is(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let says = "NOTIFY_SOCKET=$(cat /run/devbox/notify-socket) /usr/libexec/devbox/notify 'STATUS=ready, on the tailnet as abc (203.0.113.66)'";
    world.ctl(&["exec", "--root", "abc", "--", "sh", "-c", says]).expect(0)?;
    let text = "timeout 20 sh -c 'until systemctl --user show -P StatusText devbox-abc | grep -q 203.0.113.66; do :; done'";
    world.ok("alice", &["sh", "-c", text])?;
    for shown in [&["list"][..], &["list", "--json"], &["status", "abc"], &["status", "abc", "--json"]] {
        let ran = world.ctl(shown).expect(0)?;
        ensure(!ran.out.contains("203.0.113.66"), &ran.out)?;
    }
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// chsh(1) changes /etc/passwd, at which the limits are looked at; systemd reads its units anew only where one changed.
fn a_shell_changed_over_and_over(world: &World) -> Outcome {
    world.install_broker("[users.bob]\nowner_tasks = 300\n")?;
    world.ok("root", &["systemctl", "start", "devbox-limits"])?;
    let script = "cursor=$(journalctl -n 0 --show-cursor -o cat | sed -n 's/^-- cursor: //p'); \
                  for n in 1 2 3 4 5; do usermod -s /bin/sh bob; usermod -s /bin/bash bob; done; systemctl start devbox-limits; \
                  journalctl --sync; journalctl --after-cursor=\"$cursor\" -o cat | grep -c '^Reloading requested'";
    let reloads = world.run("root", &["sh", "-c", script]);
    same(&reloads.out.trim(), &"0", &format!("{reloads:?}"))?;
    let tasks = world.ok("root", &["systemctl", "show", "-p", "TasksMax", "--value", "user-1001.slice"])?;
    same(&tasks.trim(), &"300", "and the limit holds")
}
