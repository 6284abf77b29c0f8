//! What is kept by a box's owner until the administrator's command was told of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Event;
use crate::policy::life::book::Record;
use crate::policy::life::{Act, Phase};
use crate::spec::BoxName;

/// In seconds; what happened longer ago is told to nobody any more.
const KEPT: i64 = 7 * 86_400;
/// In seconds: between a warning and the call that tells of it.
const MOMENT: i64 = 3600;
/// More is nothing that a broker misses which has not answered for so long.
const MOST: usize = 256;

/// What is to be said, or could not be, for nobody answered; its owner keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsaid {
    pub name: BoxName,
    pub event: Event,
    /// When it happens, or happened.
    pub at: Timestamp,
    pub work: String,
    /// It is about to be done; whether it was, nobody has seen yet.
    #[serde(default)]
    pub begun: bool,
}

/// What becomes of one that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Still {
    /// With so many seconds.
    Say(u64),
    /// Whether it came true is not known yet.
    Keep,
    /// It does not hold any more, or is too old.
    Drop,
}

impl Unsaid {
    /// In how many seconds, or how many ago; none of a warning whose time is over, nor of what is long past.
    pub fn seconds(&self, now: Timestamp) -> Option<u64> {
        let left = self.at.as_second() - now.as_second();
        if self.event.is_ahead() {
            // What is due at once is told a moment later.
            return (left > -MOMENT).then(|| left.max(0).unsigned_abs());
        }
        // The clock may have been ahead.
        (left.abs() <= KEPT).then(|| left.min(0).unsigned_abs())
    }

    /// `record`: of its box, as it was just looked at.
    pub fn still(&self, record: Option<&Record>, now: Timestamp) -> Still {
        let Some(seconds) = self.seconds(now) else { return Still::Drop };
        let is_warned = |act| record.is_some_and(|record| record.is_warned_of(act));
        let phase = record.map(Record::phase);
        let holds = match self.event {
            Event::StopAhead => is_warned(Act::Stop),
            Event::TrashAhead => is_warned(Act::Trash),
            Event::DeleteAhead => is_warned(Act::Empty) || is_warned(Act::Reclaim),
            _ if !self.begun => true,
            // It is half done, or damaged.
            _ if phase == Some(Phase::Other) => return Still::Keep,
            Event::Stopped => phase == Some(Phase::Stopped),
            Event::Trashed => phase == Some(Phase::Trashed),
            Event::Deleted => phase.is_none(),
        };
        if holds { Still::Say(seconds) } else { Still::Drop }
    }
}

/// Keeps one; of the same box, the warning before it says nothing any more.
pub fn keep(all: &mut Vec<Unsaid>, unsaid: Unsaid) {
    all.retain(|other| other.name != unsaid.name || !other.event.is_ahead());
    all.push(unsaid);
    // The oldest go.
    all.drain(..all.len().saturating_sub(MOST));
}

