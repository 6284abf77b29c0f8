//! Boxes' devices on the tailnet, and those of boxes that are gone.

use rusqlite::{OptionalExtension, Row, params};

use super::Ledger;
use crate::tailnet::book::{Departed, DeviceRow, TroubleRow};

pub(in crate::broker) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS devices (
    name TEXT PRIMARY KEY, uid INTEGER NOT NULL, provider TEXT NOT NULL, device TEXT, hostname TEXT NOT NULL,
    addresses TEXT NOT NULL, expired INTEGER NOT NULL, at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS troubles (
    name TEXT PRIMARY KEY, uid INTEGER NOT NULL, text TEXT NOT NULL, hint TEXT NOT NULL, at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS departed (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, uid INTEGER NOT NULL, provider TEXT NOT NULL, device TEXT,
    since INTEGER NOT NULL
) STRICT;
";

impl Ledger<'_> {
    pub(in crate::broker) fn device(&self, name: &str) -> rusqlite::Result<Option<DeviceRow>> {
        let row = |row: &Row<'_>| {
            Ok(DeviceRow {
                name: row.get(0)?,
                uid: row.get(1)?,
                provider: row.get(2)?,
                device: row.get(3)?,
                hostname: row.get(4)?,
                addresses: row.get(5)?,
                expired: row.get(6)?,
                at: row.get(7)?,
            })
        };
        self.0
            .prepare_cached(
                "SELECT name, uid, provider, device, hostname, addresses, expired, at FROM devices WHERE name = ?1",
            )?
            .query_row([name], row)
            .optional()
    }

    pub(in crate::broker) fn put_device(&self, row: &DeviceRow) -> rusqlite::Result<()> {
        let DeviceRow { name, uid, provider, device, hostname, addresses, expired, at } = row;
        self.0
            .prepare_cached("INSERT OR REPLACE INTO devices VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(params![name, uid, provider, device, hostname, addresses, expired, at])
            .map(drop)
    }

    pub(in crate::broker) fn forget_device(&self, name: &str) -> rusqlite::Result<()> {
        self.0.prepare_cached("DELETE FROM devices WHERE name = ?1")?.execute([name]).map(drop)
    }

    /// The box is gone: its device is to go.
    pub(in crate::broker) fn depart(&self, name: &str, now: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO departed (name, uid, provider, device, since) \
                 SELECT name, uid, provider, device, ?2 FROM devices WHERE name = ?1",
            )?
            .execute(params![name, now])?;
        self.forget_device(name)?;
        self.set_trouble(name, 0, None, now)
    }

    /// The device of a box that was gone before it was known.
    pub(in crate::broker) fn add_departed(&self, row: &DeviceRow, now: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO departed (name, uid, provider, device, since) SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS \
                 (SELECT 1 FROM departed WHERE name = ?1 AND uid = ?2 AND provider = ?3 AND device IS ?4)",
            )?
            .execute(params![row.name, row.uid, row.provider, row.device, now])
            .map(drop)
    }

    /// Of one owner or of all.
    pub(in crate::broker) fn departed(&self, uid: Option<u32>) -> rusqlite::Result<Vec<Departed>> {
        let row = |row: &Row<'_>| {
            Ok(Departed {
                id: row.get(0)?,
                name: row.get(1)?,
                uid: row.get(2)?,
                provider: row.get(3)?,
                device: row.get(4)?,
                user: String::new(),
                is_reused: false,
            })
        };
        self.0
            .prepare_cached(
                "SELECT id, name, uid, provider, device FROM departed WHERE ?1 IS NULL OR uid = ?1 ORDER BY id",
            )?
            .query_map([uid], row)?
            .collect()
    }

    pub(in crate::broker) fn forget_departed(&self, id: i64) -> rusqlite::Result<()> {
        self.0.prepare_cached("DELETE FROM departed WHERE id = ?1")?.execute([id]).map(drop)
    }

    pub(in crate::broker) fn trouble(&self, name: &str) -> rusqlite::Result<Option<TroubleRow>> {
        self.0
            .prepare_cached("SELECT text, hint FROM troubles WHERE name = ?1")?
            .query_row([name], |row| Ok(TroubleRow { text: row.get(0)?, hint: row.get(1)? }))
            .optional()
    }

    pub(in crate::broker) fn set_trouble(
        &self,
        name: &str,
        uid: u32,
        trouble: Option<&TroubleRow>,
        now: i64,
    ) -> rusqlite::Result<()> {
        match trouble {
            Some(t) => self
                .0
                .prepare_cached("INSERT OR REPLACE INTO troubles VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![name, uid, t.text, t.hint, now])
                .map(drop),
            None => self.0.prepare_cached("DELETE FROM troubles WHERE name = ?1")?.execute([name]).map(drop),
        }
    }
}
