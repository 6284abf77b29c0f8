//! The ledger: who holds which name, and what was done. SQLite, so that its crash safety is somebody else's proven work.
//!
//! Every change is made inside a transaction of the [`desk`](super::desk); this file only knows the tables.

pub(super) mod devices;
pub(super) mod warnings;

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::policy::host::Promised;
use crate::wire::{AuditLine, OwnerUse};

/// How long the audit trail is kept, in seconds.
pub(super) const AUDIT_KEPT: i64 = 90 * 86_400;

/// As it was up to version 2; [`SINCE_3`] is what came after, so that an old ledger and a new one go the same way.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS boxes (
    name TEXT PRIMARY KEY, uid INTEGER NOT NULL, cpu INTEGER NOT NULL, memory INTEGER NOT NULL,
    since INTEGER NOT NULL, expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS boxes_of ON boxes (uid);
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, uid INTEGER NOT NULL, pid INTEGER NOT NULL, program TEXT NOT NULL,
    verb TEXT NOT NULL, owner INTEGER NOT NULL, name TEXT NOT NULL, outcome TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS audit_of ON audit (uid, at);
CREATE INDEX IF NOT EXISTS audit_at ON audit (at);
CREATE TABLE IF NOT EXISTS reports (uid INTEGER PRIMARY KEY, at INTEGER NOT NULL, disk INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS reported (
    uid INTEGER NOT NULL, name TEXT NOT NULL, cpu INTEGER NOT NULL, memory INTEGER NOT NULL, PRIMARY KEY (uid, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (what TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// What version 3 has more than those before it.
const SINCE_3: &str = "
ALTER TABLE boxes ADD COLUMN trashed INTEGER;
ALTER TABLE reported ADD COLUMN trashed INTEGER NOT NULL DEFAULT 0;
";

/// What version 4 has more: which timers of an owner's go, and what is to be told to the administrator's command.
const SINCE_4: &str = "
ALTER TABLE reports ADD COLUMN sampled INTEGER;
ALTER TABLE reports ADD COLUMN cleaned INTEGER;
";

/// Raised with the tables.
const VERSION: i64 = 4;

/// A name that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) cpu: u32,
    pub(super) memory: u64,
    pub(super) since: i64,
    /// When a reservation ends; none for a box.
    pub(super) expires: Option<i64>,
    /// Since when it is in the trash; none for a box.
    pub(super) trashed: Option<i64>,
}

impl Held {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            uid: row.get(1)?,
            cpu: row.get(2)?,
            memory: row.get::<_, i64>(3)?.unsigned_abs(),
            since: row.get(4)?,
            expires: row.get(5)?,
            trashed: row.get(6)?,
        })
    }
}

/// A box as its owner's timer reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) name: String,
    pub(super) cpu: u32,
    pub(super) memory: u64,
    /// It is in the trash.
    pub(super) trashed: bool,
}

/// What an owner's timer last told of itself and of their other timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timers {
    pub(super) reported: i64,
    /// When boxes were last looked at, and when the cleanup last ran; 0 is never, none was not told.
    pub(super) sampled: Option<i64>,
    pub(super) cleaned: Option<i64>,
}

