//! `start NAME…`.

use super::error::{Failure, Kind};
use super::output::Output;
use super::session::{Names, Session, each};
use super::view::State;
use crate::host::{Entry, Held, Pending};
use crate::plan;
use crate::quadlet;

/// Start stopped boxes and wait until they are ready
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl start api web")]
pub(super) struct Args {
    #[command(flatten)]
    names: Names,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    each(&args.names, out, |session, held| {
        let entry = whole(&held)?;
        let name = entry.name.clone();
        let unit = quadlet::names::service(&name);
        let units = session.host.systemd.states(&unit)?;
        // One that is starting is waited for: systemd joins both jobs.
        if State::of_unit(units.get(&unit)) == State::Running {
            return Err(Failure::new(Kind::AlreadySo, format!("{name} is running already"))
                .hint(format!("`devbox-ctl restart {name}` starts it anew")));
        }
        let plan = plan::start(&name, loaded(session, entry)?, entry.stopped.is_some());
        session.apply(&plan, held.into())?;
        out.remark(&format!("{name} is running"));
        Ok(())
    })
}

/// A box whose folder is whole; a damaged one is not started.
pub(super) fn whole(held: &Held) -> Result<&Entry, Failure> {
    let entry = &held.entry;
    match &entry.spec {
        Ok(_) => Ok(entry),
        Err(trouble) => Err(Failure::new(Kind::Backend, format!("{} is broken: {trouble}", entry.name))
            .fact(format!("its folder is {}", entry.folder.display()))
            .hint(format!("`devbox-ctl destroy --keep-volume {}` keeps its data; create it again", entry.name))),
    }
}

/// Whether systemd has read the units that are in the folder now.
pub(super) fn loaded(session: &Session, entry: &Entry) -> Result<bool, Failure> {
    if matches!(entry.pending, Some(Pending::Create)) {
        return Ok(false);
    }
    Ok(session.host.systemd.has_unit_file(&quadlet::names::service(&entry.name))?)
}
