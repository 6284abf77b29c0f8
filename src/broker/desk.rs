//! What devboxd decides: one request at a time, over the ledger, the settings and what the kernel says.

pub(super) mod login;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::ledger::devices::Departed;
use super::ledger::{Held, Ledger, Reported};
use super::rules::{Names, Rules, taggable};
use super::{probe, reconcile};
use crate::policy::host::{self, Free, HostRefusal};
use crate::policy::limits::{self, Refusal, Request as Asked};
use crate::settings::{OwnerSettings, TailnetSettings};
use crate::spec::{BoxName, Cpu, Memory};
use crate::wire::{self, AuditLine, Finding, LedgerBox, OwnerUse, Refused, Why};

use login::{LoginFacts, LoginRequest};

/// How long a reservation holds: longer than the longest start.
pub(super) const RESERVED_FOR: i64 = 600;
/// Calls that leave a line in the audit trail, a day and a caller; so nobody can fill the disk with them.
pub(super) const MOST_CALLS: u32 = 3000;
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
    Reserve { name: String, cpu_millis: u32, memory_bytes: u64, start: bool },
    Commit { name: String },
    Release { name: String },
    Start { name: String, memory_bytes: u64 },
    Report { boxes: Vec<(String, u32, u64)>, disk_bytes: u64 },
    Boxes { all: bool, after: String },
    Limits,
    Audit { since: i64, owner: String, most: u32 },
    Reconcile { fix: bool },
    Act { verb: String, owner: String, name: String },
    Status,
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
    Login(Box<LoginFacts>),
    Departed(Vec<Departed>, TailnetSettings),
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
            Self::Release { .. } => Some("destroy"),
            Self::Start { .. } => Some("start"),
            Self::Act { verb, .. } => Some(verb),
            Self::Reconcile { fix: true } => Some("reconcile"),
            Self::Login(LoginRequest::Given { .. }) => Some("key"),
            _ => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Reserve { name, .. }
            | Self::Commit { name }
            | Self::Release { name }
            | Self::Start { name, .. }
            | Self::Act { name, .. } => name,
            Self::Login(LoginRequest::Given { row }) => &row.name,
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
                | Self::Status
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
        if request.verb().is_some()
            && caller.uid != 0
            && ledger.calls_since(caller.uid, seen.now - 86_400)? >= MOST_CALLS
        {
            return Ok(Err(Refused::new(Why::TooMany, format!("that is more than {MOST_CALLS} changes in a day"))));
        }
        let verdict = self.decide(ledger, caller, request, seen)?;
        if let Some(verb) = request.verb() {
            let owner = match request {
                Request::Act { owner, .. } => Names::uid(owner).unwrap_or(caller.uid),
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
                self.reserve(ledger, caller, (name, *cpu_millis, *memory_bytes), *start, seen)
            }
            Request::Commit { name } => Ok(match ledger.holder(name)? {
                Some(held) if held.uid == caller.uid => {
                    ledger.put(&Held { expires: None, ..held })?;
                    Ok(Answer::Done)
                }
                _ => Err(no_such(name)),
            }),
            Request::Release { name } => Ok(match ledger.holder(name)? {
                Some(held) if held.uid != caller.uid => Err(no_such(name)),
                _ => {
                    ledger.remove(name)?;
                    ledger.depart(name, seen.now)?;
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
                held => Self::room(caller, held.map_or(*memory_bytes, |h| h.memory), seen),
            }),
            Request::Report { boxes, disk_bytes } => {
                let boxes: Vec<Reported> = boxes.iter().take(MOST_REPORTED).filter_map(reported).collect();
                ledger.report(caller.uid, seen.now, *disk_bytes, &boxes)?;
                Ok(Ok(Answer::Done))
            }
            Request::Boxes { all, after } => {
                let held = ledger.page((!all).then_some(caller.uid), after, wire::PAGE)?;
                Ok(Ok(Answer::Boxes(held.into_iter().map(|h| self.shown(h, seen)).collect())))
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
                let findings = reconcile::findings(ledger, seen, &mut self.names)?;
                if *fix {
                    reconcile::mend(ledger, &findings, seen)?;
                }
                Ok(Ok(Answer::Findings(findings.into_iter().map(|f| f.told).collect())))
            }
            Request::Login(request) => self.login(ledger, caller, request, seen),
            Request::Act { owner, .. } => Ok(Names::uid(owner).map(Answer::Uid).ok_or_else(|| no_such_user(owner))),
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

    fn reserve(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        asked: (&str, u32, u64),
        start: bool,
        seen: &Seen,
    ) -> rusqlite::Result<Verdict> {
        let (name, cpu, memory) = match parse(asked) {
            Ok(parsed) => parsed,
            Err(refused) => return Ok(Err(refused)),
        };
        ledger.expire(seen.now)?;
        let user = self.names.of(caller.uid);
        if let Err(refused) = taggable(&user, &self.rules.settings) {
            return Ok(Err(refused));
        }
        let before = ledger.holder(name.as_str())?;
        // The owner's own: a create that is tried again, or one whose folder is gone. Its old share is given back first.
        let others: Vec<Held> = ledger.of_owner(caller.uid)?.into_iter().filter(|h| h.name != name.as_str()).collect();
        let held: Vec<BoxName> = others.iter().filter_map(|h| h.name.parse().ok()).collect();
        let request = Asked { owner: &user, name: &name, cpu, memory };
        if let Err(refusal) = limits::admit(request, &held, &self.rules.settings) {
            return Ok(Err(owners(&refusal, self.rules.settings.owner(&user), caller.uid, &others, seen)));
        }
        if let Some(held) = before.as_ref().filter(|h| h.uid != caller.uid) {
            let refused = Refused::new(Why::Exists, format!("the name {name} is taken on this host"))
                .hint("names are one for the whole host; choose another");
            let owner = self.is_admin(caller).then(|| format!("it is {}'s", self.names.of(held.uid)));
            return Ok(Err(Refused { facts: owner.into_iter().collect(), ..refused }));
        }
        let mut promised = ledger.promised()?;
        if let Some(own) = &before {
            promised.boxes -= 1;
            promised.cpu_millis -= u64::from(own.cpu);
            promised.memory_bytes -= own.memory;
        }
        if let Err(refusal) = host::admit(request, promised, &self.rules.settings) {
            return Ok(Err(self.hosts(ledger, caller, &refusal, &others, seen)?));
        }
        if start && let Err(refused) = Self::room(caller, memory.bytes(), seen) {
            return Ok(Err(refused));
        }
        let expires = match &before {
            Some(Held { expires: None, .. }) => None,
            _ => Some(seen.now + RESERVED_FOR),
        };
        let since = before.map_or(seen.now, |b| b.since);
        let held =
            Held { name: name.to_string(), uid: caller.uid, cpu: cpu.millis(), memory: memory.bytes(), since, expires };
        ledger.put(&held)?;
        Ok(Ok(Answer::Done))
    }

    /// Whether there is room now. What the kernel does not tell is not held against anybody.
    fn room(caller: &Caller, memory_bytes: u64, seen: &Seen) -> Verdict {
        let Some(free) = seen.free else { return Ok(Answer::Done) };
        let own: Vec<&str> =
            seen.running().iter().filter(|(uid, _)| *uid == caller.uid).map(|(_, n)| n.as_str()).collect();
        host::room(memory_bytes, free).map(|()| Answer::Done).map_err(|why| {
            let refused = Refused::new(Why::NoResources, why.to_string());
            match own.first() {
                Some(first) => refused
                    .fact(format!("running of yours: {}", own.join(", ")))
                    .hint(format!("`devbox-ctl stop {first}` makes room, or try again later")),
                None => refused.hint("none of the boxes that run is yours: try again later, or ask for less memory"),
            }
        })
    }

    fn hosts(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        refusal: &HostRefusal,
        own: &[Held],
        seen: &Seen,
    ) -> rusqlite::Result<Refused> {
        let mut refused = Refused::new(Why::HostLimit, refusal.to_string());
        if self.is_admin(caller) {
            for (uid, used) in ledger.uses()? {
                let owner = self.names.of(uid);
                refused = refused.fact(format!(
                    "{owner}: {} boxes, {} processors, {}M",
                    used.boxes,
                    used.cpu_millis / 1000,
                    used.memory_bytes >> 20
                ));
            }
        }
        Ok(with_own(
            refused,
            caller.uid,
            own,
            seen,
            "the rest is other owners'; an administrator can raise [host] in users.toml",
        ))
    }

    fn is_admin(&mut self, caller: &Caller) -> bool {
        caller.uid == 0 || caller.authorized || self.rules.settings.owner(&self.names.of(caller.uid)).admin
    }

    fn shown(&mut self, held: Held, seen: &Seen) -> LedgerBox {
        LedgerBox {
            owner: self.names.of(held.uid),
            running: seen.running().contains(&(held.uid, held.name.clone())),
            name: held.name,
            cpu_millis: held.cpu,
            memory_bytes: held.memory,
            since: held.since,
            expires: held.expires.unwrap_or(0),
        }
    }
}

fn parse((name, cpu, memory): (&str, u32, u64)) -> Result<(BoxName, Cpu, Memory), Refused> {
    let invalid = |why: String| Refused::new(Why::InvalidInput, why);
    Ok((
        name.parse().map_err(|e: crate::spec::NameError| invalid(plain(&e.to_string(), 200)))?,
        Cpu::from_millis(cpu).map_err(|e| invalid(e.to_string()))?,
        Memory::from_bytes(memory).map_err(|e| invalid(e.to_string()))?,
    ))
}

fn reported((name, cpu, memory): &(String, u32, u64)) -> Option<Reported> {
    let (name, cpu, memory) = parse((name, *cpu, *memory)).ok()?;
    Some(Reported { name: name.to_string(), cpu: cpu.millis(), memory: memory.bytes() })
}

fn owners(refusal: &Refusal, limit: &OwnerSettings, uid: u32, own: &[Held], seen: &Seen) -> Refused {
    let why = match refusal {
        Refusal::NotAllowed(_) => Why::NotAllowed,
        Refusal::Exists(_) => Why::Exists,
        Refusal::OwnerLimit { .. } => Why::OwnerLimit,
        Refusal::Cpu { .. } | Refusal::Memory { .. } => Why::InvalidInput,
    };
    let refused = Refused::new(why, refusal.to_string());
    match refusal {
        Refusal::OwnerLimit { .. } => with_own(refused, uid, own, seen, "ask an administrator for a higher limit"),
        Refusal::NotAllowed(_) => refused.hint("ask an administrator of this host"),
        _ => refused.hint(format!("ask for `--cpu {} --memory {}` or less", limit.max_cpu, limit.max_memory)),
    }
}

/// The caller's own boxes, and the one that would make room: one that does not run anyway.
fn with_own(refused: Refused, uid: u32, own: &[Held], seen: &Seen, otherwise: &str) -> Refused {
    let runs = |h: &&Held| seen.running().contains(&(uid, h.name.clone()));
    let (running, stopped): (Vec<&Held>, Vec<&Held>) = own.iter().partition(runs);
    let words = |label: &str, list: &[&Held]| {
        let names: Vec<&str> = list.iter().map(|h| h.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{label}: {}", names.join(", ")))
    };
    let facts: Vec<String> = [words("running", &running), words("stopped", &stopped)].into_iter().flatten().collect();
    let refused = if facts.is_empty() { refused } else { refused.fact(facts.join(" · ")) };
    match stopped.first().or(running.first()) {
        Some(held) => refused.hint(format!("`devbox-ctl destroy {}` makes room", held.name)),
        None => refused.hint(otherwise),
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
