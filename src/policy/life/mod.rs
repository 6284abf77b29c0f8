//! What becomes of a box that nobody uses: facts in, decision and reason out.
//!
//! All times are seconds of the owner's own [`clock`](book): a suspended host or a changed clock adds nothing to them and
//! takes nothing away. A fact that is missing never brings anything nearer.

pub mod activity;
pub mod book;
pub mod work;

use serde::{Deserialize, Serialize};

use crate::settings::OwnerSettings;

pub const DAY: u64 = 86_400;

/// What is due is done by the next daily cleanup, or by the one after it.
const PASSED: u64 = 2 * DAY;

/// After how long what happens; none: never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Without use, until a running box is stopped.
    pub stop: Option<u64>,
    /// Stopped, until it goes to the trash.
    pub trash: Option<u64>,
    /// In the trash by its owner's word, until it is deleted.
    pub empty: Option<u64>,
    /// In the trash by the timer's, until it is deleted.
    pub reclaim: Option<u64>,
    /// How long before a stop, the trash and a reclaim its owner is told; the longest first.
    pub warn: Vec<u64>,
}

impl Terms {
    /// `idle_days` and `stopped_days` are the box's own wish. It may always be sooner; longer only where an administrator
    /// lets it.
    pub fn of(owner: &OwnerSettings, idle_days: Option<u32>, stopped_days: Option<u32>) -> Self {
        let days = in_days;
        let mut warn: Vec<u64> = owner.warn_days.iter().filter_map(|d| days(*d)).collect();
        warn.sort_unstable_by(|a, b| b.cmp(a));
        warn.dedup();
        Self {
            stop: bounded(idle_days, owner.idle_stop_days, owner.max_idle_stop_days).and_then(days),
            trash: bounded(stopped_days, owner.stopped_destroy_days, owner.max_stopped_destroy_days).and_then(days),
            empty: days(owner.trash_days),
            reclaim: owner.reclaim_days.and_then(days),
            warn,
        }
    }
}

impl Terms {
    /// How long it takes until that is done.
    pub fn until(&self, act: Act) -> Option<u64> {
        match act {
            Act::Stop => self.stop,
            Act::Trash => self.trash,
            Act::Empty => self.empty,
            Act::Reclaim => self.reclaim,
        }
    }

    /// How long before that its owner is told. A box that was just used is not warned of: where all are as long as the
    /// term, it is told half-way.
    pub fn stages(&self, act: Act) -> Vec<u64> {
        // Who destroyed it knows.
        let Some(term) = self.until(act).filter(|_| act != Act::Empty) else { return Vec::new() };
        let mut stages: Vec<u64> = self.warn.iter().copied().filter(|stage| *stage < term).collect();
        if stages.is_empty() && !self.warn.is_empty() {
            stages.push(term / 2);
        }
        stages
    }
}

/// Zero is never.
pub fn in_days(days: u32) -> Option<u64> {
    (days > 0).then(|| u64::from(days) * DAY)
}

/// Zero is never, and so the longest of all.
fn bounded(wish: Option<u32>, usual: u32, most: Option<u32>) -> Option<u32> {
    let length = |days: u32| if days == 0 { u32::MAX } else { days };
    let most = most.map_or(length(usual), length);
    let term = wish.map_or(length(usual), |wish| length(wish).min(most.max(length(usual))));
    (term < u32::MAX).then_some(term)
}

/// What is done to a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    Stop,
    Trash,
    /// Deletes what its owner destroyed.
    Empty,
    /// Deletes what the timer put in the trash.
    Reclaim,
}

/// The state that time is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Running,
    /// It runs although it was to be stopped: the stop was cut short, or the box did not follow.
    RunsOn,
    Stopped,
    /// In the trash, by its owner's own word.
    Destroyed,
    /// In the trash, by the timer's.
    Trashed,
    /// Failed, damaged, being changed, or in the trash by an administrator's word: nothing comes of that by itself.
    Other,
}

impl Phase {
    pub fn runs(self) -> bool {
        matches!(self, Self::Running | Self::RunsOn)
    }
}

/// Git work in the box's home that is nowhere else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    None,
    Some,
    #[default]
    Unknown,
}

/// A warning that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warned {
    pub act: Act,
    /// The nearest term of [`Terms::warn`] that it was given for.
    pub stage: u64,
    /// Time since the first one before this act.
    pub since: u64,
}

/// A box as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub phase: Phase,
    /// For how long so and without use; none is not known.
    pub spent: Option<u64>,
    /// For how long it stays as it is at least: it is kept awake, or its owner was told a day.
    pub lease: u64,
    pub warned: Option<Warned>,
    pub work: Work,
    /// Whether there is no place left in the trash.
    pub trash_full: bool,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    Nothing,
    /// Its owner is told, once for each stage.
    Warn {
        stage: u64,
        /// They were told of the same time before.
        goes_on: bool,
    },
    Do,
}

/// Why what would be due is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    TrashFull,
    /// There is work in it that is nowhere else, or nobody could look.
    Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What comes next, and in how long; none: nothing does.
    pub next: Option<(Act, u64)>,
    pub now: Now,
    pub held: Option<Held>,
    /// Its owner was told of what comes next, of this time and not of another.
    pub is_told: bool,
}

impl Decision {
    /// It is due, and not done: however near it is, nobody knows when it comes.
    pub fn is_held_up(&self) -> bool {
        self.held.is_some() && self.next.is_some_and(|(_, left)| left == 0)
    }
}

/// Decides over one box.
pub fn decide(facts: Facts, terms: &Terms) -> Decision {
    let nothing = Decision { next: None, now: Now::Nothing, held: None, is_told: false };
    let act = match facts.phase {
        Phase::Running | Phase::RunsOn => Act::Stop,
        Phase::Stopped => Act::Trash,
        Phase::Destroyed => Act::Empty,
        Phase::Trashed => Act::Reclaim,
        Phase::Other => return nothing,
    };
    let (Some(term), Some(spent)) = (terms.until(act), facts.spent) else { return nothing };
    let ahead = term.saturating_sub(spent);
    let mut left = ahead.max(facts.lease);
    let warn = terms.stages(act);
    let held = match act {
        Act::Trash if facts.trash_full => Some(Held::TrashFull),
        Act::Reclaim if facts.work != Work::None => Some(Held::Work),
        _ => None,
    };
    // Terms change meanwhile. What was told of a time that is not near any more, or of one that has long passed while
    // nothing held it up, was told of another.
    let longest = warn.first().copied().unwrap_or_default().saturating_add(PASSED);
    let waits = held.is_some() || facts.lease > 0;
    let warned = facts.warned.filter(|w| w.act == act && ahead <= w.stage && (waits || w.since <= longest));
    // Never without a warning that was there long enough.
    if let Some(shortest) = warn.last() {
        left = left.max(shortest.saturating_sub(warned.map_or(0, |w| w.since)));
    }
    let due = warn.iter().rev().copied().find(|stage| left <= *stage);
    let stage = due.filter(|stage| warned.is_none_or(|w| w.stage > *stage));
    let now = match stage {
        Some(stage) => Now::Warn { stage, goes_on: warned.is_some() },
        None if left == 0 && held.is_none() => Now::Do,
        None => Now::Nothing,
    };
    Decision { next: Some((act, left)), now, held, is_told: warned.is_some() }
}

#[cfg(test)]
mod tests;
