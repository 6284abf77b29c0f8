//! The owner's boxes, read from their folders. No other record is needed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lock::BoxLock;
use super::{Account, HostError, files, volumes};
use crate::plan::{Place, TrashedBy};
use crate::quadlet::names;
use crate::shown::printable;
use crate::spec::{BoxName, BoxSpec};

/// One folder, whatever state it is in.
#[derive(Debug)]
pub struct Entry {
    pub name: BoxName,
    pub folder: PathBuf,
    pub spec: Result<BoxSpec, Trouble>,
    /// Its owner wants it stopped.
    pub stopped: Option<StopMark>,
    pub pending: Option<Pending>,
    /// Volumes that were made for it and are not there any more.
    pub gone: Vec<String>,
    /// It is in the trash, and not among the boxes.
    pub trashed: Option<TrashMark>,
}

/// Why a folder is no whole box.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("{file} is missing")]
    Missing { file: String },
    #[error("{file} cannot be read: {why}")]
    Unreadable { file: String, why: String },
    #[error("box.toml says it is {0}")]
    OtherName(BoxName),
}

/// When and why it was stopped; either may be unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopMark {
    pub at: Option<jiff::Timestamp>,
    pub why: Option<String>,
}

/// Why, where a person stopped it.
pub const BY_OWNER: &str = "by its owner";

