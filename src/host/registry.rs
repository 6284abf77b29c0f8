//! The owner's boxes, read from their folders. No other record is needed.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::lock::BoxLock;
use super::{Account, HostError, files, podman};
use crate::quadlet::names;
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StopMark {
    pub at: Option<jiff::Timestamp>,
    pub why: Option<String>,
}

/// An operation that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    Create,
    /// A create from a backup, whose volumes are not whole yet.
    Fill,
    Destroy {
        keep_volumes: Vec<String>,
    },
}

impl Entry {
    /// A command is at work on it at this moment.
    pub fn is_busy(&self) -> bool {
        BoxLock::try_take(&self.folder).is_none() && self.folder.exists()
    }
}

/// All boxes of the account, by name. Folders that cannot be box names are not ours and are passed over.
pub fn entries(account: &Account) -> Result<Vec<Entry>, HostError> {
    Ok(names(account)?.into_iter().map(|name| read(name.clone(), account.folder(&name))).collect())
}

/// The boxes' names alone.
pub fn names(account: &Account) -> Result<Vec<BoxName>, HostError> {
    let boxes = account.boxes();
    let folders = files::names_in(&boxes).map_err(HostError::io("reading", &boxes))?;
    let name = |folder: PathBuf| {
        let name: BoxName = folder.file_name()?.to_str()?.parse().ok()?;
        folder.symlink_metadata().is_ok_and(|m| m.is_dir()).then_some(name)
    };
    Ok(folders.into_iter().filter_map(name).collect())
}

/// Boxes that have a mark of something begun.
pub(super) fn cut_short(account: &Account) -> Result<Vec<BoxName>, HostError> {
    let mut names = names(account)?;
    names.retain(|name| pending(name, &account.folder(name)).is_some());
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

fn pending(name: &BoxName, folder: &Path) -> Option<Pending> {
    let is_there = |file: &str| folder.join(file).symlink_metadata().is_ok();
    if is_there(names::DESTROYING_FILE) {
        let keep_volumes = names::volumes(name).into_iter().filter(|v| is_there(&names::keep_file(v))).collect();
        return Some(Pending::Destroy { keep_volumes });
    }
    if is_there(names::FILLING_FILE) {
        return Some(Pending::Fill);
    }
    is_there(names::CREATING_FILE).then_some(Pending::Create)
}

/// One box, if its folder is there.
pub fn entry(account: &Account, name: &BoxName) -> Option<Entry> {
    let folder = account.folder(name);
    folder.symlink_metadata().is_ok_and(|m| m.is_dir()).then(|| read(name.clone(), folder))
}

fn read(name: BoxName, folder: PathBuf) -> Entry {
    let text = |file: &str| files::read(&folder.join(file));
    // A mark that cannot be read is still a mark: the unit's condition sees only that it is there.
    let plain = |mark: StopMark| StopMark { why: mark.why.as_deref().map(podman::printable), ..mark };
    let stopped = text(names::STOPPED_FILE)
        .transpose()
        .map(|t| t.ok().and_then(|t| toml::from_str(&t).ok()).map(plain).unwrap_or_default());
    let pending = pending(&name, &folder);
    let spec = spec(&name, &folder);
    Entry { name, folder, spec, stopped, pending }
}

fn spec(name: &BoxName, folder: &Path) -> Result<BoxSpec, Trouble> {
    let file = names::SPEC_FILE.to_owned();
    let text = match files::read(&folder.join(&file)) {
        Ok(Some(text)) => text,
        Ok(None) => return Err(Trouble::Missing { file }),
        Err(e) => return Err(Trouble::Unreadable { file, why: e.to_string() }),
    };
    let spec =
        BoxSpec::from_toml(&text).map_err(|e| Trouble::Unreadable { file, why: podman::printable(&e.to_string()) })?;
    if spec.name != *name {
        return Err(Trouble::OtherName(spec.name));
    }
    let missing = names::unit_files(name).into_iter().find(|unit| !folder.join(unit).exists());
    missing.map_or(Ok(spec), |file| Err(Trouble::Missing { file }))
}
