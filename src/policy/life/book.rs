//! What is kept of an owner's boxes between two looks at them, and the clock that their terms are counted on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::activity::{Kind, Seen, Shown, compare};
use super::{Act, Facts, Phase, Warned, Work};
use crate::policy::warning::Unsaid;
use crate::spec::BoxName;

/// More than three times what lies between two looks. Where nobody looked for longer, nobody knows that a box was left
/// alone, and the rest of the time does not count.
pub const LONGEST_STEP: u64 = 1000;

/// Two looks closer to each other show use, but not rest: a moment's work is much of so short a time, and a pause in it
/// is nothing.
pub const SHORTEST_STEP: u64 = 60;

/// In seconds: a timer that runs every few minutes or daily has run in this time, whatever it was delayed by.
pub const SILENT: i64 = 2 * 86_400;

/// A moment as the kernel counts: CLOCK_MONOTONIC stands still while the host sleeps, and nobody sets it (time(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// /proc/sys/kernel/random/boot_id
    pub boot: String,
    pub seconds: u64,
}

/// From one look to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What counts of it.
    pub counted: u64,
    /// All of it; 0 after a reboot.
    pub elapsed: u64,
}

impl Step {
    fn is_short(self) -> bool {
        self.elapsed < SHORTEST_STEP
    }
}

/// All boxes of an owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// Seconds for which boxes were looked after.
    clock: u64,
    tick: Option<Tick>,
    /// When the owner's timers last ran, on the wall's clock; for people.
    #[serde(default)]
    pub sampled: Option<Timestamp>,
    /// Since when that is noted, should nothing of it be lost.
    #[serde(default)]
    since: Option<Timestamp>,
    #[serde(default)]
    pub cleaned: Option<Timestamp>,
    /// For the administrator's command.
    #[serde(default)]
    pub unsaid: Vec<Unsaid>,
    #[serde(default)]
    boxes: BTreeMap<BoxName, Record>,
}

/// One box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Tells it from another of its name.
    made: Timestamp,
    phase: Phase,
    /// Tells this run, or this stop, from another.
    key: String,
    spent: u64,
    seen: Option<Seen>,
    #[serde(default)]
    evidence: Vec<Evidence>,
    warned: Option<Warned>,
    lease: Option<Lease>,
    #[serde(default)]
    pub found: Found,
    /// The warning that was shown at a login, so that it is shown once.
    #[serde(default)]
    shown: Option<(Act, u64)>,
    /// Nobody could say at the last look whether it was used.
    #[serde(default)]
    pub unseen: bool,
}

/// When a box was last used in a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub kind: Kind,
    /// On the owner's clock.
    pub at: u64,
    /// On the wall's, for people.
    pub when: Timestamp,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// On the owner's clock.
    pub until: u64,
    pub reason: String,
}

/// What was found when its volumes were looked through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub work: Work,
    /// In words, for people.
    pub text: String,
    pub when: Option<Timestamp>,
}

/// A look at one box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub name: BoxName,
    pub made: Timestamp,
    pub phase: Phase,
    pub key: String,
    pub seen: Option<Seen>,
    /// What its owner's `busy` command said; none where it did not say.
    pub busy: Option<bool>,
}

impl Book {
    /// Nothing that is impossible: what is kept is the owner's file.
    #[must_use]
    pub fn checked(mut self) -> Self {
        let clock = self.clock;
        for record in self.boxes.values_mut() {
            record.spent = if record.spent > clock { 0 } else { record.spent };
            record.warned = record.warned.filter(|w| w.since <= record.spent);
            record.evidence.retain(|e| e.at <= clock);
        }
        self
    }

    /// The clock at a moment that is not noted.
    pub fn clock(&self, tick: &Tick) -> u64 {
        self.clock.saturating_add(self.step(tick).counted)
    }

