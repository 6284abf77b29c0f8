//! A host's own root: a copy of a template.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::base::{self, Template};
use super::dir::HostDir;
use super::recipe;
use crate::{paths, progress, run};

/// Makes the host's root a copy of the template, in place of one that may be there.
pub(super) fn make(dir: &HostDir, template: &Template) -> Result<()> {
    if let Some(old) = dir.recipe() {
        progress::step(&format!("{} was made from {old}: replacing it", dir.name));
    }
    paths::remove_tree(dir.path())?;
    paths::create(dir.path())?;
    let made = fill(dir, template);
    if made.is_err() {
        paths::remove_tree(dir.path())?;
    }
    made
}

fn fill(dir: &HostDir, template: &Template) -> Result<()> {
    copy(template, &dir.root())?;
    set_identity(dir, &dir.root())?;
    // Last: a root without it is one that was cut off.
    dir.set_recipe(&template.name)
}

/// Copies a template's root. Its image layers are linked: podman never writes into one, and they are most of the bytes.
pub(crate) fn copy(template: &Template, to: &Path) -> Result<()> {
    let _lock = base::templates_lock()?;
    let cp = |option: &str, from: &Path, to: &Path| {
        run::output(Command::new("cp").args(["--archive", "--reflink=auto", option, "--"]).arg(from).arg(to))
    };
    cp("--no-target-directory", &template.root(), to)?;
    for user in recipe::USERS {
        let layers = template.path.join("layers").join(user.name);
        if layers.is_dir() {
            cp("--link", &layers, &to.join(layers_of(user)))?;
        }
    }
    Ok(())
}

/// Where a user's image layers are in a root.
pub(super) fn layers_of(user: &recipe::User) -> PathBuf {
    Path::new("home").join(user.name).join(".local/share/containers/storage/overlay")
}

/// Names the host, so that two are not one to anything that remembers where it ran.
fn set_identity(dir: &HostDir, root: &Path) -> Result<()> {
    paths::write(&root.join("etc/hostname"), format!("{}\n", dir.name))?;
    paths::write(&root.join("etc/hosts"), format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {}\n", dir.name))?;
    paths::write(&root.join("etc/machine-id"), format!("{}\n", dir.machine_id()))
}
