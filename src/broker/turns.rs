//! The socket of turns: who wants to start a box while many start connects here, and is told when. The turn ends with the
//! connection, so that whoever dies has given it back.
//!
//! Who asks is the uid of the socket's peer. What it sends is not read: it may only go.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_channel::oneshot::Receiver;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::accounts::Accounts;
use super::activity::{Activity, Working};
use super::desk::{Answer, Caller, Request};
use super::login::Serving;
use super::queue::{Queue, Reply};
use crate::policy::turns::{LEAST, Turns, usual};
use crate::wire::{TURN, WAIT};

/// The settings are the ledger thread's: for so long its word is waited for, and so long it holds.
const PATIENCE: Duration = Duration::from_secs(2);
const HOLDS: Duration = Duration::from_secs(5);
/// How often those who wait are told that somebody is here.
const TOLD: Duration = Duration::from_secs(3);

struct Peer {
    stream: UnixStream,
    _working: Working,
}

struct Gate {
    queue: Arc<Queue>,
    begun: Instant,
    turns: Turns,
    peers: BTreeMap<u64, Peer>,
    next: u64,
    told: Instant,
    accounts: Arc<Accounts>,
    count: Count,
}

/// How many turns there are, by the settings. Asked while somebody is here, and every few seconds at most; nobody waits
/// in this thread for the answer.
#[derive(Default)]
struct Count {
    set: Option<usize>,
    asked: Option<(Instant, Option<Receiver<Reply>>)>,
}

/// Serves the socket from a thread of its own, until this is dropped.
pub(super) fn serve(
    listener: UnixListener,
    queue: Arc<Queue>,
    activity: Arc<Activity>,
    accounts: Arc<Accounts>,
) -> std::io::Result<Serving> {
    let (serving, dropped) = Serving::begin(&listener)?;
    let now = Instant::now();
    let (turns, peers) = (Turns::default(), BTreeMap::new());
    let mut gate = Gate { queue, begun: now, turns, peers, next: 0, told: now, accounts, count: Count::default() };
    std::thread::Builder::new().name("turns".to_owned()).spawn(move || {
        loop {
            // A turn may have to be ended; where there is none, somebody has to come.
            let patience = match (gate.turns.is_idle(), gate.count.is_asked()) {
                (true, _) => PollTimeout::NONE,
                (false, true) => PollTimeout::from(5_u16),
                (false, false) => PollTimeout::from(500_u16),
            };
            let mut fds =
                vec![PollFd::new(dropped.as_fd(), PollFlags::POLLIN), PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            fds.extend(gate.peers.values().map(|peer| PollFd::new(peer.stream.as_fd(), PollFlags::POLLIN)));
            let _ = poll(&mut fds, patience);
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
            if ready[0] {
                return;
            }
            let gone: Vec<u64> =
                gate.peers.keys().zip(&ready[2..]).filter(|(_, gone)| **gone).map(|(id, _)| *id).collect();
            for id in gone {
                gate.leave(id);
            }
            if ready[1] {
                gate.accept(&listener, &activity);
            }
            gate.deal();
        }
    })?;
    Ok(serving)
}

impl Gate {
    fn accept(&mut self, listener: &UnixListener, activity: &Arc<Activity>) {
        // At work before it is accepted: what is accepted is answered.
        let working = activity.begin();
        let Ok((stream, _)) = listener.accept() else { return };
        let Some(peer) = self.accounts.peer(&stream) else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let id = self.next;
        self.next += 1;
        self.peers.insert(id, Peer { stream, _working: working });
        if let Some(goes) = self.turns.wait(id, peer.uid()) {
            self.leave(goes);
        }
        self.say(id, WAIT);
    }

    fn deal(&mut self) {
        let now = self.begun.elapsed().as_secs();
        for id in self.turns.end(now) {
            self.peers.remove(&id);
        }
        let most = if self.turns.is_idle() { None } else { self.count.look(&self.queue) };
        for id in most.map(|most| self.turns.grant(most, now)).unwrap_or_default() {
            self.say(id, TURN);
        }
        if self.told.elapsed() >= TOLD {
            self.told = Instant::now();
            let waiting: Vec<u64> = self.turns.waiting().collect();
            for id in waiting {
                self.say(id, WAIT);
            }
        }
    }

    /// A peer that does not read is gone: it gets a few bytes in all.
    fn say(&mut self, id: u64, word: u8) {
        let Some(peer) = self.peers.get(&id) else { return };
        if (&peer.stream).write_all(&[word]).is_err() {
            self.leave(id);
        }
    }

    fn leave(&mut self, id: u64) {
        self.peers.remove(&id);
        self.turns.leave(id);
    }
}

impl Count {
    /// `None` until it is known, for the moment that takes.
    fn look(&mut self, queue: &Queue) -> Option<usize> {
        let is_old = self.asked.as_ref().is_none_or(|(at, pending)| pending.is_none() && at.elapsed() >= HOLDS);
        if is_old {
            // Long ago by somebody else's storm, it is not known any more.
            if self.asked.as_ref().is_some_and(|(at, _)| at.elapsed() >= HOLDS * 2) {
                self.set = None;
            }
            self.asked = Some((Instant::now(), queue.line_up(Caller::ourselves(), Request::Starting).ok()));
        }
        if let Some((at, pending)) = &mut self.asked
            && let Some(answer) = pending
        {
            match answer.try_recv() {
                Ok(None) if at.elapsed() < PATIENCE => {}
                Ok(Some(Ok(Answer::Starting(set)))) => {
                    self.set = Some(set.and_then(|most| usize::try_from(most).ok()).map_or_else(usual_here, at_least));
                    *pending = None;
                }
                // What was last known holds on.
                _ => *pending = None,
            }
        }
        if self.set.is_none() && !self.is_asked() { Some(usual_here()) } else { self.set }
    }

    fn is_asked(&self) -> bool {
        self.asked.as_ref().is_some_and(|(_, pending)| pending.is_some())
    }
}

fn at_least(most: usize) -> usize {
    most.max(LEAST)
}

fn usual_here() -> usize {
    usual(std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_is_asked_once_and_nobody_waits_for_an_answer() {
        let (queue, mut count) = (Queue::default(), Count::default());
        let begun = Instant::now();
        for _ in 0..100 {
            assert_eq!(count.look(&queue), None, "not known yet");
        }
        assert!(begun.elapsed() < PATIENCE && count.is_asked());
        // The ledger does not answer for a while.
        if let Some((at, _)) = &mut count.asked {
            *at = begun.checked_sub(PATIENCE).unwrap();
        }
        assert_eq!(count.look(&queue), Some(usual_here()));
        assert!(!count.is_asked(), "and is not asked again at once");
        count.set = Some(7);
        assert_eq!(count.look(&queue), Some(7));
        assert_eq!((at_least(0), at_least(1), at_least(3)), (2, 2, 3));
    }
}
