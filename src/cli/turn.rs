//! `turn NAME`: what a box's unit waits for, while all boxes of a host start at once.

use std::time::Duration;

use sd_notify::NotifyState;

use super::error::Failure;
use super::output::Output;
use crate::host::turn::Turn;
use crate::host::{Account, systemd::Systemd};
use crate::policy::turns::LONGEST;
use crate::quadlet::names;
use crate::spec::BoxName;

/// Wait for a box's turn to start, and keep it until it has started
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    name: String,
}

/// Systemd starts the box once this says that it is ready, or has failed.
pub(super) fn run(args: &Args, _: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let account = Account::current()?;
    // First: of many that wait, most have nothing but this.
    let mut turn = Turn::of_the_owners(&account)?;
    let systemd = Systemd::connect(&account)?;
    // Later a start is somebody's own, and nobody is to wait for it.
    if !systemd.is_starting()? {
        ready();
        return Ok(());
    }
    turn.and_the_hosts(&account);
    systemd.see_start(&names::service(&name), Duration::from_secs(LONGEST), ready)?;
    Ok(())
}

fn ready() {
    // Without a systemd to tell, somebody looks what this does.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}
