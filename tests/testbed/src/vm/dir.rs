//! Where one machine is kept while it is up.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{lab, paths};

/// A machine's directory: `pid`, `port`, the `template` it booted from, its `console`, its `ready` lines, QEMU's `log`.
#[derive(Debug, Clone)]
pub(super) struct VmDir {
    pub(super) name: String,
    path: PathBuf,
}

impl VmDir {
    /// The directory of the machine of that name.
    pub(super) fn named(name: &str) -> Result<Self> {
        lab::check_name(name)?;
        Ok(Self { name: name.to_owned(), path: paths::lab()?.join("vms").join(name) })
    }

    /// A directory of its own, for a machine of which a template is made.
    pub(super) fn building(path: PathBuf) -> Self {
        Self { name: "template".to_owned(), path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Beside the directory, so that it can be held while the directory is removed.
    pub(super) fn lock_file(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// A file's text; none when it is not there.
    pub(super) fn read(&self, name: &str) -> Option<String> {
        // A console may hold anything.
        Some(String::from_utf8_lossy(&fs::read(self.file(name)).ok()?).into_owned())
    }

    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.read(name)?.trim().parse().ok()
    }
}
