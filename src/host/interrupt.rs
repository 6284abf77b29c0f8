//! Ctrl-C and SIGTERM, as something to check between steps and to wait for beside a job.

use std::cell::{Cell, RefCell};

use async_signal::{Signal, Signals};
use futures_util::{FutureExt, StreamExt};

use super::HostError;

/// Catches both signals from its making on.
#[derive(Debug)]
pub struct Interrupts {
    signals: RefCell<Option<Signals>>,
    seen: Cell<bool>,
    deaf: Cell<bool>,
}

/// While this lives a signal ends nothing; one that came is heard afterwards.
#[derive(Debug)]
pub(super) struct Deaf<'a>(&'a Cell<bool>);

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Interrupts {
    pub fn catch() -> Self {
        // Without signal handling there is still the recovery of the next command.
        let signals = Signals::new([Signal::Int, Signal::Term, Signal::Hup]).ok();
        Self { signals: RefCell::new(signals), seen: Cell::new(false), deaf: Cell::new(false) }
    }

    /// Fails once a signal came.
    pub fn check(&self) -> Result<(), HostError> {
        if self.deaf.get() {
            return Ok(());
        }
        if let Some(signals) = self.signals.borrow_mut().as_mut()
            && signals.next().now_or_never().flatten().is_some()
        {
            self.seen.set(true);
        }
        if self.seen.get() { Err(HostError::Interrupted) } else { Ok(()) }
    }

    /// Ready when a signal comes; otherwise never.
    pub(super) async fn wait(&self) {
        let taken = if self.deaf.get() { None } else { self.signals.borrow_mut().take() };
        let Some(signals) = taken else { return std::future::pending().await };
        // Given back when this future is dropped halfway too.
        let mut back = GiveBack { to: &self.signals, signals: Some(signals) };
        if let Some(signals) = back.signals.as_mut() {
            signals.next().await;
        }
        self.seen.set(true);
    }

    /// For what must not be interrupted once it has begun: an undo, a destruction. What made it begin is forgotten.
    pub(super) fn ignore(&self) -> Deaf<'_> {
        self.seen.set(false);
        self.deaf.set(true);
        Deaf(&self.deaf)
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal as Sent, raise};

    #[test]
    fn a_signal_that_came_while_deaf_is_heard_afterwards() {
        let interrupts = Interrupts::catch();
        assert!(interrupts.check().is_ok());
        let deaf = interrupts.ignore();
        raise(Sent::SIGHUP).unwrap();
        assert!(interrupts.check().is_ok());
        drop(deaf);
        // The signal's own thread may need a moment.
        zbus::block_on(interrupts.wait());
        assert!(matches!(interrupts.check(), Err(HostError::Interrupted)));
    }
}
