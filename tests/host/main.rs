//! Tests on a real host: systemd, podman and Quadlet in a lab host that `cargo xtask test` boots.
//!
//! Run by `cargo test` alone they are counted as ignored: booting a host needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attack;
mod backup;
mod backup_faults;
mod broker;
mod broker_host;
mod browser;
mod commands;
mod doctor;
mod editor;
mod faults;
mod flood;
mod hook;
mod hook_examples;
mod hosts;
mod image;
mod inputs;
mod kill;
mod lab;
mod ledger;
mod life;
mod life_use;
mod login;
mod login_faults;
mod own_tailnet;
mod prune;
mod races;
mod reboot;
mod secrets;
mod store;
mod storm;
mod syncthing;
mod syncthing_page;
mod tailnet;
mod trash;
mod trash_broker;
mod trash_kill;
mod units;
mod whole;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use hosts::Hosts;
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(hosts::SIDE_BY_SIDE);
    let here = std::env::var_os("DEVBOX_LAB").is_some();
    let hosts = Arc::new(Hosts::default());
    // Those that take longest first, so that both hosts have work to the end.
    let rooms = [
        kill::TESTS,
        inputs::TESTS,
        commands::TESTS,
        units::TESTS,
        image::TESTS,
        faults::TESTS,
        store::TESTS,
        races::TESTS,
        broker::TESTS,
        broker_host::TESTS,
        ledger::TESTS,
        attack::TESTS,
        flood::TESTS,
        doctor::TESTS,
        tailnet::TESTS,
        login::TESTS,
        login_faults::TESTS,
        own_tailnet::TESTS,
        secrets::TESTS,
        whole::TESTS,
        editor::TESTS,
        syncthing::TESTS,
        life::TESTS,
        life_use::TESTS,
        hook::TESTS,
        hook_examples::TESTS,
        syncthing_page::TESTS,
        lab::TESTS,
        trash::TESTS,
        trash_broker::TESTS,
        prune::TESTS,
        storm::TESTS,
        trash_kill::TESTS,
        backup::TESTS,
        backup_faults::TESTS,
        reboot::TESTS,
    ];
    let trials = rooms
        .into_iter()
        .flatten()
        .map(|&(name, test)| {
            let hosts = Arc::clone(&hosts);
            Trial::test(name, move || hosts.on_one(name, test)).with_ignored_flag(!here)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(hosts) = Arc::into_inner(hosts) {
        hosts.down();
    }
    conclusion.exit_code()
}
