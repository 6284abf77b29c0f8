//! Building all artifacts that a run of the tests may need, side by side.

use std::thread::{self, ScopedJoinHandle};

use anyhow::{Result, anyhow};

use crate::artifacts::image::{self, Kind};
use crate::artifacts::{Debian, base, tailnet};
use crate::{seeded, tools, vm};

type Build = fn() -> Result<()>;

/// What needs nothing else that is built.
const PARTS: &[Build] = &[
    || tailnet::tailscale().and_then(|_| tailnet::headscale()).map(drop),
    || image::parts(),
    || tools::ensure_users(),
];

/// Builds what is missing: roots of hosts of these releases, the image, a tailnet's programs and the machine's disk.
/// Fails with the first error, when the other builds have ended too.
pub fn prepare(debians: &[Debian], machine: bool) -> Result<()> {
    tools::ensure_tailnet()?;
    let base = |debian: Debian| move || base(debian).map(drop);
    thread::scope(|scope| {
        let parts = PARTS.iter().map(|part| scope.spawn(part)).collect();
        let bases = debians.iter().map(|debian| scope.spawn(base(*debian))).collect();
        all(parts).and(all(bases))
    })?;
    image::ensure(Kind::Full)?;
    thread::scope(|scope| {
        let seeds = debians.iter().map(|debian| scope.spawn(|| seeded::seeded(Kind::Full, *debian).map(drop)));
        all(seeds.collect())
    })?;
    if machine { vm::prepare() } else { Ok(()) }
}

fn all(builds: Vec<ScopedJoinHandle<'_, Result<()>>>) -> Result<()> {
    let ends = builds.into_iter().map(|build| build.join().unwrap_or_else(|_| Err(anyhow!("a build panicked"))));
    // All threads are joined before the first error is returned.
    ends.collect::<Vec<_>>().into_iter().collect()
}
