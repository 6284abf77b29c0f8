//! What devboxd decides: one request at a time, over the ledger, the settings and what the kernel says.

pub(super) mod admission;
pub(super) mod login;
pub(super) mod warn;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::ledger::warnings::Waiting;
use super::ledger::{Held, Ledger, Reported, Timers};
use super::rules::{Names, Rules};
use super::{probe, reconcile};
use crate::policy::host::Free;
use crate::settings::{self, TailnetSettings};
use crate::spec::BoxName;
use crate::tailnet::book::{Departed, Facts};
use crate::wire::{self, AuditLine, Finding, LedgerBox, OwnerUse, Refused, Why};

use admission::Wanted;
use login::LoginRequest;
use warn::{Told, WarnRequest};

/// How long a reservation holds: longer than the longest start.
pub(super) const RESERVED_FOR: i64 = 600;
/// Calls that leave a line in the audit trail, a day and a caller; so nobody can fill the disk with them.
pub(super) const MOST_CALLS: u32 = 3000;
/// Keys, a day and an owner: what a provider counts, it counts of all owners together.
pub(super) const MOST_KEYS: u32 = 200;
/// Boxes in one report.
const MOST_REPORTED: usize = 1000;

/// Who asks, by the bus's word.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) uid: u32,
    pub(super) pid: u32,
    /// /proc/PID/comm at the time: the process may call itself what it likes.
    pub(super) program: String,
    /// polkit said that this caller may administer.
    pub(super) authorized: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Request {
    Reserve {
        name: String,
        cpu_millis: u32,
        memory_bytes: u64,
        start: bool,
    },
    Commit {
        name: String,
    },
    Release {
        name: String,
    },
    Trash {
        name: String,
    },
    Restore {
        name: String,
        cpu_millis: u32,
        memory_bytes: u64,
        start: bool,
    },
    Start {
        name: String,
        memory_bytes: u64,
    },
    Report {
        boxes: Vec<(String, u32, u64, bool)>,
        disk_bytes: u64,
        sampled: i64,
        cleaned: i64,
    },
    /// For the administrator's command.
    Warn(Told),
    /// Whether that command takes what it is told; with `test`, something to try it with.
    Hook {
        test: bool,
    },
    Warnings(WarnRequest),
    Boxes {
        all: bool,
        after: String,
    },
    Limits,
    Audit {
        since: i64,
        owner: String,
        most: u32,
    },
    Reconcile {
        fix: bool,
    },
    Act {
        verb: String,
        owner: String,
        name: String,
    },
    /// An administrator takes a name from its owner.
    Evict {
        owner: String,
        name: String,
    },
    Status,
    /// How many boxes may start at once.
    Starting,
    Login(LoginRequest),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Done,
    Boxes(Vec<LedgerBox>),
    Uses(Vec<OwnerUse>),
    Audit(Vec<AuditLine>),
    Findings(Vec<Finding>),
    Uid(u32),
    Status(bool, String),
    Starting(Option<u32>),
    Login(Box<Facts>),
    Departed(Vec<Departed>, TailnetSettings),
    Document(String),
    Waiting(Option<Waiting>),
}

/// What is seen of the host beside the ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) now: i64,
    pub(super) free: Option<Free>,
    running: OnceCell<BTreeSet<(u32, String)>>,
}

impl Seen {
    pub(super) fn at(now: i64, free: Option<Free>) -> Self {
        Self { now, free, running: OnceCell::new() }
    }

    #[cfg(test)]
    fn with(now: i64, running: &[(u32, &str)]) -> Self {
        let running: BTreeSet<_> = running.iter().map(|(uid, name)| (*uid, (*name).to_owned())).collect();
        Self { now, free: None, running: OnceCell::from(running) }
    }

    /// Looked at only by who needs it: owners can make it long.
    pub(super) fn running(&self) -> &BTreeSet<(u32, String)> {
        self.running.get_or_init(probe::running)
    }
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) rules: Rules,
    pub(super) names: Names,
}

type Verdict = Result<Answer, Refused>;

