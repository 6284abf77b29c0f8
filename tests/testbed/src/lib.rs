//! Real places to run devbox-ctl in: lab hosts, machines in QEMU, a tailnet beside a host, and what these are made of.
//!
//! A library, so that tests boot the same hosts that a person does with `cargo xtask lab up`.

pub mod artifacts;
pub mod daemon;
pub mod install;
pub mod interrupt;
pub mod lab;
pub mod lock;
mod nspawn;
pub mod paths;
mod prepare;
pub mod progress;
pub mod run;
mod seeded;
pub mod selection;
pub mod tailnet;
pub mod tools;
pub mod vm;

pub use prepare::prepare;
pub use seeded::{up, up_with_image, up_with_some_image};
