//! No sequence of facts ends a box sooner than its terms say.

mod years;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::activity::Seen;
use super::book::{Book, LONGEST_STEP, Look, Tick};
use super::*;
use crate::settings::Settings;
use crate::spec::BoxName;

fn terms(text: &str) -> Terms {
    let settings = Settings::read(&[("t".to_owned(), text.to_owned())]).unwrap();
    Terms::of(settings.owner("alice"), None, None)
}

fn facts(phase: Phase, days: u64) -> Facts {
    Facts { phase, spent: Some(days * DAY), lease: 0, warned: None, work: Work::Unknown, trash_full: false }
}

fn warned(facts: Facts, act: Act, stage: u64, since: u64) -> Facts {
    Facts { warned: Some(Warned { act, stage: stage * DAY, since: since * DAY }), ..facts }
}

fn first(stage: u64) -> Now {
    Now::Warn { stage, goes_on: false }
}

#[test]
fn a_box_that_nobody_uses() {
    let terms = terms("");
    let of = |facts| decide(facts, &terms);
    assert_eq!(of(facts(Phase::Running, 2)).now, Now::Nothing);
    assert_eq!(of(facts(Phase::Running, 2)).next, Some((Act::Stop, 5 * DAY)));
    let fourth = facts(Phase::Running, 4);
    assert_eq!(of(fourth).now, first(3 * DAY));
    // Once each.
    assert_eq!(of(warned(fourth, Act::Stop, 3, 0)).now, Now::Nothing);
    let sixth = warned(facts(Phase::Running, 6), Act::Stop, 3, 2);
    assert_eq!(of(sixth).now, Now::Warn { stage: DAY, goes_on: true });
    assert_eq!(of(warned(facts(Phase::Running, 7), Act::Stop, 1, 3)).now, Now::Do);
    // Due, and nobody was told: told now, and done a day later.
    let late = facts(Phase::Running, 90);
    assert_eq!((of(late).now, of(late).next), (first(DAY), Some((Act::Stop, DAY))));
    assert_eq!(of(warned(late, Act::Stop, 1, 0)).now, Now::Nothing);
    assert_eq!(of(warned(late, Act::Stop, 1, 1)).now, Now::Do);
    // A warning of the stop is none of the trash.
    assert_eq!(of(warned(facts(Phase::Stopped, 20), Act::Stop, 1, 9)).now, first(DAY));
}

#[test]
fn a_short_term_is_not_warned_of_at_once() {
    let terms = terms("[defaults]\nidle_stop_days = 2\n");
    let after = |hours: u64| decide(Facts { spent: Some(hours * 3600), ..facts(Phase::Running, 0) }, &terms).now;
    assert_eq!((after(0), after(25)), (Now::Nothing, first(DAY)));
    let terms = Terms { stop: Some(DAY), ..terms };
    assert_eq!(terms.stages(Act::Stop), [DAY / 2]);
    assert_eq!(decide(facts(Phase::Running, 0), &terms).now, Now::Nothing);
}

#[test]
fn a_lease_is_kept() {
    let terms = terms("");
    let leased = Facts { lease: 8 * 3600, ..warned(facts(Phase::Running, 30), Act::Stop, 1, 9) };
    let decision = decide(leased, &terms);
    assert_eq!((decision.now, decision.next), (Now::Nothing, Some((Act::Stop, 8 * 3600))));
}

#[test]
fn what_leaves_the_trash() {
    let usual = terms("");
    assert_eq!(decide(facts(Phase::Destroyed, 14), &usual).now, Now::Do);
    assert_eq!(decide(facts(Phase::Destroyed, 13), &usual).now, Now::Nothing);
    // What a timer moved there stays until somebody says so.
    assert_eq!(decide(facts(Phase::Trashed, 9999), &usual).next, None);
    let reclaims = terms("[defaults]\nreclaim_days = 30\n");
    let due = warned(facts(Phase::Trashed, 30), Act::Reclaim, 1, 3);
    assert_eq!(decide(due, &reclaims).held, Some(Held::Work), "nobody looked");
    assert_eq!(decide(Facts { work: Work::Some, ..due }, &reclaims).now, Now::Nothing);
    assert_eq!(decide(Facts { work: Work::None, ..due }, &reclaims).now, Now::Do);
    assert_eq!(decide(Facts { work: Work::None, ..facts(Phase::Trashed, 30) }, &reclaims).now, first(DAY));
    let full = Facts { trash_full: true, ..warned(facts(Phase::Stopped, 14), Act::Trash, 1, 3) };
    assert_eq!((decide(full, &usual).now, decide(full, &usual).held), (Now::Nothing, Some(Held::TrashFull)));
}

