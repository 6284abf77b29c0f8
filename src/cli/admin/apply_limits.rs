//! `admin apply-limits`: what devbox-limits.service runs, as root.

use crate::cli::error::{Failure, Kind};
use crate::cli::output::Output;
use crate::host::{self, slices};

/// Write the limits of owners' slices and set them live
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, out: Output) -> Result<(), Failure> {
    if !nix::unistd::Uid::effective().is_root() {
        return Err(Failure::new(Kind::NotAllowed, "only root sets the limits of slices")
            .hint("`sudo systemctl start devbox-limits`"));
    }
    // Broken settings change nothing: what is set stays set.
    let changed = slices::apply(&host::settings()?)?;
    out.remark(&match changed.as_slice() {
        [] => "the limits are as they were".to_owned(),
        units => format!("set the limits of {}", units.join(", ")),
    });
    Ok(())
}
