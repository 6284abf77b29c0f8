//! `restore NAME`.

use std::time::Instant;

use super::create::{no_image, refused, show};
use super::error::{Failure, Kind};
use super::output::Output;
use super::session::{Session, half_destroyed};
use super::start::why_stopped;
use super::{ssh_config, tailnet};
use crate::host::{self, Pending, box_names, observe, volumes};
use crate::plan::{self, Plan, RestoreRequest};
use crate::policy::limits::{self, Request};
use crate::spec::{BoxName, BoxSpec};

/// Bring a destroyed box back out of the trash, and start it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  devbox-ctl trash\n  devbox-ctl restore my-project")]
pub(super) struct Args {
    name: String,
    /// Bring it back, but do not start it
    #[arg(long)]
    no_start: bool,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let begun = Instant::now();
    let name: BoxName = args.name.parse()?;
    let session = Session::begin(out, None)?;
    if host::entry(&session.host.account, &name).is_some() {
        let failure = Failure::new(Kind::AlreadySo, format!("{name} is a box, and not in the trash"));
        return Err(failure.hint(format!("`devbox-ctl status {name}` shows it")));
    }
    // The box before the account: whoever is at work on it may be so for a minute, and nobody else is to wait for that.
    let held = session.hold_trashed(&name)?;
    if held.entry.pending.is_some() && !matches!(held.entry.pending, Some(Pending::Create { .. })) {
        return Err(half_destroyed(&name));
    }
    if !held.entry.gone.is_empty() {
        volumes::look(&held.entry, &session.host.podman)?;
    }
    let spec = match &held.entry.spec {
        Ok(spec) => spec.clone(),
        Err(trouble) => {
            return Err(Failure::new(Kind::Backend, format!("{name} is broken: {trouble}"))
                .fact(format!("its folder is {}", held.entry.folder.display()))
                .hint(format!("`devbox-ctl destroy --keep-volume {name}` keeps its data; create it again")));
        }
    };
    let admission = session.host.admission(&name)?;
    let plan = decide(&session, &spec, args, why_stopped(&held.entry))?;
    session.apply(&plan, (held, admission).into()).map_err(|failure| {
        let is_there = host::trashed_entry(&session.host.account, &name).is_some();
        if is_there { failure.fact(format!("{name} stays in the trash")) } else { failure }
    })?;
    ssh_config::refresh(&session.host);
    let stands = if args.no_start { None } else { tailnet::settle(&session.host, &name, spec.tailnet, out)? };
    show(&session, &spec, begun, args.no_start, stands.as_ref())?;
    if let Some(stands) = stands.filter(|s| !tailnet::is_on(s)) {
        out.warning(&tailnet::off(&name, &stands).text());
    }
    Ok(())
}

/// The same questions as at `create`, but for what is the box's own.
fn decide(session: &Session, spec: &BoxSpec, args: &Args, marked: Option<&str>) -> Result<Plan, Failure> {
    let settings = host::settings()?;
    let account = &session.host.account;
    let has_broker = session.host.broker()?.is_some();
    let request = Request { owner: &account.user, name: &spec.name, cpu: spec.cpu, memory: spec.memory };
    match limits::admit(request, &box_names(account)?, &settings) {
        Err(refusal) if !has_broker => return Err(refused(session, refusal)),
        // The broker says it, and notes it.
        _ => {}
    }
    if !args.no_start {
        host::mounts::look(&spec.mounts).map_err(|e| {
            Failure::from(e).hint("put that back; or `--no-start` brings the box back without starting it")
        })?;
    }
    let observed = observe::observe(&session.host, spec)?;
    if let Some(clash) = observed.clash {
        return Err(Failure::new(Kind::Exists, format!("there is already {clash}"))
            .hint("nothing was changed; remove or rename that, and restore it then"));
    }
    if !observed.image {
        return Err(no_image(spec));
    }
    let ask = has_broker.then_some((spec.cpu, spec.memory));
    Ok(plan::restore(RestoreRequest { name: &spec.name, start: !args.no_start, marked, ask }))
}
