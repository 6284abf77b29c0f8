//! Where a box's folder is before it is published and after it is withdrawn.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::lock::BoxLock;
use super::{Account, HostError, Interrupts, files};
use crate::spec::BoxName;

const MAKING: &str = "making-";
const GONE: &str = "gone-";

/// A new folder to fill, removed unless it is kept.
pub(super) fn making(account: &Account) -> Result<tempfile::TempDir, HostError> {
    files::private_temporary(MAKING, &account.stage())
}

/// Where this process puts a withdrawn box. A name has no double hyphen, so it can be read back.
pub(super) fn aside(account: &Account, name: &BoxName) -> PathBuf {
    account.stage().join(format!("{GONE}{name}--{}", std::process::id()))
}

/// Removes what dead commands left, and gives the withdrawn boxes that systemd may still know. Theirs are unlocked; a
/// command at work holds its folder's lock.
pub(super) fn sweep(account: &Account) -> Result<Vec<(BoxName, PathBuf)>, HostError> {
    let mut withdrawn = Vec::new();
    for path in ours(account)? {
        if File::open(&path).is_ok_and(|f| f.try_lock().is_err()) {
            continue;
        }
        match withdrawn_name(&path) {
            Some(name) => withdrawn.push((name, path)),
            None => files::remove_all(&path)?,
        }
    }
    Ok(withdrawn)
}

/// Waits for commands that are about to have systemd forget a box of this name: until then its units look like
/// somebody else's.
pub(super) fn wait_until_forgotten(
    account: &Account,
    name: &BoxName,
    interrupts: &Interrupts,
) -> Result<(), HostError> {
    for path in ours(account)? {
        if withdrawn_name(&path).as_ref() == Some(name) {
            match BoxLock::take(&path, name.as_str(), interrupts) {
                Ok(_) | Err(HostError::Gone { .. }) => {}
                Err(other) => return Err(other),
            }
        }
    }
    Ok(())
}

/// Whatever else lies there is none of ours; opening a FIFO would wait for ever.
fn ours(account: &Account) -> Result<Vec<PathBuf>, HostError> {
    let stage = account.stage();
    let mut paths = files::names_in(&stage).map_err(HostError::io("reading", &stage))?;
    paths.retain(|path| {
        let named = path.file_name().and_then(|n| n.to_str());
        named.is_some_and(|n| n.starts_with(MAKING) || n.starts_with(GONE))
            && path.symlink_metadata().is_ok_and(|m| m.is_dir())
    });
    Ok(paths)
}

fn withdrawn_name(path: &Path) -> Option<BoxName> {
    let (name, _) = path.file_name()?.to_str()?.strip_prefix(GONE)?.split_once("--")?;
    name.parse().ok()
}
