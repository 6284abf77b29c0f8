//! One at a time: two runs that build the same root, or work on the same host, wait for each other.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context, Result};

use crate::{paths, progress};

/// Held until dropped; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "open is what holds it")] File);

/// Takes the lock at `path`, saying so when it has to wait.
pub fn take(path: &Path) -> Result<Lock> {
    if let Some(dir) = path.parent() {
        paths::create(dir)?;
    }
    let open = || OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = open().with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("cannot lock {}", path.display())),
    }
    progress::step(&format!("waiting for another run that holds {}", path.display()));
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(Lock(file))
}