#[test]
fn zero_is_never_and_a_wish_is_bounded() {
    let settings = |text: &str| Settings::read(&[("t".to_owned(), text.to_owned())]).unwrap();
    let of = |text: &str, wish| Terms::of(settings(text).owner("alice"), wish, None).stop.map(|s| s / DAY);
    assert_eq!(of("", None), Some(7));
    assert_eq!(of("", Some(3)), Some(3));
    assert_eq!(of("", Some(30)), Some(7), "longer only where an administrator lets it");
    assert_eq!(of("", Some(0)), Some(7));
    assert_eq!(of("[defaults]\nmax_idle_stop_days = 30\n", Some(20)), Some(20));
    assert_eq!(of("[defaults]\nmax_idle_stop_days = 30\n", Some(0)), Some(30));
    assert_eq!(of("[defaults]\nmax_idle_stop_days = 0\n", Some(0)), None);
    assert_eq!(of("[defaults]\nidle_stop_days = 0\n", None), None);
    assert_eq!(of("[defaults]\nidle_stop_days = 0\n", Some(5)), Some(5));
}

#[test]
fn a_warning_of_another_time_is_none() {
    let none = Work::None;
    let of = |days: u32, facts: Facts| {
        decide(Facts { work: none, ..facts }, &terms(&format!("[defaults]\nreclaim_days = {days}\n")))
    };
    // Warned a day ahead of the thirtieth; then the term became ninety days.
    let told = |days: u64| warned(facts(Phase::Trashed, days), Act::Reclaim, 1, days - 27);
    assert_eq!(of(30, told(30)).now, Now::Do);
    assert_eq!(of(90, told(30)).now, Now::Nothing);
    assert_eq!(of(90, told(87)).now, first(3 * DAY));
    // For a while there was none, and now there is again.
    assert_eq!((of(30, told(200)).now, of(30, told(200)).next), (first(DAY), Some((Act::Reclaim, DAY))));
    // What is held up for long is not told of again each week.
    let held = Facts { work: Work::Some, ..told(200) };
    assert_eq!(decide(held, &terms("[defaults]\nreclaim_days = 30\n")).now, Now::Nothing);
    // Told late, once, and done a day later.
    assert_eq!(of(30, warned(facts(Phase::Trashed, 200), Act::Reclaim, 1, 0)).now, Now::Nothing);
    assert_eq!(of(30, warned(facts(Phase::Trashed, 201), Act::Reclaim, 1, 1)).now, Now::Do);
}

#[test]
fn a_record_counts_from_the_first_warning_of_a_time() {
    let mut book = Book::default();
    let (name, made): (BoxName, _) = ("abc".parse().unwrap(), Timestamp::UNIX_EPOCH);
    let look = Look { name: name.clone(), made, phase: Phase::Trashed, key: "k".into(), seen: None, busy: Some(false) };
    let mut at = 0;
    let mut pass = |book: &mut Book| {
        at += 900;
        let step = book.advance(Tick { boot: "b".into(), seconds: at });
        book.note(look.clone(), step, made);
    };
    pass(&mut book);
    for (stage, goes_on, expected) in [(3, false, 0), (1, true, 900), (1, false, 0), (3, false, 0)] {
        let record = book.record_mut(&name).unwrap();
        record.warned(Act::Reclaim, stage * DAY, goes_on);
        // And is shown at a login again, though it is of the same stage.
        assert_eq!((record.show(), record.show()), (Some(Act::Reclaim), None));
        let facts = record.facts(Phase::Trashed, 0, false);
        assert_eq!(facts.warned.unwrap().since, expected, "{stage}");
        pass(&mut book);
    }
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let phase = prop_oneof![
        Just(Phase::Running),
        Just(Phase::RunsOn),
        Just(Phase::Stopped),
        Just(Phase::Destroyed),
        Just(Phase::Trashed),
        Just(Phase::Other)
    ];
    let act = prop_oneof![Just(Act::Stop), Just(Act::Trash), Just(Act::Empty), Just(Act::Reclaim)];
    let days = || prop_oneof![0..40 * DAY, any::<u64>()];
    let warned = prop::option::of((act, days(), days()).prop_map(|(act, stage, since)| Warned { act, stage, since }));
    let work = prop_oneof![Just(Work::None), Just(Work::Some), Just(Work::Unknown)];
    let lease = prop_oneof![Just(0), days()];
    (phase, prop::option::of(days()), lease, warned, work, any::<bool>()).prop_map(
        |(phase, spent, lease, warned, work, trash_full)| Facts { phase, spent, lease, warned, work, trash_full },
    )
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let term = || prop::option::of(1..40_u64);
    (term(), term(), term(), term(), prop::collection::vec(0..20_u32, 0..4)).prop_map(
        |(stop, trash, empty, reclaim, warn)| {
            let days = |days: Option<u64>| days.map(|d| d * DAY);
            let owner = OwnerSettings { warn_days: warn, ..OwnerSettings::default() };
            Terms {
                stop: days(stop),
                trash: days(trash),
                empty: days(empty),
                reclaim: days(reclaim),
                ..Terms::of(&owner, None, None)
            }
        },
    )
}

