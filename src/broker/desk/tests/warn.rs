//! What owners say for the administrator's command, and which of their timers are silent.

use super::super::warn::{Told, WarnRequest};
use super::*;
use crate::broker::ledger::warnings::Waiting;

const HOOK: &str = "[warnings]\ncommand = [\"/usr/bin/true\"]\n[defaults]\nmax_boxes = 7\n[host]\nmax_boxes = 99\n";
const DAY: i64 = 86_400;

impl Host {
    fn with_box(settings: &str, uid: u32, name: &str) -> Self {
        let mut host = Self::new(settings);
        host.make(uid, name);
        host
    }

    fn make(&mut self, uid: u32, name: &str) {
        self.reserve(uid, name).unwrap();
        self.ask(uid, &Request::Commit { name: name.to_owned() }).unwrap();
    }

    fn warn(&mut self, uid: u32, name: &str, event: &str, seconds: u64) -> Verdict {
        let (name, event, work) = (name.to_owned(), event.to_owned(), "api: 1 changed file".to_owned());
        self.ask(uid, &Request::Warn(Told { name, event, seconds, work }))
    }

    fn next(&mut self) -> Option<Waiting> {
        match self.ask(0, &Request::Warnings(WarnRequest::Next { but: Vec::new() })) {
            Ok(Answer::Waiting(waiting)) => waiting,
            other => panic!("{other:?}"),
        }
    }

    /// What is handed over now, each taken.
    fn taken(&mut self) -> Vec<serde_json::Value> {
        let mut taken = Vec::new();
        while let Some(waiting) = self.next() {
            taken.push(serde_json::from_str(&waiting.document).unwrap());
            self.ask(0, &Request::Warnings(WarnRequest::Outcome { waiting, trouble: None })).unwrap();
        }
        taken
    }

    /// Whether there was one to fail.
    fn fails(&mut self) -> bool {
        let Some(waiting) = self.next() else { return false };
        let trouble = Some("it ended with exit status 3".to_owned());
        self.ask(0, &Request::Warnings(WarnRequest::Outcome { waiting, trouble })).unwrap();
        true
    }

    fn hook(&mut self) -> (bool, String) {
        match self.ask(0, &Request::Hook { test: false }) {
            Ok(Answer::Status(good, text)) => (good, text),
            other => panic!("{other:?}"),
        }
    }

