//! kill -9 and Ctrl-C before each system call with which a command changes something.
//!
//! strace(1) delivers the signal when the command is about to make its n-th such call; n grows until the command
//! comes through unharmed, so that every step is met, whichever there are.

use super::world::{Outcome, Tests, World, ensure};

pub(crate) const TESTS: Tests = &[
    ("kill::create_killed_at_every_step", create_killed),
    ("kill::create_interrupted_at_every_step", create_interrupted),
    ("kill::destroy_killed_at_every_step", destroy_killed),
    ("kill::stop_and_start_killed_at_every_step", stop_start_killed),
];

/// Everything with which state outside the process is changed or a child is made.
const CALLS: &str = "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,fsync,fdatasync,flock,write,writev,sendmsg,clone,clone3,vfork,ftruncate";

/// More steps than any command has: an endless walk is a failure.
const MOST: usize = 400;

/// Runs devbox-ctl under strace with `signal` at the n-th call; whether it was met.
fn at_step(world: &World, n: usize, signal: &str, arguments: &[&str]) -> (bool, super::world::Ran) {
    let trace = format!("trace={CALLS}");
    let inject = format!("inject={CALLS}:signal={signal}:when={n}");
    let strace = ["strace", "-qq", "-o", "/tmp/strace.log", "-e", &trace, "-e", &inject, "devbox-ctl"];
    let ran = world.run("alice", &[&strace, arguments].concat());
    let log = std::fs::read_to_string(world.path("/tmp/strace.log"))
        .or_else(|_| world.ok("alice", &["cat", "/tmp/strace.log"]).map_err(|_| std::io::Error::other("no log")))
        .unwrap_or_default();
    (log.contains(&format!("--- SIG{signal}")) || log.contains("+++ killed"), ran)
}

/// After a kill: everything can be read, and the next command gets the box and then a clean host.
fn finds_its_way(world: &World, n: usize) -> Outcome {
    let at = |e: libtest_mimic::Failed| libtest_mimic::Failed::from(format!("killed at step {n}: {e:?}"));
    world.ctl(&["list", "--json"]).expect(0).map_err(at)?;
    let again = world.ctl(&["create", "abc"]);
    match again.code {
        0 => {}
        2 => {
            let start = world.ctl(&["start", "abc"]);
            ensure(matches!(start.code, 0 | 12), &format!("killed at step {n}: {start:#?}"))?;
        }
        _ => return Err(format!("killed at step {n}: {again:#?}").into()),
    }
    world.ctl(&["exec", "abc", "--", "true"]).expect(0).map_err(at)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0).map_err(at)?;
    world.expect_clean().map_err(at)
}

fn create_killed(world: &World) -> Outcome {
    for n in 1..MOST {
        let (met, ran) = at_step(world, n, "KILL", &["create", "abc"]);
        if !met {
            ran.expect(0)?;
            return ensure(n > 15, &format!("only {n} steps were walked"));
        }
        finds_its_way(world, n)?;
    }
    Err("it never came through".into())
}

fn create_interrupted(world: &World) -> Outcome {
    for n in 1..MOST {
        let (met, ran) = at_step(world, n, "INT", &["create", "abc"]);
        match ran.code {
            // Undone: the host is as before, without another command's help.
            130 => world.expect_clean().map_err(|e| libtest_mimic::Failed::from(format!("step {n}: {e:?}")))?,
            0 => {
                world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
                world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
            }
            // Before the signal is caught it ends the process like any other.
            -1 => world.expect_clean()?,
            _ => return Err(format!("step {n}: {ran:#?}").into()),
        }
        if !met {
            return ensure(n > 15, &format!("only {n} steps were walked"));
        }
    }
    Err("it never came through".into())
}

fn destroy_killed(world: &World) -> Outcome {
    for n in 1..MOST {
        world.ctl(&["create", "abc"]).expect(0)?;
        let (met, ran) = at_step(world, n, "KILL", &["destroy", "--yes", "abc"]);
        world.ctl(&["list", "--json"]).expect(0)?;
        if !met {
            ran.expect(0)?;
            world.expect_clean()?;
            return ensure(n > 10, &format!("only {n} steps were walked"));
        }
        let next = world.ctl(&["destroy", "--yes", "abc"]);
        ensure(matches!(next.code, 0 | 10), &format!("killed at step {n}: {next:#?}"))?;
        world.ctl(&["stop", "abc"]).expect(10)?;
        world.expect_clean().map_err(|e| libtest_mimic::Failed::from(format!("killed at step {n}: {e:?}")))?;
    }
    Err("it never came through".into())
}

fn stop_start_killed(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "touch", "kept"]).expect(0)?;
    for verb in ["stop", "start"] {
        for n in 1..MOST {
            let (met, _) = at_step(world, n, "KILL", &[verb, "abc"]);
            // Said again, it is so, and said once more it already is.
            let again = world.ctl(&[verb, "abc"]);
            ensure(matches!(again.code, 0 | 12), &format!("{verb} killed at step {n}: {again:#?}"))?;
            world.ctl(&[verb, "abc"]).expect(12)?;
            world.ctl(&[if verb == "stop" { "start" } else { "stop" }, "abc"]).expect(0)?;
            if !met {
                break;
            }
            ensure(n + 1 < MOST, "it never came through")?;
        }
        world.ctl(&[verb, "abc"]).expect(0)?;
    }
    world.ctl(&["exec", "abc", "--", "test", "-e", "kept"]).expect(0)?;
    Ok(())
}