/// Opens the ledger and makes what is missing of it.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // FULL: what was answered survives a power cut. The cache is for one process of 12 MB.
    connection.execute_batch(
        // EXCLUSIVE: nobody else has it, and without the shared index there is nothing to write before it can be read.
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -1024; \
         PRAGMA journal_size_limit = 4194304; PRAGMA busy_timeout = 2000;",
    )?;
    // Only where they are missing: a ledger whose disk is full can still be read.
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version < VERSION {
        let before_3 = if version < 3 { format!("{SCHEMA} {} {SINCE_3}", devices::SCHEMA) } else { String::new() };
        connection.execute_batch(&format!(
            "BEGIN; {before_3} {SINCE_4} {} PRAGMA user_version = {VERSION}; COMMIT;",
            warnings::SCHEMA
        ))?;
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// The tables as the desk uses them, inside its transaction.
#[derive(Debug)]
pub(super) struct Ledger<'a>(pub(super) &'a Transaction<'a>);

const BOX: &str = "SELECT name, uid, cpu, memory, since, expires, trashed FROM boxes";

impl Ledger<'_> {
    pub(super) fn holder(&self, name: &str) -> rusqlite::Result<Option<Held>> {
        self.0.prepare_cached(&format!("{BOX} WHERE name = ?1"))?.query_row([name], Held::of).optional()
    }

    pub(super) fn of_owner(&self, uid: u32) -> rusqlite::Result<Vec<Held>> {
        self.0.prepare_cached(&format!("{BOX} WHERE uid = ?1 ORDER BY name"))?.query_map([uid], Held::of)?.collect()
    }

    /// An owner's boxes and reservations, without what is in the trash.
    pub(super) fn boxes_of(&self, uid: u32) -> rusqlite::Result<Vec<Held>> {
        Ok(self.of_owner(uid)?.into_iter().filter(|held| held.trashed.is_none()).collect())
    }

    /// The next boxes after a name, of one owner or of all.
    pub(super) fn page(&self, uid: Option<u32>, after: &str, most: u32) -> rusqlite::Result<Vec<Held>> {
        self.0
            .prepare_cached(&format!("{BOX} WHERE name > ?1 AND (?2 IS NULL OR uid = ?2) ORDER BY name LIMIT ?3"))?
            .query_map(params![after, uid, most], Held::of)?
            .collect()
    }

    pub(super) fn promised(&self) -> rusqlite::Result<Promised> {
        let mut sum =
            self.0.prepare_cached("SELECT count(*), total(cpu), total(memory) FROM boxes WHERE trashed IS NULL")?;
        // total() is a float; the sums of whole numbers below 2^53 are exact in it.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        sum.query_row([], |row| {
            Ok(Promised {
                boxes: row.get::<_, i64>(0)?.unsigned_abs(),
                cpu_millis: row.get::<_, f64>(1)? as u64,
                memory_bytes: row.get::<_, f64>(2)? as u64,
            })
        })
    }

    pub(super) fn put(&self, held: &Held) -> rusqlite::Result<()> {
        let memory = i64::try_from(held.memory).unwrap_or(i64::MAX);
        let values = params![held.name, held.uid, held.cpu, memory, held.since, held.expires, held.trashed];
        self.0
            .prepare_cached("INSERT OR REPLACE INTO boxes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(values)
            .map(drop)
    }

    pub(super) fn remove(&self, name: &str) -> rusqlite::Result<()> {
        self.0.prepare_cached("DELETE FROM boxes WHERE name = ?1")?.execute([name]).map(drop)
    }

    /// What an owner's report said before is not so any more.
    pub(super) fn unreport(&self, uid: u32, name: &str) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("DELETE FROM reported WHERE uid = ?1 AND name = ?2")?
            .execute(params![uid, name])
            .map(drop)
    }

    /// Ends reservations whose time is over; how many. A key may have been given for one: what came of it goes too, and is
    /// not the next holder's.
    pub(super) fn expire(&self, now: i64) -> rusqlite::Result<usize> {
        let names: Vec<String> = self
            .0
            .prepare_cached("SELECT name FROM boxes WHERE expires <= ?1")?
            .query_map([now], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        names.iter().try_for_each(|name| self.depart(name, now))?;
        self.0.prepare_cached("DELETE FROM boxes WHERE expires <= ?1")?.execute([now])
    }

    pub(super) fn write_audit(&self, uid: u32, owner: u32, line: &AuditLine) -> rusqlite::Result<()> {
        let values = params![line.at, uid, line.pid, line.program, line.verb, owner, line.name, line.outcome];
        self.0
            .prepare_cached("INSERT INTO audit (at, uid, pid, program, verb, owner, name, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(values)?;
        self.0.prepare_cached("DELETE FROM audit WHERE at < ?1")?.execute([line.at - AUDIT_KEPT]).map(drop)
    }

    /// How many lines a caller has caused since then.
    pub(super) fn calls_since(&self, uid: u32, then: i64) -> rusqlite::Result<u32> {
        self.0
            .prepare_cached("SELECT count(*) FROM audit WHERE uid = ?1 AND at > ?2")?
            .query_row(params![uid, then], |row| row.get(0))
    }

    /// How many keys a caller was given since then.
    pub(super) fn keys_since(&self, uid: u32, then: i64) -> rusqlite::Result<u32> {
        self.0
            .prepare_cached(
                "SELECT count(*) FROM audit WHERE uid = ?1 AND at > ?2 AND verb = 'key' AND outcome = 'allowed'",
            )?
            .query_row(params![uid, then], |row| row.get(0))
    }

    /// The newest lines first; (caller, owner, line) with the names left empty. Where there are more than `most`, each
    /// caller has an equal share of them, so that one caller's thousand lines do not hide the lines of others.
    pub(super) fn audit(
        &self,
        since: i64,
        owner: Option<u32>,
        most: u32,
    ) -> rusqlite::Result<Vec<(u32, u32, AuditLine)>> {
        let mut lines = self.0.prepare_cached(
            "SELECT at, uid, pid, program, verb, owner, name, outcome FROM ( \
             SELECT *, row_number() OVER (PARTITION BY uid ORDER BY id DESC) AS nth FROM audit \
             WHERE at >= ?1 AND (?2 IS NULL OR owner = ?2 OR uid = ?2) ORDER BY nth, id DESC LIMIT ?3) ORDER BY id DESC",
        )?;
        let line = |row: &Row<'_>| {
            let line = AuditLine {
                at: row.get(0)?,
                caller: String::new(),
                pid: row.get(2)?,
                program: row.get(3)?,
                verb: row.get(4)?,
                owner: String::new(),
                name: row.get(6)?,
                outcome: row.get(7)?,
            };
            Ok((row.get(1)?, row.get(5)?, line))
        };
        lines.query_map(params![since, owner, most], line)?.collect()
    }

    /// Whether an owner gave this name back since then.
    pub(super) fn was_released(&self, owner: u32, name: &str, then: i64) -> rusqlite::Result<bool> {
        self.0
            .prepare_cached("SELECT count(*) > 0 FROM audit WHERE uid = ?1 AND at > ?3 AND name = ?2 AND verb = 'release' AND outcome = 'allowed'")?
            .query_row(params![owner, name, then], |row| row.get(0))
    }

    /// The last thing that was allowed with an owner's box; what is only told of it is none.
    pub(super) fn last_verb(&self, owner: u32, name: &str) -> rusqlite::Result<Option<String>> {
        self.0
            .prepare_cached(
                "SELECT verb FROM audit WHERE uid = ?1 AND name = ?2 AND outcome = 'allowed' AND verb != 'warn' \
                 ORDER BY id DESC LIMIT 1",
            )?
            .query_row(params![owner, name], |row| row.get(0))
            .optional()
    }

    pub(super) fn report(&self, uid: u32, timers: Timers, disk: u64, boxes: &[Reported]) -> rusqlite::Result<()> {
        let disk = i64::try_from(disk).unwrap_or(i64::MAX);
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO reports (uid, at, disk, sampled, cleaned) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![uid, timers.reported, disk, timers.sampled, timers.cleaned])?;
        self.0.prepare_cached("DELETE FROM reported WHERE uid = ?1")?.execute([uid])?;
        for b in boxes {
            let memory = i64::try_from(b.memory).unwrap_or(i64::MAX);
            self.0
                .prepare_cached("INSERT OR REPLACE INTO reported VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![uid, b.name, b.cpu, memory, b.trashed])?;
        }
        Ok(())
    }

    pub(super) fn reported_at(&self, uid: u32) -> rusqlite::Result<Option<i64>> {
        self.0.prepare_cached("SELECT at FROM reports WHERE uid = ?1")?.query_row([uid], |row| row.get(0)).optional()
    }

    /// Of every owner that ever reported.
    pub(super) fn reports(&self) -> rusqlite::Result<Vec<(u32, Timers)>> {
        let mut rows = self.0.prepare_cached("SELECT uid, at, sampled, cleaned FROM reports ORDER BY uid")?;
        let one = |row: &Row<'_>| {
            Ok((row.get(0)?, Timers { reported: row.get(1)?, sampled: row.get(2)?, cleaned: row.get(3)? }))
        };
        rows.query_map([], one)?.collect()
    }

    pub(super) fn reported(&self, uid: u32) -> rusqlite::Result<Vec<Reported>> {
        let mut rows =
            self.0.prepare_cached("SELECT name, cpu, memory, trashed FROM reported WHERE uid = ?1 ORDER BY name")?;
        let one = |row: &Row<'_>| {
            Ok(Reported {
                name: row.get(0)?,
                cpu: row.get(1)?,
                memory: row.get::<_, i64>(2)?.unsigned_abs(),
                trashed: row.get(3)?,
            })
        };
        rows.query_map([uid], one)?.collect()
    }

    /// Sums of an owner's boxes, without the names and limits that only the desk knows.
    pub(super) fn uses(&self) -> rusqlite::Result<Vec<(u32, OwnerUse)>> {
        let mut rows = self.0.prepare_cached(
            "SELECT u.uid, count(b.name) FILTER (WHERE b.trashed IS NULL), \
                    coalesce(sum(b.cpu) FILTER (WHERE b.trashed IS NULL), 0), \
                    coalesce(sum(b.memory) FILTER (WHERE b.trashed IS NULL), 0), \
                    coalesce(r.disk, 0), coalesce(r.at, 0), count(b.trashed), \
                    coalesce(r.sampled, 0), coalesce(r.cleaned, 0) \
             FROM (SELECT uid FROM boxes UNION SELECT uid FROM reports) u \
             LEFT JOIN boxes b ON b.uid = u.uid LEFT JOIN reports r ON r.uid = u.uid GROUP BY u.uid ORDER BY u.uid",
        )?;
        let one = |row: &Row<'_>| {
            let used = OwnerUse {
                owner: String::new(),
                boxes: row.get(1)?,
                max_boxes: 0,
                trashed: row.get(6)?,
                cpu_millis: row.get::<_, i64>(2)?.unsigned_abs(),
                memory_bytes: row.get::<_, i64>(3)?.unsigned_abs(),
                disk_bytes: row.get::<_, i64>(4)?.unsigned_abs(),
                reported: row.get(5)?,
                sampled: row.get(7)?,
                cleaned: row.get(8)?,
            };
            Ok((row.get(0)?, used))
        };
        rows.query_map([], one)?.collect()
    }

    /// A text that outlives the process: the last good settings.
    pub(super) fn kept(&self, what: &str) -> rusqlite::Result<Option<String>> {
        self.0.prepare_cached("SELECT text FROM kept WHERE what = ?1")?.query_row([what], |row| row.get(0)).optional()
    }

    pub(super) fn keep(&self, what: &str, text: &str) -> rusqlite::Result<()> {
        self.0.prepare_cached("INSERT OR REPLACE INTO kept VALUES (?1, ?2)")?.execute([what, text]).map(drop)
    }
}

#[cfg(test)]
mod tests;
