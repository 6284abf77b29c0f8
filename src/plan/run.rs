//! The plans of `start`, `stop` and `restart`.

use super::{Plan, Step, Verb};
use crate::quadlet::names;
use crate::spec::{BoxName, Cpu, Memory};

/// What `start` and `restart` are decided from.
#[derive(Debug, Clone, Copy)]
pub struct StartRequest<'a> {
    pub name: &'a BoxName,
    /// Whether the manager knows the unit; after a create that was cut short it may not.
    pub loaded: bool,
    /// Why it was stopped, which is what undo goes back to.
    pub marked: Option<&'a str>,
    /// Its create was cut short: the broker may not know it.
    pub creating: bool,
    /// The sizes to ask the broker for, where this host has one and the box does not run.
    pub ask: Option<(Cpu, Memory)>,
    /// Systemd is starting it already, by somebody else's wish.
    pub joins: bool,
}

/// A start that was under way is not ended by whoever only waited for it.
pub fn start(request: StartRequest<'_>) -> Plan {
    let unit = names::service(request.name);
    let mut undo = Vec::new();
    if !request.joins || request.marked.is_some() {
        undo.extend(request.marked.map(mark));
        undo.push(Step::Stop { unit: unit.clone() });
    }
    let steps = run(request, unit.clone(), Step::Start { unit });
    Plan { undo, ..Plan::new(Verb::Start, request.name, steps) }
}

/// `why`: what its owner will read of it.
pub fn stop(name: &BoxName, why: &str) -> Plan {
    let steps = vec![mark(why), Step::Stop { unit: names::service(name) }];
    Plan::new(Verb::Stop, name, steps)
}

/// A box that runs although it was to be stopped is to run.
pub fn run_on(name: &BoxName) -> Plan {
    Plan::new(Verb::Start, name, vec![Step::UnmarkStopped])
}

/// A box that ran is left to systemd when this fails; one that its owner had stopped is stopped again.
pub fn restart(request: StartRequest<'_>) -> Plan {
    let unit = names::service(request.name);
    let undo = request.marked.map_or_else(Vec::new, |why| vec![mark(why), Step::Stop { unit: unit.clone() }]);
    let steps = run(request, unit.clone(), Step::Restart { unit });
    Plan { undo, ..Plan::new(Verb::Restart, request.name, steps) }
}

/// The last step of a create that was cut short right before it.
/// `reserve`: its sizes, where this host has a broker; that is asked again, for the create may have died before.
pub fn settle(name: &BoxName, reserve: Option<(Cpu, Memory)>) -> Plan {
    let reserved = reserve.map(|(cpu, memory)| [Step::Reserve { cpu, memory, start: false }, Step::Commit]);
    let steps = reserved.into_iter().flatten().chain([Step::Settle]).collect();
    Plan::new(Verb::Create, name, steps)
}

pub(super) fn mark(why: &str) -> Step {
    Step::MarkStopped { why: why.to_owned() }
}

fn run(request: StartRequest<'_>, unit: String, last: Step) -> Vec<Step> {
    let mut steps = Vec::new();
    match request.ask {
        Some((cpu, memory)) if request.creating => {
            steps.extend([Step::Reserve { cpu, memory, start: true }, Step::Commit]);
        }
        Some((_, memory)) => steps.push(Step::AskRoom { memory }),
        None => {}
    }
    if !request.loaded {
        steps.push(Step::Reload);
    }
    // The unit's own condition looks at the mark, so it goes first.
    steps.extend([Step::UnmarkStopped, Step::ResetFailed { unit }, last, Step::Settle]);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_joined_a_start_does_not_end_it() {
        let name = "abc".parse().unwrap();
        let request =
            StartRequest { name: &name, loaded: true, marked: None, creating: false, ask: None, joins: false };
        let stop = Step::Stop { unit: names::service(&name) };
        assert_eq!(start(request).undo, std::slice::from_ref(&stop));
        assert_eq!(start(StartRequest { joins: true, ..request }).undo, []);
        // It was to stay stopped.
        let marked = StartRequest { joins: true, marked: Some("by its owner"), ..request };
        assert_eq!(start(marked).undo, [mark("by its owner"), stop]);
    }
}
