//! A ledger of an older version.

use super::*;

/// As version 2 made it, with what it had in it.
fn version_2(path: &Path) {
    let old = Connection::open(path).unwrap();
    old.execute_batch(&format!("PRAGMA journal_mode = WAL; {SCHEMA} {} PRAGMA user_version = 2;", devices::SCHEMA))
        .unwrap();
    old.execute_batch(
        "INSERT INTO boxes VALUES ('abc', 1000, 2000, 4294967296, 5, NULL), ('half', 1001, 1000, 1073741824, 6, 606);
         INSERT INTO audit (at, uid, pid, program, verb, owner, name, outcome)
             VALUES (5, 1000, 7, 'devbox-ctl', 'create', 1000, 'abc', 'allowed');
         INSERT INTO reports VALUES (1000, 9, 77);
         INSERT INTO reported VALUES (1000, 'abc', 2000, 4294967296);
         INSERT INTO devices VALUES ('abc', 1000, 'p', '1', 'abc', '100.64.0.1', 0, 8);
         INSERT INTO kept VALUES ('settings', '[]');",
    )
    .unwrap();
}

#[test]
fn an_older_ledger_is_taken_over_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    version_2(&path);
    // The second time there is nothing to do.
    for _ in 0..2 {
        let mut connection = open(&path).unwrap();
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, VERSION);
        let tx = connection.transaction().unwrap();
        let ledger = Ledger(&tx);
        let abc = ledger.holder("abc").unwrap().unwrap();
        assert_eq!((abc.uid, abc.cpu, abc.since, abc.expires, abc.trashed), (1000, 2000, 5, None, None));
        assert_eq!(ledger.holder("half").unwrap().unwrap().expires, Some(606));
        assert_eq!(ledger.promised().unwrap().boxes, 2);
        let reported = ledger.reported(1000).unwrap();
        assert_eq!((reported.len(), reported[0].trashed), (1, false));
        assert_eq!(ledger.last_verb(1000, "abc").unwrap().as_deref(), Some("create"));
        assert_eq!(ledger.device("abc").unwrap().unwrap().device.as_deref(), Some("1"));
        assert_eq!(ledger.kept("settings").unwrap().as_deref(), Some("[]"));
        // And it can be written.
        ledger.put(&Held { trashed: Some(10), ..abc.clone() }).unwrap();
        assert_eq!((ledger.promised().unwrap().boxes, ledger.boxes_of(1000).unwrap().len()), (1, 0));
        ledger.put(&abc).unwrap();
        tx.commit().unwrap();
    }
}

#[test]
fn one_of_version_3_is_taken_over_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    version_2(&path);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&format!(
        "BEGIN; {SINCE_3} UPDATE boxes SET trashed = 11 WHERE name = 'abc'; PRAGMA user_version = 3; COMMIT;"
    ))
    .unwrap();
    drop(old);
    for _ in 0..2 {
        let mut connection = open(&path).unwrap();
        let tx = connection.transaction().unwrap();
        let ledger = Ledger(&tx);
        assert_eq!(ledger.holder("abc").unwrap().unwrap().trashed, Some(11));
        let told = Timers { reported: 9, sampled: None, cleaned: None };
        assert_eq!(ledger.reports().unwrap(), [(1000, told)]);
        assert_eq!(ledger.uses().unwrap()[0].1.disk_bytes, 77);
        // And it can be written.
        ledger.report(1001, Timers { reported: 12, sampled: Some(0), cleaned: Some(8) }, 5, &[]).unwrap();
        assert_eq!(ledger.reports().unwrap()[1].1.cleaned, Some(8));
        let said = crate::policy::warning::Said::example();
        ledger.add_warning(1000, &said, "{}", 12).unwrap();
        assert!(ledger.was_said(1000, &said, 11, 12).unwrap() && ledger.next_warning(12, &[]).unwrap().is_some());
        tx.rollback().unwrap();
    }
}

#[test]
fn the_next_warning_is_found_without_a_sort() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("ledger.sqlite")).unwrap();
    let mut plan = ledger.prepare(&format!("EXPLAIN QUERY PLAN {}", warnings::NEXT)).unwrap();
    let plan: Vec<String> = plan.query_map([1, 2, 3], |row| row.get(3)).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(plan.len() == 1 && plan[0].contains("warnings_waiting"), "{plan:?}");
}

#[test]
fn what_was_cut_short_is_taken_over_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    version_2(&path);
    // All of it is one transaction: killed in it, the ledger is as it was.
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&format!("BEGIN; {SINCE_3}")).unwrap();
    drop(old);
    assert!(open(&path).unwrap().prepare("SELECT trashed FROM boxes").is_ok());
}