impl Request {
    /// The word for the audit trail; none for what changes nothing.
    fn verb(&self) -> Option<&str> {
        match self {
            Self::Reserve { .. } => Some("reserve"),
            Self::Commit { .. } => Some("create"),
            // The name, and with it the box: of a trashed one or of one that was not.
            Self::Release { .. } => Some("release"),
            Self::Trash { .. } => Some("trash"),
            Self::Restore { .. } => Some("restore"),
            Self::Start { .. } => Some("start"),
            Self::Act { verb, .. } => Some(verb),
            Self::Evict { .. } => Some("evict"),
            Self::Reconcile { fix: true } => Some("reconcile"),
            Self::Warn(_) => Some("warn"),
            Self::Hook { test: true } => Some("warn --test"),
            Self::Login(LoginRequest::Given { .. }) => Some("key"),
            _ => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Reserve { name, .. }
            | Self::Commit { name }
            | Self::Release { name }
            | Self::Trash { name }
            | Self::Restore { name, .. }
            | Self::Start { name, .. }
            | Self::Act { name, .. }
            | Self::Evict { name, .. } => name,
            Self::Login(LoginRequest::Given { row }) => &row.name,
            Self::Warn(told) => &told.name,
            _ => "",
        }
    }

    pub(super) fn is_for_administrators(&self) -> bool {
        matches!(
            self,
            Self::Boxes { all: true, .. }
                | Self::Limits
                | Self::Audit { .. }
                | Self::Reconcile { .. }
                | Self::Act { .. }
                | Self::Evict { .. }
                | Self::Status
                | Self::Hook { .. }
        )
    }
}

impl Desk {
    /// Decides and writes, the audit line included. An error is the ledger's; then nothing was written.
    pub(super) fn answer(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        request: &Request,
        seen: &Seen,
    ) -> rusqlite::Result<Verdict> {
        self.rules.refresh(ledger)?;
        // Nobody is to be told: nothing is looked at, and nothing is written.
        if matches!(request, Request::Warn(_)) && !self.has_hook() {
            return Ok(Ok(Answer::Done));
        }
        // To give back is always allowed: it is bounded by what was reserved.
        if request.verb().is_some()
            && !matches!(request, Request::Release { .. } | Request::Evict { .. })
            && caller.uid != 0
            && ledger.calls_since(caller.uid, seen.now - 86_400)? >= MOST_CALLS
        {
            return Ok(Err(Refused::new(Why::TooMany, format!("that is more than {MOST_CALLS} changes in a day"))));
        }
        let verdict = self.decide(ledger, caller, request, seen)?;
        if let Some(verb) = request.verb() {
            let owner = match request {
                Request::Act { owner, .. } | Request::Evict { owner, .. } => Names::uid(owner).unwrap_or(caller.uid),
                _ => caller.uid,
            };
            let line = AuditLine {
                at: seen.now,
                caller: String::new(),
                pid: caller.pid,
                program: plain(&caller.program, 16),
                verb: plain(verb, 16),
                owner: String::new(),
                // What is no name is not written: it could be anything, and any length.
                name: request.name().parse::<BoxName>().map_or_else(|_| String::new(), |name| name.to_string()),
                outcome: verdict.as_ref().map_or_else(|refused| refused.why.word(), |_| "allowed").to_owned(),
            };
            ledger.write_audit(caller.uid, owner, &line)?;
        }
        Ok(verdict)
    }

