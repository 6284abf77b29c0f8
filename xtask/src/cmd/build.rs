//! The program under test or trial, as users get it: the release build.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use testbed::{paths, progress};

/// Builds devbox-ctl and gives its path.
pub(crate) fn release() -> Result<PathBuf> {
    let target = paths::cargo_target()?;
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

/// The cargo that runs this, without what that sets for the program it runs: ring's build script is run again when one of
/// these variables changes, and all that needs ring is built again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let of_package =
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.to_string_lossy().starts_with(start));
        if of_package {
            command.env_remove(name);
        }
    }
    command.current_dir(paths::workspace());
    command
}
