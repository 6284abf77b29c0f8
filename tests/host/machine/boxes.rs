//! A box's own limits, as `devbox-ctl create` sets them, held by the kernel.

use libtest_mimic::Failed;

use crate::prelude::*;

tests! { Machine:
    #[slow] memory_ends_one_process_and_the_box_goes_on,
    #[slow] tasks_are_bounded_and_the_box_lives,
    #[slow] cpu_is_held_to_the_quota,
}

const LIMIT: u64 = 128 << 20;

/// Says what it has once it has that many bytes. Each is written, so that the kernel has to give it.
pub(crate) fn hog(bytes: u64) -> String {
    format!("$x = 'x' x {bytes}; print 'has ', length $x")
}

/// Forks until it cannot, says how many it has and how often it failed, and ends them when its standard input ends.
pub(crate) fn bomb(times: u32) -> String {
    let child = "if (!$p) { sleep 300; exit }";
    format!(
        "$| = 1; for (1..{times}) {{ $p = fork; if (!defined $p) {{ $f++; next }} {child} push @c, $p }} \
         printf \"%d %d\\n\", scalar @c, $f; <STDIN>; kill 'KILL', @c; wait for @c"
    )
}

/// What a bomb says: how many forks went well, how many failed.
pub(crate) fn counts(line: &str) -> Result<(u64, u64), Failed> {
    let counts = line.trim().split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    counts.ok_or_else(|| format!("no two numbers: {line:?}").into())
}

const FILES: &str = "memory.current memory.events memory.max memory.peak pids.current pids.events pids.max pids.peak \
                     cpu.stat";

/// A cgroup: the numbers in its files, by `file` or `file key`.
pub(crate) struct Cgroup<'a>(pub(crate) &'a Machine, pub(crate) String);

impl<'a> Cgroup<'a> {
    fn of_box(world: &'a Machine) -> Result<Self, Failed> {
        let argv = ["systemctl", "--user", "show", "--property=ControlGroup", "--value", "devbox-abc.service"];
        Ok(Self(world, format!("/sys/fs/cgroup{}", world.ok("alice", &argv)?.trim())))
    }

    /// All of these at one moment. `uptime` is the machine's clock in microseconds.
    pub(crate) fn read<const N: usize>(&self, wanted: [&str; N]) -> Result<[u64; N], Failed> {
        numbers(&self.0.ok("root", &["sh", "-c", READ, "-", &self.1, FILES])?, wanted)
    }

    pub(crate) fn text(&self, file: &str) -> Result<String, Failed> {
        self.0.ok("root", &["cat", &format!("{}/{file}", self.1)])
    }

    /// Fails unless it takes half a processor, give or take 30 %, and it is the quota that holds it there, in most of the
    /// periods of 100 ms.
    pub(crate) fn is_held_to_half(&self) -> Outcome {
        let [passed, used, throttled] =
            self.growth("15", ["uptime", "cpu.stat usage_usec", "cpu.stat nr_throttled"])?;
        let percent = used * 100 / passed;
        let seen = format!("{used} of {passed} us: {percent} %; throttled {throttled} times");
        ensure((35..=65).contains(&percent), &seen)?;
        ensure(throttled > passed / 100_000 / 2, &seen)
    }

    /// By how much each grew in that many seconds. One command reads both times: a login would take the processor.
    fn growth<const N: usize>(&self, seconds: &str, wanted: [&str; N]) -> Result<[u64; N], Failed> {
        let script = format!("{READ}; sleep \"$3\"; echo; {READ}");
        let text = self.0.ok("root", &["sh", "-c", &script, "-", &self.1, FILES, seconds])?;
        let (before, after) = text.split_once("\n\n").ok_or("not read twice")?;
        let before = numbers(before, wanted)?;
        let mut grown = numbers(after, wanted)?;
        grown.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
        Ok(grown)
    }
}

const READ: &str = "cd \"$1\" && sed 's/^/uptime /; s/ *$//' /proc/uptime && grep '' $2";

fn numbers<const N: usize>(text: &str, wanted: [&str; N]) -> Result<[u64; N], Failed> {
    Ok(wanted.map(|name| number(text, name)).into_iter().collect::<Result<Vec<_>, _>>()?.try_into().unwrap())
}

