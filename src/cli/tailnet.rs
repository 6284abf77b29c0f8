//! A box on the tailnet: how it stands, the key that comes late, and `rotate-key`.

use std::time::{Duration, Instant};

use tracing::debug;

use super::error::{Failure, Kind};
use super::exec;
use super::output::Output;
use super::progress::Spinner;
use crate::host::podman::Podman;
use crate::host::systemd::Systemd;
use crate::host::{Account, Broker, Entry, Host, Keeper, entries, entry, own, tidy};
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
    let made = entry(&account, &name).map_or(Tailnet::None, |entry| of(&entry));
    let keeper = keeper(&account, made)?.ok_or_else(|| none(&name))?;
    let spinner = Spinner::new(out);
    spinner.step(&format!("asking {} for a key", keeper.word()));
    if keeper.stands(&name)?.state == "none" {
        return Err(none(&name));
    }
    // One that has lost its login would become a second device beside the one that it was.
    let systemd = Systemd::connect(&account)?;
    let lost = says(&systemd, &name)? == Said::WantsKey;
    hand_in(&podman, &name, if lost { KEY_ANEW } else { KEY_ROTATED }, &keeper)?;
    if lost {
        // The key is replaced, whatever becomes of this.
        let _ = await_new_status(&systemd, &name);
    }
    let stands = keeper.stands(&name)?;
    drop(spinner);
    if !is_on(&stands) {
        return Err(off(&name, &stands));
    }
    out.remark(&format!("{name} has logged in anew{}", at(&stands)));
    Ok(())
}

/// How a box that has just started stands; one that was ready before its key came gets it now. `None`: no tailnet here.
pub(super) fn settle(host: &Host, name: &BoxName, made: Tailnet, out: Output) -> Result<Option<OnTailnet>, Failure> {
    let Some(keeper) = Keeper::of(&host.account, made, host.broker()?.cloned())? else { return Ok(None) };
    let spinner = Spinner::new(out);
    if says(&host.systemd, name)? == Said::WantsKey {
        spinner.step(&format!("asking {} for a key once more", keeper.word()));
        // Without one the box goes on, and why is in how it stands.
        if hand_in(&host.podman, name, KEY_ANEW, &keeper).is_ok() {
            await_new_status(&host.systemd, name)?;
        }
    }
    spinner.step("looking for the box on the tailnet");
    let stands = with_own_word(keeper.stands(name)?, &says(&host.systemd, name)?);
    Ok(Some(stands).filter(|stands| stands.state != "none"))
}

/// What `start` and `restart` add: one that says that it is on the tailnet is not asked about.
pub(super) fn after_start(host: &Host, name: &BoxName, made: Tailnet, out: Output) -> Result<(), Failure> {
    if made == Tailnet::None || matches!(says(&host.systemd, name)?, Said::On(..)) {
        return Ok(());
    }
    let stands = match settle(host, name, made, out) {
        // The box runs all the same.
        Err(wrong) if made == Tailnet::Own && wrong.kind == Kind::InvalidInput => {
            out.warning(&wrong.text());
            return Ok(());
        }
        other => other?,
    };
    let Some(stands) = stands else { return Ok(()) };
    if !is_on(&stands) {
        out.warning(&off(name, &stands).text());
    }
    Ok(())
}

/// Whether the box was made to be on a tailnet, and on whose.
pub(super) fn of(entry: &Entry) -> Tailnet {
    entry.spec.as_ref().map_or(Tailnet::None, |spec| spec.tailnet)
}

/// Who knows about it, for a box that was made so.
pub(super) fn keeper(account: &Account, made: Tailnet) -> Result<Option<Keeper>, Failure> {
    let broker = if made == Tailnet::None { None } else { Broker::connect()? };
    Ok(Keeper::of(account, made, broker)?)
}

/// Answer a box that asks for its way onto the owner's tailnet
#[derive(Debug, clap::Args)]
pub(super) struct AnswerArgs {}

