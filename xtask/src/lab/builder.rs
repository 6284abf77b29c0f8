//! Running podman as root in the base root, without booting it: for building the image.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::base::base;
use super::{boot, recipe};
use crate::paths;

/// The base root with a layer over it that is thrown away, some directories of the machine, and its network.
#[derive(Debug)]
pub struct Builder {
    machine: String,
    root: PathBuf,
    options: Vec<String>,
}

impl Builder {
    /// A builder; builds the base root when there is none.
    pub fn new() -> Result<Self> {
        let template = base()?;
        // One for each checkout: two of them may build at once.
        let machine = format!("build-{}", recipe::hash(&paths::lab()?.to_string_lossy()));
        boot::clear(&machine)?;
        Ok(Self { machine, root: template.root(), options: Vec::new() })
    }

    /// Shows a directory of the machine at a path in there.
    #[must_use]
    pub fn bind(mut self, from: &Path, to: &str) -> Self {
        self.options.push(format!("--bind={}:{to}", from.display()));
        self
    }

    /// A command in there. Append a program and its arguments.
    pub fn command(&self) -> Result<Command> {
        let mut command = boot::nspawn(&self.machine, &self.root)?;
        command.args(["--volatile=overlay", "--resolv-conf=bind-host", "--timezone=off"]);
        command.args(&self.options).arg("--setenv=TMPDIR=/build").arg("--");
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
