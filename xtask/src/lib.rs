//! The project's own tools: real lab hosts to run devbox-ctl on, the box image, and a tailnet to put it on.
//!
//! A library too, so that tests boot the same hosts that a person does with `cargo xtask lab up`.

pub mod daemon;
pub mod image;
pub mod install;
pub mod interrupt;
pub mod lab;
pub mod lock;
pub mod paths;
pub mod progress;
pub mod run;
pub mod tailnet;
pub mod tools;
pub mod vm;
