//! devbox-ctl: a rootless Podman dev container for each of many people on one Linux host.
//!
//! `spec`, `settings`, `policy`, `plan`, `quadlet` and `backup` are pure: no file, process, clock or environment.
//! `host` is the one room that touches the machine; `cli` is the one room that prints.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[deny(clippy::disallowed_methods)]
pub mod backup;
pub mod broker;
pub mod cli;
pub mod host;
#[deny(clippy::disallowed_methods)]
pub mod plan;
#[deny(clippy::disallowed_methods)]
pub mod policy;
#[deny(clippy::disallowed_methods)]
pub mod quadlet;
#[deny(clippy::disallowed_methods)]
pub mod settings;
#[deny(clippy::disallowed_methods)]
pub mod shown;
#[deny(clippy::disallowed_methods)]
pub mod spec;
pub mod tailnet;
#[deny(clippy::disallowed_methods)]
pub mod wire;
