//! `restart NAME…`.

use super::error::Failure;
use super::output::Output;
use super::session::{Names, each};
use super::start::{loaded, whole};
use crate::plan;

/// Restart boxes, or start those that are stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl restart my-project")]
pub(super) struct Args {
    #[command(flatten)]
    names: Names,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    each(&args.names, out, |session, name| {
        let entry = whole(session, name)?;
        session.apply(&plan::restart(name, loaded(session, &entry)?), None)?;
        out.remark(&format!("{name} is running"));
        Ok(())
    })
}
