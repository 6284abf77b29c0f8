//! How a test is declared, chosen and run, whatever it runs on.

use libtest_mimic::Failed;
use testbed::selection::Tier;

use crate::machine::Machine;
use crate::world::World;

pub(crate) mod place;
pub(crate) mod pool;
pub(crate) mod report;
mod stable;

pub(crate) type Outcome = Result<(), Failed>;

/// A test and the place that it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Test {
    /// The module path without the crate's name.
    room: &'static str,
    function: &'static str,
    pub(crate) body: Body,
    pub(crate) tier: Tier,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    /// On a lab host.
    Host(fn(&World) -> Outcome),
    /// On a machine in QEMU, where limits are enforced.
    Machine(fn(&Machine) -> Outcome),
}

impl Test {
    pub(crate) const fn new(room: &'static str, function: &'static str, body: Body) -> Self {
        Self { room, function, body, tier: Tier::EveryCommit }
    }

    /// Runs with `--all`, and with `--slice` in one commit of ten.
    pub(crate) const fn slow(mut self) -> Self {
        self.tier = Tier::Slow;
        self
    }

    /// Such as `kill::create_killed_at_every_step`.
    pub(crate) fn name(&self) -> String {
        let room = self.room.split_once("::").map_or(self.room, |(_, room)| room);
        format!("{room}::{}", self.function)
    }
}

/// The tests of a room: `tests! { Host: this_holds, #[slow] so_does_this }`.
macro_rules! tests {
    ($place:ident: $($(#[$tier:ident])? $function:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::harness::Test] = &[$(
            $crate::harness::Test::new(
                module_path!(),
                stringify!($function),
                $crate::harness::Body::$place($function),
            )$(.$tier())?
        ),*];
    };
}
pub(crate) use tests;

/// The modules that have tests, and the list of all of these.
macro_rules! rooms {
    ($($room:ident),* $(,)?) => {
        $(mod $room;)*

        pub(crate) fn all_tests() -> Vec<$crate::harness::Test> {
            [$($room::TESTS),*].concat()
        }
    };
}
pub(crate) use rooms;

pub(crate) fn ensure(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// Fails with both values unless they are equal.
pub(crate) fn same<A, B>(came: &A, wanted: &B, what: &str) -> Outcome
where
    A: std::fmt::Debug + PartialEq<B> + ?Sized,
    B: std::fmt::Debug + ?Sized,
{
    if came == wanted { Ok(()) } else { Err(format!("{what}: wanted {wanted:?}, came {came:?}").into()) }
}
