//! The roots that hosts are copies of: built once, kept under a name that says what from.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::recipe;
use crate::{interrupt, lock, paths, progress, run};

/// A root that is ready to be copied, and the name that tells it from others.
#[derive(Debug)]
pub struct Template {
    /// Such as `base-0a1b2c3d4e5f`.
    pub name: String,
    /// Where it is: a directory with `root` in it, and perhaps with `layers`, which see `root.rs`.
    pub path: PathBuf,
}

impl Template {
    /// Its root directory.
    pub fn root(&self) -> PathBuf {
        self.path.join("root")
    }
}

/// The name of the base root that this recipe makes.
pub(super) fn base_name() -> String {
    format!("base-{}", recipe::base_key())
}

/// The base root, built when this recipe's is not there yet.
pub fn base() -> Result<Template> {
    let template = named(base_name())?;
    build_once(&template, "base-", |partial| {
        progress::step(&format!("building the Debian root ({})", recipe::SUITE));
        debootstrap(&partial.join("root"), &["--include", &recipe::PACKAGES.join(",")])?;
        furnish(&partial.join("root"))
    })?;
    Ok(template)
}

/// A template of that name, there or not.
pub fn named(name: String) -> Result<Template> {
    let path = paths::lab()?.join(&name);
    Ok(Template { name, path })
}

/// Runs mmdebstrap with Debian's own mirror into a directory or a tar file.
pub fn debootstrap(into: &Path, options: &[&str]) -> Result<()> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--mode=root", "--aptopt=Acquire::Languages \"none\""]).args(options);
    // A pattern for a tar as well, so that both have what a person would look up, and nothing more.
    command.args(["--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*"]);
    command.args(["--dpkgopt=path-include=/usr/share/doc/*/copyright"]);
    command.arg(recipe::SUITE).arg(into);
    run::logged(&mut command, &paths::lab()?.join("build.log"))
}

/// Makes what is not there yet: under a partial name first, so that what was cut off never counts as done.
///
/// `family` names the older ones it replaces.
pub fn build_once(template: &Template, family: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if template.path.exists() {
        return Ok(());
    }
    let lab = paths::lab()?;
    let _lock = lock::take(&lab.join(format!("{family}build.lock")))?;
    if template.path.exists() {
        return Ok(());
    }
    let _guard = interrupt::guard()?;
    let partial = Partial(lab.join(format!("partial-{}", template.name)));
    paths::remove_tree(&partial.0)?;
    paths::create(&partial.0)?;
    make(&partial.0)?;
    interrupt::check()?;
    fs::rename(&partial.0, &template.path).with_context(|| format!("cannot put {} in place", template.name))?;
    remove_others(&lab, family, OsStr::new(&template.name))
}

struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(e) = paths::remove_tree(&self.0) {
            eprintln!("warning: {e:#}");
        }
    }
}

/// Held while a template is copied from, and while outdated ones are removed.
pub(super) fn templates_lock() -> Result<lock::Lock> {
    lock::take(&paths::lab()?.join("templates.lock"))
}

fn remove_others(lab: &Path, family: &str, keep: &OsStr) -> Result<()> {
    let _lock = templates_lock()?;
    for entry in fs::read_dir(lab).context("cannot read the lab directory")?.filter_map(Result::ok) {
        let name = entry.file_name();
        let old = name != keep && name.to_string_lossy().starts_with(family);
        if old && entry.path().is_dir() {
            progress::step(&format!("removing the outdated {}", name.display()));
            paths::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Turns a Debian root into a lab host's.
fn furnish(root: &Path) -> Result<()> {
    for (path, text) in recipe::FILES {
        paths::write(&root.join(path), text)?;
    }
    for (path, target) in recipe::LINKS {
        let path = root.join(path);
        if let Some(dir) = path.parent() {
            paths::create(dir)?;
        }
        let _ = fs::remove_file(&path);
        symlink(target, &path).with_context(|| format!("cannot link {}", path.display()))?;
    }
    // Kept over a reboot, and split by user so that each can read their own.
    paths::create(&root.join("var/log/journal"))?;
    for user in recipe::USERS {
        let mut add = Command::new("chroot");
        add.arg(root).args(["/usr/sbin/useradd", "--create-home", "--user-group", "--shell", "/bin/bash", "--uid"]);
        run::output(add.arg(user.uid.to_string()).arg(user.name))?;
        if user.linger {
            paths::write(&root.join("var/lib/systemd/linger").join(user.name), "")?;
        }
    }
    Ok(())
}
