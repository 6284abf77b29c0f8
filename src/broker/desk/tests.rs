//! The desk over a ledger in memory, with a clock of the test's own.

use proptest::prelude::*;
use rusqlite::Connection;

use super::login::LoginRequest;
use super::*;
use crate::broker::ledger;
use crate::tailnet::book::{DeviceRow, Facts, TroubleRow};

mod trash;
mod warn;

const ALICE: u32 = 70_001;
const BOB: u32 = 70_002;

struct Host {
    ledger: Connection,
    desk: Desk,
    now: i64,
}

impl Host {
    fn new(settings: &str) -> Self {
        let mut desk = Desk::default();
        desk.names.set(ALICE, "alice");
        desk.names.set(BOB, "bob");
        desk.rules.hold(crate::settings::Settings::read(&[("t".to_owned(), settings.to_owned())]).unwrap());
        Self { ledger: ledger::open(std::path::Path::new(":memory:")).unwrap(), desk, now: 1_000_000 }
    }

    fn ask(&mut self, uid: u32, request: &Request) -> Verdict {
        let tx = self.ledger.transaction().unwrap();
        let caller = Caller { uid, pid: 1, program: "test".to_owned(), authorized: false };
        let seen = Seen::with(self.now, &[]);
        let verdict = self.desk.answer(&Ledger(&tx), &caller, request, &seen).unwrap();
        tx.commit().unwrap();
        verdict
    }

    fn reserve(&mut self, uid: u32, name: &str) -> Verdict {
        let request = Request::Reserve { name: name.to_owned(), cpu_millis: 1000, memory_bytes: 1 << 30, start: false };
        self.ask(uid, &request)
    }

    fn held(&mut self, uid: u32) -> usize {
        match self.ask(uid, &Request::Boxes { all: false, after: String::new() }) {
            Ok(Answer::Boxes(boxes)) => boxes.len(),
            other => panic!("{other:?}"),
        }
    }
}

fn why(verdict: Verdict) -> Why {
    verdict.unwrap_err().why
}

