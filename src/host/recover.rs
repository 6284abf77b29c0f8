//! What an earlier command left half done, finished by the next one.

use std::path::{Path, PathBuf};

use super::{AccountLock, Host, HostError, Pending, files, own, registry, stage};
use crate::plan;
use crate::quadlet::names;
use crate::spec::BoxName;

/// What was found and done, for the person to read.
#[derive(Debug)]
pub enum Recovered {
    /// A destruction was finished.
    Destroyed(BoxName),
    /// A create was cut short after its units were written; the box is whole, and systemd may be starting it.
    Created { name: BoxName, starting: bool },
    /// A create from a backup was cut short before its volumes were whole, and is taken back: nobody has worked in it.
    TakenBack(BoxName),
    /// A destruction still cannot be finished.
    Stuck(BoxName, HostError),
    /// What dead commands left could not be removed.
    Unswept(HostError),
    /// A box that runs, and whose name the broker does not give it.
    Unsettled(BoxName, HostError),
}

/// Finishes destructions and names interrupted creates. Runs at the beginning of every command that changes something;
/// `but` is the box that the command is about to destroy itself.
pub fn recover(host: &Host, but: Option<&BoxName>) -> Result<Vec<Recovered>, HostError> {
    let mut found = Vec::new();
    // A create at work has made its folder and not locked it yet, but under this lock.
    let admission = AccountLock::take(&host.account, &host.interrupts)?;
    let withdrawn = stage::sweep(&host.account).unwrap_or_else(|why| {
        found.push(Recovered::Unswept(why));
        Vec::new()
    });
    // Still under it: a box of the name that is being made meanwhile must not lose it.
    if let Err(why) = forget(host, withdrawn) {
        found.push(Recovered::Unswept(why));
    }
    drop(admission);
    for name in registry::cut_short(&host.account)? {
        if but == Some(&name) {
            continue;
        }
        // Held by whoever is at work on it, or gone: nothing was cut short.
        let Some(held) = host.try_hold(&name) else { continue };
        match held.entry.pending {
            Some(Pending::Destroy { ref keep_volumes }) => {
                let plan = plan::destroy(&name, keep_volumes, host.broker()?.is_some());
                found.push(match host.apply(&plan, held.into(), &|_| {}) {
                    Ok(()) => Recovered::Destroyed(name),
                    Err(applied) => Recovered::Stuck(name, *applied.cause),
                });
            }
            Some(Pending::Fill) => {
                let plan = plan::destroy(&name, &[], host.broker()?.is_some());
                found.push(match host.apply(&plan, held.into(), &|_| {}) {
                    Ok(()) => Recovered::TakenBack(name),
                    Err(applied) => Recovered::Stuck(name, *applied.cause),
                });
            }
            Some(Pending::Create) => {
                let unit = names::service(&name);
                let states = host.systemd.states(&unit)?;
                match states.get(&unit).map(|s| s.active.as_str()) {
                    // It went through but for its last steps; or a reboot has started it, and the broker does not know.
                    Some("active") => {
                        let sizes = held.entry.spec.as_ref().ok().map(|spec| (spec.cpu, spec.memory));
                        let sizes = if host.broker()?.is_some() { sizes } else { None };
                        match host.apply(&plan::settle(&name, sizes), held.into(), &|_| {}).map_err(|a| *a.cause) {
                            Ok(()) => {}
                            Err(why @ HostError::Refused(_)) => found.push(Recovered::Unsettled(name, why)),
                            Err(other) => return Err(other),
                        }
                    }
                    other => found.push(Recovered::Created { name, starting: other == Some("activating") }),
                }
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
    let mut first = Ok(());
    for (name, folder) in withdrawn {
        let done = forget_one(host, &name, &folder);
        first = first.and(done);
    }
    first
}

fn forget_one(host: &Host, name: &BoxName, folder: &Path) -> Result<(), HostError> {
    for unit in names::volume_services(name).into_iter().chain([names::service(name)]) {
        host.systemd.reset_failed(&unit)?;
    }
    if registry::entry(&host.account, name).is_none() {
        match host.broker()? {
            Some(broker) => broker.release(name)?,
            None => own::depart(&host.account, name)?,
        }
    }
    files::remove_all(folder)
}
