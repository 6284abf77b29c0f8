//! Running something as root in a Debian root, without booting it: what the image is made of, and the image.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::artifacts::base;
use crate::artifacts::recipe::{self, Debian};
use crate::paths;

/// A root, some directories of the machine, and its network.
#[derive(Debug)]
pub(crate) struct Builder {
    machine: String,
    root: PathBuf,
    options: Vec<String>,
}

impl Builder {
    /// In the base root, with a layer over it that is thrown away; builds that root when there is none.
    pub(crate) fn new() -> Result<Self> {
        let mut builder = Self::in_root(base(Debian::Trixie)?.root())?;
        builder.options.push("--volatile=overlay".to_owned());
        Ok(builder)
    }

    /// In a root of one's own, which keeps what is done to it.
    pub(crate) fn in_root(root: PathBuf) -> Result<Self> {
        // Several builds of one checkout, and of several, run at the same time.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let seed = format!("{} {}", paths::lab()?.display(), std::process::id());
        let machine = format!("build-{}-{nth}", recipe::hash(&seed));
        super::clear(&machine)?;
        Ok(Self { machine, root, options: Vec::new() })
    }

    /// Shows a path of the machine at a path in there.
    #[must_use]
    pub(crate) fn bind(mut self, from: &Path, to: &str) -> Self {
        self.options.push(format!("--bind={}:{to}", from.display()));
        self
    }

    /// Sets a variable for what runs in there.
    #[must_use]
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.options.push(format!("--setenv={name}={value}"));
        self
    }

    /// A command in there. Append a program and its arguments.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = super::command(&self.machine, &self.root, None)?;
        command.args(["--resolv-conf=bind-host", "--timezone=off"]);
        command.args(&self.options).arg("--");
        Ok(command)
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        if let Err(e) = super::clear(&self.machine) {
            eprintln!("warning: {e:#}");
        }
    }
}
