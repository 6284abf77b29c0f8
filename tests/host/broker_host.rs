//! devboxd as a service of its host: what it starts and ends by, and the limits of slices beside it.

use super::broker::{call, held};
use super::prelude::*;

tests! { Host:
    slices_get_what_users_toml_says,
    limits_of_slices_stay_and_follow,
    idle_and_gone_without_dropping_a_call,
    #[slow] killed_at_every_step,
    a_reboot_loses_nothing,
    its_sandbox,
}

fn slices_get_what_users_toml_says(world: &World) -> Outcome {
    world.install_broker("[defaults]\nowner_memory = \"3G\"\n[users.alice]\nowner_tasks = 500\nowner_cpu = 1.5\n")?;
    let shown = |uid: u32| {
        let unit = format!("user-{uid}.slice");
        world.ok("root", &["systemctl", "show", "-p", "MemoryMax,TasksMax,CPUQuotaPerSecUSec", &unit])
    };
    world.ok("root", &["systemctl", "start", "devbox-limits"])?;
    let alice = shown(1000)?;
    ensure(alice.contains("MemoryMax=3221225472") && alice.contains("TasksMax=500"), &alice)?;
    ensure(alice.contains("CPUQuotaPerSecUSec=1.5"), &alice)?;
    ensure(shown(1001)?.contains("MemoryMax=3221225472"), "bob's by default")?;
    ensure(shown(0)?.contains("MemoryMax=infinity"), "root's is free")?;
    // A change goes live by itself; a broken one changes nothing.
    world.write("/etc/devbox/users.toml", "[defaults]\nmemory = 9\n");
    world.run("root", &["devbox-ctl", "admin", "apply-limits"]).expect(1)?;
    ensure(shown(1000)?.contains("TasksMax=500"), "as it was")?;
    let done = "timeout 120 journalctl -f -n 0 -o cat -u devbox-limits | grep -q -m 1 'Finished'";
    let waits = world.spawn(
        "root",
        &[
            "sh",
            "-c",
            &format!("{done} & sleep 2; echo '[users.alice]\nowner_tasks = 600' > /etc/devbox/users.toml; wait"),
        ],
    );
    waits.finish().expect(0)?;
    let alice = shown(1000)?;
    ensure(alice.contains("TasksMax=600") && alice.contains("MemoryMax=infinity"), &alice)?;
    ensure(shown(1001)?.contains("MemoryMax=infinity"), "bob is free again")?;
    world.ok("root", &["rm", "/etc/devbox/users.toml"])?;
    world.ok("root", &["devbox-ctl", "admin", "apply-limits"])?;
    ensure(!shown(1000)?.contains("TasksMax=600"), "taken away")?;
    world.run("alice", &["devbox-ctl", "admin", "apply-limits"]).expect(11)?;
    ensure(
        world.ok("root", &["systemctl", "show", "-p", "DelegateControllers", "user@1000.service"])?.contains("cpuset"),
        "delegated",
    )
}

