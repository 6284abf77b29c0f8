//! kill -9 and Ctrl-C before each system call with which a command changes something.
//!
//! strace(1) delivers the signal when the command is about to make its n-th call of a kind (it counts each kind for
//! itself); n grows until the command comes through unharmed, so that every step is met, however many there are.

use std::collections::BTreeMap;

use libtest_mimic::Failed;

use super::prelude::*;

tests! { Host:
    create_killed_at_every_step,
    #[slow] create_interrupted_at_every_step,
    #[slow] destroy_killed_at_every_step,
    #[slow] stop_and_start_killed_at_every_step,
}

/// Everything with which state outside the process is changed or a child is made.
const CALLS: &str = "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,fsync,fdatasync,flock,write,writev,\
                     sendmsg,clone,clone3,vfork,ftruncate";

/// More steps of a kind than any command has: an endless walk is a failure.
const MOST: usize = 100;

/// Where a command was met.
#[derive(Clone, Copy)]
struct Step<'a> {
    call: &'a str,
    nth: usize,
}

impl Step<'_> {
    fn failed(self, what: impl std::fmt::Debug) -> Failed {
        format!("before {} {}: {what:?}", self.call, self.nth).into()
    }
}

/// Runs devbox-ctl under strace with `signal` at a step; whether it was met.
fn at(world: &World, step: Step<'_>, signal: &str, command: &[&str]) -> Result<(bool, Ran), Failed> {
    let Step { call, nth } = step;
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal={signal}:when={nth}"));
    let strace = ["strace", "-qq", "-o", "/var/tmp/strace.log", "-e", &trace, "-e", &inject];
    let ran = world.run("alice", &[&strace, command].concat());
    let log = std::fs::read_to_string(world.path("/var/tmp/strace.log"))?;
    Ok((log.contains(&format!("--- SIG{signal}")) || log.contains("+++ killed"), ran))
}

/// Runs a command again and again, met one step later each time, and looks at each outcome; `least` is how many steps
/// it is known to have.
pub(crate) fn walk(
    world: &World,
    signal: &str,
    arguments: &[&str],
    least: usize,
    look: impl Fn(bool, Ran) -> Outcome,
) -> Outcome {
    walk_command(world, signal, &[&["devbox-ctl"], arguments].concat(), least, look)
}

/// The same of a command that has options of strace before it.
pub(crate) fn walk_command(
    world: &World,
    signal: &str,
    command: &[&str],
    least: usize,
    look: impl Fn(bool, Ran) -> Outcome,
) -> Outcome {
    // Once unharmed, to learn which calls it makes, and which of them nobody else could notice.
    let trace = format!("trace={CALLS}");
    let strace = ["strace", "-qq", "-yy", "-o", "/var/tmp/strace.log", "-e", &trace];
    look(false, world.run("alice", &[&strace, command].concat()))?;
    let log = std::fs::read_to_string(world.path("/var/tmp/strace.log"))?;
    let mut made: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for (call, rest) in log.lines().filter_map(|line| line.split_once('(')) {
        made.entry(call).or_default().push(is_its_own(call, rest));
    }
    let mut steps = 0;
    for (call, own) in made {
        for nth in 1.. {
            let step = Step { call, nth };
            ensure(nth < MOST, "it never came through")?;
            if own.get(nth - 1) == Some(&true) {
                continue;
            }
            let (met, ran) = at(world, step, signal, command)?;
            look(met, ran).map_err(|e| step.failed(e))?;
            if !met {
                break;
            }
            steps += 1;
        }
    }
    ensure(steps >= least, &format!("only {steps} steps were walked"))
}

/// Whether a call changes nothing that outlives the process: it failed, woke another thread, or made one.
fn is_its_own(call: &str, rest: &str) -> bool {
    let (fd, file) = rest.split_once('<').unwrap_or_default();
    let wakes = call == "write"
        && fd.parse().is_ok_and(|fd: u32| fd > 2)
        && (file.starts_with("pipe:") || file.contains("eventfd"));
    wakes || rest.contains("CLONE_THREAD") || rest.contains(") = -1 E")
}

/// After a kill: everything can be read, and the next command gets the box and then a clean host.
pub(crate) fn finds_its_way(world: &World) -> Outcome {
    world.ctl(&["list", "--json"]).expect(0)?;
    let again = world.ctl(&["create", "abc"]);
    match again.code {
        0 => {}
        2 => {
            let start = world.ctl(&["start", "abc"]);
            ensure(matches!(start.code, 0 | 12), &format!("{start:#?}"))?;
        }
        _ => return Err(format!("{again:#?}").into()),
    }
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

fn create_killed_at_every_step(world: &World) -> Outcome {
    walk(world, "KILL", &["create", "abc"], 25, |met, ran| {
        if !met {
            ran.expect(0)?;
            world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
            return world.expect_clean();
        }
        finds_its_way(world)
    })
}

fn create_interrupted_at_every_step(world: &World) -> Outcome {
    walk(world, "INT", &["create", "abc"], 25, |_, ran| match ran.code {
        // Undone: the host is as before, without another command's help. Before the signal is caught it ends the
        // process like any other.
        130 | -1 => world.expect_clean(),
        0 => {
            world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
            world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0).map(drop)
        }
        _ => Err(format!("{ran:#?}").into()),
    })
}

fn destroy_killed_at_every_step(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    walk(world, "KILL", &["destroy", "--now", "--yes", "abc"], 15, |met, ran| {
        world.ctl(&["list", "--json"]).expect(0)?;
        if met {
            let next = world.ctl(&["destroy", "--now", "--yes", "abc"]);
            ensure(matches!(next.code, 0 | 10), &format!("{next:#?}"))?;
            world.ctl(&["stop", "abc"]).expect(10)?;
        } else {
            ran.expect(0)?;
        }
        world.expect_clean()?;
        world.ctl(&["create", "abc"]).expect(0).map(drop)
    })
}

fn stop_and_start_killed_at_every_step(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "touch", "kept"]).expect(0)?;
    for (verb, back) in [("stop", "start"), ("start", "stop")] {
        walk(world, "KILL", &[verb, "abc"], 10, |_, _| {
            // Said again, it is so, and said once more it already is.
            let again = world.ctl(&[verb, "abc"]);
            ensure(matches!(again.code, 0 | 12), &format!("{again:#?}"))?;
            world.ctl(&[verb, "abc"]).expect(12)?;
            world.ctl(&[back, "abc"]).expect(0).map(drop)
        })?;
        world.ctl(&[verb, "abc"]).expect(0)?;
    }
    world.ctl(&["exec", "abc", "--", "test", "-e", "kept"]).expect(0).map(drop)
}
