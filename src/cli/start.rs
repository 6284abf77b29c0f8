//! `start NAME…`.

use super::error::{Failure, Kind};
use super::output::Output;
use super::session::{Names, Session, each};
use super::tailnet;
use super::view::State;
use crate::host::{self, BY_OWNER, Entry, Held, Pending, health, volumes};
use crate::plan::{self, StartRequest};
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
        let entry = whole(session, &held)?;
        let (name, made) = (entry.name.clone(), tailnet::of(entry));
        let unit = quadlet::names::service(&name);
        let units = session.host.systemd.states(&unit)?;
        // One that is starting is waited for: systemd joins both jobs.
        if State::of_unit(units.get(&unit)) == State::Running {
            // A stop that was cut short, or that it did not follow, is not to be gone on with.
            if entry.stopped.is_some() {
                session.apply(&plan::run_on(&name), held.into())?;
            }
            return Err(Failure::new(Kind::AlreadySo, format!("{name} is running already"))
                .hint(format!("`devbox-ctl restart {name}` starts it anew")));
        }
        let joins = State::of_unit(units.get(&unit)) == State::Starting;
        let plan = plan::start(StartRequest { joins, ..request(session, entry, true)? });
        session.apply(&plan, held.into())?;
        out.remark(&format!("{name} is running"));
        tailnet::after_start(&session.host, &name, made, out)
    })
}

/// A box whose folder is whole; a damaged one is not started.
pub(super) fn whole<'a>(session: &Session, held: &'a Held) -> Result<&'a Entry, Failure> {
    let entry = &held.entry;
    match &entry.spec {
        Ok(_) if entry.gone.is_empty() => Ok(entry),
        // Not where they were; podman may keep them elsewhere by now.
        Ok(_) => Ok(volumes::look(entry, &session.host.podman).map(|_| entry)?),
        Err(trouble) => Err(Failure::new(Kind::Backend, format!("{} is broken: {trouble}", entry.name))
            .fact(format!("its folder is {}", entry.folder.display()))
            .hint(format!("`devbox-ctl destroy --keep-volume {}` keeps its data; create it again", entry.name))),
    }
}

/// What its mark says, where there is one.
pub(super) fn why_stopped(entry: &Entry) -> Option<&str> {
    entry.stopped.as_ref().map(|mark| mark.why.as_deref().unwrap_or(BY_OWNER))
}

/// What a start of the box is decided from; `ask`: whether the host must have room for it.
pub(super) fn request<'a>(session: &Session, entry: &'a Entry, ask: bool) -> Result<StartRequest<'a>, Failure> {
    health::locks(&session.host.account)?;
    if let Ok(spec) = &entry.spec {
        host::mounts::look(&spec.mounts)?;
    }
    let creating = matches!(entry.pending, Some(Pending::Create { .. }));
    // Whether systemd has read the units that are in the folder now.
    let loaded = !creating && session.host.systemd.has_unit_file(&quadlet::names::service(&entry.name))?;
    let sizes = entry.spec.as_ref().ok().map(|spec| (spec.cpu, spec.memory));
    let ask = if (ask || creating) && session.host.broker()?.is_some() { sizes } else { None };
    Ok(StartRequest { name: &entry.name, loaded, marked: why_stopped(entry), creating, ask, joins: false })
}