/// It is said, or it is another by now.
pub fn forget(all: &mut Vec<Unsaid>, unsaid: &Unsaid) {
    all.retain(|other| other != unsaid);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::life::book::{Book, Look, Step};

    #[test]
    fn what_could_not_be_said_is_said_while_it_holds() {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let unsaid = |event| Unsaid { name: "abc".parse().unwrap(), event, at, work: String::new(), begun: false };
        let before = Timestamp::from_second(at.as_second() - 60).unwrap();
        let after = Timestamp::from_second(at.as_second() + 60).unwrap();
        // One that is due at once is told a moment later.
        let late = Timestamp::from_second(at.as_second() + 2 * MOMENT).unwrap();
        let ahead = [before, at, after, late].map(|now| unsaid(Event::StopAhead).seconds(now));
        assert_eq!(ahead, [Some(60), Some(0), Some(0), None]);
        assert_eq!([before, after].map(|now| unsaid(Event::Stopped).seconds(now)), [Some(0), Some(60)]);
        for days in [8, -8] {
            let now = at.checked_add(jiff::SignedDuration::from_hours(days * 24)).unwrap();
            assert_eq!(unsaid(Event::Stopped).seconds(now), None);
        }
        let kept = serde_json::to_string(&unsaid(Event::StopAhead)).unwrap();
        assert!(kept.contains("\"stop-ahead\""), "{kept}");
        assert_eq!(serde_json::from_str::<Unsaid>(&kept).unwrap(), unsaid(Event::StopAhead));
    }

    /// A box that is so.
    fn record(phase: Phase, warned: Option<Act>) -> Record {
        let made: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let name: BoxName = "abc".parse().unwrap();
        let mut book = Book::default();
        let look = Look { name: name.clone(), made, phase, key: "run".to_owned(), seen: None, busy: Some(false) };
        book.note(look, Step { counted: 300, elapsed: 300 }, made);
        if let Some(act) = warned {
            book.record_mut(&name).unwrap().warned(act, 86_400, false);
        }
        book.record(&name).unwrap().clone()
    }

    #[test]
    fn a_warning_that_does_not_hold_is_dropped() {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let before = Timestamp::from_second(at.as_second() - 60).unwrap();
        let unsaid = |event| Unsaid { name: "abc".parse().unwrap(), event, at, work: String::new(), begun: false };
        let of = |event, record: Option<Record>| unsaid(event).still(record.as_ref(), before);
        assert_eq!(of(Event::StopAhead, Some(record(Phase::Running, Some(Act::Stop)))), Still::Say(60));
        assert_eq!(of(Event::StopAhead, Some(record(Phase::Running, None))), Still::Drop, "it was used since");
        assert_eq!(of(Event::StopAhead, None), Still::Drop);
        assert_eq!(of(Event::StopAhead, Some(record(Phase::Stopped, Some(Act::Trash)))), Still::Drop);
        assert_eq!(of(Event::DeleteAhead, Some(record(Phase::Trashed, Some(Act::Reclaim)))), Still::Say(60));
        // What was done was done, whatever its owner made of it since.
        assert_eq!(of(Event::Stopped, Some(record(Phase::Running, None))), Still::Say(0));
    }

    #[test]
    fn what_was_only_begun_is_told_if_it_came_true() {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let now = Timestamp::from_second(at.as_second() + 86_400).unwrap();
        let begun = |event| Unsaid { name: "abc".parse().unwrap(), event, at, work: String::new(), begun: true };
        for (event, phase, still) in [
            (Event::Stopped, Some(Phase::Stopped), Still::Say(86_400)),
            (Event::Stopped, Some(Phase::RunsOn), Still::Drop),
            (Event::Stopped, Some(Phase::Other), Still::Keep),
            (Event::Stopped, None, Still::Drop),
            (Event::Trashed, Some(Phase::Trashed), Still::Say(86_400)),
            (Event::Trashed, Some(Phase::Stopped), Still::Drop),
            (Event::Trashed, Some(Phase::Other), Still::Keep),
            (Event::Deleted, None, Still::Say(86_400)),
            (Event::Deleted, Some(Phase::Other), Still::Keep),
            (Event::Deleted, Some(Phase::Trashed), Still::Drop),
        ] {
            let record = phase.map(|phase| record(phase, None));
            assert_eq!(begun(event).still(record.as_ref(), now), still, "{event:?} {phase:?}");
        }
        let late = Timestamp::from_second(at.as_second() + 8 * 86_400).unwrap();
        assert_eq!(begun(Event::Deleted).still(None, late), Still::Drop);
    }

    #[test]
    fn the_newest_are_kept() {
        let unsaid = |at: i64, event| Unsaid {
            name: "abc".parse().unwrap(),
            event,
            at: Timestamp::from_second(at).unwrap(),
            work: String::new(),
            begun: false,
        };
        let mut all = Vec::new();
        for at in 0..300 {
            keep(&mut all, unsaid(at, Event::Stopped));
        }
        assert_eq!((all.len(), all[0].at.as_second(), all[255].at.as_second()), (256, 44, 299));
        // Of a box's warnings the last.
        keep(&mut all, unsaid(400, Event::StopAhead));
        keep(&mut all, unsaid(500, Event::StopAhead));
        assert_eq!(all.iter().filter(|u| u.event == Event::StopAhead).count(), 1);
        // By what it is, wherever it stands by now.
        forget(&mut all, &unsaid(299, Event::Stopped));
        assert!(!all.contains(&unsaid(299, Event::Stopped)) && all.contains(&unsaid(298, Event::Stopped)));
        let before = all.clone();
        forget(&mut all, &unsaid(299, Event::Stopped));
        assert_eq!(all, before);
    }
}
