//! Syncthing in a box and on its owner's other machine: real ones, over a real tailnet.

pub(crate) const TESTS: super::world::Tests = &[];
