//! Whether devboxd has anything to do: it ends when nobody has for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Calls at work, and when the last one ended.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    at_work: AtomicUsize,
    /// Milliseconds after `begun`.
    last: AtomicUsize,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), at_work: AtomicUsize::new(0), last: AtomicUsize::new(0) }
    }

    /// For how long nobody has called.
    pub(super) fn idle(&self) -> Duration {
        if self.at_work.load(Ordering::SeqCst) > 0 {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.last.load(Ordering::SeqCst) as u64);
        self.begun.elapsed().saturating_sub(last)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Working {
        self.at_work.fetch_add(1, Ordering::SeqCst);
        Working(Arc::clone(self))
    }
}

pub(super) struct Working(Arc<Activity>);

impl Drop for Working {
    fn drop(&mut self) {
        let now = usize::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(usize::MAX);
        self.0.last.store(now, Ordering::SeqCst);
        self.0.at_work.fetch_sub(1, Ordering::SeqCst);
    }
}
