//! `destroy NAME`.

use super::error::{Failure, Kind};
use super::output::Output;
use super::session::Session;
use super::{ask, ssh_config};
use crate::host::entry;
use crate::plan;
use crate::spec::BoxName;

/// Delete a box and its data, after asking
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl destroy my-project\n  devbox-ctl destroy my-project --yes --keep-volume"
)]
pub(super) struct Args {
    name: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Keep its volumes: a box created under this name has the data again
    #[arg(long)]
    keep_volume: bool,
    /// Delete at once (there is no trash yet, so this is what happens anyway)
    #[arg(long)]
    now: bool,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let session = Session::begin(out)?;
    if session.destroyed.contains(&name) {
        ssh_config::refresh(&session.host.account);
        return Ok(());
    }
    entry(&session.host.account, &name).ok_or_else(|| Failure::no_such_box(&name))?;
    if !args.yes {
        let data = if args.keep_volume { "Its data is kept." } else { "Its data in /home/dev is deleted for good." };
        match ask::yes(&format!("Destroy {name}? {data}")) {
            Some(true) => {}
            Some(false) => return Err(Failure::new(Kind::Interrupted, "not destroyed")),
            None => {
                return Err(Failure::new(Kind::InvalidInput, "destroy asks first, and there is no terminal to ask on")
                    .hint(format!("`devbox-ctl destroy --yes {name}`")));
            }
        }
    }
    session.apply(&plan::destroy(&name, args.keep_volume), None)?;
    ssh_config::refresh(&session.host.account);
    out.remark(&format!("{name} is destroyed{}", if args.keep_volume { "; its data is kept" } else { "" }));
    Ok(())
}
