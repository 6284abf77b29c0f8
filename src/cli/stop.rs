//! `stop NAME…`.

use super::error::{Failure, Kind};
use super::output::Output;
use super::session::{Names, each};
use super::view::State;
use crate::host::BY_OWNER;
use crate::plan;
use crate::quadlet;

/// Stop boxes; they stay stopped over a reboot, and their data stays
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl stop my-project")]
pub(super) struct Args {
    #[command(flatten)]
    names: Names,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    each(&args.names, out, |session, held| {
        let name = held.entry.name.clone();
        let unit = quadlet::names::service(&name);
        let units = session.host.systemd.states(&unit)?;
        // Failed and never marked: a reboot would start it, so there is something to stop.
        let at_rest = State::of_unit(units.get(&unit)) == State::Stopped;
        if at_rest && held.entry.stopped.is_some() {
            return Err(Failure::new(Kind::AlreadySo, format!("{name} is stopped already")));
        }
        session.apply(&plan::stop(&name, BY_OWNER), held.into())?;
        out.remark(&format!("{name} is stopped"));
        Ok(())
    })
}
