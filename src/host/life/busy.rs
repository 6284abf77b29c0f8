//! The owner's own word: `~/.config/devbox/busy NAME` ends well while the box is at work that nothing else shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use duct::cmd;
use tracing::debug;

use super::probe;
use crate::host::{Account, HostError};
use crate::spec::BoxName;

/// One that takes longer says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What it said of each box that runs; none where it did not end in time, or could not be run.
#[derive(Debug)]
pub(super) struct Busy {
    is_asked: bool,
    said: BTreeMap<BoxName, Option<bool>>,
}

impl Busy {
    /// Slow: asked before anybody waits for the book.
    pub(super) fn ask(
        account: &Account,
        names: impl FnOnce() -> Result<Vec<BoxName>, HostError>,
    ) -> Result<Self, HostError> {
        let program = account.busy_command();
        // Most owners have none: nothing is read for it.
        if !is_program(&program) {
            return Ok(Self { is_asked: false, said: BTreeMap::new() });
        }
        let running = names()?.into_iter().filter(|name| probe::runs(account.uid, name));
        let said = running.map(|name| (name.clone(), run(&program, &name).ok().flatten())).collect();
        Ok(Self { is_asked: true, said })
    }

    /// Whether a box is at work; none of one that it was not asked of.
    pub(super) fn of(&self, name: &BoxName) -> Option<bool> {
        if self.is_asked { self.said.get(name).copied().flatten() } else { Some(false) }
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o100 != 0)
}

fn run(program: &Path, name: &BoxName) -> std::io::Result<Option<bool>> {
    debug!("busy: {} {name}", program.display());
    let child = cmd!(program, name.as_str()).stdin_null().stdout_null().stderr_null().unchecked().start()?;
    if let Some(output) = child.wait_timeout(PATIENCE)? {
        return Ok(Some(output.status.success()));
    }
    child.kill()?;
    Ok(None)
}