    fn step(&self, tick: &Tick) -> Step {
        let elapsed = match &self.tick {
            Some(last) if last.boot == tick.boot => tick.seconds.saturating_sub(last.seconds),
            _ => 0,
        };
        Step { counted: elapsed.min(LONGEST_STEP), elapsed }
    }

    /// Moves the clock on.
    pub fn advance(&mut self, tick: Tick) -> Step {
        let step = self.step(&tick);
        if step.is_short() && self.tick.as_ref().is_some_and(|last| last.boot == tick.boot) {
            return Step { counted: 0, ..step };
        }
        self.clock = self.clock.saturating_add(step.counted);
        self.tick = Some(tick);
        step
    }

    /// Notes a look at a box.
    pub fn note(&mut self, look: Look, step: Step, when: Timestamp) {
        let clock = self.clock;
        let record = self.boxes.entry(look.name.clone()).or_insert_with(|| Record::new(&look));
        if record.made != look.made {
            *record = Record::new(&look);
        }
        record.note(look, step, clock, when);
    }

    /// From here on, it is noted when timers ran.
    pub fn begin(&mut self, now: Timestamp) {
        self.since = Some(self.since.map_or(now, |since| since.min(now)));
    }

    /// Whether a timer that it has nothing of may have run all the same: what noted it is of an older version, or was lost
    /// a while ago.
    pub fn is_young(&self, now: Timestamp) -> bool {
        self.since.map_or(self.tick.is_some(), |since| now.as_second() - since.as_second() <= SILENT)
    }

    /// Forgets boxes that are not there any more.
    pub fn keep_only(&mut self, names: &[&BoxName]) {
        self.boxes.retain(|name, _| names.contains(&name));
    }

    /// Nothing can be said of a box whose folder is damaged.
    pub fn is_damaged(&mut self, name: &BoxName) {
        if let Some(record) = self.boxes.get_mut(name) {
            record.is_other();
        }
    }

    pub fn record(&self, name: &BoxName) -> Option<&Record> {
        self.boxes.get(name)
    }

    pub fn record_mut(&mut self, name: &BoxName) -> Option<&mut Record> {
        self.boxes.get_mut(name)
    }

    /// Keeps a box awake for that long from now; none ends it. Whether there is a record of the box.
    pub fn lease(&mut self, name: &BoxName, lease: Option<(u64, String)>) -> bool {
        let clock = self.clock;
        let Some(record) = self.boxes.get_mut(name) else { return false };
        record.lease = lease.map(|(length, reason)| Lease { until: clock.saturating_add(length), reason });
        true
    }
}

impl Record {
    fn new(look: &Look) -> Self {
        Self {
            made: look.made,
            phase: look.phase,
            key: String::new(),
            spent: 0,
            seen: None,
            evidence: Vec::new(),
            warned: None,
            lease: None,
            found: Found::default(),
            shown: None,
            unseen: false,
        }
    }

