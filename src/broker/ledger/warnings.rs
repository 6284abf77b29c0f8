//! What owners said for the administrator's command: each once, until it is handed over.

use rusqlite::{OptionalExtension, params};

use super::Ledger;
use crate::policy::warning::Said;

pub(in crate::broker) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS warnings (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, uid INTEGER NOT NULL, name TEXT NOT NULL, event TEXT NOT NULL,
    days INTEGER NOT NULL, document TEXT, tries INTEGER NOT NULL, next INTEGER, trouble TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS warnings_of ON warnings (uid, at);
CREATE INDEX IF NOT EXISTS warnings_waiting ON warnings (tries, id) WHERE document IS NOT NULL;
";

/// How long one is known, handed over or not.
const KEPT: i64 = 7 * DAY;
/// What lies further ahead than this was written while the clock was ahead.
const DAY: i64 = 86_400;

/// A clock that was ahead has left tries that are far off.
pub(super) const NEXT: &str = "SELECT id, document, tries, uid FROM warnings WHERE document IS NOT NULL \
    AND (next <= ?1 OR next > ?2) AND at >= ?3 ORDER BY tries, id";

/// One on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) struct Waiting {
    pub(in crate::broker) id: i64,
    pub(in crate::broker) uid: u32,
    pub(in crate::broker) document: String,
    pub(in crate::broker) tries: u32,
}

/// What failed of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) struct Failing {
    /// Tried, and to be tried again.
    pub(in crate::broker) waiting: u32,
    /// Not tried again by itself.
    pub(in crate::broker) given_up: u32,
    /// Of the last one that failed; empty where devboxd ended each time before it knew.
    pub(in crate::broker) trouble: String,
}

impl Ledger<'_> {
    /// Whether the same was said from then until now.
    pub(in crate::broker) fn was_said(&self, uid: u32, said: &Said, then: i64, now: i64) -> rusqlite::Result<bool> {
        let days = i64::try_from(said.days()).unwrap_or(i64::MAX);
        self.0
            .prepare_cached("SELECT count(*) > 0 FROM warnings WHERE uid = ?1 AND at > ?2 AND at <= ?6 AND name = ?3 AND event = ?4 AND days = ?5")?
            .query_row(params![uid, then, said.name.as_str(), said.event.word(), days, now], |row| row.get(0))
    }

    pub(in crate::broker) fn said_since(&self, uid: u32, then: i64, now: i64) -> rusqlite::Result<u32> {
        self.0
            .prepare_cached("SELECT count(*) FROM warnings WHERE uid = ?1 AND at > ?2 AND at <= ?3")?
            .query_row(params![uid, then, now], |row| row.get(0))
    }

    pub(in crate::broker) fn add_warning(
        &self,
        uid: u32,
        said: &Said,
        document: &str,
        now: i64,
    ) -> rusqlite::Result<()> {
        self.0.prepare_cached("DELETE FROM warnings WHERE at < ?1 OR at > ?2")?.execute([now - KEPT, now + DAY])?;
        let days = i64::try_from(said.days()).unwrap_or(i64::MAX);
        let values = params![now, uid, said.name.as_str(), said.event.word(), days, document];
        self.0
            .prepare_cached("INSERT INTO warnings (at, uid, name, event, days, document, tries, next, trouble) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?1, '')")?
            .execute(values)
            .map(drop)
    }

    /// The next that is to be handed over, but of these owners: those that never failed first, so that nobody's holds up
    /// the others.
    pub(in crate::broker) fn next_warning(&self, now: i64, but: &[u32]) -> rusqlite::Result<Option<Waiting>> {
        let mut rows = self.0.prepare_cached(NEXT)?;
        let mut rows = rows.query([now, now + DAY, now - KEPT])?;
        while let Some(row) = rows.next()? {
            let uid = row.get(3)?;
            if !but.contains(&uid) {
                return Ok(Some(Waiting { id: row.get(0)?, document: row.get(1)?, tries: row.get(2)?, uid }));
            }
        }
        Ok(None)
    }

    /// Counted before it is tried: what could not be written after it would be handed over for ever. `next`: when it is
    /// tried again if nothing comes of this; none: not by itself.
    pub(in crate::broker) fn is_tried(&self, id: i64, next: Option<i64>) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("UPDATE warnings SET tries = tries + 1, next = ?2 WHERE id = ?1")?
            .execute(params![id, next])
            .map(drop)
    }

    pub(in crate::broker) fn handed_over(&self, id: i64) -> rusqlite::Result<()> {
        self.0.prepare_cached("UPDATE warnings SET document = NULL WHERE id = ?1")?.execute([id]).map(drop)
    }

    pub(in crate::broker) fn not_handed_over(&self, id: i64, trouble: &str) -> rusqlite::Result<()> {
        self.0.prepare_cached("UPDATE warnings SET trouble = ?2 WHERE id = ?1")?.execute(params![id, trouble]).map(drop)
    }

    pub(in crate::broker) fn failing(&self, now: i64) -> rusqlite::Result<Option<Failing>> {
        // One whose first try is on its way has not failed; one of which nothing came by its next try has.
        const FAILED: &str = "FROM warnings WHERE document IS NOT NULL AND at >= ?1 \
            AND (trouble != '' OR tries > 1 OR (tries > 0 AND next <= ?2))";
        let (waiting, given_up): (u32, u32) = self
            .0
            .prepare_cached(&format!("SELECT count(next), count(*) - count(next) {FAILED}"))?
            .query_row([now - KEPT, now], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let trouble = self
            .0
            .prepare_cached(&format!("SELECT trouble {FAILED} ORDER BY trouble = '', id DESC LIMIT 1"))?
            .query_row([now - KEPT, now], |row| row.get(0))
            .optional()?;
        Ok(trouble.map(|trouble| Failing { waiting, given_up, trouble }))
    }

    /// All that wait are tried at once, also what was given up.
    pub(in crate::broker) fn try_warnings_again(&self, now: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "UPDATE warnings SET tries = 0, next = ?1, trouble = '' WHERE document IS NOT NULL AND at >= ?2",
            )?
            .execute([now, now - KEPT])
            .map(drop)
    }
}