    fn decide(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        request: &Request,
        seen: &Seen,
    ) -> rusqlite::Result<Verdict> {
        if request.is_for_administrators() && !self.is_admin(caller) {
            return Ok(Err(Refused::new(Why::NotAllowed, "only administrators may do this")
                .hint("root, or an owner with `admin = true` in /etc/devbox/users.toml")));
        }
        match request {
            Request::Reserve { name, cpu_millis, memory_bytes, start } => {
                self.admit(ledger, caller, Wanted::New, (name, *cpu_millis, *memory_bytes), *start, seen)
            }
            Request::Restore { name, cpu_millis, memory_bytes, start } => {
                self.admit(ledger, caller, Wanted::Back, (name, *cpu_millis, *memory_bytes), *start, seen)
            }
            Request::Trash { name } => self.trash(ledger, caller, name, seen),
            Request::Commit { name } => Ok(match ledger.holder(name)? {
                Some(held) if held.uid == caller.uid && held.trashed.is_none() => {
                    ledger.put(&Held { expires: None, ..held })?;
                    Ok(Answer::Done)
                }
                _ => Err(no_such(name)),
            }),
            Request::Release { name } => Ok(match ledger.holder(name)? {
                Some(held) if held.uid != caller.uid => Err(no_such(name)),
                _ => {
                    give_back(ledger, caller.uid, name, seen.now)?;
                    Ok(Answer::Done)
                }
            }),
            Request::Start { name, memory_bytes } => Ok(match ledger.holder(name)? {
                Some(held) if held.uid != caller.uid => Err(Refused::new(
                    Why::Exists,
                    format!("the name {} is another owner's on this host", plain(name, 63)),
                )
                .fact("this box was made while there was no broker")
                .hint("`devbox-ctl destroy --keep-volume` keeps its data; create it under another name")),
                // It would run without being counted.
                Some(held) if held.trashed.is_some() => Err(Refused::new(
                    Why::Exists,
                    format!("{} is in the trash, as this host's broker has it", plain(name, 63)),
                )
                .fact("this box came back while there was no broker")
                .hint("`devbox-ctl report` tells the broker; then an administrator's `devbox-ctl admin reconcile --fix` mends it")),
                held => Self::room(caller, held.map_or(*memory_bytes, |h| h.memory), seen),
            }),
            Request::Report { boxes, disk_bytes, sampled, cleaned } => {
                // Their word, and not of what is to come.
                let told = |at: &i64| Some((*at).min(seen.now)).filter(|at| *at >= 0);
                let timers = Timers { reported: seen.now, sampled: told(sampled), cleaned: told(cleaned) };
                report(ledger, caller, boxes, *disk_bytes, timers)
            }
            Request::Warn(told) => self.told(ledger, caller, told, seen),
            Request::Hook { test: true } => Ok(self.hook_test(caller, seen)),
            Request::Hook { test: false } => self.hook(ledger, seen),
            Request::Warnings(request) => self.warnings(ledger, request, seen),
            Request::Boxes { all, after } => {
                let held = ledger.page((!all).then_some(caller.uid), after, wire::PAGE)?;
                let shown = held.into_iter().map(|held| self.shown(ledger, held, seen));
                Ok(Ok(Answer::Boxes(shown.collect::<Result<_, _>>()?)))
            }
            Request::Limits => {
                let uses = ledger.uses()?.into_iter().map(|(uid, used)| {
                    let owner = self.names.of(uid);
                    let max_boxes = self.rules.settings.owner(&owner).max_boxes;
                    OwnerUse { owner, max_boxes, ..used }
                });
                Ok(Ok(Answer::Uses(uses.collect())))
            }
            Request::Audit { since, owner, most } => {
                let owner = match owner.as_str() {
                    "" => None,
                    name => match Names::uid(name) {
                        Some(uid) => Some(uid),
                        None => return Ok(Err(no_such_user(name))),
                    },
                };
                let lines = ledger.audit(*since, owner, (*most).clamp(1, 10_000))?;
                let named = lines.into_iter().map(|(uid, owner, line)| AuditLine {
                    caller: self.names.of(uid),
                    owner: self.names.of(owner),
                    ..line
                });
                Ok(Ok(Answer::Audit(named.collect())))
            }
            Request::Reconcile { fix } => {
                let mut findings = reconcile::findings(ledger, seen, &mut self.names)?;
                if *fix {
                    reconcile::mend(ledger, &mut findings, seen, &self.rules.settings, &mut self.names)?;
                }
                Ok(Ok(Answer::Findings(findings.into_iter().map(|f| f.told).collect())))
            }
            Request::Starting => Ok(Ok(Answer::Starting(self.rules.settings.host_max_starting))),
            Request::Login(request) => self.login(ledger, caller, request, seen),
            Request::Act { owner, .. } => Ok(Names::uid(owner).map(Answer::Uid).ok_or_else(|| no_such_user(owner))),
            Request::Evict { owner, name } => evict(ledger, owner, name, seen),
            Request::Status => {
                let promised = ledger.promised()?;
                let settings = self.rules.trouble.clone();
                let text = settings.clone().map_or_else(
                    || format!("settings good, {} boxes in the ledger", promised.boxes),
                    |why| format!("the last good settings go on: {why}"),
                );
                Ok(Ok(Answer::Status(settings.is_none(), text)))
            }
        }
    }

