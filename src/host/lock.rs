//! Locks over folders: the account's for admission, a box's for what is done to it. The kernel drops them with the
//! process that held them, however it ended.

use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::files;
use super::{Account, HostError, Interrupts};

/// Much longer than it is held for: on a busy host many commands may come at once.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longer than the longest that a box is held for: a start, but for its wait in line while all boxes start.
const BOX_PATIENCE: Duration = Duration::from_secs(200);

/// Held while names and counts are decided and a folder appears: milliseconds.
#[derive(Debug)]
pub struct AccountLock(#[allow(dead_code)] File);

/// Held while it is decided what to do to a box, and until that is done.
#[derive(Debug)]
pub(super) struct BoxLock(#[allow(dead_code)] File);

impl AccountLock {
    pub fn take(account: &Account, interrupts: &Interrupts) -> Result<Self, HostError> {
        for folder in [account.boxes(), account.stage()] {
            files::private_folder(&folder)?;
        }
        // While there is room: a box is to find its way there on a full disk too. Who needs it says why it is not there.
        let _ = files::private_folder(&account.trash());
        take(&account.boxes(), "your boxes", PATIENCE, interrupts).map(Self)
    }
}

impl BoxLock {
    pub(super) fn take(folder: &Path, what: &str, interrupts: &Interrupts) -> Result<Self, HostError> {
        let gone = || HostError::Gone { what: what.to_owned() };
        let file = match take(folder, what, BOX_PATIENCE, interrupts) {
            Err(HostError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Err(gone()),
            other => other?,
        };
        Self::of(file, folder).ok_or_else(gone)
    }

    /// `None` when somebody has it, or when it is gone.
    pub(super) fn try_take(folder: &Path) -> Option<Self> {
        let file = File::open(folder).ok()?;
        file.try_lock().ok()?;
        Self::of(file, folder)
    }

    /// While this waited, the box may have been destroyed, and another made in its place.
    fn of(file: File, folder: &Path) -> Option<Self> {
        let same = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        match (file.metadata(), folder.symlink_metadata()) {
            (Ok(held), Ok(there)) if same(&held, &there) => Some(Self(file)),
            _ => None,
        }
    }
}

fn take(folder: &Path, what: &str, patience: Duration, interrupts: &Interrupts) -> Result<File, HostError> {
    let file = File::open(folder).map_err(HostError::io("locking", folder))?;
    wait(file, folder, what, patience, interrupts)
}

/// Locks a file of a box's folder.
pub(super) fn take_file(file: File, path: &Path, what: &str, interrupts: &Interrupts) -> Result<File, HostError> {
    wait(file, path, what, PATIENCE, interrupts)
}

fn wait(file: File, path: &Path, what: &str, patience: Duration, interrupts: &Interrupts) -> Result<File, HostError> {
    let until = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(e)) => return Err(HostError::io("locking", path)(e)),
            // A blocking lock could not be interrupted or given up.
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                interrupts.check()?;
                thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(HostError::Busy { what: what.to_owned(), seconds: patience.as_secs() });
            }
        }
    }
}
