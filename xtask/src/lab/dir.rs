//! Where one host is kept, and the names that follow from it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::recipe;
use crate::paths;

/// A host's directory: `root`, and while it is up `pid` and `leader`; `log` of its boots; `recipe` of its root.
#[derive(Debug, Clone)]
pub(super) struct HostDir {
    pub(super) name: String,
    path: PathBuf,
}

impl HostDir {
    /// The directory of the host of that name.
    pub(super) fn named(name: &str) -> Result<Self> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), path: hosts()?.join(name) })
    }

    /// A directory outside the hosts, for a root that is being made.
    pub(super) fn building(name: &str, path: PathBuf) -> Self {
        Self { name: name.to_owned(), path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.path.join("pid")
    }

    pub(super) fn leader_file(&self) -> PathBuf {
        self.path.join("leader")
    }

    /// Beside the directory, so that it can be held while the directory is removed.
    pub(super) fn lock_file(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// Which template the root is a copy of.
    pub(super) fn recipe(&self) -> Option<String> {
        fs::read_to_string(self.path.join("recipe")).ok()
    }

    pub(super) fn set_recipe(&self, template: &str) -> Result<()> {
        paths::write(&self.path.join("recipe"), template)
    }

    /// The machine name: short enough for an interface name, and different for hosts of one name in two checkouts.
    pub(super) fn machine(&self) -> String {
        let start: String = self.name.chars().take(5).collect();
        format!("{}-{}", start.trim_end_matches('-'), recipe::hex(&self.digest(), 3))
    }

    /// The outer end of the host's network.
    pub(super) fn interface(&self) -> String {
        format!("ve-{}", self.machine())
    }

    /// 128 bits that are this host's own.
    pub(super) fn machine_id(&self) -> String {
        recipe::hex(&self.digest(), 16)
    }

    /// Where in the range of lab networks to begin looking for a free one.
    pub(super) fn network_seed(&self) -> u16 {
        let digest = self.digest();
        u16::from_be_bytes([digest[20], digest[21]])
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
    fn an_interface_name_fits_and_differs_between_checkouts() {
        let at = |path: &str| HostDir::building("a-very-long-host-name", PathBuf::from(path)).interface();
        assert!(at("/one").len() <= 15, "{}", at("/one"));
        assert_ne!(at("/one"), at("/two"));
    }
}
