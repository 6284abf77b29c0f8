//! A box's volumes are made once. What podman deleted since, with `podman volume prune` for example, is not made anew.

mod remove;

use std::io;
use std::path::{Path, PathBuf};

use super::podman::{Podman, VolumeState};
use super::{Account, Entry, HostError, files};
use crate::quadlet::names;
use crate::spec::BoxName;

/// The volumes that were made and are not where they were. A folder that cannot be looked at is not gone.
pub fn gone(folder: &Path, name: &BoxName) -> Vec<String> {
    let is_gone = |volume: &String| {
        noted(folder, volume)
            .is_some_and(|place| place.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound))
    };
    names::volumes(name).into_iter().filter(is_gone).collect()
}

/// Where the volume was, where it was made and that could be written down.
pub(super) fn noted(folder: &Path, volume: &str) -> Option<PathBuf> {
    let text = files::read(&folder.join(names::made_file(volume))).ok()??;
    Some(PathBuf::from(text.trim_end_matches('\n'))).filter(|place| place.is_absolute())
}

/// Looks, just before the box starts, that the volumes which were made are there. Whether its home was: else it is to be
/// made now.
///
/// # Errors
/// [`HostError::VolumesGone`]: the box must not start, since podman would make an empty volume.
pub fn look(entry: &Entry, podman: &Podman) -> Result<bool, HostError> {
    let mut lost = Vec::new();
    for volume in gone(&entry.folder, &entry.name) {
        // It may be that podman keeps its volumes elsewhere now.
        match podman.place_of_volume(&entry.name, &volume)? {
            Some(place) => note(&entry.folder, &volume, &place)?,
            None => lost.push(volume),
        }
    }
    if !lost.is_empty() {
        return Err(HostError::VolumesGone { name: entry.name.clone(), lost });
    }
    Ok(noted(&entry.folder, &names::home_volume(&entry.name)).is_some())
}

/// Writes down where a volume of the box is that podman has made.
///
/// # Errors
/// [`HostError::VolumesGone`] where podman has none.
pub fn note_made(account: &Account, podman: &Podman, name: &BoxName, volume: &str) -> Result<(), HostError> {
    let is_its_own = names::volumes(name).iter().any(|own| own == volume);
    match podman.place_of_volume(name, volume)?.filter(|_| is_its_own) {
        Some(place) => note(&account.folder(name), volume, &place),
        None => Err(HostError::VolumesGone { name: name.clone(), lost: vec![volume.to_owned()] }),
    }
}

fn note(folder: &Path, volume: &str, place: &Path) -> Result<(), HostError> {
    files::write(folder, &names::made_file(volume), &format!("{}\n", place.display()))
}

impl Podman {
    /// The folder with the volume's files.
    fn place_of_volume(&self, name: &BoxName, volume: &str) -> Result<Option<PathBuf>, HostError> {
        if let Some(store) = &self.store {
            let place = store.join("volumes").join(volume).join("_data");
            return Ok(place.is_dir().then_some(place));
        }
        match self.ask_volume(name, volume)? {
            VolumeState::Absent => Ok(None),
            VolumeState::Ours(_) | VolumeState::Foreign => self.mountpoint(volume),
        }
    }
}
