//! What devboxd decides: one request at a time, over the ledger, the settings and what the kernel says.

pub(super) mod admission;
pub(super) mod login;
mod report;
mod request;
pub(super) mod warn;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::ledger::{Held, Ledger, Timers};
use super::rules::{Names, Rules};
use super::{probe, reconcile};
use crate::policy::host::Free;
use crate::settings;
use crate::shown::may_be_shown;
use crate::spec::BoxName;
use crate::wire::{self, AuditLine, LedgerBox, OwnerUse, Refused, Why};

use admission::Wanted;
use report::report;
pub(super) use request::{Answer, Caller, Request};

/// How long a reservation holds: longer than the longest start.
pub(super) const RESERVED_FOR: i64 = 600;
/// Calls that leave a line in the audit trail, a day and a caller; so nobody can fill the disk with them.
pub(super) const MOST_CALLS: u32 = 3000;
/// Keys, a day and an owner: what a provider counts, it counts of all owners together.
pub(super) const MOST_KEYS: u32 = 200;

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

    /// Whether that box has a process. Its own cgroup is looked at: an owner can make so many others that not all are.
    pub(super) fn runs(&self, uid: u32, name: &str) -> bool {
        match self.running.get() {
            Some(running) if running.contains(&(uid, name.to_owned())) || cfg!(test) => {
                running.contains(&(uid, name.to_owned()))
            }
            _ => probe::runs(uid, name),
        }
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
        // What gives nothing back is nothing that happened, whoever asks for it and however often.
        if let Request::Release { name } = request
            && ledger.holder(name)?.is_none()
        {
            give_back(ledger, caller.uid, name, seen.now)?;
            return Ok(Ok(Answer::Done));
        }
        if request.verb().is_some()
            && !self.gives_back(ledger, caller, request)?
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

    /// That is always allowed: it is bounded by what was reserved.
    fn gives_back(&mut self, ledger: &Ledger<'_>, caller: &Caller, request: &Request) -> rusqlite::Result<bool> {
        Ok(match request {
            Request::Release { name } => ledger.holder(name)?.is_some_and(|held| held.uid == caller.uid),
            Request::Evict { .. } => self.is_admin(caller),
            _ => false,
        })
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
                let lines = ledger.audit(*since, owner, (*most).clamp(1, wire::MOST_LINES))?;
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
            running: seen.runs(held.uid, &held.name),
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
    text.chars().filter(|c| may_be_shown(*c)).take(most).collect()
}

#[cfg(test)]
mod tests;
