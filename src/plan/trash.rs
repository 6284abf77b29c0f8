//! The plans of `destroy` without `--now`, and of `restore`: the folder is moved, and nothing is deleted.

use super::destroy::{forgets, stops};
use super::run::mark;
use super::{Place, Plan, Step, TrashedBy, Verb};
use crate::quadlet::names;
use crate::spec::{BoxName, Cpu, Memory};

/// Stops the box and moves its folder into the trash. Its volumes stay where they are, and its name stays its owner's.
/// `days`: how long its owner is told that it stays, if there is an end to that.
pub fn trash(name: &BoxName, by: TrashedBy, why: Option<String>, days: Option<u32>, brokered: bool) -> Plan {
    let steps = std::iter::once(Step::NoteTrashed { by, why, days }).chain(into(name, brokered)).collect();
    Plan { refused: vec![Step::UnmarkTrashing], ..Plan::new(Verb::Trash, name, steps) }
}

/// The rest of one that was cut short, wherever its folder is by now.
pub fn trash_further(name: &BoxName, place: Place, brokered: bool) -> Plan {
    // One that is in the trash does not come back by itself.
    let refused = if place == Place::Boxes { vec![Step::UnmarkTrashing] } else { Vec::new() };
    Plan { place, refused, ..Plan::new(Verb::Trash, name, into(name, brokered).collect()) }
}

/// The broker is asked before anything is stopped: it may say that the trash is full. A device of the owner's own leaves
/// the tailnet once there is no box any more that could ask for a key.
fn into(name: &BoxName, brokered: bool) -> impl Iterator<Item = Step> {
    std::iter::once(Step::MarkTrashing)
        .chain(brokered.then_some(Step::Trash))
        .chain(stops(name))
        .chain([Step::ToTrash, Step::Reload])
        .chain(forgets(name))
        .chain((!brokered).then_some(Step::Depart))
        .chain([Step::Settle])
}

/// What `restore` is decided from.
#[derive(Debug, Clone, Copy)]
pub struct RestoreRequest<'a> {
    pub name: &'a BoxName,
    pub start: bool,
    /// Why it was stopped, which is what undo goes back to.
    pub marked: Option<&'a str>,
    /// The sizes to be admitted with, where this host has a broker.
    pub ask: Option<(Cpu, Memory)>,
}

/// Moves the folder back and starts the box. From the mark on it is one that is being created; what says that it was in
/// the trash goes last, so that undo has it.
pub fn restore(request: RestoreRequest<'_>) -> Plan {
    let RestoreRequest { name, start, marked, ask } = request;
    let unit = names::service(name);
    let mut steps = vec![Step::MarkRestoring];
    steps.extend(ask.map(|(cpu, memory)| Step::Restore { cpu, memory, start }));
    if start {
        steps.extend([Step::FromTrash, Step::Reload, Step::UnmarkStopped]);
        steps.extend([Step::ResetFailed { unit: unit.clone() }, Step::Start { unit }]);
    } else {
        // Before it is a box again, so that no reboot starts it.
        steps.extend(marked.is_none().then(|| mark("it was restored, and not started")));
        steps.extend([Step::FromTrash, Step::Reload]);
    }
    steps.push(Step::Settle);
    let mark = match (start, marked) {
        (true, Some(why)) => Some(mark(why)),
        (false, None) => Some(Step::UnmarkStopped),
        _ => None,
    };
    let undo = mark.into_iter().chain(into(name, ask.is_some())).collect();
    Plan { place: Place::Trash, undo, refused: vec![Step::Settle], ..Plan::new(Verb::Restore, name, steps) }
}

/// A restore that was cut short before it moved the folder: it is in the trash still, and the broker is told so.
pub fn put_back(name: &BoxName, brokered: bool) -> Plan {
    let steps = brokered.then_some(Step::Trash).into_iter().chain([Step::Settle]).collect();
    Plan { place: Place::Trash, ..Plan::new(Verb::Restore, name, steps) }
}
