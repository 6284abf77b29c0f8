//! Tests on a machine of its own kernel, emulated by QEMU: what the kernel enforces, which a lab host cannot.
//!
//! `cargo xtask test --vm` runs them. Run by `cargo test` alone they are counted as ignored: a boot takes half a minute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boxes;
mod slice;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use world::World;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine, of one processor.
    arguments.test_threads = Some(1);
    let here = std::env::var_os("DEVBOX_VM").is_some();
    let world = (here && !arguments.list).then(|| Arc::new(World::boot()));
    let trials = [boxes::TESTS, slice::TESTS]
        .into_iter()
        .flatten()
        .map(|&(name, test)| {
            let world = world.clone();
            Trial::test(name, move || {
                let world = world.ok_or("no machine")?;
                world.clean()?;
                test(&world)
            })
            .with_ignored_flag(!here)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(world) = world.and_then(Arc::into_inner) {
        world.down();
    }
    conclusion.exit_code()
}
