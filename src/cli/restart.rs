//! `restart NAME…`.

use super::error::Failure;
use super::output::Output;
use super::session::{Session, each, names};
use super::start::{loaded, whole};
use crate::plan;

/// Restart boxes, or start those that are stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl restart my-project")]
pub(super) struct Args {
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let names = names(&args.names)?;
    let session = Session::begin(out)?;
    each(&names, out, |name| {
        let entry = whole(&session, name)?;
        session.apply(&plan::restart(name, loaded(&session, &entry)?), None)?;
        out.remark(&format!("{name} is running"));
        Ok(())
    })
}
