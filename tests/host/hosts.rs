//! The hosts that tests run on: as many as run side by side, each booted when there is a test for it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::world::{Outcome, World};

/// Tests mostly wait, so that two hosts keep two cores busy. With three of them a quarter of the time is saved, and what
/// has a time limit of its own begins to fail.
pub(crate) const SIDE_BY_SIDE: usize = 2;

/// Hosts that no test is on.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    worlds: Vec<World>,
    booted: usize,
    took: Vec<(Duration, &'static str)>,
    cleaning: Duration,
}

impl Hosts {
    /// Runs a test on a host of its own for that long. There are never more of these at once than threads.
    pub(crate) fn on_one(&self, name: &'static str, test: fn(&World) -> Outcome) -> Outcome {
        let world = self.take();
        let begun = Instant::now();
        let mut cleaned = Duration::ZERO;
        // A test that panics must not take the host along: the next one needs it.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.clean();
            cleaned = begun.elapsed();
            test(&world)
        }));
        let mut idle = self.idle.lock().expect("the hosts");
        idle.took.push((begun.elapsed(), name));
        idle.cleaning += cleaned;
        idle.worlds.push(world);
        drop(idle);
        // At once: the summary comes half an hour later.
        if let Ok(Err(why)) = &outcome {
            eprintln!("      {name}: {}", why.message().unwrap_or("failed"));
        }
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn take(&self) -> World {
        // Held while one boots: what hosts are made from is made once.
        let mut idle = self.idle.lock().expect("the hosts");
        if let Some(world) = idle.worlds.pop() {
            return world;
        }
        idle.booted += 1;
        World::boot(&format!("test-{}", idle.booted))
    }

    /// Takes all hosts down and says where the time went: which tests took longest, and those of each room.
    pub(crate) fn down(self) {
        let mut idle = self.idle.into_inner().expect("the hosts");
        idle.worlds.into_iter().for_each(World::down);
        idle.took.sort();
        for (took, name) in idle.took.iter().rev().take(10) {
            println!("{:6.1} s  {name}", took.as_secs_f32());
        }
        let mut rooms: BTreeMap<&str, Duration> = BTreeMap::new();
        for (took, name) in &idle.took {
            *rooms.entry(name.split("::").next().unwrap_or(name)).or_default() += *took;
        }
        let rooms: Vec<_> = rooms.iter().map(|(room, took)| format!("{room} {}", took.as_secs())).collect();
        println!("seconds: cleaning {}, {}", idle.cleaning.as_secs(), rooms.join(", "));
    }
}
