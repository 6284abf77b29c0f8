//! What an earlier command left half done, finished by the next one.

use std::path::{Path, PathBuf};

use super::{AccountLock, Broker, Held, Host, HostError, Pending, files, own, registry, stage};
use crate::plan::{self, Place};
use crate::quadlet::names;
use crate::spec::BoxName;

/// What was found and done, for the person to read.
#[derive(Debug)]
pub enum Recovered {
    /// A destruction was finished.
    Destroyed(BoxName),
    /// Its way into the trash was finished.
    Trashed(BoxName),
    /// A restore was cut short before it had moved anything; it is in the trash still.
    PutBack(BoxName),
    /// A create or a restore was cut short after its units were there; the box is whole, and systemd may be starting it.
    Created { name: BoxName, starting: bool, restored: bool },
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
    for place in [Place::Boxes, Place::Trash] {
        for name in registry::cut_short(&host.account, place)? {
            // Held by whoever is at work on it, or gone: nothing was cut short.
            let Some(held) = host.try_hold(place, &name) else { continue };
            let is_its_own = but == Some(&name)
                && (place == Place::Boxes || matches!(held.entry.pending, Some(Pending::Destroy { .. })));
            if !is_its_own {
                found.extend(finish(host, place, held)?);
            }
        }
    }
    Ok(found)
}

fn finish(host: &Host, place: Place, held: Held) -> Result<Option<Recovered>, HostError> {
    let name = held.entry.name.clone();
    let brokered = Broker::is_installed();
    let (plan, done): (_, fn(BoxName) -> Recovered) = match held.entry.pending {
        Some(Pending::Destroy { ref keep_volumes }) => {
            (plan::destroy(&name, place, keep_volumes, brokered), Recovered::Destroyed)
        }
        Some(Pending::Fill) => (plan::destroy(&name, place, &[], brokered), Recovered::TakenBack),
        Some(Pending::Trash) => (plan::trash_further(&name, place, brokered), Recovered::Trashed),
        Some(Pending::Create { .. }) if place == Place::Trash => (plan::put_back(&name, brokered), Recovered::PutBack),
        Some(Pending::Create { restored }) => return finish_create(host, held, restored),
        None => return Ok(None),
    };
    Ok(Some(match host.apply(&plan, held.into(), &|_| {}) {
        Ok(()) => done(name),
        Err(applied) => Recovered::Stuck(name, *applied.cause),
    }))
}

fn finish_create(host: &Host, held: Held, restored: bool) -> Result<Option<Recovered>, HostError> {
    let name = held.entry.name.clone();
    let unit = names::service(&name);
    let states = host.systemd.states(&unit)?;
    match states.get(&unit).map(|s| s.active.as_str()) {
        // It went through but for its last steps; or a reboot has started it, and the broker does not know.
        Some("active") => {
            let sizes = held.entry.spec.as_ref().ok().map(|spec| (spec.cpu, spec.memory));
            let sizes = if Broker::is_installed() { sizes } else { None };
            match host.apply(&plan::settle(&name, sizes), held.into(), &|_| {}).map_err(|a| *a.cause) {
                Ok(()) => Ok(None),
                Err(why @ HostError::Refused(_)) => Ok(Some(Recovered::Unsettled(name, why))),
                Err(other) => Err(other),
            }
        }
        other => Ok(Some(Recovered::Created { name, starting: other == Some("activating"), restored })),
    }
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
    let is_there = [Place::Boxes, Place::Trash].map(|place| registry::entry_in(&host.account, place, name).is_some());
    if is_there == [false, false] {
        match host.broker()? {
            Some(broker) => broker.release(name)?,
            None => own::depart(&host.account, name)?,
        }
    }
    files::remove_all(folder)
}
