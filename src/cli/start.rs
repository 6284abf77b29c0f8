//! `start NAME…`.

use super::error::{Failure, Kind};
use super::output::Output;
use super::session::{Names, Session, each};
use super::view::State;
use crate::host::{Entry, Pending};
use crate::plan;
use crate::quadlet;
use crate::spec::BoxName;

/// Start stopped boxes and wait until they are ready
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl start api web")]
pub(super) struct Args {
    #[command(flatten)]
    names: Names,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    each(&args.names, out, |session, name| {
        let entry = whole(session, name)?;
        let unit = quadlet::names::service(name);
        let units = session.host.systemd.states(&unit)?;
        // One that is starting is waited for: systemd joins both jobs.
        if State::of_unit(units.get(&unit)) == State::Running {
            return Err(Failure::new(Kind::AlreadySo, format!("{name} is running already"))
                .hint(format!("`devbox-ctl restart {name}` starts it anew")));
        }
        session.apply(&plan::start(name, loaded(session, &entry)?, entry.stopped.is_some()), None)?;
        out.remark(&format!("{name} is running"));
        Ok(())
    })
}

/// A box whose folder is whole; a damaged one is not started.
pub(super) fn whole(session: &Session, name: &BoxName) -> Result<Entry, Failure> {
    let entry = session.entry(name)?;
    match &entry.spec {
        Ok(_) => Ok(entry),
        Err(trouble) => Err(Failure::new(Kind::Backend, format!("{name} is broken: {trouble}"))
            .fact(format!("its folder is {}", entry.folder.display()))
            .hint(format!("`devbox-ctl destroy --keep-volume {name}` keeps its data; create it again"))),
    }
}

/// Whether systemd has read the units that are in the folder now.
pub(super) fn loaded(session: &Session, entry: &Entry) -> Result<bool, Failure> {
    if matches!(entry.pending, Some(Pending::Create)) {
        return Ok(false);
    }
    Ok(session.host.systemd.has_unit_file(&quadlet::names::service(&entry.name))?)
}
