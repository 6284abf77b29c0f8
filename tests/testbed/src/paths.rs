//! Where things are kept: what belongs to this checkout in its target directory, what can be made again from a recipe
//! in a cache that all checkouts of this user share.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The target directory: `DEVBOX_TARGET`, else the workspace's own.
///
/// Canonical, because a running host is recognised by the path on its command line.
pub fn target() -> Result<PathBuf> {
    let dir = std::env::var_os("DEVBOX_TARGET").map_or_else(|| workspace().join("target"), PathBuf::from);
    create(&dir)?;
    dir.canonicalize().with_context(|| format!("cannot resolve {}", dir.display()))
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else the target directory.
pub fn cargo_target() -> Result<PathBuf> {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(target, |dir| Ok(workspace().join(dir)))
}

/// The hosts, machines and tailnets of this checkout, and the logs of builds.
pub fn lab() -> Result<PathBuf> {
    let dir = target()?.join("lab");
    create(&dir)?;
    Ok(dir)
}

/// Roots, images and programs that were built from a recipe: `DEVBOX_CACHE`, else `devbox-ctl` in the user's cache
/// (XDG Base Directory Specification). A fresh clone finds them there.
pub fn cache() -> Result<PathBuf> {
    let users = || {
        let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        set.or_else(home).map(|cache| cache.join("devbox-ctl"))
    };
    let dir = std::env::var_os("DEVBOX_CACHE").map(PathBuf::from).or_else(users);
    let dir = dir.context("neither DEVBOX_CACHE nor HOME is set")?;
    create(&dir)?;
    dir.canonicalize().with_context(|| format!("cannot resolve {}", dir.display()))
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
    // Not the standard library's: it calls itself for each folder, and a test makes 30,000 in one another.
    let removed = std::process::Command::new("rm").args(["-rf", "--one-file-system", "--"]).arg(dir).output();
    let removed = removed.with_context(|| format!("cannot remove {}", dir.display()))?;
    anyhow::ensure!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr).trim());
    Ok(())
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
