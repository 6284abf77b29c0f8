//! `destroy NAME`.

use super::error::{Failure, Kind};
use super::output::Output;
use super::session::Session;
use super::{ask, ssh_config};
use crate::host::{Account, Left, Pending, entry, tidy};
use crate::plan;
use crate::quadlet::names;
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
    if !args.yes {
        confirm(args, &name)?;
    }
    // Its own destruction, should one have been cut short, is gone on with here, where it is known what to keep.
    let session = Session::begin(out, Some(&name))?;
    let held = session.hold(&name)?;
    // What is in volumes that are not whole is in the backup too.
    let whole = held.entry.pending != Some(Pending::Fill);
    let mut keep = if args.keep_volume && whole { names::volumes(&name).to_vec() } else { Vec::new() };
    let kept_before = match &held.entry.pending {
        Some(Pending::Destroy { keep_volumes }) => keep_volumes.clone(),
        _ => Vec::new(),
    };
    keep.extend(kept_before.iter().filter(|v| !keep.contains(v)).cloned().collect::<Vec<_>>());
    session
        .apply(&plan::destroy(&name, &keep, session.host.broker()?.is_some()), held.into())
        .map_err(|failure| half_done(&session, &name, failure))?;
    ssh_config::refresh(&session.host);
    let broker = session.host.broker()?;
    let left = tidy(&session.host.account, broker);
    out.remark(&match (keep.is_empty(), args.keep_volume) {
        (true, _) => format!("{name} is destroyed"),
        (false, true) => format!("{name} is destroyed; its data is kept"),
        (false, false) => format!("{name} is destroyed; its data is kept, as the destroy before this one had said"),
    });
    match left {
        Ok(Left { count: 1.., why }) => {
            let left = Failure::new(Kind::TailnetLeft, format!("{name} could not be taken off the tailnet yet"));
            Err(Failure { facts: why, ..left }.hint(if broker.is_some() {
                "that is tried again every quarter of an hour; `journalctl -u devboxd` says why"
            } else {
                "`devboxes-tend.timer` of yours tries it again every few minutes"
            }))
        }
        // Whether a device is left is then unknown, and the timer's to find out.
        Err(why) => Err(Failure { kind: Kind::TailnetLeft, ..Failure::from(why) }),
        Ok(_) => Ok(()),
    }
}

/// Asked before anything is connected to, and before signals are caught: Ctrl-C at the question just ends it.
fn confirm(args: &Args, name: &BoxName) -> Result<(), Failure> {
    entry(&Account::current()?, name).ok_or_else(|| Failure::no_such_box(name))?;
    let data = if args.keep_volume { "Its data is kept." } else { "Its data in /home/dev is deleted for good." };
    match ask::yes(&format!("Destroy {name}? {data}")) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(Kind::Interrupted, "not destroyed")),
        None => Err(Failure::new(Kind::InvalidInput, "destroy asks first, and there is no terminal to ask on")
            .hint(format!("`devbox-ctl destroy --yes {name}`"))),
    }
}

fn half_done(session: &Session, name: &BoxName, failure: Failure) -> Failure {
    match entry(&session.host.account, name).and_then(|e| e.pending) {
        Some(Pending::Destroy { .. }) => {
            failure.fact(format!("{name} is half destroyed; the next command that changes something goes on with it"))
        }
        _ => failure,
    }
}
