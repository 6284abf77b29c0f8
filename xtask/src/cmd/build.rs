//! The program under test or trial, as users get it: the release build.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::{paths, progress};

/// Builds devbox-ctl and gives its path.
pub(crate) fn release() -> Result<PathBuf> {
    let target = paths::target()?;
    let binary = target.join("release/devbox-ctl");
    // Set when this command runs itself again through sudo: cargo has done its part as the user.
    if std::env::var_os("DEVBOX_BUILT").is_some() {
        return Ok(binary);
    }
    progress::step("building devbox-ctl");
    let status = cargo()
        .args(["build", "--release", "--package", "devbox-ctl", "--bins", "--target-dir"])
        .arg(&target)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("devbox-ctl does not build");
    }
    Ok(binary)
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::workspace());
    command
}
