use super::*;
use crate::policy::life::activity::Seen;
use crate::policy::life::book::{Book, Look, Tick};
use crate::policy::life::{DAY, Terms, decide};
use crate::settings::OwnerSettings;

fn outlook(days: u64, lease: Option<(u64, &str)>) -> Outlook {
    let name: BoxName = "my-project".parse().unwrap();
    let when: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let mut book = Book::default();
    let mut tick = Tick { boot: "b".to_owned(), seconds: 0 };
    let seen = Seen { cpu: Some(0), terminals: Some([(0, 1)].into()), ..Seen::default() };
    let look = |seen: &Seen| Look {
        name: name.clone(),
        made: when,
        phase: Phase::Running,
        key: "1".to_owned(),
        seen: Some(seen.clone()),
        busy: Some(false),
    };
    let mut step = book.advance(tick.clone());
    book.note(look(&seen), step, when);
    let typed = Seen { cpu: Some(108_000_000), terminals: Some([(0, 2)].into()), ..seen };
    for _ in 0..=days * DAY / 900 {
        tick.seconds += 900;
        step = book.advance(tick.clone());
        book.note(look(&typed), step, when + jiff::SignedDuration::from_hours(5));
    }
    if let Some((length, reason)) = lease {
        book.lease(&name, Some((length, reason.to_owned())));
    }
    let record = book.record(&name).cloned().unwrap();
    let terms = Terms::of(&OwnerSettings::default(), None, None);
    let facts = record.facts(Phase::Running, book.clock(&tick), false);
    Outlook {
        name,
        phase: Phase::Running,
        decision: decide(facts, &terms),
        terms,
        lease: facts.lease,
        record: Some(record),
        is_needed_again: false,
    }
}

/// The dates are of the moment they are asked for.
fn shown(outlook: &Outlook, now: &str) -> String {
    let text = text(outlook, now.parse().unwrap());
    let dated = text.find(" (about ").zip(text.find(" UTC)"));
    dated.map_or(text.clone(), |(from, to)| format!("{} (about DATE{}", &text[..from], &text[to + 4..]))
}

#[test]
fn what_is_told() {
    insta::assert_snapshot!("used", shown(&outlook(0, None), "2026-01-02T08:05:00Z"));
    insta::assert_snapshot!("unused", shown(&outlook(3, None), "2026-01-05T09:00:00Z"));
    insta::assert_snapshot!("kept_awake", shown(&outlook(6, Some((8 * 3600, "training"))), "2026-01-08T09:00:00Z"));
}