    fn note(&mut self, look: Look, step: Step, clock: u64, when: Timestamp) {
        if look.phase == Phase::Other {
            return self.is_other();
        }
        // A stop that came to nothing is no use of the box, nor rest that is over.
        if look.phase.runs() && self.phase.runs() && look.key == self.key {
            self.phase = look.phase;
        }
        if (look.phase, &look.key) != (self.phase, &self.key) {
            let started = look.phase.runs();
            (self.phase, self.key, self.seen) = (look.phase, look.key, look.seen);
            (self.spent, self.warned, self.shown, self.unseen) = (0, None, None, false);
            if started {
                self.use_of(Kind::Started, String::new(), clock, when);
            } else {
                self.lease = None;
            }
            return;
        }
        let shown = match (&self.seen, &look.seen) {
            _ if !look.phase.runs() => Shown::Unused,
            (Some(before), Some(now)) => match compare(before, now, step.elapsed.max(SHORTEST_STEP)) {
                // Of so long a time, an hour's work is little: nobody can say that it was left alone.
                Shown::Unused if step.elapsed > LONGEST_STEP => Shown::Unknown,
                shown => shown,
            },
            _ => Shown::Unknown,
        };
        let mut used = if let Shown::Used(used) = &shown { used.clone() } else { Vec::new() };
        if look.busy == Some(true) {
            used.push((Kind::Busy, String::new()));
        }
        if let Some(lease) = self.lease.take_if(|lease| lease.until <= clock) {
            // It ended between the two looks, and so did its use.
            used.push((Kind::Lease, lease.reason));
        } else if let Some(lease) = &self.lease {
            used.push((Kind::Lease, lease.reason.clone()));
        }
        let is_unknown = shown == Shown::Unknown || look.busy.is_none();
        self.unseen = is_unknown && used.is_empty();
        // The next look sees all of it.
        if step.is_short() && used.is_empty() {
            return;
        }
        // What could not be read now is compared from the last time that it could.
        self.seen = match (look.seen, self.seen.take()) {
            (Some(now), Some(before)) => Some(now.or(before)),
            (now, before) => now.or(before),
        };
        if used.is_empty() {
            let counted = if self.unseen { 0 } else { step.counted };
            self.spent = self.spent.saturating_add(counted);
            if let Some(warned) = &mut self.warned {
                warned.since = warned.since.saturating_add(counted);
            }
            return;
        }
        (self.spent, self.warned, self.shown) = (0, None, None);
        for (kind, detail) in used {
            self.use_of(kind, detail, clock, when);
        }
    }

    fn use_of(&mut self, kind: Kind, detail: String, at: u64, when: Timestamp) {
        self.evidence.retain(|e| e.kind != kind);
        self.evidence.insert(0, Evidence { kind, at, when, detail });
    }

    /// Neither running nor stopped: when it is either again, that begins anew.
    fn is_other(&mut self) {
        self.phase = Phase::Other;
        self.begin_anew();
    }

    /// What was counted is over: something was done to the box.
    pub fn begin_anew(&mut self) {
        (self.spent, self.warned, self.shown) = (0, None, None);
        self.key.clear();
    }

    /// Whether it is of the box that was made then.
    pub fn is_of(&self, made: Timestamp) -> bool {
        self.made == made
    }

    /// The newest of each kind, newest first.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What its network had carried at the last look.
    pub fn carried(&self) -> Option<u64> {
        self.seen.as_ref()?.net
    }

    /// For how long it is so.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// For how long nobody has used it; while it runs.
    pub fn idle(&self) -> Option<u64> {
        self.phase.runs().then_some(self.spent)
    }

    /// Its owner was told; `goes_on`: of the same time as before. What was told of another counts for nothing.
    pub fn warned(&mut self, act: Act, stage: u64, goes_on: bool) {
        if !goes_on {
            self.shown = None;
        }
        let since = self.warned.filter(|_| goes_on).map_or(0, |w| w.since);
        self.warned = Some(Warned { act, stage, since });
    }

    pub fn is_warned_of(&self, act: Act) -> bool {
        self.warned.is_some_and(|w| w.act == act)
    }

    /// The warning that is to be shown at the next login; it counts as shown from here on.
    pub fn show(&mut self) -> Option<Act> {
        let warned = self.warned.map(|w| (w.act, w.stage));
        if warned == self.shown {
            return None;
        }
        self.shown = warned;
        warned.map(|(act, _)| act)
    }

    /// What is decided from. `phase` and `clock`: now; a phase that is not the noted one is not known for how long.
    pub fn facts(&self, phase: Phase, clock: u64, trash_full: bool) -> Facts {
        Facts {
            phase,
            spent: (phase == self.phase).then_some(self.spent),
            lease: self.lease.as_ref().map_or(0, |lease| lease.until.saturating_sub(clock)),
            warned: self.warned,
            work: self.found.work,
            trash_full,
        }
    }
}
