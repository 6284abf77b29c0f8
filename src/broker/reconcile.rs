//! The ledger against what runs and what owners' own timers reported.

use std::collections::{BTreeMap, BTreeSet};

use super::desk::Seen;
use super::desk::admission::trash_of;
use super::ledger::{Held, Ledger, Reported, Timers};
use super::rules::Names;
use crate::policy::host;
use crate::policy::limits::{self, Refusal, Request};
use crate::settings::Settings;
use crate::spec::{BoxName, Cpu, Memory};
use crate::wire::Finding;

/// An owner with boxes whose timer was not heard of for this long has none that works.
const SILENT: i64 = 2 * 86_400;

/// What is told, and what to do about it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) told: Finding,
    mend: Option<Mend>,
}

#[derive(Debug)]
enum Mend {
    /// As a box or, where it is there, in the trash.
    Adopt(u32, Reported),
    Forget(String),
}

/// Says what does not fit; changes nothing.
pub(super) fn findings(ledger: &Ledger<'_>, seen: &Seen, names: &mut Names) -> rusqlite::Result<Vec<Found>> {
    let held: BTreeMap<String, Held> =
        ledger.page(None, "", u32::MAX)?.into_iter().map(|h| (h.name.clone(), h)).collect();
    let owners: BTreeSet<u32> = held.values().map(|h| h.uid).collect();
    let gone: BTreeSet<u32> = owners.iter().copied().filter(|uid| names.is_gone(*uid)).collect();
    let mut found = Vec::new();
    let mut told = |kind: &str, uid: u32, name: &str, text: String, mend: Option<Mend>| {
        let told =
            Finding { kind: kind.to_owned(), owner: names.of(uid), name: name.to_owned(), text, mends: mend.is_some() };
        found.push(Found { told, mend });
    };
    let timers: BTreeMap<u32, Timers> = ledger.reports()?.into_iter().collect();
    let reports: BTreeMap<u32, i64> = timers.iter().map(|(uid, told)| (*uid, told.reported)).collect();
    let mut reported: BTreeMap<(u32, String), Reported> = BTreeMap::new();
    for uid in reports.keys() {
        reported.extend(ledger.reported(*uid)?.into_iter().map(|r| ((*uid, r.name.clone()), r)));
    }

    let mut claims: BTreeMap<&String, usize> = BTreeMap::new();
    for (_, name) in reported.keys() {
        *claims.entry(name).or_default() += 1;
    }
    let known: BTreeSet<(u32, String)> = seen.running().iter().chain(reported.keys()).cloned().collect();
    for (uid, name) in known {
        // A cgroup can have any name; only what can be a box is one.
        if name.parse::<BoxName>().is_err() {
            continue;
        }
        let in_trash = reported.get(&(uid, name.clone())).is_some_and(|r| r.trashed);
        let at_rest = if in_trash { "is in its owner's trash" } else { "is stopped" };
        let runs = if seen.runs(uid, &name) { "runs" } else { at_rest };
        match held.get(&name) {
            Some(h) if h.uid == uid => {
                let is_running = seen.runs(uid, &name);
                // What the report says of it, where that is younger than what the ledger says.
                let changed = h.trashed.unwrap_or(h.since);
                let of =
                    reported.get(&(uid, name.clone())).filter(|_| reports.get(&uid).is_some_and(|at| *at > changed));
                match of {
                    Some(r) if r.trashed && h.trashed.is_none() && h.expires.is_none() && !is_running => {
                        let mend = Some(Mend::Adopt(uid, r.clone()));
                        told("trashed", uid, &name, "its owner has it in the trash".to_owned(), mend);
                    }
                    Some(r) if !r.trashed && h.trashed.is_some() => {
                        let mend = Some(r).filter(|r| r.memory > 0).map(|r| Mend::Adopt(uid, r.clone()));
                        told("orphan", uid, &name, format!("{runs} and is in the trash in the ledger"), mend);
                    }
                    _ if is_running && h.trashed.is_some() => {
                        let text = format!(
                            "{runs} and is in the trash in the ledger; its owner's timer has not told of it since"
                        );
                        told("orphan", uid, &name, text, None);
                    }
                    _ => {}
                }
            }
            Some(_) => told("taken", uid, &name, format!("{runs} under a name that is another owner's"), None),
            // Reports are their owners' own words: which of them has the better right is for people to say.
            None if claims.get(&name).is_some_and(|n| *n > 1) => {
                told("taken", uid, &name, format!("{runs}, and more than one owner reports this name"), None);
            }
            None => {
                let last = ledger.last_verb(uid, &name)?;
                let how = if matches!(last.as_deref(), Some("release" | "destroy")) {
                    "was released"
                } else {
                    "is not in the ledger"
                };
                let size = reported.get(&(uid, name.clone())).filter(|r| r.memory > 0 || r.trashed).cloned();
                let then = if size.is_some() { "" } else { "; its owner's timer has not told its size yet" };
                told("orphan", uid, &name, format!("{runs} and {how}{then}"), size.map(|r| Mend::Adopt(uid, r)));
            }
        }
    }
    for held in held.values() {
        if gone.contains(&held.uid) {
            let forget = Some(Mend::Forget(held.name.clone()));
            told("gone", held.uid, &held.name, "its owner has no account any more".to_owned(), forget);
            continue;
        }
        let runs = seen.runs(held.uid, &held.name);
        let is_known = reported.contains_key(&(held.uid, held.name.clone()));
        let forget = || Some(Mend::Forget(held.name.clone()));
        match held.expires {
            Some(end) if end <= seen.now => {
                told("stale", held.uid, &held.name, "a reservation that ended".to_owned(), forget());
            }
            // The report has to be younger than the box.
            None if !runs
                && !is_known
                && reports.get(&held.uid).is_some_and(|at| *at > held.trashed.unwrap_or(held.since)) =>
            {
                told("lost", held.uid, &held.name, "its owner has no such box any more".to_owned(), forget());
            }
            _ => {}
        }
    }
    for uid in owners.into_iter().filter(|uid| !gone.contains(uid)) {
        let oldest = held.values().filter(|h| h.uid == uid).map(|h| h.since).min().unwrap_or(seen.now);
        for text in silent(timers.get(&uid).copied(), oldest, seen.now) {
            told("silent", uid, "", text, None);
        }
    }
    Ok(found)
}

