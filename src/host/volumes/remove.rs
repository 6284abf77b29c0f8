//! Deleting a volume, and looking afterwards that it is gone.
//!
//! Podman forgets a volume before all its files are gone: where it is killed, or cannot remove a tree that is too deep for
//! it, files stay that it does not know, and the next volume of that name would have them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::host::HostError;
use crate::host::podman::{Podman, VolumeState, failed};
use crate::quadlet::names;
use crate::spec::BoxName;

impl Podman {
    /// Deletes a volume of the box, and all its files; one that is not the box's own is left alone. `noted`: where its
    /// files were when podman made it.
    ///
    /// # Errors
    /// [`HostError::Podman`], also where files are left.
    pub(in crate::host) fn remove_volume(
        &self,
        name: &BoxName,
        volume: &str,
        noted: Option<PathBuf>,
    ) -> Result<(), HostError> {
        // Podman itself is asked: what it says is gone is gone, wherever its store is.
        let place = match self.ask_volume(name, volume)? {
            VolumeState::Foreign => return Ok(()),
            VolumeState::Absent if noted.is_none() => return self.sweep_volume(name, volume),
            VolumeState::Absent => noted,
            VolumeState::Ours(_) => {
                let place = self.place_of_volume(name, volume)?;
                self.remove_known(name, volume)?;
                place
            }
        };
        place.map_or(Ok(()), |place| self.remove_files(volume, &place))
    }

    fn remove_known(&self, name: &BoxName, volume: &str) -> Result<(), HostError> {
        let mut output = self.run("volume rm", &["volume", "rm", "--", volume])?;
        // 2: in use (podman-volume-rm(1)); by a look or a copy that goes on, too.
        if output.status.code() == Some(2) {
            let mut rm: Vec<&str> = vec!["rm", "--force", "--time=0", "--ignore", "--"];
            let users = [names::container(name), names::looker(name), names::copier(name)];
            for user in &users {
                rm.extend(self.is_ours(name, user)?.then_some(user.as_str()));
            }
            let gone = self.run("rm", &rm)?;
            if !gone.status.success() {
                return Err(failed("rm", &gone.stderr));
            }
            output = self.run("volume rm", &["volume", "rm", "--", volume])?;
        }
        match output.status.code() {
            Some(0) => Ok(()),
            // Gone meanwhile, or forgotten while some of its files are there, which are removed next.
            _ if self.ask_volume(name, volume)? == VolumeState::Absent => Ok(()),
            _ => Err(failed("volume rm", &output.stderr)),
        }
    }

    /// Files of subordinate ids are only removed within podman's user namespace. rm(1) takes a tree of any depth.
    fn remove_files(&self, volume: &str, place: &Path) -> Result<(), HostError> {
        let Some(folder) = place.parent().filter(|f| place.ends_with("_data") && f.ends_with(volume)) else {
            return Ok(());
        };
        if folder.symlink_metadata().is_err() {
            return Ok(());
        }
        let shown = folder.display().to_string();
        let output = self.run("unshare", &["unshare", "rm", "-rf", "--one-file-system", "--", &shown])?;
        if output.status.success() && folder.symlink_metadata().is_err() {
            return Ok(());
        }
        Err(failed("unshare rm", &output.stderr))
    }

    /// Removes the folder of a volume that podman does not know and that no box of ours had: what a killed `podman volume
    /// create` leaves. Only where it is empty: what has anything in it is nobody's to remove.
    fn sweep_volume(&self, name: &BoxName, volume: &str) -> Result<(), HostError> {
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
