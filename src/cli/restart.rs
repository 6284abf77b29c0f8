//! `restart NAME…`.

use super::error::Failure;
use super::output::Output;
use super::session::{Names, each};
use super::start::{request, whole};
use super::tailnet;
use super::view::State;
use crate::plan;
use crate::quadlet::names;

/// Restart boxes, or start those that are stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl restart my-project")]
pub(super) struct Args {
    #[command(flatten)]
    names: Names,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    each(&args.names, out, |session, held| {
        let entry = whole(session, &held)?;
        let (name, made) = (entry.name.clone(), tailnet::of(entry));
        let unit = names::service(&name);
        let runs = State::of_unit(session.host.systemd.states(&unit)?.get(&unit)) == State::Running;
        let plan = plan::restart(request(session, entry, !runs)?);
        session.apply(&plan, held.into())?;
        out.remark(&format!("{name} is running"));
        tailnet::after_start(&session.host, &name, made, out)
    })
}
