//! What an administrator's command is told of an owner's box: the owner's own word on it, made fit for others to read.
//!
//! Its owner says which box, which event, in how long and what was found in it; every other word is ours.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::life::{Act, DAY};
use crate::shown::may_be_shown;
use crate::spec::BoxName;

mod unsaid;

pub use unsaid::{Still, Unsaid, forget, keep};

/// Bytes of what was found, as it is said.
const LONGEST_SAID: usize = 4096;
/// Characters of it that are handed on.
const LONGEST_WORK: usize = 1000;
/// Nothing that is told of lies further ahead.
const FURTHEST: u64 = 3650 * DAY;
/// What happened longer ago is told to nobody any more.
const LONGEST_AGO: u64 = 8 * DAY;
/// Failed tries, after which only an administrator's test has it tried again: by then a day is over.
const MOST_TRIES: u32 = 8;
const FIRST_PAUSE: i64 = 600;

/// What is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    StopAhead,
    TrashAhead,
    DeleteAhead,
    Stopped,
    Trashed,
    Deleted,
}

impl Event {
    const ALL: [Self; 6] =
        [Self::StopAhead, Self::TrashAhead, Self::DeleteAhead, Self::Stopped, Self::Trashed, Self::Deleted];

    pub fn ahead(act: Act) -> Self {
        match act {
            Act::Stop => Self::StopAhead,
            Act::Trash => Self::TrashAhead,
            Act::Empty | Act::Reclaim => Self::DeleteAhead,
        }
    }

    pub fn done(act: Act) -> Self {
        match act {
            Act::Stop => Self::Stopped,
            Act::Trash => Self::Trashed,
            Act::Empty | Act::Reclaim => Self::Deleted,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::StopAhead => "stop-ahead",
            Self::TrashAhead => "trash-ahead",
            Self::DeleteAhead => "delete-ahead",
            Self::Stopped => "stopped",
            Self::Trashed => "trashed",
            Self::Deleted => "deleted",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.word() == word)
    }

    fn is_ahead(self) -> bool {
        matches!(self, Self::StopAhead | Self::TrashAhead | Self::DeleteAhead)
    }
}

/// What an owner said of a box, within bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub name: BoxName,
    pub event: Event,
    /// Until it happens; of what has happened: since then.
    seconds: u64,
    /// Git work in it that is nowhere else; empty: none that is known.
    work: String,
}

/// Whom it is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    pub host: &'a str,
    pub owner: &'a str,
    pub uid: u32,
    /// It was only asked whether the command works.
    pub test: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    version: u32,
    test: bool,
    host: &'a str,
    owner: &'a str,
    uid: u32,
    #[serde(rename = "box")]
    name: &'a BoxName,
    event: &'static str,
    text: String,
    said_at: Option<Timestamp>,
    happens_at: Option<Timestamp>,
    work: Option<&'a str>,
    prevent: Option<String>,
    undo: Option<String>,
}

impl Said {
    pub fn parse(name: &str, event: &str, seconds: u64, work: &str) -> Result<Self, String> {
        let name: BoxName = name.parse().map_err(|_| "that is no name of a box".to_owned())?;
        let event = Event::of_word(event).ok_or_else(|| "that is nothing that is told of".to_owned())?;
        if seconds > if event.is_ahead() { FURTHEST } else { LONGEST_AGO } {
            return Err(format!("{seconds} seconds are too far from that"));
        }
        if work.len() > LONGEST_SAID {
            return Err(format!("what was found has at most {LONGEST_SAID} bytes"));
        }
        let work = work.chars().filter(|c| may_be_shown(*c)).take(LONGEST_WORK).collect();
        Ok(Self { name, event, seconds, work })
    }

    /// For a test: nothing of it is so.
    pub fn example() -> Self {
        let name = "example-box".parse().unwrap_or_else(|_| unreachable!("a name"));
        Self { name, event: Event::StopAhead, seconds: 3 * DAY, work: "api: 1 changed file".to_owned() }
    }

    /// Until it happens, in whole days: what says the same of a box is said once a day.
    pub fn days(&self) -> u64 {
        if self.event.is_ahead() { self.seconds.div_ceil(DAY) } else { 0 }
    }

    /// Since it has happened.
    pub fn ago(&self) -> i64 {
        if self.event.is_ahead() { 0 } else { i64::try_from(self.seconds).unwrap_or(0) }
    }

    /// One line of JSON; docs/idle.md has it for administrators.
    pub fn document(&self, about: About<'_>, now: i64) -> String {
        let at = |seconds: i64| Timestamp::from_second(seconds).ok();
        let seconds = i64::try_from(self.seconds).unwrap_or(i64::MAX);
        let then = if self.event.is_ahead() { now.saturating_add(seconds) } else { now.saturating_sub(seconds) };
        let document = Document {
            version: 1,
            test: about.test,
            host: about.host,
            owner: about.owner,
            uid: about.uid,
            name: &self.name,
            event: self.event.word(),
            text: self.text(about.owner),
            said_at: at(now),
            happens_at: at(then),
            work: Some(self.work.as_str()).filter(|work| !work.is_empty()),
            prevent: self.prevent(),
            undo: self.undo(),
        };
        serde_json::to_string(&document).unwrap_or_else(|_| unreachable!("text and numbers"))
    }

