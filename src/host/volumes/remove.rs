//! What a `podman volume create` leaves that was killed: the volume's folder, which podman does not know and so does not
//! remove.

use std::fs;
use std::path::Path;

use super::HostError;
use super::podman::{Podman, VolumeState};
use crate::spec::BoxName;

impl Podman {
    /// Removes the folder of a volume that podman does not know. Only where it is empty: what has anything in it is
    /// nobody's to remove.
    pub(super) fn sweep_volume(&self, name: &BoxName, volume: &str) -> Result<(), HostError> {
        let Some(store) = &self.store else { return Ok(()) };
        let folder = store.join("volumes").join(volume);
        let data = folder.join("_data");
        let holds_only_that =
            |path: &Path| fs::read_dir(path).is_ok_and(|mut all| all.all(|e| e.is_ok_and(|e| e.path() == data)));
        let is_empty = |path: &Path| fs::read_dir(path).map_or(!path.exists(), |mut all| all.next().is_none());
        if !holds_only_that(&folder) || !is_empty(&data) || self.ask_volume(name, volume)? != VolumeState::Absent {
            return Ok(());
        }
        // Neither goes if there is something in it after all.
        let _ = fs::remove_dir(&data);
        let _ = fs::remove_dir(&folder);
        Ok(())
    }
}
