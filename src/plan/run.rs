//! The plans of `start`, `stop` and `restart`.

use super::{Plan, Step, Verb};
use crate::quadlet::names;
use crate::spec::BoxName;

/// `loaded`: whether the manager knows the unit; after a create that was cut short it may not. `marked`: whether its
/// owner had stopped it, which is what undo goes back to.
pub fn start(name: &BoxName, loaded: bool, marked: bool) -> Plan {
    let unit = names::service(name);
    let mut undo = vec![Step::Stop { unit: unit.clone() }];
    if marked {
        undo.insert(0, Step::MarkStopped);
    }
    Plan {
        verb: Verb::Start,
        name: name.clone(),
        files: Vec::new(),
        steps: run(loaded, unit, |unit| Step::Start { unit }),
        undo,
    }
}

pub fn stop(name: &BoxName) -> Plan {
    let steps = vec![Step::MarkStopped, Step::Stop { unit: names::service(name) }];
    Plan { verb: Verb::Stop, name: name.clone(), files: Vec::new(), steps, undo: Vec::new() }
}

/// A box that ran is left to systemd when this fails; one that its owner had stopped is stopped again.
pub fn restart(name: &BoxName, loaded: bool, marked: bool) -> Plan {
    let unit = names::service(name);
    let undo = if marked { vec![Step::MarkStopped, Step::Stop { unit: unit.clone() }] } else { Vec::new() };
    let steps = run(loaded, unit, |unit| Step::Restart { unit });
    Plan { verb: Verb::Restart, name: name.clone(), files: Vec::new(), steps, undo }
}

/// The last step of a create that was cut short right before it.
pub fn settle(name: &BoxName) -> Plan {
    Plan { verb: Verb::Create, name: name.clone(), files: Vec::new(), steps: vec![Step::Settle], undo: Vec::new() }
}

fn run(loaded: bool, unit: String, last: impl Fn(String) -> Step) -> Vec<Step> {
    let mut steps = Vec::new();
    if !loaded {
        steps.push(Step::Reload);
    }
    // The unit's own condition looks at the mark, so it goes first.
    steps.extend([Step::UnmarkStopped, Step::ResetFailed { unit: unit.clone() }, last(unit), Step::Settle]);
    steps
}