/// Which of an owner's timers do not run, since when, and what comes of that. `oldest`: since when they have a box.
///
/// The other timers are judged at the moment of the report that told of them: what came after it is not known.
fn silent(timers: Option<Timers>, oldest: i64, now: i64) -> Vec<String> {
    let line = |timer: &str, since: i64, until: i64, never: bool, comes: &str| {
        let date = jiff::Timestamp::from_second(since).map(|t| t.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
        let days = (until - since) / 86_400;
        let last = if never { "never ran; their oldest box is of" } else { "has not run since" };
        format!("their {timer} {last} {date} ({days} days): {comes}; `devbox-ctl doctor` as them says what helps")
    };
    let heard = timers.map_or(oldest, |t| t.reported);
    if now - heard > SILENT {
        let comes = "what they have is not known";
        return vec![line("devboxes-report.timer", heard, now, timers.is_none(), comes)];
    }
    let Some(Timers { reported, sampled, cleaned }) = timers else { return Vec::new() };
    let others = [
        ("devboxes-sample.timer", sampled, "no box of theirs is found unused"),
        ("devboxes-cleanup.timer", cleaned, "no box of theirs is warned of or stopped"),
    ];
    let one = |(timer, last, comes): (&str, Option<i64>, &str)| {
        let last = last?;
        let since = if last == 0 { oldest } else { last };
        (reported - since > SILENT).then(|| line(timer, since, reported, last == 0, comes))
    };
    others.into_iter().filter_map(one).collect()
}

/// Mends what can be. What is adopted is admitted first, as any other box: a report could name a thousand.
pub(super) fn mend(
    ledger: &Ledger<'_>,
    found: &mut [Found],
    seen: &Seen,
    settings: &Settings,
    names: &mut Names,
) -> rusqlite::Result<()> {
    for Found { told, mend } in found {
        match mend {
            Some(Mend::Adopt(uid, reported)) => {
                if let Err(why) = adopt(ledger, *uid, reported, seen, settings, names)? {
                    told.text = format!("{}; it is not adopted: {why}", told.text);
                    told.mends = false;
                }
            }
            Some(Mend::Forget(name)) => {
                ledger.remove(name)?;
                ledger.depart(name, seen.now)?;
            }
            None => {}
        }
    }
    Ok(())
}

fn adopt(
    ledger: &Ledger<'_>,
    uid: u32,
    reported: &Reported,
    seen: &Seen,
    settings: &Settings,
    names: &mut Names,
) -> rusqlite::Result<Result<(), String>> {
    if reported.trashed {
        return adopt_trashed(ledger, uid, reported, seen, settings, names);
    }
    let parsed =
        (reported.name.parse::<BoxName>(), Cpu::from_millis(reported.cpu), Memory::from_bytes(reported.memory));
    let (Ok(name), Ok(cpu), Ok(memory)) = parsed else { return Ok(Err("its size is none".to_owned())) };
    let before = ledger.holder(name.as_str())?;
    if before.is_some_and(|held| held.uid != uid || held.trashed.is_none()) {
        return Ok(Err("the name was taken meanwhile".to_owned()));
    }
    let owner = names.of(uid);
    let held: Vec<BoxName> = ledger.boxes_of(uid)?.iter().filter_map(|h| h.name.parse().ok()).collect();
    let request = Request { owner: &owner, name: &name, cpu, memory };
    if let Err(why) = limits::admit(request, &held, settings) {
        return Ok(Err(why.to_string()));
    }
    if let Err(why) = host::admit(request, ledger.promised()?, settings) {
        return Ok(Err(why.to_string()));
    }
    let Reported { name, cpu, memory, .. } = reported.clone();
    ledger.put(&Held { name, uid, cpu, memory, since: seen.now, expires: None, trashed: None })?;
    Ok(Ok(()))
}

/// What went into the trash while nobody told the ledger.
fn adopt_trashed(
    ledger: &Ledger<'_>,
    uid: u32,
    reported: &Reported,
    seen: &Seen,
    settings: &Settings,
    names: &mut Names,
) -> rusqlite::Result<Result<(), String>> {
    let Ok(name) = reported.name.parse::<BoxName>() else { return Ok(Err("its name is none".to_owned())) };
    let before = ledger.holder(name.as_str())?;
    if before.as_ref().is_some_and(|held| held.uid != uid) {
        return Ok(Err("the name was taken meanwhile".to_owned()));
    }
    let owner = names.of(uid);
    if before.is_none() && !settings.owner(&owner).allowed {
        return Ok(Err(Refusal::NotAllowed(owner).to_string()));
    }
    let (_, held) = trash_of(ledger, uid)?;
    if let Err(why) = limits::admit_to_trash(&owner, &name, &held, settings) {
        return Ok(Err(why.to_string()));
    }
    let Reported { name, cpu, memory, .. } = reported.clone();
    let since = before.map_or(seen.now, |held| held.since);
    ledger.put(&Held { uid, cpu, memory, since, expires: None, trashed: Some(seen.now), name: name.clone() })?;
    ledger.depart(&name, seen.now)?;
    Ok(Ok(()))
}
