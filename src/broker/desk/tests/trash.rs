//! Names in the trash.

use super::*;

#[test]
fn a_trashed_name_is_held_and_counts_only_against_the_trash() {
    let mut host = Host::new("[defaults]\nmax_boxes = 2\n[host]\nmax_boxes = 2\ntotal_cpu = 2\n");
    host.create(ALICE, "one");
    host.create(ALICE, "two");
    host.trash(ALICE, "one").unwrap();
    // Said twice, it is so.
    host.trash(ALICE, "one").unwrap();
    // Nobody else gets it, and its owner gets no new box of it.
    assert_eq!(why(host.reserve(BOB, "one")), Why::Exists);
    assert_eq!(why(host.restore(BOB, "one")), Why::Exists);
    assert_eq!(why(host.trash(BOB, "one")), Why::NoSuchBox);
    let again = host.reserve(ALICE, "one").unwrap_err();
    assert_eq!((again.why, again.message.as_str()), (Why::Exists, "one is in the trash"));
    assert!(again.hint.contains("devbox-ctl restore one") && again.hint.contains("destroy --now one"));
    assert_eq!(why(host.ask(ALICE, &Request::Commit { name: named("one") })), Why::NoSuchBox);
    assert_eq!(why(host.ask(ALICE, &Request::Start { name: named("one"), memory_bytes: 1 })), Why::Exists);
    // There is room for another box, and in the trash for one more.
    host.create(ALICE, "three");
    assert_eq!(why(host.restore(ALICE, "one")), Why::OwnerLimit);
    host.trash(ALICE, "two").unwrap();
    let full = host.trash(ALICE, "three").unwrap_err();
    assert_eq!(full.message, "you have 2 boxes in the trash, and 2 is your limit there too");
    assert_eq!((full.why, full.facts), (Why::OwnerLimit, vec!["in the trash: one, two".to_owned()]));
    // It is admitted anew: by the owner's limits and the host's.
    host.create(BOB, "bobs");
    assert_eq!(why(host.restore(ALICE, "one")), Why::HostLimit);
    host.release(BOB, "bobs");
    host.restore(ALICE, "one").unwrap();
    host.restore(ALICE, "one").unwrap();
    assert_eq!(host.in_trash(ALICE), ["two"]);
    host.trash(ALICE, "three").unwrap();
    host.release(ALICE, "two");
    host.reserve(BOB, "two").unwrap();
}

#[test]
fn the_trail_tells_what_is_deleted_from_what_is_not() {
    let mut host = Host::new("");
    host.create(ALICE, "abc");
    host.trash(ALICE, "abc").unwrap();
    host.restore(ALICE, "abc").unwrap();
    host.trash(ALICE, "abc").unwrap();
    host.release(ALICE, "abc");
    let Ok(Answer::Audit(lines)) = host.ask(0, &Request::Audit { since: 0, owner: String::new(), most: 10 }) else {
        panic!("no trail");
    };
    let verbs: Vec<&str> = lines.iter().rev().map(|l| l.verb.as_str()).collect();
    assert_eq!(verbs, ["reserve", "create", "trash", "restore", "trash", "release"]);
}

/// Nor has it a device: that one goes, and a late answer is none of a box's.
#[test]
fn one_in_the_trash_gets_no_key() {
    let mut host = Host::new(TAILNET);
    host.create(ALICE, "abc");
    let row = device(ALICE, "abc", Some("1"));
    host.ask(ALICE, &Request::Login(LoginRequest::Given { row: row.clone() })).unwrap();
    host.trash(ALICE, "abc").unwrap();
    assert_eq!(departed(&mut host, ALICE), [(named("abc"), Some(named("1")))]);
    let ask = Request::Login(LoginRequest::Facts { name: named("abc") });
    assert_eq!(why(host.ask(ALICE, &ask)), Why::NoSuchBox);
    let late = device(ALICE, "abc", Some("2"));
    host.ask(ALICE, &Request::Login(LoginRequest::Noted { row: late })).unwrap();
    host.ask(ALICE, &Request::Login(LoginRequest::NotGiven { name: named("abc"), before: Some(row) })).unwrap();
    assert_eq!(departed(&mut host, ALICE).len(), 2);
    host.restore(ALICE, "abc").unwrap();
    assert_eq!(facts(&mut host, ALICE, "abc").device, None);
}

/// What was made while there was no broker is held from its way into the trash on; but not for who may have no names.
#[test]
fn an_unknown_name_into_the_trash() {
    let mut host = Host::new("[defaults]\nmax_boxes = 1\n[users.bob]\nallowed = false\n");
    host.trash(ALICE, "early").unwrap();
    assert_eq!(host.in_trash(ALICE), ["early"]);
    assert_eq!(why(host.trash(ALICE, "more")), Why::OwnerLimit);
    assert_eq!(why(host.trash(BOB, "more")), Why::NoSuchBox);
    assert_eq!(why(host.trash(99_999, "more")), Why::NoSuchBox);
    assert_eq!(why(host.trash(ALICE, "No Name")), Why::NoSuchBox);
    // A reservation on its way there does not end any more.
    host.release(ALICE, "early");
    host.reserve(ALICE, "half").unwrap();
    host.trash(ALICE, "half").unwrap();
    host.now += 2 * RESERVED_FOR;
    assert_eq!(host.in_trash(ALICE), ["half"]);
}

#[test]
fn the_trash_is_neither_lost_nor_an_orphan() {
    let mut host = Host::new("");
    let found = |kind: &str, name: &str| vec![(named(kind), named(name), true)];
    host.create(ALICE, "abc");
    host.now += 1;
    host.trash(ALICE, "abc").unwrap();
    // What was reported before it went says nothing of it.
    assert_eq!(host.reconcile(true), []);
    host.report(ALICE, &[("abc", true)]);
    assert_eq!(host.reconcile(true), []);
    assert_eq!(host.in_trash(ALICE), ["abc"]);
    // It came back, and nobody told the ledger: it is admitted as any other.
    host.report(ALICE, &[("abc", false)]);
    assert_eq!(host.reconcile(true), found("orphan", "abc"));
    assert_eq!(host.in_trash(ALICE), Vec::<String>::new());
    assert_eq!(host.reconcile(true), []);
    // It went, and nobody told.
    host.report(ALICE, &[("abc", true), ("early", true)]);
    assert_eq!(host.reconcile(true), [found("trashed", "abc"), found("orphan", "early")].concat());
    assert_eq!(host.in_trash(ALICE), ["abc", "early"]);
    assert_eq!(host.reconcile(true), []);
    // Emptied, and nobody told.
    host.report(ALICE, &[("early", true)]);
    assert_eq!(host.reconcile(true), found("lost", "abc"));
    assert_eq!(host.in_trash(ALICE), ["early"]);
    // What two report is nobody's, in the trash or not.
    host.report(ALICE, &[("early", true), ("both", true)]);
    host.report(BOB, &[("both", false)]);
    assert_eq!(host.reconcile(true).iter().map(|f| f.0.as_str()).collect::<Vec<_>>(), ["taken", "taken"]);
}

#[test]
fn no_more_is_adopted_into_the_trash_than_fits() {
    let mut host = Host::new("[defaults]\nmax_boxes = 1\n");
    host.report(ALICE, &[("aaa", true), ("bbb", true)]);
    let found: Vec<bool> = host.reconcile(true).into_iter().map(|f| f.2).collect();
    assert_eq!(found, [true, false]);
    assert_eq!(host.in_trash(ALICE), ["aaa"]);
}
