//! What an earlier command left half done, finished by the next one.

use std::path::PathBuf;

use super::apply::sweep;
use super::lock::BoxLock;
use super::{AccountLock, Applied, Host, HostError, Pending, entries};
use crate::plan;
use crate::quadlet::names;
use crate::spec::BoxName;

/// What was found and done, for the person to read.
#[derive(Debug)]
pub enum Recovered {
    /// A destruction was finished.
    Destroyed(BoxName),
    /// A create was cut short after its units were written; the box is whole and was not started.
    Created(BoxName),
    /// A destruction still cannot be finished.
    Stuck(BoxName, HostError),
}

/// Finishes destructions and names interrupted creates. Runs at the beginning of every command that changes something.
pub fn recover(host: &Host) -> Result<Vec<Recovered>, HostError> {
    let admission = AccountLock::take(&host.account, &host.interrupts)?;
    let withdrawn = sweep(&host.account)?;
    let mut cut_short = entries(&host.account)?;
    cut_short.retain(|e| e.pending.is_some() && BoxLock::try_take(&e.folder).is_some());
    drop(admission);
    forget(host, withdrawn)?;
    if cut_short.is_empty() {
        return Ok(Vec::new());
    }
    let states = host.systemd.states(names::UNIT_PATTERN)?;
    let mut found = Vec::new();
    for entry in cut_short {
        let name = entry.name;
        match entry.pending {
            // The create went through but for its last step.
            Some(Pending::Create) if states.get(&names::service(&name)).is_some_and(|s| s.active == "active") => {
                super::files::remove(&entry.folder.join(names::PENDING_FILE))?;
            }
            Some(Pending::Create) => found.push(Recovered::Created(name)),
            Some(ref found_mark @ Pending::Destroy { ref keep_volumes }) => {
                let plan = plan::resume_destroy(&name, keep_volumes);
                found.push(match host.resume(&plan, found_mark) {
                    Ok(()) => Recovered::Destroyed(name),
                    // Another command finished it first.
                    Err(Applied { cause, .. }) if matches!(*cause, HostError::Gone { .. }) => continue,
                    Err(Applied { cause, .. }) => Recovered::Stuck(name, *cause),
                });
            }
            None => {}
        }
    }
    Ok(found)
}

/// Has systemd forget boxes whose folders were withdrawn by a command that then died.
fn forget(host: &Host, withdrawn: Vec<(BoxName, PathBuf)>) -> Result<(), HostError> {
    if withdrawn.is_empty() {
        return Ok(());
    }
    host.systemd.reload()?;
    for (name, folder) in withdrawn {
        for unit in names::volume_services(&name).into_iter().chain([names::service(&name)]) {
            host.systemd.reset_failed(&unit)?;
        }
        super::files::remove_all(&folder)?;
    }
    Ok(())
}