    fn is_admin(&mut self, caller: &Caller) -> bool {
        caller.uid == 0
            || caller.authorized
            // Asked anew: an id may have become somebody else's.
            || self.names.fresh(caller.uid).is_some_and(|name| self.rules.settings.owner(&name).admin)
    }

    fn shown(&mut self, ledger: &Ledger<'_>, held: Held, seen: &Seen) -> rusqlite::Result<LedgerBox> {
        let tailnet = &self.rules.settings.tailnet;
        let device = match tailnet.provider {
            settings::Provider::None => None,
            _ => ledger.device(&held.name)?.filter(|d| d.device.is_some() && d.provider == tailnet.identity()),
        };
        let (hostname, addresses) = device.map(|d| (d.hostname, d.addresses)).unwrap_or_default();
        Ok(LedgerBox {
            owner: self.names.of(held.uid),
            running: seen.running().contains(&(held.uid, held.name.clone())),
            name: held.name,
            cpu_millis: held.cpu,
            memory_bytes: held.memory,
            since: held.since,
            expires: held.expires.unwrap_or(0),
            trashed: held.trashed.unwrap_or(0),
            hostname,
            address: addresses.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

fn reported((name, cpu, memory, trashed): &(String, u32, u64, bool)) -> Option<Reported> {
    let trashed = *trashed;
    // Its owner cannot read its size any more: it is there, and never adopted as a box.
    if (*cpu, *memory) == (0, 0) {
        return name.parse().ok().map(|name: BoxName| Reported { name: name.to_string(), cpu: 0, memory: 0, trashed });
    }
    let (name, cpu, memory) = admission::parse((name, *cpu, *memory)).ok()?;
    Some(Reported { name: name.to_string(), cpu: cpu.millis(), memory: memory.bytes(), trashed })
}

/// An owner's report, the whole of it or nothing.
fn report(
    ledger: &Ledger<'_>,
    caller: &Caller,
    boxes: &[(String, u32, u64, bool)],
    disk_bytes: u64,
    timers: Timers,
) -> rusqlite::Result<Verdict> {
    if boxes.len() > MOST_REPORTED {
        // A part of it would make the others look lost.
        return Ok(Err(Refused::new(Why::InvalidInput, format!("a report has at most {MOST_REPORTED} boxes"))));
    }
    if ledger.reported_at(caller.uid)? == Some(timers.reported) {
        return Ok(Err(Refused::new(Why::TooMany, "one report a second is enough")));
    }
    let boxes: Vec<Reported> = boxes.iter().filter_map(reported).collect();
    ledger.report(caller.uid, timers, disk_bytes, &boxes)?;
    Ok(Ok(Answer::Done))
}

/// A name and all that hangs on it goes from its holder.
fn give_back(ledger: &Ledger<'_>, uid: u32, name: &str, now: i64) -> rusqlite::Result<()> {
    ledger.remove(name)?;
    ledger.unreport(uid, name)?;
    ledger.depart(name, now)
}

fn evict(ledger: &Ledger<'_>, owner: &str, name: &str, seen: &Seen) -> rusqlite::Result<Verdict> {
    match ledger.holder(name)? {
        Some(held) if Names::uid(owner) == Some(held.uid) => {
            give_back(ledger, held.uid, name, seen.now)?;
            Ok(Ok(Answer::Done))
        }
        _ => Ok(Err(Refused::new(Why::NoSuchBox, format!("{} holds no name {}", plain(owner, 32), plain(name, 63))))),
    }
}

fn no_such(name: &str) -> Refused {
    Refused::new(Why::NoSuchBox, format!("you hold no name {} here", plain(name, 63)))
}

fn no_such_user(name: &str) -> Refused {
    Refused::new(Why::InvalidInput, format!("there is no user {}", plain(name, 32)))
}

/// Text of a caller's, fit to be shown to another.
fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests;
