//! What an owner's boxes take on disk, measured in podman's own user namespace.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::HostError;
use super::podman::{Podman, failed};
use crate::backup::Most;

impl Podman {
    /// Where images, containers and volumes are.
    fn root(&self) -> Result<String, HostError> {
        self.place("--format={{.Store.GraphRoot}}")
    }

    /// A path that podman tells.
    fn place(&self, format: &str) -> Result<String, HostError> {
        let info = self.run("info", &["info", format])?;
        let path = String::from_utf8_lossy(&info.stdout).trim().to_owned();
        if info.status.success() && path.starts_with('/') { Ok(path) } else { Err(failed("info", &info.stderr)) }
    }

    /// Where volumes are, or will be.
    fn volumes(&self) -> Result<PathBuf, HostError> {
        if let Some(store) = &self.store {
            return Ok(store.join("volumes"));
        }
        self.place("--format={{.Store.VolumePath}}").map(PathBuf::from)
    }

    /// What volumes take on disk.
    pub(super) fn volumes_bytes<'a>(&self, volumes: impl Iterator<Item = &'a str>) -> Result<u64, HostError> {
        let root = self.volumes()?;
        let paths: Vec<String> = volumes.map(|v| root.join(v).join("_data").display().to_string()).collect();
        self.du(&paths.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What volumes may still take, less a reserve: a disk that is full to the last byte is everybody's trouble.
    pub fn room(&self) -> Result<Most, HostError> {
        let volumes = self.volumes()?;
        // Neither it nor the store is there before podman's first call.
        let there = volumes.ancestors().find(|path| path.is_dir()).unwrap_or(&volumes);
        let disk = nix::sys::statvfs::statvfs(there).map_err(|e| HostError::io("looking at", there)(e.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
        let reserve = (bytes(disk.blocks()) / 20).min(1 << 30);
        // Some file systems have no fixed number of files, and say 0 (statvfs(3)).
        let files = if disk.files() == 0 { u64::MAX } else { disk.files_available() - disk.files_available() / 20 };
        Ok(Most { bytes: bytes(disk.blocks_available()).saturating_sub(reserve), files })
    }

    /// What images, containers and volumes take on disk, in bytes: their files belong to subordinate ids, which only
    /// podman's own user namespace may look into.
    pub fn disk_bytes(&self) -> Result<u64, HostError> {
        self.du(&[&self.root()?])
    }

    fn du(&self, paths: &[&str]) -> Result<u64, HostError> {
        let du = ["unshare", "du", "--summarize", "--total", "--block-size=1", "--one-file-system", "--"];
        let output = self.run("unshare", &[&du, paths].concat())?;
        let text = String::from_utf8_lossy(&output.stdout);
        // A file that goes while du looks makes it end with 1; the sum is good all the same. The total is the last line.
        let total = text.lines().last().and_then(|line| line.split_whitespace().next()?.parse().ok());
        total.ok_or_else(|| failed("unshare du", &output.stderr))
    }

    /// What these volumes take on disk, as far as a second is enough to look; one that was never made takes nothing.
    pub fn volume_bytes(&self, volumes: &[String]) -> Result<HashMap<String, u64>, HostError> {
        let folder = self.volumes()?;
        let is_absent = |path: &Path| path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
        let (absent, there): (Vec<_>, Vec<_>) = volumes.iter().partition(|volume| is_absent(&folder.join(volume)));
        let mut bytes: HashMap<String, u64> = absent.into_iter().map(|volume| (volume.clone(), 0)).collect();
        if there.is_empty() {
            return Ok(bytes);
        }
        // Each line is written when that volume is through, so what was measured in time is told.
        let mut arguments: Vec<String> =
            ["unshare", "timeout", "1", "du", "--summarize", "--block-size=1", "--one-file-system", "--"]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(there.iter().map(|volume| folder.join(volume).display().to_string()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = self.run("unshare du", &arguments)?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some((count, path)) = line.split_once('\t') else { continue };
            let volume = Path::new(path).file_name().and_then(|name| name.to_str());
            if let (Ok(count), Some(volume)) = (count.parse(), volume) {
                bytes.insert(volume.to_owned(), count);
            }
        }
        Ok(bytes)
    }
}
