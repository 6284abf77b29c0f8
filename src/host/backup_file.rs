//! The file that a backup becomes: whole under its name, or not there.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{HostError, files};

const BEGINNING: &str = ".devbox-backup-";
const END: &str = ".partial";

/// A backup on its way. Dropped, it is removed; killed, its file is left, unlocked, for the next one to remove.
#[derive(Debug)]
pub struct BackupFile {
    file: NamedTempFile,
    folder: PathBuf,
    target: PathBuf,
}

impl BackupFile {
    /// A new file beside `target`, for its owner only: there are keys in it.
    pub fn begin(target: &Path) -> Result<Self, HostError> {
        let target = std::path::absolute(target).map_err(HostError::io("writing", target))?;
        let Some(folder) = target.parent().map(Path::to_owned) else {
            return Err(HostError::io("writing", target)(io::ErrorKind::IsADirectory.into()));
        };
        if target.symlink_metadata().is_ok() {
            return Err(HostError::FileThere(target));
        }
        sweep(&folder)?;
        let doing = || HostError::io("making a file in", &folder);
        // Another backup may take a new file for one that was left, until it is locked.
        for _ in 0..10 {
            let file = tempfile::Builder::new()
                .prefix(BEGINNING)
                .suffix(END)
                .permissions(Permissions::from_mode(0o600))
                .tempfile_in(&folder)
                .map_err(doing())?;
            // Where there are no locks, as on some network file systems, nobody takes another's for one that was left.
            let is_ours = !matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
            if is_ours && is_at(file.as_file(), file.path()) {
                return Ok(Self { file, folder, target });
            }
        }
        Err(doing()(io::Error::other("other backups are in the way")))
    }

    /// Its name from now on, if there is no such file; on disk when this returns.
    pub fn finish(self) -> Result<PathBuf, HostError> {
        let Self { file, folder, target } = self;
        file.as_file().sync_all().map_err(HostError::io("writing", &target))?;
        file.persist_noclobber(&target).map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => HostError::FileThere(target.clone()),
            _ => HostError::io("writing", &target)(e.error),
        })?;
        files::sync(&folder)?;
        Ok(target)
    }
}

impl Write for BackupFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Removes what killed backups left here. What is locked is at work.
fn sweep(folder: &Path) -> Result<(), HostError> {
    for path in files::names_in(folder).map_err(HostError::io("reading", folder))? {
        let is_ours =
            path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(BEGINNING) && n.ends_with(END));
        if is_ours
            && path.symlink_metadata().is_ok_and(|m| m.is_file() && m.uid() == nix::unistd::Uid::current().as_raw())
            && let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
            && is_at(&file, &path)
        {
            files::remove(&path)?;
        }
    }
    Ok(())
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
