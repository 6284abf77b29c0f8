//! Every provider of tailnet keys: the real program or file where there is one, and a stand-in for services that cannot be
//! had here, which speaks as they are documented to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what cannot be set up is a failed test

mod command;
mod file;
mod headscale;
mod names;
mod onepassword;
mod server;
mod tailscale;
mod tailscale_devices;
mod world;