proptest! {
    #[test]
    fn nothing_is_done_before_its_time(facts in any_facts(), terms in any_terms()) {
        let decision = decide(facts, &terms);
        if decision.now == Now::Do {
            let (act, left) = decision.next.unwrap();
            let term = match act {
                Act::Stop => terms.stop,
                Act::Trash => terms.trash,
                Act::Empty => terms.empty,
                Act::Reclaim => terms.reclaim,
            };
            prop_assert_eq!(left, 0);
            prop_assert!(facts.spent.unwrap() >= term.unwrap());
            prop_assert_eq!(facts.lease, 0);
            prop_assert!(act != Act::Reclaim || facts.work == Work::None);
            prop_assert!(act != Act::Trash || !facts.trash_full);
            if let Some(shortest) = terms.stages(act).last() {
                let warned = facts.warned.unwrap();
                prop_assert!(warned.act == act && warned.since >= *shortest);
            }
        }
    }

    #[test]
    fn more_time_never_brings_it_further_away(facts in any_facts(), terms in any_terms(), more in 0..DAY * 30) {
        let Some(spent) = facts.spent else { return Ok(()) };
        let later = Facts { spent: Some(spent.saturating_add(more)), ..facts };
        let left = |facts| decide(facts, &terms).next.map(|(_, left)| left);
        prop_assert!(left(later) <= left(facts));
        if decide(facts, &terms).now == Now::Do {
            prop_assert_eq!(decide(later, &terms).now, Now::Do);
        }
    }

    #[test]
    fn what_is_kept_may_be_anything(text in ".{0,200}", spent in any::<u64>(), clock in any::<u64>()) {
        let _ = serde_json::from_str::<Book>(&text).map(Book::checked);
        let record = format!(
            r#"{{"clock":{clock},"tick":null,"boxes":{{"abc":{{"made":"2026-01-01T00:00:00Z","phase":"running","key":"k","spent":{spent},"seen":null,"warned":null,"lease":null}}}}}}"#
        );
        let book = serde_json::from_str::<Book>(&record).unwrap().checked();
        let facts = book.record(&"abc".parse().unwrap()).unwrap().facts(Phase::Running, clock, false);
        prop_assert!(facts.spent.unwrap() <= clock);
    }
}

#[test]
fn a_timer_of_which_nothing_is_noted() {
    let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let days = |days: i64| now + SignedDuration::from_hours(days * 24);
    let mut book = Book::default();
    assert!(!book.is_young(now), "nobody ever looked");
    book.advance(Tick { boot: "a".to_owned(), seconds: 300 });
    assert!(book.is_young(now), "an older version's");
    // A clock that was ahead is none to wait for.
    book.begin(days(400));
    book.begin(now);
    book.begin(days(1));
    assert_eq!([1, 2, 3].map(|later| book.is_young(days(later))), [true, true, false]);
    let kept: Book = serde_json::from_str(&serde_json::to_string(&book).unwrap()).unwrap();
    assert!(!kept.is_young(days(3)));
}
