//! Timing lines on stderr, so that whoever waits sees what for.

use std::sync::OnceLock;
use std::time::Instant;

static START: OnceLock<Instant> = OnceLock::new();

/// Says what begins now: `==> [ 12.3s] building the Debian root`, timed from the first such line.
pub fn step(what: &str) {
    let start = START.get_or_init(Instant::now);
    eprintln!("==> [{:5.1}s] {what}", start.elapsed().as_secs_f32());
}
