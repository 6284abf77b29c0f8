//! What every room of tests uses.

pub(crate) use expect_test::expect;

pub(crate) use crate::harness::place::{Place, Ran, Running, shows};
pub(crate) use crate::harness::{Outcome, ensure, same, tests};
pub(crate) use crate::machine::Machine;
pub(crate) use crate::world::World;
