//! The plan of `destroy`, which is also what takes back a create.

use super::{Plan, Step, Verb};
use crate::quadlet::names;
use crate::spec::BoxName;

/// Stops the box, deletes its volumes but those to keep, removes its folder.
pub fn destroy(name: &BoxName, keep: &[String], brokered: bool) -> Plan {
    let steps = steps(name, keep, brokered);
    Plan { verb: Verb::Destroy, name: name.clone(), files: Vec::new(), steps, undo: Vec::new() }
}

/// The folder goes last of what tells of the box: until then the mark in it says how to finish.
pub(super) fn steps(name: &BoxName, keep: &[String], brokered: bool) -> Vec<Step> {
    let unit = names::service(name);
    let mut steps = vec![Step::MarkDestroying { keep_volumes: keep.to_vec() }, Step::Stop { unit: unit.clone() }];
    // The slice stays otherwise, empty, until its manager ends.
    steps.extend(names::volume_services(name).into_iter().chain([names::slice(name)]).map(|unit| Step::Stop { unit }));
    let gone = names::volumes(name).into_iter().filter(|v| !keep.contains(v));
    steps.extend(gone.map(|volume| Step::RemoveVolume { volume }));
    steps.extend([Step::Withdraw, Step::Reload]);
    // A unit that failed stays in the manager's list, file or not.
    steps.extend(std::iter::once(unit).chain(names::volume_services(name)).map(|unit| Step::ResetFailed { unit }));
    // What is aside tells the next command, should the broker not answer.
    steps.push(if brokered { Step::Release } else { Step::Depart });
    steps.push(Step::Discard);
    steps
}