    fn silent(&mut self) -> Vec<String> {
        match self.ask(0, &Request::Reconcile { fix: false }) {
            Ok(Answer::Findings(found)) => {
                found.into_iter().filter(|f| f.kind == "silent").map(|f| format!("{}: {}", f.owner, f.text)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn report_of(&mut self, sampled: i64, cleaned: i64) {
        let boxes = vec![("abc".to_owned(), 1000, 1 << 30, false)];
        self.ask(ALICE, &Request::Report { boxes, disk_bytes: 0, sampled, cleaned }).unwrap();
    }
}

#[test]
fn it_is_told_once() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    for _ in 0..3 {
        host.warn(ALICE, "abc", "stop-ahead", 3 * 86_400).unwrap();
    }
    let told = host.taken();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["owner"], &told[0]["uid"], &told[0]["box"]), (&"alice".into(), &ALICE.into(), &"abc".into()));
    assert_eq!((&told[0]["event"], &told[0]["test"]), (&"stop-ahead".into(), &false.into()));
    assert_eq!(host.warn(ALICE, "abc", "stop-ahead", 3 * 86_400), Ok(Answer::Done));
    assert_eq!(host.taken().len(), 0, "taken, and not said anew");
    // The next stage is another, and so is what was done; the day after, it may be said again.
    host.warn(ALICE, "abc", "stop-ahead", 86_400).unwrap();
    host.warn(ALICE, "abc", "stopped", 0).unwrap();
    assert_eq!(host.taken().len(), 2);
    host.now += DAY;
    host.warn(ALICE, "abc", "stop-ahead", 86_400).unwrap();
    assert_eq!(host.taken().len(), 1);
}

#[test]
fn only_of_ones_own() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    host.reserve(BOB, "half").unwrap();
    // Nothing is given back by who has nothing of that name.
    assert_eq!(host.ask(BOB, &Request::Release { name: "none".to_owned() }), Ok(Answer::Done));
    for (uid, name) in [(BOB, "abc"), (BOB, "half"), (BOB, "none"), (ALICE, "half")] {
        for event in ["stop-ahead", "trashed", "deleted"] {
            assert_eq!(why(host.warn(uid, name, event, 0)), Why::NoSuchBox, "{uid} {name} {event}");
        }
    }
    assert_eq!(why(host.warn(ALICE, "../abc", "stopped", 0)), Why::InvalidInput);
    assert_eq!(why(host.warn(ALICE, "abc", "exploded", 0)), Why::InvalidInput);
    // One that is gone by now was theirs a while ago.
    assert_eq!(host.warn(ALICE, "abc", "deleted", 0), Ok(Answer::Done), "there still, by the ledger");
    host.ask(ALICE, &Request::Trash { name: "abc".to_owned() }).unwrap();
    host.warn(ALICE, "abc", "trashed", 0).unwrap();
    host.ask(ALICE, &Request::Release { name: "abc".to_owned() }).unwrap();
    assert_eq!(host.taken().len(), 2);
    host.now += 9 * DAY;
    assert_eq!(why(host.warn(ALICE, "abc", "deleted", 0)), Why::NoSuchBox);
    host.make(ALICE, "abc");
    host.ask(ALICE, &Request::Release { name: "abc".to_owned() }).unwrap();
    // At the next cleanup, where devboxd did not answer this one.
    host.now += 7 * DAY;
    host.warn(ALICE, "abc", "deleted", 7 * 86_400).unwrap();
    let taken = host.taken();
    assert_eq!(taken[0]["event"], "deleted");
    let happened: jiff::Timestamp = taken[0]["happensAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(happened.as_second(), host.now - 7 * DAY);
    // And by now it is another's.
    host.make(BOB, "abc");
    host.now += 60;
    assert_eq!(why(host.warn(ALICE, "abc", "deleted", 0)), Why::NoSuchBox);
}

#[test]
fn nobody_is_flooded() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    host.make(BOB, "bobs");
    let said = (1..100).filter(|days| host.warn(ALICE, "abc", "stop-ahead", days * 86_400).is_ok()).count();
    assert_eq!(said, 14, "twice what she may have");
    assert_eq!(why(host.warn(ALICE, "abc", "stopped", 0)), Why::TooMany);
    host.warn(BOB, "bobs", "stopped", 0).unwrap();
    assert_eq!(host.taken().len(), 15);
    host.now += DAY;
    host.warn(ALICE, "abc", "stopped", 0).unwrap();
    // What was said is forgotten in the end.
    host.now += 8 * DAY;
    host.warn(ALICE, "abc", "stopped", 0).unwrap();
    let rows: u32 = host.ledger.query_row("SELECT count(*) FROM warnings", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn what_was_said_when_it_happened_is_not_said_again() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    host.warn(ALICE, "abc", "stopped", 5).unwrap();
    // Its owner did not get to note that.
    host.now += 2 * DAY;
    host.warn(ALICE, "abc", "stopped", 2 * 86_400 + 5).unwrap();
    assert_eq!(host.taken().len(), 1);
    host.warn(ALICE, "abc", "stopped", 5).unwrap();
    assert_eq!(host.taken().len(), 1, "it was stopped again");
}

#[test]
fn a_clock_that_was_ahead_swallows_nothing() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    host.now += 400 * DAY;
    for days in 1..20 {
        let _ = host.warn(ALICE, "abc", "stop-ahead", days * 86_400);
    }
    assert_eq!(host.next().unwrap().tries, 0);
    host.now -= 400 * DAY;
    // The one that was tried is tried again now; and then the same may be said, and more of it.
    assert_eq!(host.taken().len(), 14);
    host.warn(ALICE, "abc", "stop-ahead", 86_400).unwrap();
    assert_eq!(host.taken().len(), 1);
    let rows: u32 = host.ledger.query_row("SELECT count(*) FROM warnings", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn what_is_old_is_handed_over_no_more() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    host.warn(ALICE, "abc", "stopped", 0).unwrap();
    assert!(host.fails() && !host.hook().0);
    host.now += 8 * DAY;
    assert!(host.hook().0, "nobody waits for it");
    host.ask(0, &Request::Warnings(WarnRequest::Again)).unwrap();
    assert_eq!(host.next(), None);
}

#[test]
fn a_devboxd_that_ends_each_time_is_shown() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    host.warn(ALICE, "abc", "stopped", 0).unwrap();
    host.next().unwrap();
    assert!(host.hook().0, "on its way");
    host.now += 601;
    let (good, text) = host.hook();
    assert!(!good && text.contains("devboxd ended while one was handed over; 1 wait"), "{text}");
    for _ in 0..10 {
        host.now += 40_000;
        host.next();
    }
    let (good, text) = host.hook();
    assert!(!good && text.contains("0 wait to be tried again, 1 are not"), "{text}");
}

#[test]
fn one_owner_holds_up_no_other() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    host.make(BOB, "bobs");
    for days in 1..5 {
        host.warn(ALICE, "abc", "stop-ahead", days * 86_400).unwrap();
    }
    host.warn(BOB, "bobs", "stopped", 0).unwrap();
    let next =
        |host: &mut Host, but: &[u32]| match host.ask(0, &Request::Warnings(WarnRequest::Next { but: but.to_vec() })) {
            Ok(Answer::Waiting(waiting)) => waiting.map(|w| w.uid),
            other => panic!("{other:?}"),
        };
    assert_eq!(next(&mut host, &[]), Some(ALICE));
    assert_eq!(next(&mut host, &[ALICE]), Some(BOB));
    assert_eq!(next(&mut host, &[ALICE, BOB]), None);
}

