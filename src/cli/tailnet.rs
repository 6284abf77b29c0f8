//! A box on the tailnet: how it stands, the key that comes late, and `rotate-key`.

use tracing::debug;

use super::error::{Failure, Kind};
use super::exec;
use super::output::Output;
use super::progress::Spinner;
use crate::host::podman::Podman;
use crate::host::systemd::Systemd;
use crate::host::{Account, Broker, Entry, Host, entries, entry, login};
use crate::policy::said::{Said, said, with_own_word};
use crate::quadlet::names;
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
    let has_tailnet = entry(&account, &name).is_some_and(|entry| has(&entry));
    let broker = Broker::connect()?.filter(|_| has_tailnet);
    let broker = broker.ok_or_else(|| none(&name))?;
    let spinner = Spinner::new(out);
    spinner.step("asking the broker for a key");
    if broker.tailnet(&name)?.state == "none" {
        return Err(none(&name));
    }
    // One that has lost its login would become a second device beside the one that it was.
    let lost = says(&Systemd::connect(&account)?, &name)? == Said::WantsKey;
    hand_in(&podman, &name, if lost { KEY_ANEW } else { KEY_ROTATED }, &broker)?;
    let stands = broker.tailnet(&name)?;
    drop(spinner);
    if !is_on(&stands) {
        return Err(off(&name, &stands));
    }
    out.remark(&format!("{name} has logged in anew{}", at(&stands)));
    Ok(())
}

/// How a box that has just started stands; one that was ready before its key came gets it now. `None`: no tailnet here.
pub(super) fn settle(host: &Host, name: &BoxName, out: Output) -> Result<Option<OnTailnet>, Failure> {
    let Some(broker) = host.broker()? else { return Ok(None) };
    let spinner = Spinner::new(out);
    if says(&host.systemd, name)? == Said::WantsKey {
        spinner.step("asking the broker for a key once more");
        // Without one the box goes on, and why is in how it stands.
        let _ = hand_in(&host.podman, name, KEY_ANEW, broker);
    }
    spinner.step("looking for the box on the tailnet");
    let stands = with_own_word(broker.tailnet(name)?, &says(&host.systemd, name)?);
    Ok(Some(stands).filter(|stands| stands.state != "none"))
}

/// What `start` and `restart` add: one that says that it is on the tailnet is not asked about.
pub(super) fn after_start(host: &Host, name: &BoxName, has_tailnet: bool, out: Output) -> Result<(), Failure> {
    if !has_tailnet || matches!(says(&host.systemd, name)?, Said::On(..)) {
        return Ok(());
    }
    let Some(stands) = settle(host, name, out)? else { return Ok(()) };
    if !is_on(&stands) {
        out.warning(&off(name, &stands).text());
    }
    Ok(())
}

/// Whether the box was made to be on this host's tailnet.
pub(super) fn has(entry: &Entry) -> bool {
    entry.spec.as_ref().is_ok_and(|spec| spec.tailnet == Tailnet::Broker)
}

/// Give boxes that wait for a tailnet key another try
#[derive(Debug, clap::Args)]
pub(super) struct TendArgs {}

/// What the owner's timer runs (systemd/devboxes-tend.timer): at a boot nobody is there to start a box again.
pub(super) fn tend(_: &TendArgs, out: Output) -> Result<(), Failure> {
    let account = Account::current()?;
    let boxes: Vec<Entry> = entries(&account)?.into_iter().filter(has).collect();
    if boxes.is_empty() {
        return Ok(());
    }
    let systemd = Systemd::connect(&account)?;
    let running = systemd.states(names::UNIT_PATTERN)?;
    for entry in boxes.iter().filter(|e| running.contains_key(&names::service(&e.name))) {
        if says(&systemd, &entry.name)? != Said::WantsKey {
            continue;
        }
        let Some(broker) = Broker::connect()? else { return Ok(()) };
        match hand_in(&Podman::of(&account, &systemd)?, &entry.name, KEY_ANEW, &broker) {
            Ok(()) => out.remark(&format!("{} got a key for the tailnet", entry.name)),
            // It is tried again in some minutes, and `status` says it: not a line of the journal each time.
            Err(why) => debug!("{}: {}", entry.name, why.message),
        }
    }
    Ok(())
}

pub(super) fn says(systemd: &Systemd, name: &BoxName) -> Result<Said, Failure> {
    let details = systemd.details(&[names::service(name)])?;
    Ok(details.first().map_or(Said::Nothing, |details| said(&details.status_text)))
}

/// Whether it is there, or all that can be known of it says so.
pub(super) fn is_on(stands: &OnTailnet) -> bool {
    matches!(stands.state.as_str(), "on" | "given")
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
