//! The project's own tools: real lab hosts to run devbox-ctl on, and the box image.
//!
//! A library too, so that tests boot the same hosts that a person does with `cargo xtask lab up`.

pub mod image;
pub mod install;
pub mod interrupt;
pub mod lab;
pub mod lock;
pub mod paths;
pub mod progress;
pub mod run;
pub mod tools;
pub mod vm;
