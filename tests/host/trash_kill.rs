//! kill -9 and Ctrl-C on the way into the trash, out of it, and for good.

use super::kill::walk;
use super::trash::{has_its_data, is_at_rest, is_settled, make, state};
use super::prelude::*;

tests! { Host:
    #[slow] destroy_killed_at_every_step,
    #[slow] restore_killed_at_every_step,
    #[slow] deletion_killed_at_every_step,
    #[slow] emptying_killed_at_every_step,
    #[slow] destroy_interrupted_at_every_step,
    #[slow] restore_interrupted_at_every_step,
}

/// After whatever came of it: the next command that changes something, whatever it is, finds its way.
fn next_command(world: &World) -> Outcome {
    world.ctl(&["list", "--json"]).expect(0)?;
    world.ctl(&["trash", "--json"]).expect(0)?;
    let next = world.ctl(&["stop", "nobody"]).expect(10)?;
    ensure(!next.err.contains("still fails"), &next.err)
}

/// What the broker has of alice: boxes, and boxes in the trash.
fn ledger_has(world: &World, boxes: u64, trashed: u64) -> Outcome {
    let limits = world.run("root", &["devbox-ctl", "admin", "limits", "--json"]).expect(0)?.json()?;
    let has = |what: &str| limits[0][what].as_u64().unwrap_or(0);
    same(&(has("boxes"), has("trashed")), &(boxes, trashed), &format!("{boxes} and {trashed}, but: {limits}"))
}

fn destroy_killed_at_every_step(world: &World) -> Outcome {
    world.install_broker("")?;
    make(world)?;
    walk(world, "KILL", &["destroy", "--yes", "abc"], 15, |met, ran| {
        if !met {
            ran.expect(0)?;
        }
        next_command(world)?;
        match state(world, "abc")?.as_str() {
            "trashed" => {
                is_at_rest(world, "abc")?;
                ledger_has(world, 0, 1)?;
                world.ctl(&["restore", "abc"]).expect(0)?;
            }
            "running" => ensure(met, "it came through")?,
            other => return Err(format!("it is {other}").into()),
        }
        ensure(!world.folder("abc").join("trashing").exists(), "no mark is left")?;
        ledger_has(world, 1, 0)?;
        has_its_data(world)
    })
}

fn restore_killed_at_every_step(world: &World) -> Outcome {
    world.install_broker("")?;
    make(world)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    walk(world, "KILL", &["restore", "abc"], 15, |met, ran| {
        if !met {
            ran.expect(0)?;
        }
        next_command(world)?;
        if state(world, "abc")? == "trashed" {
            ensure(met, "it came through")?;
            is_at_rest(world, "abc")?;
            ledger_has(world, 0, 1)?;
            world.ctl(&["restore", "abc"]).expect(0)?;
        } else {
            let start = world.ctl(&["start", "abc"]);
            ensure(matches!(start.code, 0 | 12), &format!("{start:#?}"))?;
        }
        // Systemd may have been starting it: what is running now is through.
        world.ctl(&["stop", "nobody"]).expect(10)?;
        is_settled(world, "abc")?;
        ledger_has(world, 1, 0)?;
        has_its_data(world)?;
        world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
        is_at_rest(world, "abc")
    })
}

fn deleted(world: &World, met: bool, ran: Ran) -> Outcome {
    if !met {
        ran.expect(0)?;
    }
    next_command(world)?;
    let next = world.ctl(&["destroy", "--now", "--yes", "abc"]);
    ensure(matches!(next.code, 0 | 10), &format!("{next:#?}"))?;
    world.expect_clean()?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0).map(drop)
}

fn deletion_killed_at_every_step(world: &World) -> Outcome {
    make(world)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    walk(world, "KILL", &["destroy", "--now", "--yes", "abc"], 15, |met, ran| deleted(world, met, ran))
}

fn emptying_killed_at_every_step(world: &World) -> Outcome {
    world.install_broker("")?;
    make(world)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    walk(world, "KILL", &["trash", "--empty", "--yes"], 15, |met, ran| {
        deleted(world, met, ran)?;
        ledger_has(world, 0, 1)
    })
}

fn destroy_interrupted_at_every_step(world: &World) -> Outcome {
    make(world)?;
    walk(world, "INT", &["destroy", "--yes", "abc"], 15, |_, ran| {
        match (ran.code, state(world, "abc")?.as_str()) {
            // As before, without another command's help. Before the signal is caught it ends the process like any other.
            (130 | -1, "running") => is_settled(world, "abc")?,
            // Once it has begun it is gone through with.
            (0 | 130, "trashed") => {
                is_at_rest(world, "abc")?;
                world.ctl(&["restore", "abc"]).expect(0)?;
            }
            other => return Err(format!("{other:?}: {ran:#?}").into()),
        }
        has_its_data(world)
    })
}

fn restore_interrupted_at_every_step(world: &World) -> Outcome {
    make(world)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    let mark = || std::fs::read_to_string(world.trashed("abc").join("trashed"));
    let before = std::cell::RefCell::new(mark()?);
    walk(world, "INT", &["restore", "abc"], 15, |_, ran| {
        match (ran.code, state(world, "abc")?.as_str()) {
            (130 | -1, "trashed") => {
                same(&mark()?, &*before.borrow(), "as it was")?;
                return is_at_rest(world, "abc");
            }
            (0 | 130, "running") => is_settled(world, "abc")?,
            other => return Err(format!("{other:?}: {ran:#?}").into()),
        }
        has_its_data(world)?;
        world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
        *before.borrow_mut() = mark()?;
        Ok(())
    })
}