#[test]
fn a_long_list_is_given_in_pages() {
    let mut host = Host::new("[defaults]\nmax_boxes = 2000\n[host]\nmax_boxes = 2000\n");
    for n in 0..1003 {
        // Root's, for whom changes are not counted.
        host.reserve(0, &format!("b{n:04}")).unwrap();
    }
    let mut page = |after: &str| match host.ask(0, &Request::Boxes { all: true, after: after.to_owned() }) {
        Ok(Answer::Boxes(boxes)) => boxes.into_iter().map(|b| b.name).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let first = page("");
    assert_eq!((first.len(), first[999].as_str()), (1000, "b0999"));
    assert_eq!(page("b0999"), ["b1000", "b1001", "b1002"]);
}

#[test]
fn a_reservation_ends_and_a_box_does_not() {
    let mut host = Host::new("[defaults]\nmax_boxes = 2\n");
    host.reserve(ALICE, "one").unwrap();
    host.reserve(ALICE, "two").unwrap();
    host.ask(ALICE, &Request::Commit { name: "one".to_owned() }).unwrap();
    assert_eq!(why(host.reserve(ALICE, "three")), Why::OwnerLimit);
    assert_eq!(why(host.reserve(BOB, "two")), Why::Exists);
    host.now += RESERVED_FOR;
    host.reserve(BOB, "two").unwrap();
    assert_eq!(why(host.reserve(BOB, "one")), Why::Exists);
    assert_eq!(why(host.ask(ALICE, &Request::Commit { name: "two".to_owned() })), Why::NoSuchBox);
    assert_eq!((host.held(ALICE), host.held(BOB)), (1, 1));
}

#[test]
fn the_owner_may_ask_again() {
    let mut host = Host::new("[defaults]\nmax_boxes = 1\n[host]\nmax_boxes = 1\ntotal_cpu = 1\n");
    for _ in 0..3 {
        host.reserve(ALICE, "one").unwrap();
    }
    host.ask(ALICE, &Request::Commit { name: "one".to_owned() }).unwrap();
    // A box stays a box, and its share is not counted twice.
    host.reserve(ALICE, "one").unwrap();
    host.now += 2 * RESERVED_FOR;
    assert_eq!(host.held(ALICE), 1);
    assert_eq!(why(host.reserve(BOB, "two")), Why::HostLimit);
    for _ in 0..2 {
        host.ask(ALICE, &Request::Release { name: "one".to_owned() }).unwrap();
    }
    host.reserve(BOB, "two").unwrap();
}

const TAILNET: &str = "[tailnet]\nprovider = \"headscale\"\nurl = \"https://example.com\"\n";

fn device(uid: u32, name: &str, id: Option<&str>) -> DeviceRow {
    DeviceRow {
        name: name.to_owned(),
        uid,
        provider: "p".to_owned(),
        device: id.map(str::to_owned),
        hostname: name.to_owned(),
        addresses: "100.64.0.1".to_owned(),
        expired: false,
        at: 0,
    }
}

fn facts(host: &mut Host, uid: u32, name: &str) -> Facts {
    match host.ask(uid, &Request::Login(LoginRequest::Facts { name: name.to_owned() })) {
        Ok(Answer::Login(facts)) => *facts,
        other => panic!("{other:?}"),
    }
}

fn departed(host: &mut Host, uid: u32) -> Vec<(String, Option<String>)> {
    match host.ask(uid, &Request::Login(LoginRequest::Departed { all: false })) {
        Ok(Answer::Departed(departed, _)) => departed.into_iter().map(|d| (d.name, d.device)).collect(),
        other => panic!("{other:?}"),
    }
}

/// Nor why that one got none.
#[test]
fn a_name_comes_without_the_device_of_who_had_it() {
    let mut host = Host::new(TAILNET);
    host.reserve(ALICE, "abc").unwrap();
    let row = device(ALICE, "abc", Some("1"));
    host.ask(ALICE, &Request::Login(LoginRequest::Given { row })).unwrap();
    let trouble = TroubleRow { text: "alice's".to_owned(), hint: String::new() };
    host.ask(ALICE, &Request::Login(LoginRequest::Trouble { name: "abc".to_owned(), trouble })).unwrap();
    // Never committed.
    host.now += RESERVED_FOR;
    host.reserve(BOB, "abc").unwrap();
    let bobs = facts(&mut host, BOB, "abc");
    assert_eq!((bobs.device, bobs.trouble), (None, None));
    // And it is not forgotten that there is one.
    assert_eq!(departed(&mut host, ALICE), [("abc".to_owned(), Some("1".to_owned()))]);
    assert_eq!(departed(&mut host, BOB), []);
}

#[test]
fn an_answer_that_is_late_is_nobody_elses() {
    let mut host = Host::new(TAILNET);
    host.reserve(ALICE, "abc").unwrap();
    host.ask(ALICE, &Request::Release { name: "abc".to_owned() }).unwrap();
    host.reserve(BOB, "abc").unwrap();
    for row in [device(ALICE, "abc", Some("1")), device(ALICE, "abc", None)] {
        host.ask(ALICE, &Request::Login(LoginRequest::Given { row: row.clone() })).unwrap();
        host.ask(ALICE, &Request::Login(LoginRequest::Noted { row })).unwrap();
    }
    let trouble = TroubleRow::default();
    host.ask(ALICE, &Request::Login(LoginRequest::Trouble { name: "abc".to_owned(), trouble })).unwrap();
    let before = Some(device(ALICE, "abc", Some("1")));
    host.ask(ALICE, &Request::Login(LoginRequest::NotGiven { name: "abc".to_owned(), before })).unwrap();
    assert_eq!(facts(&mut host, BOB, "abc").device, None);
    // One device, one line.
    assert_eq!(departed(&mut host, ALICE).len(), 2);
    assert_eq!(why(host.ask(ALICE, &Request::Login(LoginRequest::Facts { name: "abc".to_owned() }))), Why::NoSuchBox);
}

/// A provider counts requests of all owners together.
#[test]
fn nobody_takes_all_keys() {
    let mut host = Host::new(TAILNET);
    host.reserve(ALICE, "abc").unwrap();
    host.reserve(BOB, "other").unwrap();
    let given = |uid, name| Request::Login(LoginRequest::Given { row: device(uid, name, None) });
    for _ in 0..MOST_KEYS {
        host.ask(ALICE, &given(ALICE, "abc")).unwrap();
    }
    assert_eq!(why(host.ask(ALICE, &given(ALICE, "abc"))), Why::TooMany);
    host.ask(BOB, &given(BOB, "other")).unwrap();
    // Everything else is as before.
    host.reserve(ALICE, "more").unwrap();
    host.now += 86_401;
    host.ask(ALICE, &given(ALICE, "abc")).unwrap();
}

#[test]
fn nobody_fills_the_trail() {
    let mut host = Host::new("");
    host.reserve(ALICE, "abc").unwrap();
    host.reserve(BOB, "bobs").unwrap();
    let lines =
        |host: &Host| -> u32 { host.ledger.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap() };
    let before = lines(&host);
    for _ in 0..10 {
        // What nobody has is given back by anybody, and nothing has happened.
        host.ask(BOB, &Request::Release { name: "none".to_owned() }).unwrap();
    }
    assert_eq!(lines(&host), before);
    for _ in 0..MOST_CALLS {
        let _ = host.ask(BOB, &Request::Release { name: "abc".to_owned() });
        let _ = host.ask(BOB, &Request::Evict { owner: "alice".to_owned(), name: "abc".to_owned() });
    }
    assert!(lines(&host) <= MOST_CALLS + 1, "alice's, and bob's of a day");
    assert_eq!(why(host.reserve(BOB, "more")), Why::TooMany);
    host.ask(BOB, &Request::Release { name: "bobs".to_owned() }).unwrap();
    host.now += 86_401;
    host.reserve(BOB, "other").unwrap();
}

#[test]
fn a_flood_of_ones_lines_pushes_out_nobody_elses() {
    let mut host = Host::new("");
    host.reserve(ALICE, "abc").unwrap();
    for _ in 0..100 {
        host.reserve(BOB, "abc").unwrap_err();
    }
    let trail = |host: &mut Host, most: u32| -> Vec<(String, String)> {
        match host.ask(0, &Request::Audit { since: 0, owner: String::new(), most }) {
            Ok(Answer::Audit(lines)) => lines.into_iter().map(|l| (l.caller, l.outcome)).collect(),
            other => panic!("{other:?}"),
        }
    };
    let of = |who: &str, outcome: &str| (who.to_owned(), outcome.to_owned());
    let mut shown = vec![of("bob", "Exists"); 9];
    shown.push(of("alice", "allowed"));
    assert_eq!(trail(&mut host, 10), shown);
    assert_eq!(trail(&mut host, 1000).len(), 101);
}

#[test]
fn the_trail_is_kept_for_its_time() {
    let mut host = Host::new("");
    host.reserve(ALICE, "abc").unwrap();
    host.now += ledger::AUDIT_KEPT + 1;
    host.reserve(ALICE, "other").unwrap();
    let Ok(Answer::Audit(lines)) = host.ask(0, &Request::Audit { since: 0, owner: String::new(), most: 10 }) else {
        panic!("no trail");
    };
    assert_eq!(lines.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["other"]);
}

#[test]
fn an_owner_whose_timer_is_silent_is_told_of() {
    let mut host = Host::new("");
    host.reserve(ALICE, "abc").unwrap();
    host.ask(ALICE, &Request::Commit { name: "abc".to_owned() }).unwrap();
    let kinds = |host: &mut Host| match host.ask(0, &Request::Reconcile { fix: false }) {
        Ok(Answer::Findings(found)) => found.into_iter().map(|f| f.kind).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert!(kinds(&mut host).is_empty());
    host.now += 3 * 86_400;
    assert_eq!(kinds(&mut host), ["silent"]);
    host.ask(
        ALICE,
        &Request::Report {
            boxes: vec![("abc".to_owned(), 1000, 1 << 30, false)],
            disk_bytes: 5,
            sampled: i64::MAX,
            cleaned: i64::MAX,
        },
    )
    .unwrap();
    assert!(kinds(&mut host).is_empty());
}

#[derive(Debug, Clone)]
enum Move {
    Reserve(u32, u8),
    Commit(u32, u8),
    Release(u32, u8),
    Trash(u32, u8),
    Restore(u32, u8),
    Wait(i64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let who = prop_oneof![Just(ALICE), Just(BOB)];
    let one = prop_oneof![
        4 => (who.clone(), 0_u8..8).prop_map(|(u, n)| Move::Reserve(u, n)),
        3 => (who.clone(), 0_u8..8).prop_map(|(u, n)| Move::Commit(u, n)),
        2 => (who.clone(), 0_u8..8).prop_map(|(u, n)| Move::Release(u, n)),
        2 => (who.clone(), 0_u8..8).prop_map(|(u, n)| Move::Trash(u, n)),
        2 => (who, 0_u8..8).prop_map(|(u, n)| Move::Restore(u, n)),
        1 => (1_i64..900).prop_map(Move::Wait),
    ];
    prop::collection::vec(one, 0..60)
}

fn named(name: &str) -> String {
    name.to_owned()
}

impl Host {
    fn create(&mut self, uid: u32, name: &str) {
        self.reserve(uid, name).unwrap();
        self.ask(uid, &Request::Commit { name: named(name) }).unwrap();
    }

    fn trash(&mut self, uid: u32, name: &str) -> Verdict {
        self.ask(uid, &Request::Trash { name: named(name) })
    }

    fn restore(&mut self, uid: u32, name: &str) -> Verdict {
        let request = Request::Restore { name: named(name), cpu_millis: 1000, memory_bytes: 1 << 30, start: false };
        self.ask(uid, &request)
    }

    fn release(&mut self, uid: u32, name: &str) {
        self.ask(uid, &Request::Release { name: named(name) }).unwrap();
    }

    fn report(&mut self, uid: u32, boxes: &[(&str, bool)]) {
        self.now += 1;
        let boxes = boxes.iter().map(|(name, trashed)| (named(name), 1000, 1 << 30, *trashed)).collect();
        self.ask(uid, &Request::Report { boxes, disk_bytes: 5, sampled: i64::MAX, cleaned: i64::MAX }).unwrap();
    }

    /// (kind, name, whether it is mended).
    fn reconcile(&mut self, fix: bool) -> Vec<(String, String, bool)> {
        match self.ask(0, &Request::Reconcile { fix }) {
            Ok(Answer::Findings(found)) => found.into_iter().map(|f| (f.kind, f.name, f.mends)).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The names that a user holds in the trash.
    fn in_trash(&mut self, uid: u32) -> Vec<String> {
        match self.ask(uid, &Request::Boxes { all: false, after: String::new() }) {
            Ok(Answer::Boxes(boxes)) => boxes.into_iter().filter(|b| b.trashed > 0).map(|b| b.name).collect(),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever is called in whatever order: no limit is passed by one, no name is two owners', and nobody's box is
    /// taken by another's call.
    #[test]
    fn limits_hold(moves in moves()) {
        let mut host = Host::new("[defaults]\nmax_boxes = 3\n[host]\nmax_boxes = 5\n");
        let mut owned = std::collections::BTreeMap::new();
        for next in moves {
            let named = |n: u8| format!("box-{n}");
            match next {
                Move::Reserve(uid, n) => { let _ = host.reserve(uid, &named(n)); }
                Move::Commit(uid, n) => {
                    if host.ask(uid, &Request::Commit { name: named(n) }).is_ok() {
                        prop_assert_eq!(*owned.entry(named(n)).or_insert(uid), uid);
                    }
                }
                Move::Release(uid, n) => {
                    if host.ask(uid, &Request::Release { name: named(n) }).is_ok() && owned.get(&named(n)) == Some(&uid) {
                        owned.remove(&named(n));
                    }
                }
                // It stays that owner's, whichever of both it is.
                Move::Trash(uid, n) => {
                    if host.trash(uid, &named(n)).is_ok() {
                        prop_assert_eq!(*owned.entry(named(n)).or_insert(uid), uid);
                    }
                }
                Move::Restore(uid, n) => {
                    if host.restore(uid, &named(n)).is_ok() {
                        prop_assert_eq!(*owned.entry(named(n)).or_insert(uid), uid);
                    }
                }
                Move::Wait(seconds) => host.now += seconds,
            }
            let trash = [host.in_trash(ALICE).len(), host.in_trash(BOB).len()];
            prop_assert!(trash.iter().all(|n| *n <= 3), "{:?}", trash);
            let (alice, bob) = (host.held(ALICE) - trash[0], host.held(BOB) - trash[1]);
            prop_assert!(alice <= 3 && bob <= 3 && alice + bob <= 5, "{} {}", alice, bob);
            let Ok(Answer::Boxes(all)) = host.ask(0, &Request::Boxes { all: true, after: String::new() }) else { panic!("no list") };
            for (name, uid) in &owned {
                let owner = if *uid == ALICE { "alice" } else { "bob" };
                prop_assert!(all.iter().any(|b| b.name == *name && b.owner == owner && b.expires == 0), "{} was lost", name);
            }
        }
    }
}
