//! The owner's own word: `~/.config/devbox/busy NAME` ends well while the box is at work that nothing else shows.

use std::path::Path;
use std::time::Duration;

use duct::cmd;
use tracing::debug;

use crate::host::Account;
use crate::spec::BoxName;

/// One that takes longer says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether there is such a command and it says so; none where it did not end in time, or could not be run.
pub(super) fn says(account: &Account, name: &BoxName) -> Option<bool> {
    let program = account.busy_command();
    if is_program(&program) { run(&program, name).ok().flatten() } else { Some(false) }
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