    fn text(&self, owner: &str) -> String {
        let (whose, left) = (format!("{owner}'s box {}", self.name), left(self.seconds));
        match self.event {
            Event::StopAhead => format!("nobody uses {whose}; in {left} it is stopped, and its data stays"),
            Event::TrashAhead => {
                format!("{whose} is stopped; in {left} it goes to the trash, and its data stays in it")
            }
            Event::DeleteAhead => format!("{whose} is in the trash; in {left} it is deleted for good"),
            Event::Stopped => format!("{whose} is stopped, for nobody used it; its data stays"),
            Event::Trashed => format!("{whose} is in the trash, for it was stopped for long; its data stays in it"),
            Event::Deleted => format!("{whose} is deleted for good, for its time in the trash is over"),
        }
    }

    fn prevent(&self) -> Option<String> {
        let name = &self.name;
        match self.event {
            Event::StopAhead => Some(format!("devbox-ctl keep-awake {name} --for 8h")),
            Event::TrashAhead => Some(format!("devbox-ctl start {name}")),
            Event::DeleteAhead => Some(format!("devbox-ctl restore {name}")),
            _ => None,
        }
    }

    fn undo(&self) -> Option<String> {
        match self.event {
            Event::Stopped => Some(format!("devbox-ctl start {}", self.name)),
            Event::Trashed => Some(format!("devbox-ctl restore {}", self.name)),
            _ => None,
        }
    }
}

/// To the nearest half hour, as its owner reads it.
fn left(seconds: u64) -> String {
    let seconds = seconds.saturating_add(1800);
    let (count, unit) = if seconds >= DAY { (seconds / DAY, "day") } else { (seconds / 3600, "hour") };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// So much may be told of one owner's boxes in a day: each box and each in the trash is warned of or acted upon once.
pub fn most_a_day(max_boxes: u32) -> u32 {
    max_boxes.saturating_mul(2).clamp(10, 200)
}

/// Seconds until it is tried again, after so many tries that failed; none: not by itself.
pub fn pause(tries: u32) -> Option<i64> {
    (tries < MOST_TRIES).then(|| FIRST_PAUSE << tries.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: About<'_> = About { host: "devhost", owner: "alice", uid: 1000, test: false };

    #[test]
    fn the_document() {
        let said = Said::parse("abc", "stop-ahead", 2 * DAY + 60, "api: 1 changed file").unwrap();
        insta::assert_snapshot!(said.document(ALICE, 1_000_000), @r#"{"version":1,"test":false,"host":"devhost","owner":"alice","uid":1000,"box":"abc","event":"stop-ahead","text":"nobody uses alice's box abc; in 2 days it is stopped, and its data stays","saidAt":"1970-01-12T13:46:40Z","happensAt":"1970-01-14T13:47:40Z","work":"api: 1 changed file","prevent":"devbox-ctl keep-awake abc --for 8h","undo":null}"#);
        let late = Said::parse("abc", "stopped", 86_400, "").unwrap();
        assert!(late.document(ALICE, 1_000_000).contains("\"happensAt\":\"1970-01-11T13:46:40Z\""));
        assert_eq!((late.days(), late.ago()), (0, 86_400));
        let done = Said::parse("abc", "trashed", 0, "").unwrap().document(ALICE, 0);
        assert!(done.contains("\"work\":null,\"prevent\":null,\"undo\":\"devbox-ctl restore abc\""), "{done}");
    }

    #[test]
    fn every_event_has_its_word() {
        for event in Event::ALL {
            assert_eq!(Event::of_word(event.word()), Some(event));
        }
        for act in [Act::Stop, Act::Trash, Act::Empty, Act::Reclaim] {
            assert!(Event::ahead(act).is_ahead() && !Event::done(act).is_ahead());
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let long = "x".repeat(LONGEST_SAID + 1);
        for (name, event, seconds, work) in [
            ("ab", "stopped", 0, ""),
            ("../abc", "stopped", 0, ""),
            ("abc", "exploded", 0, ""),
            ("abc", "", 0, ""),
            ("abc", "stopped", LONGEST_AGO + 1, ""),
            ("abc", "stop-ahead", FURTHEST + 1, ""),
            ("abc", "stop-ahead", u64::MAX, ""),
            ("abc", "stop-ahead", 1, long.as_str()),
        ] {
            assert!(Said::parse(name, event, seconds, work).is_err(), "{name} {event} {seconds}");
        }
    }

    #[test]
    fn hostile_text_is_one_plain_line() {
        let work = "a\r\nBcc: all@example.com\n\u{1b}[2J\u{202e}\u{2066}\u{200b}\u{9b}31m\"}$(id)`id`'\\";
        let document = Said::parse("abc", "stop-ahead", 1, work).unwrap().document(ALICE, 0);
        assert_eq!(document.lines().count(), 1);
        let json: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(json["work"], "aBcc: all@example.com[2J31m\"}$(id)`id`'\\");
        assert_eq!(json["owner"], "alice");
        let long = Said::parse("abc", "stop-ahead", 1, &"é".repeat(2000)).unwrap();
        assert_eq!(long.work.chars().count(), LONGEST_WORK);
    }

    #[test]
    fn it_is_tried_for_a_day() {
        let pauses: Vec<i64> = (1..).map_while(pause).collect();
        assert_eq!((pauses.len(), pauses[0]), (7, 600));
        let total: i64 = pauses.iter().sum();
        assert!((20 * 3600..28 * 3600).contains(&total), "{total}");
        assert_eq!([0, 5, 30, u32::MAX].map(most_a_day), [10, 10, 60, 200]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_said_is_one_line_of_json(work in "\\PC*|[\\x00-\\x20\\x7f-\\u{ffff}]*", seconds: u64) {
            if let Ok(said) = Said::parse("abc", "stop-ahead", seconds, &work) {
                let document = said.document(ALICE, i64::MAX);
                proptest::prop_assert!(!document.chars().any(char::is_control) && document.len() < 16 << 10);
                proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&document).is_ok());
            }
        }
    }
}