fn number(text: &str, name: &str) -> Result<u64, Failed> {
    if name == "uptime" {
        let seconds = text.split_whitespace().nth(1).and_then(|s| s.parse::<f64>().ok()).ok_or("no uptime")?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few minutes")]
        return Ok((seconds * 1e6) as u64);
    }
    // `pids.max:40`, `memory.events:oom_kill 1`
    let line = match name.split_once(' ') {
        Some((file, key)) => text.lines().find_map(|l| l.strip_prefix(&format!("{file}:{key} "))),
        None => text.lines().find_map(|l| l.strip_prefix(&format!("{name}:"))),
    };
    line.and_then(|l| l.parse().ok()).ok_or_else(|| format!("no number {name} in {text}").into())
}

fn exec(world: &Machine, argv: &[&str]) -> Ran {
    world.ctl(&[&["exec", "abc", "--"], argv].concat())
}

/// The box's own process, and how often systemd started it anew.
fn life(world: &Machine) -> Result<String, Failed> {
    let argv = ["systemctl", "--user", "show", "--property=ActiveState,SubState,MainPID,NRestarts,Result"];
    world.ok("alice", &[&argv[..], &["devbox-abc.service"]].concat())
}

/// Fails unless the box is the one it was, and works.
fn lives(world: &Machine, before: &str) -> Outcome {
    let now = life(world)?;
    ensure(now == before && now.contains("ActiveState=active"), &format!("was {before}, is {now}"))?;
    same(&exec(world, &["echo", "here"]).expect(0)?.out, &"here\n", "a command in the box")
}

fn create(world: &Machine) -> Outcome {
    world.ctl(&["create", "abc", "--memory", "128M", "--cpu", "0.5"]).expect(0).map(drop)
}

fn memory_ends_one_process_and_the_box_goes_on(world: &Machine) -> Outcome {
    create(world)?;
    let before = life(world)?;
    let group = Cgroup::of_box(world)?;
    let fits = 30 << 20;
    same(&exec(world, &["perl", "-e", &hog(fits)]).expect(0)?.out, &format!("has {fits}"), "within the limit")?;
    let [max, kills] = group.read(["memory.max", "memory.events oom_kill"])?;
    same(&(max, kills), &(LIMIT, 0), &format!("limit {max}, {kills} killed"))?;

    let hogged = exec(world, &["perl", "-e", &hog(2 * LIMIT)]);
    let [kills, groups, peak, high] =
        group.read(["memory.events oom_kill", "memory.events oom_group_kill", "memory.peak", "memory.events high"])?;
    let seen = format!("{hogged:?}; {kills} killed, {groups} groups, peak {peak}, above MemoryHigh {high} times");
    ensure(hogged.code == 137 && hogged.out.is_empty(), &format!("killed by the kernel: {seen}"))?;
    ensure((kills, groups) == (1, 0) && peak <= LIMIT, &format!("one process, at the limit: {seen}"))?;
    lives(world, &before)
}

fn tasks_are_bounded_and_the_box_lives(world: &Machine) -> Outcome {
    let template = include_str!("../../../quadlet-templates/box.container");
    let lowered = template.replace("TasksMax={{ tasks_max }}", "TasksMax=40");
    ensure(lowered != template, "the template has a TasksMax")?;
    world.write("/etc/devbox/quadlet-templates/box.container", &lowered)?;
    create(world)?;
    let before = life(world)?;
    let group = Cgroup::of_box(world)?;
    let [max, busy, hits] = group.read(["pids.max", "pids.current", "pids.events max"])?;
    ensure((max, hits) == (40, 0) && busy < 20, &format!("max {max}, {busy} at first, {hits} hits"))?;

    let mut bombed = world.spawn_with_input("alice", &["devbox-ctl", "exec", "abc", "--", "perl", "-e", &bomb(60)]);
    let (made, refused) = counts(&bombed.line()?)?;
    let [current, peak, hits] = group.read(["pids.current", "pids.peak", "pids.events max"])?;
    let seen = format!("{made} forked, {refused} refused; {current} of {max}, peak {peak}, {hits} hits");
    ensure(made + refused == 60 && made > 10 && made < max && refused > 10, &seen)?;
    ensure(current == max && peak == max && hits >= refused, &seen)?;
    bombed.finish().expect(0)?;
    lives(world, &before)
}

fn cpu_is_held_to_the_quota(world: &Machine) -> Outcome {
    create(world)?;
    let before = life(world)?;
    let group = Cgroup::of_box(world)?;
    let busy = "$| = 1; print \"on\\n\"; if (!($p = fork)) { 1 while 1 } <STDIN>; kill 'KILL', $p; wait";
    let mut busy = world.spawn_with_input("alice", &["devbox-ctl", "exec", "abc", "--", "perl", "-e", busy]);
    same(&busy.line()?, &"on\n", "busy")?;
    group.is_held_to_half()?;
    busy.finish().expect(0)?;
    lives(world, &before)
}
