//! Where things are kept: all of it under the workspace's target directory.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root.
pub fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// The target directory: `DEVBOX_TARGET`, else the workspace's own.
///
/// Canonical, because a running host is recognised by the path on its command line.
pub fn target() -> Result<PathBuf> {
    let dir = std::env::var_os("DEVBOX_TARGET").map_or_else(|| workspace().join("target"), PathBuf::from);
    create(&dir)?;
    dir.canonicalize().with_context(|| format!("cannot resolve {}", dir.display()))
}

/// Where the roots of the lab are.
pub fn lab() -> Result<PathBuf> {
    let dir = target()?.join("lab");
    create(&dir)?;
    Ok(dir)
}

/// Makes a directory and its parents.
pub fn create(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Removes a tree if it is there; refuses while something is mounted in it, which would be deleted too.
pub fn remove_tree(dir: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("cannot read the mount table")?;
    if let Some(mount) = mounts.lines().filter_map(|l| l.split(' ').nth(1)).find(|m| Path::new(m).starts_with(dir)) {
        anyhow::bail!("{mount} is still mounted; not removing {}", dir.display());
    }
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file, making its directory first.
///
/// By rename: what is there may be a link that someone in a host made, and must not be followed out of it.
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    create(dir)?;
    let readable = Permissions::from_mode(0o644);
    let written = || -> std::io::Result<()> {
        let mut new = tempfile::Builder::new().permissions(readable).tempfile_in(dir)?;
        new.write_all(text.as_ref())?;
        new.persist(path)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
