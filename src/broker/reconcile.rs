//! The ledger against what runs and what owners' own timers reported.

use std::collections::{BTreeMap, BTreeSet};

use super::desk::Seen;
use super::ledger::{Held, Ledger, Reported};
use super::rules::Names;
use crate::spec::BoxName;
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
    Adopt(u32, Reported),
    Forget(String),
}

/// Says what does not fit; changes nothing.
pub(super) fn findings(ledger: &Ledger<'_>, seen: &Seen, names: &mut Names) -> rusqlite::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut told = |kind: &str, uid: u32, name: &str, text: String, mend: Option<Mend>| {
        let told =
            Finding { kind: kind.to_owned(), owner: names.of(uid), name: name.to_owned(), text, mends: mend.is_some() };
        found.push(Found { told, mend });
    };
    let held: BTreeMap<String, Held> =
        ledger.page(None, "", u32::MAX)?.into_iter().map(|h| (h.name.clone(), h)).collect();
    let reports: BTreeMap<u32, i64> = ledger.reports()?.into_iter().map(|(uid, at, _)| (uid, at)).collect();
    let mut reported: BTreeMap<(u32, String), Reported> = BTreeMap::new();
    for uid in reports.keys() {
        reported.extend(ledger.reported(*uid)?.into_iter().map(|r| ((*uid, r.name.clone()), r)));
    }

    let known: BTreeSet<(u32, String)> = seen.running().iter().chain(reported.keys()).cloned().collect();
    for (uid, name) in known {
        // A cgroup can have any name; only what can be a box is one.
        if name.parse::<BoxName>().is_err() {
            continue;
        }
        let runs = if seen.running().contains(&(uid, name.clone())) { "runs" } else { "is stopped" };
        match held.get(&name) {
            Some(h) if h.uid == uid => {}
            Some(_) => told("taken", uid, &name, format!("{runs} under a name that is another owner's"), None),
            None => {
                let last = ledger.last_verb(uid, &name)?;
                let how = if last.as_deref() == Some("destroy") { "was released" } else { "is not in the ledger" };
                let size = reported.get(&(uid, name.clone())).cloned();
                let then = if size.is_some() { "" } else { "; its owner's timer has not told its size yet" };
                told("orphan", uid, &name, format!("{runs} and {how}{then}"), size.map(|r| Mend::Adopt(uid, r)));
            }
        }
    }
    for held in held.values() {
        let runs = seen.running().contains(&(held.uid, held.name.clone()));
        let is_known = reported.contains_key(&(held.uid, held.name.clone()));
        let forget = || Some(Mend::Forget(held.name.clone()));
        match held.expires {
            Some(end) if end <= seen.now => {
                told("stale", held.uid, &held.name, "a reservation that ended".to_owned(), forget());
            }
            // The report has to be younger than the box.
            None if !runs && !is_known && reports.get(&held.uid).is_some_and(|at| *at > held.since) => {
                told("lost", held.uid, &held.name, "its owner has no such box any more".to_owned(), forget());
            }
            _ => {}
        }
    }
    let owners: BTreeSet<u32> = held.values().map(|h| h.uid).collect();
    for uid in owners {
        let oldest = held.values().filter(|h| h.uid == uid).map(|h| h.since).min().unwrap_or(seen.now);
        let heard = reports.get(&uid).copied().unwrap_or(oldest);
        if seen.now - heard > SILENT {
            let days = (seen.now - heard) / 86_400;
            told("silent", uid, "", format!("their timer has not reported for {days} days"), None);
        }
    }
    Ok(found)
}

pub(super) fn mend(ledger: &Ledger<'_>, found: &[Found], seen: &Seen) -> rusqlite::Result<()> {
    for mend in found.iter().filter_map(|f| f.mend.as_ref()) {
        match mend {
            Mend::Adopt(uid, Reported { name, cpu, memory }) => ledger.put(&Held {
                name: name.clone(),
                uid: *uid,
                cpu: *cpu,
                memory: *memory,
                since: seen.now,
                expires: None,
            })?,
            Mend::Forget(name) => {
                ledger.remove(name)?;
                ledger.depart(name, seen.now)?;
            }
        }
    }
    Ok(())
}
