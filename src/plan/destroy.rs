//! The plan of `destroy`, which is also what takes back a create.

use super::{Place, Plan, Step, Verb};
use crate::quadlet::names;
use crate::spec::BoxName;

/// Stops the box, deletes its volumes but those to keep, removes its folder. The only plan of a box that was ever ready
/// that deletes data.
pub fn destroy(name: &BoxName, place: Place, keep: &[String], brokered: bool) -> Plan {
    Plan { place, ..Plan::new(Verb::Destroy, name, steps(name, keep, brokered)) }
}

/// The folder goes last of what tells of the box: until then the mark in it says how to finish.
pub(super) fn steps(name: &BoxName, keep: &[String], brokered: bool) -> Vec<Step> {
    let mut steps = vec![Step::MarkDestroying { keep_volumes: keep.to_vec() }];
    steps.extend(stops(name));
    let gone = names::volumes(name).into_iter().filter(|v| !keep.contains(v));
    steps.extend(gone.map(|volume| Step::RemoveVolume { volume }));
    steps.extend([Step::Withdraw, Step::Reload]);
    steps.extend(forgets(name));
    // What is aside tells the next command, should the broker not answer.
    steps.push(if brokered { Step::Release } else { Step::Depart });
    steps.push(Step::Discard);
    steps
}

/// Everything of the box, its processes first.
pub(super) fn stops(name: &BoxName) -> impl Iterator<Item = Step> {
    // The slice stays otherwise, empty, until its manager ends.
    let others = names::volume_services(name).into_iter().chain([names::slice(name)]);
    std::iter::once(names::service(name)).chain(others).map(|unit| Step::Stop { unit })
}

/// A unit that failed stays in the manager's list, file or not.
pub(super) fn forgets(name: &BoxName) -> impl Iterator<Item = Step> {
    std::iter::once(names::service(name)).chain(names::volume_services(name)).map(|unit| Step::ResetFailed { unit })
}
