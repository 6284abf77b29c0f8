//! A box on the tailnet: how it stands, the key that comes late, and `rotate-key`.

use super::error::{Failure, Kind};
use super::exec;
use super::output::Output;
use super::progress::Spinner;
use crate::host::podman::Podman;
use crate::host::{Broker, Host, entry, login};
use crate::spec::{BoxName, BoxSpec, Tailnet};
use crate::wire::{KEY_ANEW, KEY_ROTATED, OnTailnet};

/// Give a box another key for its tailnet login, in place
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl rotate-key my-project")]
pub(super) struct RotateArgs {
    name: String,
}

pub(super) fn rotate(args: &RotateArgs, out: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let (account, podman) = exec::running(&name)?;
    let by = entry(&account, &name).and_then(|e| e.spec.ok()).map(|spec| spec.tailnet);
    let broker = Broker::connect()?.filter(|_| by == Some(Tailnet::Broker));
    let broker = broker.ok_or_else(|| none(&name))?;
    let spinner = Spinner::new(out);
    spinner.step("asking the broker for a key");
    if broker.tailnet(&name)?.state == "none" {
        return Err(none(&name));
    }
    hand_in(&podman, &name, KEY_ROTATED, &broker)?;
    let stands = broker.tailnet(&name)?;
    drop(spinner);
    match stands.state.as_str() {
        "on" | "given" => out.remark(&format!("{name} has logged in anew{}", at(&stands))),
        _ => return Err(off(&name, &stands)),
    }
    Ok(())
}

/// How a box that has just started stands; one that was ready before its key came gets it now. `None`: no tailnet here.
pub(super) fn settle(host: &Host, name: &BoxName, out: Output) -> Result<Option<OnTailnet>, Failure> {
    let Some(broker) = host.broker()? else { return Ok(None) };
    let spinner = Spinner::new(out);
    spinner.step("looking for the box on the tailnet");
    let stands = broker.tailnet(name)?;
    match stands.state.as_str() {
        "none" => return Ok(None),
        "absent" | "unknown" => {}
        _ => return Ok(Some(stands)),
    }
    spinner.step("asking the broker for a key once more");
    if hand_in(&host.podman, name, KEY_ANEW, broker).is_err() {
        // The box goes on without it, and why is in how it stands.
        return Ok(Some(broker.tailnet(name)?));
    }
    Ok(Some(broker.tailnet(name)?))
}

fn hand_in(podman: &Podman, name: &BoxName, id: &str, broker: &Broker) -> Result<(), Failure> {
    match login::key(name, id)? {
        Some(key) => Ok(podman.hand_in_key(name, &key)?),
        None => Err(off(name, &broker.tailnet(name)?)),
    }
}

/// What `create` adds to how a box is reached.
pub(super) fn lines(spec: &BoxSpec, stands: &OnTailnet) -> String {
    let host = if stands.hostname.is_empty() { spec.name.as_str() } else { &stands.hostname };
    let mut lines = format!("\n  tailnet  ssh dev@{host}{}\n           code-server http://{host}:8080", at(stands));
    if spec.with_syncthing {
        lines.push_str(&format!("\n           syncthing tcp://{host}:22000, of /home/dev/sync"));
    }
    lines
}

/// Why it is not on the tailnet.
pub(super) fn off(name: &BoxName, stands: &OnTailnet) -> Failure {
    let is_known = !stands.trouble.is_empty();
    let why = if is_known { stands.trouble.clone() } else { "the box has not logged in yet".to_owned() };
    let kind = if is_known { Kind::Provider } else { Kind::Tailnet };
    let hint = if stands.hint.is_empty() {
        format!("`devbox-ctl logs {name}` says what it tries; it goes on trying")
    } else {
        stands.hint.clone()
    };
    Failure::new(kind, format!("{name} is not on the tailnet: {why}")).hint(hint)
}

fn at(stands: &OnTailnet) -> String {
    stands.addresses.first().map(|address| format!(" ({address})")).unwrap_or_default()
}

fn none(name: &BoxName) -> Failure {
    Failure::new(Kind::InvalidInput, format!("{name} is not on a tailnet"))
        .hint("this host has none, or the box was made before it had: docs/tailnet.md")
}