#[test]
fn without_a_command_nothing_is_kept() {
    let mut host = Host::with_box("", ALICE, "abc");
    host.warn(ALICE, "abc", "stopped", 0).unwrap();
    assert_eq!(why(host.ask(0, &Request::Hook { test: true })), Why::InvalidInput);
    assert_eq!(host.hook(), (true, "no command is told of warnings".to_owned()));
    let rows: u32 = host.ledger.query_row("SELECT count(*) FROM warnings", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    assert_eq!(why(host.ask(BOB, &Request::Hook { test: false })), Why::NotAllowed);
}

#[test]
fn what_fails_is_tried_again_and_holds_up_nothing() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    host.make(ALICE, "other");
    host.warn(ALICE, "abc", "stopped", 0).unwrap();
    assert!(host.hook().0 && host.fails());
    let (good, text) = host.hook();
    assert!(!good && text.contains("exit status 3; 1 wait to be tried again, 0 are"), "{text}");
    assert_eq!(host.next(), None, "not at once");
    host.now += 600;
    host.warn(ALICE, "other", "stopped", 0).unwrap();
    let taken = host.taken();
    assert_eq!([&taken[0]["box"], &taken[1]["box"]], ["other", "abc"], "the new one first");
    host.now += DAY;
    host.warn(ALICE, "abc", "stopped", 0).unwrap();
    // Whatever ended devboxd in the middle of it: it was tried, and is tried again.
    assert_eq!(host.next().unwrap().tries, 0);
    assert_eq!(host.next(), None);
    let mut tries = 1;
    let begun = host.now;
    while host.now < begun + 5 * DAY {
        host.now += 900;
        tries += u32::from(host.fails());
    }
    assert_eq!(tries, 8);
    let (good, text) = host.hook();
    assert!(!good && text.contains("0 wait to be tried again, 1 are not tried"), "{text}");
    // A test that goes well has all of it tried once more.
    assert!(
        matches!(host.ask(0, &Request::Hook { test: true }), Ok(Answer::Document(text)) if text.contains("\"test\":true"))
    );
    host.ask(0, &Request::Warnings(WarnRequest::Again)).unwrap();
    assert_eq!(host.taken().len(), 1);
    assert!(host.hook().0);
}

#[test]
fn what_is_told_is_no_last_word_on_a_name() {
    let mut host = Host::with_box(HOOK, ALICE, "abc");
    host.ask(ALICE, &Request::Release { name: "abc".to_owned() }).unwrap();
    host.warn(ALICE, "abc", "deleted", 0).unwrap();
    let tx = host.ledger.transaction().unwrap();
    assert_eq!(Ledger(&tx).last_verb(ALICE, "abc").unwrap().as_deref(), Some("release"));
}

#[test]
fn which_timer_is_silent() {
    let mut host = Host::with_box("", ALICE, "abc");
    host.now += DAY;
    host.report_of(host.now - 300, host.now - 7000);
    assert!(host.silent().is_empty());
    // The sampler stops, and everything else goes on.
    let stopped = host.now;
    for _ in 0..3 {
        host.now += DAY;
        host.report_of(stopped, host.now - 7000);
    }
    let silent = host.silent();
    assert_eq!(silent.len(), 1);
    assert_eq!(
        silent[0],
        "alice: their devboxes-sample.timer has not run since 1970-01-13 (3 days): no box of theirs is found unused; `devbox-ctl doctor` as them says what helps"
    );
    // So does the cleanup.
    host.now += 60;
    host.report_of(host.now, stopped);
    assert!(host.silent()[0].contains("devboxes-cleanup.timer has not run since"));
    // A time that lies ahead is now, and one that never was is as old as the oldest box.
    host.now += 60;
    host.report_of(i64::MAX, 0);
    let silent = host.silent();
    assert!(silent.len() == 1 && silent[0].contains("devboxes-cleanup.timer never ran"), "{silent:?}");
    // With the report silent too, nothing is known of the others.
    host.now += 3 * DAY;
    let silent = host.silent();
    assert!(silent.len() == 1 && silent[0].contains("devboxes-report.timer has not run since"), "{silent:?}");
}

#[test]
fn what_was_never_told_is_held_against_nobody() {
    let mut host = Host::with_box("", ALICE, "abc");
    host.now += 5 * DAY;
    host.report_of(0, 0);
    host.now += 1;
    assert_eq!(host.silent().len(), 2);
    // Not known, by their own word.
    host.report_of(-1, -1);
    assert!(host.silent().is_empty());
    // As a report of an older version left it.
    host.ledger.execute("UPDATE reports SET sampled = NULL, cleaned = NULL", []).unwrap();
    assert!(host.silent().is_empty());
}
