//! How long tests took: for the reader of a run, and to begin the longest ones first in the next.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use testbed::paths;

/// How long a test took.
#[derive(Debug)]
pub(crate) struct Took {
    pub(crate) name: String,
    pub(crate) whole: Duration,
    /// The part of it in which its place was cleaned after the test before.
    pub(crate) cleaning: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Took>);

/// How many tests are named.
const NAMED: usize = 12;

impl Report {
    pub(crate) fn add(&mut self, took: Took) {
        self.0.push(took);
    }

    /// Prints the longest tests and the time of each room.
    pub(crate) fn print(&mut self) {
        self.0.sort_by_key(|took| std::cmp::Reverse(took.whole));
        println!("the longest tests:");
        for took in self.0.iter().take(NAMED) {
            println!("{:6.1} s  {}", took.whole.as_secs_f32(), took.name);
        }
        let mut rooms: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
        for took in &self.0 {
            let room = rooms.entry(took.name.rsplit_once("::").map_or("", |(room, _)| room)).or_default();
            *room = (room.0 + 1, room.1 + took.whole);
        }
        let mut rooms: Vec<_> = rooms.into_iter().collect();
        rooms.sort_by_key(|(_, (_, took))| std::cmp::Reverse(*took));
        println!("seconds of each room (tests):");
        for (room, (tests, took)) in rooms {
            println!("{:6.1} s  {room} ({tests})", took.as_secs_f32());
        }
        let all: Duration = self.0.iter().map(|took| took.whole).sum();
        let cleaning: Duration = self.0.iter().map(|took| took.cleaning).sum();
        println!("all tests together {:.0} s, of it cleaning {:.0} s", all.as_secs_f32(), cleaning.as_secs_f32());
    }

    /// Keeps the times for the next run.
    pub(crate) fn keep(&self) {
        let mut times = kept();
        times.extend(self.0.iter().map(|took| (took.name.clone(), took.whole.as_secs_f32())));
        let text: String = times.iter().map(|(name, seconds)| format!("{seconds:.1} {name}\n")).collect();
        // Without it the next run only begins its tests in another order.
        if let Ok(file) = file() {
            let _ = paths::write(&file, text);
        }
    }
}

fn file() -> anyhow::Result<PathBuf> {
    Ok(paths::cache()?.join("test-times"))
}

/// What tests took when they last ran on this machine, in seconds.
pub(crate) fn kept() -> BTreeMap<String, f32> {
    let text = file().and_then(|file| Ok(std::fs::read_to_string(file)?)).unwrap_or_default();
    let line = |line: &str| {
        let (seconds, name) = line.split_once(' ')?;
        Some((name.to_owned(), seconds.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}
