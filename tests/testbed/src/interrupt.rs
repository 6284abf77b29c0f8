//! Ctrl-C during a build: the build ends as an error, so that its guards remove what it half made.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What a build fails with when it was interrupted; `main` turns it into exit status 130.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

struct Signals {
    idle: Arc<AtomicBool>,
    hit: Arc<AtomicBool>,
}

static SIGNALS: OnceLock<Signals> = OnceLock::new();
static GUARDS: AtomicUsize = AtomicUsize::new(0);

/// While one of these lives, a signal is noted instead of ending the process.
#[derive(Debug)]
pub struct Guard(());

/// Begins a part of the work that must not be cut off without cleaning up.
pub fn guard() -> Result<Guard> {
    let signals = SIGNALS.get_or_init(|| Signals { idle: Arc::new(AtomicBool::new(true)), hit: Arc::default() });
    if GUARDS.fetch_add(1, Ordering::SeqCst) == 0 && signals.idle.swap(false, Ordering::SeqCst) {
        static REGISTERED: AtomicBool = AtomicBool::new(false);
        if !REGISTERED.swap(true, Ordering::SeqCst) {
            for signal in [SIGINT, SIGTERM, SIGHUP] {
                signal_hook::flag::register_conditional_default(signal, Arc::clone(&signals.idle))
                    .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&signals.hit)))
                    .context("cannot catch signals")?;
            }
        }
    }
    Ok(Guard(()))
}

/// Fails once a signal has come.
pub fn check() -> Result<()> {
    match SIGNALS.get() {
        Some(signals) if signals.hit.load(Ordering::SeqCst) => Err(Interrupted.into()),
        _ => Ok(()),
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if GUARDS.fetch_sub(1, Ordering::SeqCst) == 1
            && let Some(signals) = SIGNALS.get()
        {
            signals.idle.store(true, Ordering::SeqCst);
        }
    }
}