/// Whatever is edited how fast, and whoever comes later; and what was good last holds over a reboot with broken settings.
fn limits_of_slices_stay_and_follow(world: &World) -> Outcome {
    world.install_broker("[users.alice]\nowner_tasks = 500\n[users.newbie]\nowner_tasks = 400\n")?;
    let until = |condition: &str| {
        world.ok("root", &["timeout", "120", "sh", "-c", &format!("until {condition}; do sleep 0.01; done")]).map(drop)
    };
    let tasks = |n: u32| format!("test $(systemctl show -P TasksMax user-1000.slice) = {n}");
    until(&tasks(500))?;
    for n in 501..=509 {
        world.write(
            "/etc/devbox/users.toml",
            &format!("[users.alice]\nowner_tasks = {n}\n[users.newbie]\nowner_tasks = 400\n"),
        );
        world.ok("root", &["systemctl", "start", "devbox-limits"])?;
    }
    until(&tasks(509))?;
    same(&world.run("root", &["systemctl", "is-active", "devbox-limits.path"]).code, &0, "it goes on looking")?;
    world.run("root", &["devbox-ctl", "admin", "check"]).expect(0)?.shows(&expect![[r#"
        the settings are good
          host  7 boxes at most
          default  5 boxes at most, of 2 cpu and 4G
          named  alice, newbie
        devboxd: settings good, 0 boxes in the ledger
        --- standard error
        warning: there is no user newbie; the section holds from when there is one
    "#]])?;
    world.ok("root", &["useradd", "--uid", "1060", "newbie"])?;
    let found = until("test -e /run/systemd/system/user-1060.slice.d/50-devbox.conf");
    world.ok("root", &["userdel", "newbie"])?;
    found?;
    world.write("/etc/devbox/users.toml", "[users.alice]\nowner_tasks = many\n");
    world.reboot()?;
    until(&tasks(509))?;
    let failed = world.run("root", &["systemctl", "is-failed", "devbox-limits.service"]);
    same(&failed.code, &0, "and it is said that they are broken")
}

/// One that ends as soon as nobody calls, called all the time.
fn idle_and_gone_without_dropping_a_call(world: &World) -> Outcome {
    world.install_broker("")?;
    let conf = "[Service]\nExecStart=\nExecStart=/usr/libexec/devbox/devboxd --idle 0.01\n";
    world.override_devboxd(conf)?;
    let calls = call("Boxes", &["bs", "false", "''"]).join(" ");
    let script = format!("for i in $(seq 60); do {calls} >/dev/null || exit 1; sleep 0.0$((i % 10)); done");
    let callers: Vec<_> =
        ["alice", "bob", "carol"].iter().map(|user| world.spawn(user, &["sh", "-c", &script])).collect();
    for caller in callers {
        caller.finish().expect(0)?;
    }
    let starts = world.ok("root", &["journalctl", "-u", "devboxd", "-o", "cat", "--grep", "Started devboxd"])?;
    ensure(starts.lines().count() > 3, &format!("it ended between calls: {}", starts.lines().count()))
}

/// kill -9 before each system call with which it changes something, under a reserve, a commit and a release.
fn killed_at_every_step(world: &World) -> Outcome {
    const CALLS: &str = "pwrite64,fdatasync,fsync,ftruncate,sendmsg,unlink";
    world.install_broker("")?;
    world.write(
        "/usr/libexec/devbox/killed",
        &format!(
            "#!/bin/sh\ncd /var/lib/devboxd\nn=$(cat step)\necho 0 > step\n[ $n = 0 ] && exec /usr/libexec/devbox/devboxd\n\
             exec strace -f -qq -o trace -e trace={CALLS} -e inject={CALLS}:signal=KILL:when=$n /usr/libexec/devbox/devboxd\n"
        ),
    );
    world.ok("root", &["chmod", "755", "/usr/libexec/devbox/killed"])?;
    world.override_devboxd(
        "[Service]\nSystemCallFilter=\nNoNewPrivileges=no\nExecStart=\nExecStart=/usr/libexec/devbox/killed\n",
    )?;
    let from_step = |n: usize| {
        let script = format!(
            "systemctl stop devboxd; cd /var/lib/devboxd; tail -n 1 trace; rm -f trace; echo {n} > step; chown devboxd step"
        );
        world.ok("root", &["sh", "-c", &format!("mkdir -p /var/lib/devboxd; {{ {script}; }} 2>/dev/null")])
    };
    for (method, arguments, after) in [
        ("Reserve", &["sutb", "abc", "1000", "1073741824", "false"][..], 1),
        ("Commit", &["s", "abc"], 1),
        ("Trash", &["s", "abc"], 10),
        ("Restore", &["sutb", "abc", "1000", "1073741824", "false"], 1),
        ("Release", &["s", "abc"], 0),
    ] {
        // One in the trash is ten.
        let held = |world: &World, user: &str| {
            let trash = world.ok("root", &["devbox-ctl", "admin", "limits", "--json"])?;
            let trash: serde_json::Value = serde_json::from_str(&trash)?;
            let trash = trash.as_array().and_then(|all| all.first()).map_or(0, |u| u["trashed"].as_u64().unwrap_or(0));
            Ok::<usize, libtest_mimic::Failed>(held(world, user)? + usize::try_from(trash)? * 9)
        };
        let again = |method: &str| match method {
            "Trash" => world.ok("alice", &call("Restore", &["sutb", "abc", "1000", "1073741824", "false"])).map(drop),
            "Restore" => world.ok("alice", &call("Trash", &["s", "abc"])).map(drop),
            _ => Ok(()),
        };
        if method == "Restore" {
            again(method)?;
        }
        let mut steps = 0;
        for n in 1.. {
            let before = held(world, "alice")?;
            from_step(n)?;
            let answered = world.run("alice", &call(method, arguments)).code == 0;
            let met = from_step(0)?.contains("killed");
            let now = held(world, "alice")?;
            // Answered is done; not answered is done or not, and never another thing.
            ensure(
                now == after || (!answered && now == before),
                &format!("{method}, step {n}: {before} and then {now}"),
            )?;
            // Said again, it is so.
            world.ok("alice", &call(method, arguments))?;
            same(&held(world, "alice")?, &after, &format!("{method}, step {n}"))?;
            if !met {
                break;
            }
            steps = n;
            ensure(steps < 200, "it never came through")?;
            again(method)?;
            if method == "Release" {
                world.ok("alice", &call("Reserve", &["sutb", "abc", "1000", "1073741824", "false"]))?;
                world.ok("alice", &call("Commit", &["s", "abc"]))?;
            } else if method == "Reserve" {
                world.ok("alice", &call("Release", &["s", "abc"]))?;
            }
        }
        ensure(steps > 8, &format!("only {steps} steps of {method} were walked"))?;
    }
    Ok(())
}

fn a_reboot_loses_nothing(world: &World) -> Outcome {
    world.install_broker("[users.alice]\nowner_tasks = 700\n")?;
    world.ctl(&["create", "kept", "--no-start"]).expect(0)?;
    world.ok("bob", &call("Reserve", &["sutb", "half", "1000", "1073741824", "false"]))?;
    world.reboot()?;
    ensure(held(world, "alice")? == 1 && held(world, "bob")? == 1, "both are held")?;
    let shown = world.ok("root", &["systemctl", "show", "-p", "TasksMax", "user-1000.slice"])?;
    same(&shown, &"TasksMax=700\n", &shown)?;
    let trail = world.run("root", &["devbox-ctl", "admin", "audit"]).expect(0)?;
    trail.says("alice/kept")
}

fn its_sandbox(world: &World) -> Outcome {
    world.install_broker("")?;
    let shown =
        world.ok("root", &["systemd-analyze", "security", "--no-pager", "--threshold=20", "devboxd.service"])?;
    ensure(shown.contains("Overall exposure level"), &shown)?;
    held(world, "alice")?;
    let own = world.ok(
        "root",
        &["sh", "-c", "stat -c '%U %a' /var/lib/devboxd /var/lib/devboxd/ledger.sqlite; ps -o user= -C devboxd"],
    )?;
    same(&own, &"devboxd 700\ndevboxd 600\ndevboxd\n", &own)
}
