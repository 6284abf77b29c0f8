//! `man FOLDER`: the man pages, for whoever packages this.

use std::path::PathBuf;

use super::error::{Failure, Kind};
use super::output::Output;

/// Write the man pages into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl man /usr/local/share/man/man1")]
pub(super) struct Args {
    folder: PathBuf,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    clap_mangen::generate_to(super::command(), &args.folder)
        .map_err(|e| Failure::new(Kind::InvalidInput, format!("{} cannot be written: {e}", args.folder.display())))?;
    out.remark(&format!("man pages are in {}", args.folder.display()));
    Ok(())
}
