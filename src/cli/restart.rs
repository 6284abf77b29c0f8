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
    each(&args.names, out, |session, held| {
        let entry = whole(&held)?;
        let name = entry.name.clone();
        let plan = plan::restart(&name, loaded(session, entry)?, entry.stopped.is_some());
        session.apply(&plan, held.into())?;
        out.remark(&format!("{name} is running"));
        Ok(())
    })
}
