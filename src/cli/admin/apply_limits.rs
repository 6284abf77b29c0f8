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
    let (texts, settings) = match host::settings_files() {
        Ok(good) => good,
        Err(why) => {
            // What is set stays set; after a boot nothing is, and the last good settings are.
            if let Some(settings) = slices::last_good() {
                slices::apply(&settings)?;
            }
            return Err(why.into());
        }
    };
    let changed = slices::apply(&settings)?;
    slices::keep(&texts)?;
    out.remark(&match changed.as_slice() {
        [] => "the limits are as they were".to_owned(),
        units => format!("set the limits of {}", units.join(", ")),
    });
    Ok(())
}
