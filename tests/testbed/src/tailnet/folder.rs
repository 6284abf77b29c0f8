//! Where a tailnet is kept while it is up.
//!
//! `headscale` is the server's folder and each of `devices` a device's; `ca.pem` is what they trust.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::daemon::Daemon;
use crate::{lab, paths};

/// The one of the host of that name.
pub(super) fn folder(name: &str) -> Result<PathBuf> {
    lab::check_name(name)?;
    Ok(paths::lab()?.join("tailnets").join(name))
}

/// Ends all that runs of it, whoever began it, and removes it.
pub(super) fn end(folder: &Path) -> Result<()> {
    // Devices first: they would only ask for the server again and again.
    if let Ok(devices) = fs::read_dir(folder.join("devices")) {
        devices.filter_map(Result::ok).try_for_each(|device| Daemon::of(device.path()).end())?;
    }
    Daemon::of(folder.join("headscale")).end()?;
    paths::remove_tree(folder)
}

/// Makes a folder for root alone.
pub(super) fn guarded(folder: &Path) -> Result<()> {
    paths::create(folder)?;
    let doing = || format!("cannot guard {}", folder.display());
    fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).with_context(doing)
}

/// The kernel takes no longer path for a socket.
pub(super) fn check_socket(path: &Path) -> Result<()> {
    if path.as_os_str().len() > 107 {
        bail!("{} is too long a path for a socket; DEVBOX_TARGET may name a shorter one", path.display());
    }
    Ok(())
}
