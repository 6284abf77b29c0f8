//! Where one host is kept, and the names that follow from it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::artifacts::recipe;
use crate::paths;

/// A host's directory: `root`, and while it is up `pid` and `leader`; `log` of its boots; `recipe` of its root.
#[derive(Debug, Clone)]
pub(crate) struct HostDir {
    pub(crate) name: String,
    path: PathBuf,
}

impl HostDir {
    /// The directory of the host of that name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), path: hosts()?.join(name) })
    }

    /// A directory outside the hosts, for a root that is being made.
    pub(crate) fn building(name: &str, path: PathBuf) -> Self {
        Self { name: name.to_owned(), path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.path.join("pid")
    }

    pub(crate) fn leader_file(&self) -> PathBuf {
        self.path.join("leader")
    }

    /// Beside the directory, so that it can be held while the directory is removed.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// Which template the root is a copy of.
    pub(crate) fn recipe(&self) -> Option<String> {
        fs::read_to_string(self.path.join("recipe")).ok()
    }

    pub(crate) fn set_recipe(&self, template: &str) -> Result<()> {
        paths::write(&self.path.join("recipe"), template)
    }

    /// The machine name: its cgroup and its network namespace are called so too. Hosts of one name in two checkouts
    /// have different ones.
    pub(crate) fn machine(&self) -> String {
        format!("{}-{}", self.name, recipe::hex(&self.digest(), 8))
    }

    /// 128 bits that are this host's own.
    pub(crate) fn machine_id(&self) -> String {
        recipe::hex(&self.digest(), 16)
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.path.as_os_str().as_encoded_bytes()).into()
    }
}

/// Fails unless it can name a host: it becomes a directory's name, and part of other names.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = !name.is_empty()
        && name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        bail!("{name:?} is not a host name: lowercase letters, digits and hyphens, a letter first, 40 at most");
    }
    Ok(())
}

fn hosts() -> Result<PathBuf> {
    let dir = paths::lab()?.join("hosts");
    paths::create(&dir)?;
    Ok(dir)
}

/// The names of all hosts that have a directory.
pub fn names() -> Result<Vec<String>> {
    let dir = hosts()?;
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|e| e.path().is_dir())
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_or_options_are_refused() {
        for name in ["", "Lab", "-x", "a/b", "..", "a b", "1st"] {
            assert!(HostDir::named(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_machine_name_fits_and_differs_between_checkouts() {
        let longest = "a".repeat(40);
        let at = |path: &str| HostDir::building(&longest, PathBuf::from(path)).machine();
        // systemd's limit for a machine name.
        assert!(at("/one").len() <= 64, "{}", at("/one"));
        assert_ne!(at("/one"), at("/two"));
    }
}