/// What the owner's socket runs (systemd/devboxes-login.socket), its connection as standard input.
pub(super) fn answer(_: &AnswerArgs, out: Output) -> Result<(), Failure> {
    own::answer()?.iter().for_each(|text| out.warning(text));
    Ok(())
}

/// Give boxes that wait for a tailnet key another try
#[derive(Debug, clap::Args)]
pub(super) struct TendArgs {}

/// What the owner's timer runs (systemd/devboxes-tend.timer): at a boot nobody is there to start a box again.
pub(super) fn tend(_: &TendArgs, out: Output) -> Result<(), Failure> {
    let account = Account::current()?;
    tidy_own(&account)?;
    let boxes: Vec<Entry> = entries(&account)?.into_iter().filter(|e| of(e) != Tailnet::None).collect();
    if boxes.is_empty() {
        return Ok(());
    }
    let systemd = Systemd::connect(&account)?;
    let running = systemd.states(names::UNIT_PATTERN)?;
    for entry in boxes.iter().filter(|e| running.contains_key(&names::service(&e.name))) {
        if says(&systemd, &entry.name)? != Said::WantsKey {
            continue;
        }
        let Some(keeper) = keeper(&account, of(entry))? else { continue };
        match hand_in(&Podman::of(&account, &systemd)?, &entry.name, KEY_ANEW, &keeper) {
            Ok(()) => out.remark(&format!("{} got a key for the tailnet", entry.name)),
            // It is tried again in some minutes, and `status` says it: not a line of the journal each time.
            Err(why) => debug!("{}: {}", entry.name, why.message),
        }
    }
    Ok(())
}

/// Where a broker has a timer of its own for devices of boxes that are gone, an owner has this one.
fn tidy_own(account: &Account) -> Result<(), Failure> {
    if Broker::connect()?.is_none() {
        let left = tidy(account, None)?;
        left.why.iter().for_each(|why| debug!("{why}"));
    }
    Ok(())
}

pub(super) fn says(systemd: &Systemd, name: &BoxName) -> Result<Said, Failure> {
    let texts = systemd.status_texts(&[names::service(name)])?;
    Ok(texts.first().map_or(Said::Nothing, |text| said(text)))
}

/// Waits, two seconds at most, until systemd has the STATUS= of a box that has logged in with a late key. conmon(8)
/// passes it on, on a busy host only after the command in the box has ended.
fn await_new_status(systemd: &Systemd, name: &BoxName) -> Result<(), Failure> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begun = Instant::now();
    while says(systemd, name)? == Said::WantsKey && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether it is there, or all that can be known of it says so.
pub(super) fn is_on(stands: &OnTailnet) -> bool {
    matches!(stands.state.as_str(), "on" | "given")
}

fn hand_in(podman: &Podman, name: &BoxName, id: &str, keeper: &Keeper) -> Result<(), Failure> {
    match keeper.key(name, id)? {
        Some(key) => Ok(podman.hand_in_key(name, &key)?),
        None => Err(off(name, &keeper.stands(name)?)),
    }
}

/// What `create` adds to how a box is reached.
pub(super) fn lines(spec: &BoxSpec, stands: &OnTailnet) -> String {
    let host = if stands.hostname.is_empty() { spec.name.as_str() } else { &stands.hostname };
    let mut lines = format!("\n  tailnet  ssh dev@{host}{}", at(stands));
    lines.push_str(&format!("\n           http://{host}:8080 (code-server)\n           zed ssh://dev@{host}/home/dev"));
    if spec.with_syncthing {
        lines.push_str(&format!("\n           tcp://{host}:22000 (Syncthing, of /home/dev/sync)"));
        lines.push_str(&format!("\n           http://{host}:8384 (its page)"));
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
        .hint("there is none here, or the box was made before there was: docs/tailnet.md")
}
