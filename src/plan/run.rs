//! The plans of `start`, `stop` and `restart`.

use super::{Plan, Step, Verb};
use crate::quadlet::names;
use crate::spec::BoxName;

/// `loaded`: whether the manager knows the unit; after a create that was cut short it may not. `marked`: whether its
/// owner had stopped it, which is what undo goes back to.
pub fn start(name: &BoxName, loaded: bool, marked: bool) -> Plan {
    let unit = names::service(name);
    let mut steps = Vec::new();
    if !loaded {
        steps.push(Step::Reload);
    }
    // The unit's own condition looks at the mark, so it goes first.
    steps.extend([
        Step::UnmarkStopped,
        Step::ResetFailed { unit: unit.clone() },
        Step::Start { unit: unit.clone() },
        Step::Settle,
    ]);
    let mut undo = vec![Step::Stop { unit }];
    if marked {
        undo.insert(0, Step::MarkStopped);
    }
    Plan { verb: Verb::Start, name: name.clone(), files: Vec::new(), steps, undo }
}

pub fn stop(name: &BoxName) -> Plan {
    let steps = vec![Step::MarkStopped, Step::Stop { unit: names::service(name) }];
    Plan { verb: Verb::Stop, name: name.clone(), files: Vec::new(), steps, undo: Vec::new() }
}

pub fn restart(name: &BoxName, loaded: bool) -> Plan {
    let unit = names::service(name);
    let mut steps = Vec::new();
    if !loaded {
        steps.push(Step::Reload);
    }
    steps.extend([Step::UnmarkStopped, Step::ResetFailed { unit: unit.clone() }, Step::Restart { unit }, Step::Settle]);
    Plan { verb: Verb::Restart, name: name.clone(), files: Vec::new(), steps, undo: Vec::new() }
}
