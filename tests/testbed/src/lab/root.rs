//! A host's own root: a copy of an artifact.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::dir::HostDir;
use crate::artifacts::{Artifact, cache, recipe};
use crate::{paths, progress, run};

/// Makes the host's root a copy of the artifact, in place of one that may be there.
pub(crate) fn make(dir: &HostDir, artifact: &Artifact) -> Result<()> {
    if let Some(old) = dir.recipe() {
        progress::step(&format!("{} was made from {old}: replacing it", dir.name));
    }
    paths::remove_tree(dir.path())?;
    paths::create(dir.path())?;
    let made = fill(dir, artifact);
    if made.is_err() {
        paths::remove_tree(dir.path())?;
    }
    made
}

fn fill(dir: &HostDir, artifact: &Artifact) -> Result<()> {
    copy(artifact, &dir.root())?;
    set_identity(dir, &dir.root())?;
    // Last: a root without it is one that was cut off.
    dir.set_recipe(&artifact.name)
}

/// Copies an artifact's root. Its image layers are hard links where both are on one file system: podman never writes
/// into one, and they are most of the bytes.
pub(crate) fn copy(artifact: &Artifact, to: &Path) -> Result<()> {
    let _lock = cache::copy_lock()?;
    let cp = |option: &str, from: &Path, to: &Path| {
        run::output(Command::new("cp").args(["--archive", "--reflink=auto", option, "--"]).arg(from).arg(to))
    };
    cp("--no-target-directory", &artifact.root(), to)?;
    for user in recipe::USERS {
        let layers = artifact.path.join("layers").join(user.name);
        if layers.is_dir() {
            let option = if same_device(&layers, to)? { "--link" } else { "--no-target-directory" };
            cp(option, &layers, &to.join(layers_of(user)))?;
        }
    }
    Ok(())
}

fn same_device(one: &Path, other: &Path) -> Result<bool> {
    let device = |path: &Path| path.metadata().map(|m| m.dev()).with_context(|| format!("no {}", path.display()));
    Ok(device(one)? == device(other)?)
}

/// Where a user's image layers are in a root.
pub(crate) fn layers_of(user: &recipe::User) -> PathBuf {
    Path::new("home").join(user.name).join(".local/share/containers/storage/overlay")
}

/// Names the host, so that two are not one to anything that remembers where it ran.
fn set_identity(dir: &HostDir, root: &Path) -> Result<()> {
    paths::write(&root.join("etc/hostname"), format!("{}\n", dir.name))?;
    paths::write(&root.join("etc/hosts"), format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {}\n", dir.name))?;
    paths::write(&root.join("etc/machine-id"), format!("{}\n", dir.machine_id()))
}