impl StopMark {
    pub(super) fn text(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

/// When, by whom and why it was put into the trash; what is not known is nobody's to guess.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrashMark {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<TrashedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long its owner was told that it stays; 0 is for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

impl TrashMark {
    /// `days` by the settings of now, and never less than its owner was told; 0 is for good.
    pub fn term(&self, days: u32) -> Option<u32> {
        let length = |days: u32| if days == 0 { u32::MAX } else { days };
        Some(length(days).max(self.days.map_or(0, length))).filter(|days| *days < u32::MAX)
    }

    /// When it is deleted, `days` after its owner put it there. What anybody else put there, and what is not known, stays
    /// until someone says so.
    pub fn ends(&self, days: u32) -> Option<jiff::Timestamp> {
        let at = self.at.filter(|_| self.by == Some(TrashedBy::Owner))?;
        let days = self.term(days)?;
        at.checked_add(jiff::SignedDuration::from_hours(i64::from(days) * 24)).ok()
    }
}

/// An operation that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// `restored`: it was in the trash before.
    Create {
        restored: bool,
    },
    /// A create from a backup, whose volumes are not whole yet.
    Fill,
    Destroy {
        keep_volumes: Vec<String>,
    },
    /// On its way into the trash.
    Trash,
}

impl Entry {
    /// A command is at work on it at this moment.
    pub fn is_busy(&self) -> bool {
        BoxLock::try_take(&self.folder).is_none() && self.folder.exists()
    }
}

/// All boxes of the account, by name. Folders that cannot be box names are not ours and are passed over.
pub fn entries(account: &Account) -> Result<Vec<Entry>, HostError> {
    entries_in(account, Place::Boxes)
}

/// What is in the trash, by name.
pub fn trashed_entries(account: &Account) -> Result<Vec<Entry>, HostError> {
    entries_in(account, Place::Trash)
}

fn entries_in(account: &Account, place: Place) -> Result<Vec<Entry>, HostError> {
    Ok(names_in(account, place)?.into_iter().filter_map(|name| entry_in(account, place, &name)).collect())
}

/// The boxes' names alone.
pub fn names(account: &Account) -> Result<Vec<BoxName>, HostError> {
    names_in(account, Place::Boxes)
}

/// What is in the trash or on its way there, as the limit of the trash counts it.
pub fn trash_names(account: &Account) -> Result<Vec<BoxName>, HostError> {
    let is_on_its_way = |name: &BoxName| pending(name, &account.folder(name)) == Some(Pending::Trash);
    let mut all: Vec<BoxName> = names(account)?.into_iter().filter(is_on_its_way).collect();
    // Read after those on their way, so that none is in neither.
    all.extend(names_in(account, Place::Trash)?);
    all.sort();
    all.dedup();
    Ok(all)
}

fn names_in(account: &Account, place: Place) -> Result<Vec<BoxName>, HostError> {
    let boxes = if place == Place::Boxes { account.boxes() } else { account.trash() };
    let folders = files::names_in(&boxes).map_err(HostError::io("reading", &boxes))?;
    let name = |folder: PathBuf| {
        let name: BoxName = folder.file_name()?.to_str()?.parse().ok()?;
        folder.symlink_metadata().is_ok_and(|m| m.is_dir()).then_some(name)
    };
    Ok(folders.into_iter().filter_map(name).collect())
}

/// Boxes that have a mark of something begun.
pub(super) fn cut_short(account: &Account, place: Place) -> Result<Vec<BoxName>, HostError> {
    let mut names = names_in(account, place)?;
    names.retain(|name| pending(name, &account.folder_in(place, name)).is_some());
    Ok(names)
}

/// From here on the next command finishes the destruction. What is to be kept is said before, and never taken back.
pub(super) fn mark_destroying(folder: &Path, name: &BoxName, keep: &[String]) -> Result<(), HostError> {
    if !folder.join(names::DESTROYING_FILE).exists() {
        for volume in names::volumes(name) {
            files::remove(&folder.join(names::keep_file(&volume)))?;
        }
    }
    let keep: Vec<String> = keep.iter().map(|volume| names::keep_file(volume)).collect();
    files::mark(folder, &keep)?;
    files::mark(folder, &[names::DESTROYING_FILE.to_owned()])
}

/// What is known of a box in the trash. It counts by being there; where the disk has no room for the text, it goes
/// without.
pub(super) fn note_trashed(
    folder: &Path,
    by: TrashedBy,
    why: Option<&str>,
    days: Option<u32>,
) -> Result<(), HostError> {
    let mark = TrashMark { at: Some(super::now()), by: Some(by), why: why.map(printable), days };
    let text = toml::to_string(&mark).unwrap_or_default();
    files::write(folder, names::TRASHED_FILE, &text).or_else(|_| {
        // What an earlier one said is not so.
        files::remove(&folder.join(names::TRASHED_FILE))?;
        files::mark(folder, &[names::TRASHED_FILE.to_owned()])
    })
}

/// The mark goes first: what it says without the other is nothing.
pub(super) fn unmark_trashing(folder: &Path) -> Result<(), HostError> {
    [names::TRASHING_FILE, names::TRASHED_FILE].iter().try_for_each(|file| files::remove(&folder.join(file)))
}

/// An operation is through, and the box is where it is.
pub(super) fn settle(folder: &Path, place: Place) -> Result<(), HostError> {
    let marks = match place {
        Place::Boxes => [names::TRASHED_FILE, names::CREATING_FILE],
        Place::Trash => [names::CREATING_FILE, names::TRASHING_FILE],
    };
    marks.iter().try_for_each(|file| files::remove(&folder.join(file)))
}

fn pending(name: &BoxName, folder: &Path) -> Option<Pending> {
    let is_there = |file: &str| folder.join(file).symlink_metadata().is_ok();
    if is_there(names::DESTROYING_FILE) {
        let keep_volumes = names::volumes(name).into_iter().filter(|v| is_there(&names::keep_file(v))).collect();
        return Some(Pending::Destroy { keep_volumes });
    }
    if is_there(names::FILLING_FILE) {
        return Some(Pending::Fill);
    }
    if is_there(names::TRASHING_FILE) {
        return Some(Pending::Trash);
    }
    let restored = is_there(names::TRASHED_FILE);
    is_there(names::CREATING_FILE).then_some(Pending::Create { restored })
}

/// One box, if its folder is there.
pub fn entry(account: &Account, name: &BoxName) -> Option<Entry> {
    entry_in(account, Place::Boxes, name)
}

/// One that is in the trash.
pub fn trashed_entry(account: &Account, name: &BoxName) -> Option<Entry> {
    entry_in(account, Place::Trash, name)
}

pub(super) fn entry_in(account: &Account, place: Place, name: &BoxName) -> Option<Entry> {
    let folder = account.folder_in(place, name);
    folder.symlink_metadata().is_ok_and(|m| m.is_dir()).then(|| read(name.clone(), folder, place))
}

fn read(name: BoxName, folder: PathBuf, place: Place) -> Entry {
    let text = |file: &str| files::read(&folder.join(file));
    // A mark that cannot be read is still a mark: the unit's condition sees only that it is there.
    let plain = |mark: StopMark| StopMark { why: mark.why.as_deref().map(printable), ..mark };
    let stopped = text(names::STOPPED_FILE)
        .transpose()
        .map(|t| t.ok().and_then(|t| toml::from_str(&t).ok()).map(plain).unwrap_or_default());
    let trashed = (place == Place::Trash).then(|| {
        let mark = text(names::TRASHED_FILE).ok().flatten();
        let mark: TrashMark = mark.and_then(|t| toml::from_str(&t).ok()).unwrap_or_default();
        TrashMark { why: mark.why.as_deref().map(printable), ..mark }
    });
    let pending = pending(&name, &folder);
    let spec = spec(&name, &folder);
    let gone = volumes::gone(&folder, &name);
    Entry { name, folder, spec, stopped, pending, gone, trashed }
}

fn spec(name: &BoxName, folder: &Path) -> Result<BoxSpec, Trouble> {
    let file = names::SPEC_FILE.to_owned();
    let text = match files::read(&folder.join(&file)) {
        Ok(Some(text)) => text,
        Ok(None) => return Err(Trouble::Missing { file }),
        Err(e) => return Err(Trouble::Unreadable { file, why: e.to_string() }),
    };
    let spec = BoxSpec::from_toml(&text).map_err(|e| Trouble::Unreadable { file, why: printable(&e.to_string()) })?;
    if spec.name != *name {
        return Err(Trouble::OtherName(spec.name));
    }
    let missing = names::unit_files(name).into_iter().find(|unit| !folder.join(unit).exists());
    missing.map_or(Ok(spec), |file| Err(Trouble::Missing { file }))
}
