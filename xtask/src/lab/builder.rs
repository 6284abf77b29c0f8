//! Running something as root in a Debian root, without booting it: what the image is made of, and the image.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::base::base;
use super::{boot, recipe};
use crate::paths;

/// A root, some directories of the machine, and its network.
#[derive(Debug)]
pub struct Builder {
    machine: String,
    root: PathBuf,
    options: Vec<String>,
}

impl Builder {
    /// In the base root, with a layer over it that is thrown away; builds that root when there is none.
    pub fn new() -> Result<Self> {
        let mut builder = Self::in_root(base()?.root())?;
        builder.options.push("--volatile=overlay".to_owned());
        Ok(builder)
    }

    /// In a root of one's own, which keeps what is done to it.
    pub fn in_root(root: PathBuf) -> Result<Self> {
        // One for each checkout: two of them may build at once.
        let machine = format!("build-{}", recipe::hash(&paths::lab()?.to_string_lossy()));
        boot::clear(&machine)?;
        Ok(Self { machine, root, options: Vec::new() })
    }

    /// Shows a path of the machine at a path in there.
    #[must_use]
    pub fn bind(mut self, from: &Path, to: &str) -> Self {
        self.options.push(format!("--bind={}:{to}", from.display()));
        self
    }

    /// Sets a variable for what runs in there.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.options.push(format!("--setenv={name}={value}"));
        self
    }

    /// A command in there. Append a program and its arguments.
    pub fn command(&self) -> Result<Command> {
        let mut command = boot::nspawn(&self.machine, &self.root)?;
        command.args(["--resolv-conf=bind-host", "--timezone=off"]);
        command.args(&self.options).arg("--");
        Ok(command)
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        if let Err(e) = boot::clear(&self.machine) {
            eprintln!("warning: {e:#}");
        }
    }
}
