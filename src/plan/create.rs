//! The plan of `create`.

use super::{Fill, Plan, Step, Verb, destroy};
use crate::quadlet::{UnitFile, names};
use crate::spec::{BoxName, Cpu, DevIs, Memory};

/// What `create` is decided from.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    pub name: &'a BoxName,
    pub files: Vec<UnitFile>,
    pub start: bool,
    /// The sizes to reserve, where this host has a broker.
    pub reserve: Option<(Cpu, Memory)>,
    /// Volumes of this box that were there before (kept by an earlier `destroy --keep-volume`): undo leaves them.
    pub volumes_there: &'a [String],
    /// Of a box from a backup, in the backup's order.
    pub fill: Option<Vec<Fill>>,
}

/// Publish, reload, start. The folder is published with its `creating` mark in it.
pub fn create(request: CreateRequest<'_>) -> Plan {
    let CreateRequest { name, mut files, start, reserve, volumes_there, fill } = request;
    let unit = names::service(name);
    files.push(UnitFile { name: names::CREATING_FILE.to_owned(), text: String::new() });
    // The name before the folder, and the folder before the name is its for good: a create that is cut short leaves a
    // reservation that ends, or a folder whose `start` reserves again.
    let mut steps = Vec::new();
    steps.extend(reserve.map(|(cpu, memory)| Step::Reserve { cpu, memory, start }));
    steps.push(Step::Publish);
    steps.extend(reserve.map(|_| Step::Commit));
    steps.push(Step::Reload);
    // Stopped from its folder's first moment, so that a reboot does not start it: by its owner's word, or until its
    // volumes are whole.
    if !start || fill.is_some() {
        let why = if start { "it is being filled from a backup" } else { "created with --no-start" };
        files.push(UnitFile { name: names::STOPPED_FILE.to_owned(), text: format!("why = \"{why}\"\n") });
    }
    if let Some(fill) = fill {
        files.push(UnitFile { name: names::FILLING_FILE.to_owned(), text: String::new() });
        steps.extend(fill.into_iter().map(Step::FillVolume));
        steps.push(Step::MarkFilled);
        steps.extend(start.then_some(Step::UnmarkStopped));
    }
    if start {
        steps.push(Step::Start { unit });
    }
    steps.push(Step::Settle);
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let undo = destroy::steps(name, volumes_there, reserve.is_some());
    Plan { files, undo, ..Plan::new(Verb::Create, name, steps) }
}

/// Who `dev` is to be: to the files of a kept home it stays who it was, and a folder of the owner's can be written by
/// the owner only. `None` where both cannot be had.
pub fn dev_is(has_mounts: bool, kept: Option<DevIs>) -> Option<DevIs> {
    match (has_mounts, kept) {
        (true, Some(DevIs::Subordinate)) => None,
        (true, _) => Some(DevIs::Owner),
        // The default mapping needs no copy of the image.
        (false, kept) => Some(kept.unwrap_or(DevIs::Subordinate)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_stays_who_it_was() {
        use DevIs::{Owner, Subordinate};
        for (mounts, kept, is) in [
            (false, None, Some(Subordinate)),
            (true, None, Some(Owner)),
            (false, Some(Owner), Some(Owner)),
            (true, Some(Owner), Some(Owner)),
            (false, Some(Subordinate), Some(Subordinate)),
            (true, Some(Subordinate), None),
        ] {
            assert_eq!(dev_is(mounts, kept), is, "{mounts} {kept:?}");
        }
    }
}
