//! `why NAME`: what keeps a box awake, or what will stop it.

use jiff::Timestamp;
use serde::Serialize;

use super::error::Failure;
use super::output::{self, Output};
use super::view::State;
use crate::host::life::{self, Outlook};
use crate::host::systemd::Systemd;
use crate::host::{self, Account, Entry, entry, trashed_entry};
use crate::policy::life::activity::Kind;
use crate::policy::life::book::Record;
use crate::policy::life::{Act, Decision, Held, Phase, Work};
use crate::quadlet::names;
use crate::spec::BoxName;

/// Show what keeps a box awake, and what will happen to it, when, and how to prevent that
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl why my-project")]
pub(super) struct Args {
    name: String,
}

/// The same for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    name: BoxName,
    phase: Phase,
    idle_seconds: Option<u64>,
    /// `stop`, `trash`, `empty` or `reclaim`; null where nothing comes by itself.
    next: Option<Act>,
    next_at: Option<Timestamp>,
    held: Option<Held>,
    kept_awake_until: Option<Timestamp>,
    kept_awake_reason: Option<String>,
    evidence: Vec<Shown>,
    work: Work,
}

#[derive(Debug, Serialize)]
struct Shown {
    kind: Kind,
    when: Timestamp,
    detail: String,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let account = Account::current()?;
    let entry = entry(&account, &name).or_else(|| trashed_entry(&account, &name));
    let entry = entry.ok_or_else(|| Failure::no_such_box(&name))?;
    let settings = host::settings()?;
    // As it is at this moment; only the timer writes down what it sees.
    let book = life::at_this_moment(&account)?;
    let owner = settings.owner(&account.user);
    let outlook = life::outlook(&book, &entry, owner, life::is_trash_full(&account, owner)?);
    if out.json {
        output::json(&told(&outlook));
    } else {
        output::raw(&text(&outlook, host::now()));
        if outlook.phase == Phase::Other {
            let unit = names::service(&name);
            let units = Systemd::connect(&account)?.states(&unit)?;
            output::raw(&at_rest(&entry, State::of(&entry, units.get(&unit))));
        }
    }
    Ok(())
}

fn told(outlook: &Outlook) -> Told {
    let record = outlook.record.as_ref();
    let evidence = record.map(Record::evidence).unwrap_or_default();
    let next = outlook.decision.next;
    let lease = record.and_then(Record::lease);
    Told {
        name: outlook.name.clone(),
        phase: outlook.phase,
        idle_seconds: record.and_then(Record::idle),
        next: next.map(|(act, _)| act),
        next_at: next.and_then(|(_, left)| life::in_seconds(left)),
        held: outlook.decision.held,
        kept_awake_until: lease.and_then(|_| life::in_seconds(outlook.lease)),
        kept_awake_reason: lease.map(|l| l.reason.clone()),
        evidence: evidence.iter().map(|e| Shown { kind: e.kind, when: e.when, detail: e.detail.clone() }).collect(),
        work: record.map_or(Work::Unknown, |r| r.found.work),
    }
}

