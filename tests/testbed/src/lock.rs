//! One at a time: two runs that build the same root, or work on the same host, wait for each other.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{interrupt, paths, progress};

/// Held until dropped; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "open is what holds it")] File);

/// Waits longer than this are announced.
const LONG: Duration = Duration::from_secs(2);

/// Takes the lock at `path`. Says so when it has to wait for long; Ctrl-C ends the wait.
pub fn take(path: &Path) -> Result<Lock> {
    wait(path, File::try_lock)
}

/// Takes it together with others who take it so.
pub fn share(path: &Path) -> Result<Lock> {
    wait(path, File::try_lock_shared)
}

fn wait(path: &Path, attempt: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Lock> {
    if let Some(dir) = path.parent() {
        paths::create(dir)?;
    }
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    let file = open.with_context(|| format!("cannot open {}", path.display()))?;
    let begun = Instant::now();
    let mut announced = false;
    loop {
        match attempt(&file) {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("cannot lock {}", path.display())),
        }
        interrupt::check()?;
        if !announced && begun.elapsed() > LONG {
            progress::step(&format!("waiting for {}, which another build, host or run holds", path.display()));
            announced = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
