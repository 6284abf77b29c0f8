//! The limits that root sets on a user's slice: what holds against an owner who edits their own units.

use super::boxes::{Cgroup, bomb, counts, hog};
use crate::prelude::*;

tests! { Machine:
    #[slow] users_toml_holds_for_what_a_user_starts_outside_a_box,
    #[slow] the_defaults_cpu_holds_for_every_user,
}

const SLICE: &str = "user-1000.slice";
const MEMORY: u64 = 200 << 20;
const TASKS: u64 = 50;

/// A scope of alice's own that she gives no limits.
const FREE: &[&str] = &["systemd-run", "--user", "--scope", "--quiet", "--property=MemoryMax=infinity"];

/// The settings, and what devbox-limits.service runs when they change.
fn give(world: &Machine, settings: &str) -> Outcome {
    world.write("/etc/devbox/users.toml", settings)?;
    world.ok("root", &["devbox-ctl", "admin", "apply-limits"]).map(drop)
}

fn the_defaults_cpu_holds_for_every_user(world: &Machine) -> Outcome {
    let group = Cgroup(world, format!("/sys/fs/cgroup/user.slice/{SLICE}"));
    give(world, "[defaults]\nowner_cpu = 0.5\n")?;
    same(&group.text("cpu.max")?, &"50000 100000\n", "the quota is set")?;
    let busy = "$| = 1; print \"on\\n\"; if (!($p = fork)) { 1 while 1 } <STDIN>; kill 'KILL', $p; wait";
    let mut busy = world.spawn_with_input("alice", &[FREE, &["--property=CPUQuota=", "perl", "-e", busy]].concat());
    same(&busy.line()?, &"on\n", "busy")?;
    group.is_held_to_half()?;
    busy.finish().expect(0).map(drop)
}

fn users_toml_holds_for_what_a_user_starts_outside_a_box(world: &Machine) -> Outcome {
    let group = Cgroup(world, format!("/sys/fs/cgroup/user.slice/{SLICE}"));
    let limits = || group.read(["memory.max", "pids.max"]);
    // Alice is logged in: what changes in the settings holds for what runs already.
    for memory in [2 * MEMORY, MEMORY] {
        give(world, &format!("[users.alice]\nowner_memory = \"{}M\"\nowner_tasks = {TASKS}\n", memory >> 20))?;
        same(&limits()?, &[memory, TASKS], "the limits are set")?;
    }

    // Hers to try: the system's manager, the file itself, and her own manager above all of her units.
    let own = "MemoryMax=infinity";
    let files = format!("echo max >/sys/fs/cgroup/user.slice/{SLICE}/memory.max");
    for attempt in [
        &["systemctl", "--no-ask-password", "set-property", "--runtime", SLICE, own, "TasksMax=infinity"][..],
        &["sh", "-c", &files],
        &["sh", "-c", &files.replace("memory.max", "pids.max")],
    ] {
        let tried = world.run("alice", attempt);
        let denied = ["denied", "authentication required"].iter().any(|why| tried.err.contains(why));
        ensure(tried.code != 0 && denied, &format!("{attempt:?}: {tried:?}"))?;
    }
    world
        .run("alice", &["systemctl", "--user", "set-property", "--runtime", "--", "-.slice", own, "TasksMax=infinity"]);
    same(&limits()?, &[MEMORY, TASKS], "the limits stay")?;

    let perl = |code: &str| -> Vec<String> {
        FREE.iter().chain(&["--property=TasksMax=infinity", "perl", "-e", code]).map(|w| (*w).to_owned()).collect()
    };
    let run = |code: String| {
        let argv = perl(&code);
        world.run("alice", &argv.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let fits = 50 << 20;
    same(&run(hog(fits)).expect(0)?.out, &format!("has {fits}"), "within the limit")?;
    let [kills] = group.read(["memory.events oom_kill"])?;
    let hogged = run(hog(2 * MEMORY));
    let [kills_after, current] = group.read(["memory.events oom_kill", "memory.current"])?;
    let seen = format!("{hogged:?}; {kills} killed before, {kills_after} after, {current} in use");
    ensure(hogged.code == 137 && hogged.out.is_empty(), &format!("killed by the kernel: {seen}"))?;
    ensure(kills_after == kills + 1 && current <= MEMORY, &format!("one process: {seen}"))?;

    let [hits] = group.read(["pids.events max"])?;
    let argv = perl(&bomb(70));
    let mut bombed = world.spawn_with_input("alice", &argv.iter().map(String::as_str).collect::<Vec<_>>());
    let (made, refused) = counts(&bombed.line()?)?;
    let [current, peak, hits_after] = group.read(["pids.current", "pids.peak", "pids.events max"])?;
    let seen = format!("{made} forked, {refused} refused; {current} of {TASKS}, peak {peak}, {hits_after} hits");
    ensure(made + refused == 70 && made > 10 && made < TASKS && refused > 10, &seen)?;
    ensure(current == TASKS && hits_after >= hits + refused, &seen)?;
    bombed.finish().expect(0)?;

    give(world, "")?;
    same(&group.text("memory.max")?, &"max\n", "what the settings no longer say no longer holds")
}
