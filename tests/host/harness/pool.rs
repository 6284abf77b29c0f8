//! The places that tests run on: hosts of each Debian, no more than tests run side by side, and one machine. Each is
//! booted when a test needs it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use testbed::artifacts::Debian;

use super::place::Place;
use super::report::{Report, Took};
use super::{Body, Outcome, Test};
use crate::machine::Machine;
use crate::world::World;

#[derive(Debug, Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    machine_is_free: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Hosts that no test is on.
    idle: BTreeMap<Debian, Vec<World>>,
    booted: usize,
    /// Why a host did not boot: the next ones would not either, and each would take a minute and a half.
    broken: Option<String>,
    machine: OneMachine,
    report: Report,
}

/// There is one machine at most: each takes a processor of ours.
#[derive(Debug, Default)]
enum OneMachine {
    #[default]
    NotBooted,
    Free(Machine),
    Busy,
}

impl Pool {
    /// Runs a test on a place that no other test is on. A place where a test failed is taken down: what the test left
    /// there is no trouble of the next one.
    pub(crate) fn run(&self, test: &Test, debian: Debian, name: &str) -> Outcome {
        let outcome = match test.body {
            Body::Host(body) => self.on_host(debian, name, body),
            Body::Machine(body) => self.on_machine(name, body),
        };
        // At once: the summary comes at the end of the run.
        match &outcome {
            Ok(Err(why)) => eprintln!("      {name}: {}", why.message().unwrap_or("failed")),
            Err(_) => eprintln!("      {name}: panicked"),
            Ok(Ok(())) => {}
        }
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn on_host(&self, debian: Debian, name: &str, body: fn(&World) -> Outcome) -> std::thread::Result<Outcome> {
        let world = match self.take_host(debian) {
            Ok(world) => world,
            Err(why) => return Ok(Err(why.into())),
        };
        let outcome = self.timed(name, || world.clean(), || body(&world));
        if matches!(outcome, Ok(Ok(()))) {
            self.state().idle.entry(debian).or_default().push(world);
        } else {
            // What the host knows of it, for a failure that comes once in a hundred runs.
            let journal = world.run("root", &["journalctl", "--no-pager", "-o", "short-precise", "-n", "120"]);
            eprintln!("      the journal of the host of {name}:\n{}", journal.out);
            world.down();
        }
        outcome
    }

    fn on_machine(&self, name: &str, body: fn(&Machine) -> Outcome) -> std::thread::Result<Outcome> {
        let machine = match self.take_machine() {
            Ok(machine) => machine,
            Err(why) => return Ok(Err(why)),
        };
        let outcome = self.timed(name, || machine.clean().expect("a clean machine"), || body(&machine));
        if matches!(outcome, Ok(Ok(()))) {
            self.give_machine(OneMachine::Free(machine));
        } else {
            machine.down();
            self.give_machine(OneMachine::NotBooted);
        }
        outcome
    }

    /// Cleans and runs, and notes how long both took.
    fn timed(&self, name: &str, clean: impl FnOnce(), body: impl FnOnce() -> Outcome) -> std::thread::Result<Outcome> {
        let begun = Instant::now();
        let mut cleaning = Duration::ZERO;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            clean();
            cleaning = begun.elapsed();
            body()
        }));
        self.state().report.add(Took { name: name.to_owned(), whole: begun.elapsed(), cleaning });
        outcome
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("the pool")
    }

    fn take_host(&self, debian: Debian) -> Result<World, String> {
        let mut state = self.state();
        if let Some(world) = state.idle.get_mut(&debian).and_then(Vec::pop) {
            return Ok(world);
        }
        if let Some(why) = &state.broken {
            return Err(format!("no host, as before: {why}"));
        }
        state.booted += 1;
        let name = format!("test-{}", state.booted);
        drop(state);
        World::boot(&name, debian).inspect_err(|why| self.state().broken = Some(why.clone()))
    }

    fn take_machine(&self) -> Result<Machine, Failed> {
        let is_busy = |state: &mut State| matches!(state.machine, OneMachine::Busy);
        let mut state = self.machine_is_free.wait_while(self.state(), is_busy).expect("the pool");
        if let OneMachine::Free(machine) = std::mem::replace(&mut state.machine, OneMachine::Busy) {
            return Ok(machine);
        }
        drop(state);
        Machine::boot().inspect_err(|_| self.give_machine(OneMachine::NotBooted))
    }

    fn give_machine(&self, machine: OneMachine) {
        self.state().machine = machine;
        self.machine_is_free.notify_one();
    }

    /// Takes all places down; what the tests took.
    pub(crate) fn down(self) -> Report {
        let state = self.state.into_inner().expect("the pool");
        std::thread::scope(|scope| {
            for world in state.idle.into_values().flatten() {
                scope.spawn(|| world.down());
            }
        });
        if let OneMachine::Free(machine) = state.machine {
            machine.down();
        }
        state.report
    }
}
