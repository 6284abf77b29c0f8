//! Ctrl-C and SIGTERM, as something to check between steps and to wait for beside a job.

use std::cell::RefCell;

use async_signal::{Signal, Signals};
use futures_util::{FutureExt, StreamExt};

use super::HostError;

/// Catches both signals from its making on. An undo that has begun is not interrupted: it calls [`Interrupts::ignore`].
#[derive(Debug)]
pub struct Interrupts {
    signals: RefCell<Option<Signals>>,
    seen: RefCell<bool>,
}

impl Interrupts {
    pub fn catch() -> Self {
        // Without signal handling there is still the recovery of the next command.
        let signals = Signals::new([Signal::Int, Signal::Term, Signal::Hup]).ok();
        Self { signals: RefCell::new(signals), seen: RefCell::new(false) }
    }

    /// Fails once a signal came.
    pub fn check(&self) -> Result<(), HostError> {
        if let Some(signals) = self.signals.borrow_mut().as_mut()
            && signals.next().now_or_never().flatten().is_some()
        {
            *self.seen.borrow_mut() = true;
        }
        if *self.seen.borrow() { Err(HostError::Interrupted) } else { Ok(()) }
    }

    /// Ready when a signal comes; otherwise never.
    pub(super) async fn wait(&self) {
        let taken = self.signals.borrow_mut().take();
        let Some(signals) = taken else { return std::future::pending().await };
        // Given back when this future is dropped halfway too.
        let mut back = GiveBack { to: &self.signals, signals: Some(signals) };
        if let Some(signals) = back.signals.as_mut() {
            signals.next().await;
        }
        *self.seen.borrow_mut() = true;
    }

    /// From here on signals change nothing (they stay caught).
    pub(super) fn ignore(&self) {
        *self.seen.borrow_mut() = false;
        std::mem::forget(self.signals.borrow_mut().take());
    }
}

struct GiveBack<'a> {
    to: &'a RefCell<Option<Signals>>,
    signals: Option<Signals>,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        *self.to.borrow_mut() = self.signals.take();
    }
}
