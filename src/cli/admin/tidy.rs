//! `admin tidy`: what the timer runs (systemd/devbox-tidy.timer).

use super::broker;
use crate::cli::error::{Failure, Kind};
use crate::cli::output::Output;

/// Take devices of boxes that are gone off the tailnet
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, out: Output) -> Result<(), Failure> {
    match broker()?.tidy()? {
        0 => out.remark("no box that is gone has a device on the tailnet"),
        left => {
            return Err(Failure::new(
                Kind::TailnetLeft,
                format!("{left} devices of boxes that are gone are still on the tailnet"),
            )
            .hint("`journalctl -u devboxd` says why; the timer tries again in a quarter of an hour"));
        }
    }
    Ok(())
}