fn text(outlook: &Outlook, now: Timestamp) -> String {
    let name = &outlook.name;
    let mut lines = vec![state(outlook)];
    let record = outlook.record.as_ref();
    if let Some(lease) = record.and_then(Record::lease) {
        lines.push(format!("  kept awake for {} more{}", output::ahead(outlook.lease), reason(&lease.reason)));
    }
    let evidence = record.map(Record::evidence).unwrap_or_default();
    if !evidence.is_empty() {
        lines.push("  evidence".to_owned());
    }
    for e in evidence {
        let ago = output::ago(now.as_second(), e.when.as_second());
        lines.push(format!("    {:<16}{}{}", ago, word(e.kind), reason(&e.detail)));
    }
    if let Some(found) = record.map(|r| &r.found).filter(|f| f.work == Work::Some) {
        lines.push(format!("  git work that is nowhere else: {}", found.text));
    }
    lines.push("  next".to_owned());
    lines.extend(coming(outlook).into_iter().map(|line| format!("    {line}")));
    if let Some(line) = prevents(outlook.decision, name) {
        lines.push(format!("  {line}"));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn state(outlook: &Outlook) -> String {
    let name = &outlook.name;
    match (outlook.phase, outlook.record.as_ref()) {
        (Phase::Running | Phase::RunsOn, Some(record)) if record.unseen => {
            format!("{name} runs, and whether it is used could not be seen at the last look")
        }
        (Phase::Running | Phase::RunsOn, Some(record)) => match record.idle() {
            Some(0) | None => format!("{name} is in use"),
            Some(idle) => format!("{name} runs, and nobody has used it for {}", output::span(idle)),
        },
        (Phase::Stopped, _) => format!("{name} is stopped"),
        (Phase::Destroyed | Phase::Trashed, _) => format!("{name} is in the trash"),
        _ => format!("nothing comes of {name} by itself"),
    }
}

/// What to do about a box of which no time is kept.
fn at_rest(entry: &Entry, state: State) -> String {
    let name = &entry.name;
    let lines = match state {
        State::Trashed => vec![format!("it is in the trash: `devbox-ctl restore {name}` brings it back")],
        State::Stopped => vec![
            "it does not run, and `devbox-ctl stop` did not stop it: it ended by itself, or its container was ended by hand"
                .to_owned(),
            format!("to start it: `devbox-ctl start {name}`; the next boot of the host does it too"),
        ],
        other => vec![format!("it is {}: `devbox-ctl status {name}` says more", other.word())],
    };
    lines.into_iter().map(|line| format!("  {line}\n")).collect()
}

/// What is going to happen, in the order of it.
fn coming(outlook: &Outlook) -> Vec<String> {
    let Some((act, left)) = outlook.decision.next else {
        return vec!["nothing, whatever time passes".to_owned()];
    };
    let date =
        life::in_seconds(left).map(|t| format!(" (about {})", t.strftime("%Y-%m-%d %H:%M UTC"))).unwrap_or_default();
    let what = match act {
        Act::Stop => "it is stopped",
        Act::Trash => "it goes to the trash, and its data stays in it",
        Act::Empty | Act::Reclaim => "it is deleted for good",
    };
    let mut lines = vec![format!("in {} {what}{date}", output::ahead(left))];
    match outlook.decision.held {
        Some(Held::TrashFull) => lines.push("but not while there is no place left in the trash".to_owned()),
        Some(Held::Work) => lines.push("but not while there may be work in it that is nowhere else".to_owned()),
        None => {}
    }
    let stages = outlook.terms.stages(act);
    let ahead: Vec<String> = stages.into_iter().filter(|stage| *stage < left).map(output::span).collect();
    if !ahead.is_empty() {
        lines.push(format!("you are told {} before", ahead.join(" and ")));
    }
    lines
}

fn prevents(decision: Decision, name: &BoxName) -> Option<String> {
    Some(match decision.next?.0 {
        Act::Stop => format!("to prevent it: use it, or `devbox-ctl keep-awake {name} --for 8h`"),
        Act::Trash => format!("to prevent it: `devbox-ctl start {name}`"),
        Act::Empty | Act::Reclaim => format!("to prevent it: `devbox-ctl restore {name}`"),
    })
}

/// A warning, as its owner reads it.
pub(super) fn notice(name: &BoxName, act: Act, left: u64) -> String {
    let left = output::ahead(left);
    let what = match act {
        Act::Stop => format!("nobody uses your box {name}; in {left} it is stopped, and its data stays"),
        Act::Trash => format!("your box {name} is stopped; in {left} it goes to the trash, and its data stays in it"),
        Act::Empty | Act::Reclaim => format!("your box {name} is in the trash; in {left} it is deleted for good"),
    };
    format!("{what}: `devbox-ctl why {name}`")
}

/// What `cleanup --dry-run` says of a box that is due.
pub(super) fn would(name: &BoxName, act: Act) -> String {
    match act {
        Act::Stop => format!("stop {name}"),
        Act::Trash => format!("move {name} to the trash"),
        Act::Empty | Act::Reclaim => format!("delete {name} for good"),
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Started => "started",
        Kind::Typed => "typed",
        Kind::Cpu => "computed",
        Kind::Io => "read and wrote",
        Kind::Network => "was connected to",
        Kind::Claimed => "said that it is at work",
        Kind::Busy => "busy, as your `busy` command says",
        Kind::Lease => "kept awake",
    }
}

fn reason(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

#[cfg(test)]
mod tests;
