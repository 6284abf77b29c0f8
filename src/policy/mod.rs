//! Decisions over facts: no I/O, no clock. The embedded default and the broker call the same functions.

pub mod asked;
pub mod host;
pub mod life;
pub mod limits;
pub mod login;
pub mod prune;
pub mod said;
pub mod slices;
pub mod turns;
pub mod warning;
