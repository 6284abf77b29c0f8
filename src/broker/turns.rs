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

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::desk::{Answer, Caller, Request};
use super::interface::{Activity, Working};
use super::login::Serving;
use super::queue::Queue;
use crate::policy::turns::{Turns, usual};
use crate::wire::{TURN, WAIT};

/// Connections in all; each owner's line has an end of its own.
const MOST: usize = 512;
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
    /// How many turns there are.
    most: usize,
}

/// Serves the socket from a thread of its own, until this is dropped.
pub(super) fn serve(listener: UnixListener, queue: Arc<Queue>, activity: Arc<Activity>) -> std::io::Result<Serving> {
    let (ours, stop) = UnixStream::pair()?;
    listener.set_nonblocking(true)?;
    let now = Instant::now();
    let (turns, peers) = (Turns::default(), BTreeMap::new());
    let mut gate = Gate { queue, begun: now, turns, peers, next: 0, told: now, most: 1 };
    std::thread::Builder::new().name("turns".to_owned()).spawn(move || {
        loop {
            // A turn may have to be ended; where there is none, somebody has to come.
            let patience = if gate.turns.is_idle() { PollTimeout::NONE } else { PollTimeout::from(500_u16) };
            let mut fds =
                vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
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
    Ok(Serving::until_dropped(ours))
}

impl Gate {
    fn accept(&mut self, listener: &UnixListener, activity: &Arc<Activity>) {
        // At work before it is accepted: what is accepted is answered.
        let working = activity.begin();
        let Ok((stream, _)) = listener.accept() else { return };
        let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return };
        if self.turns.is_idle() {
            self.ask_how_many();
        }
        if self.peers.len() >= MOST || stream.set_nonblocking(true).is_err() || !self.turns.wait(self.next, peer.uid())
        {
            return;
        }
        self.peers.insert(self.next, Peer { stream, _working: working });
        self.say(self.next, WAIT);
        self.next += 1;
    }

    /// The settings are the ledger thread's. Asked anew for each storm.
    fn ask_how_many(&mut self) {
        let caller = Caller { uid: 0, pid: 0, program: "devboxd".to_owned(), authorized: false };
        let set = match zbus::block_on(self.queue.ask(caller, Request::Starting)) {
            Ok(Answer::Starting(set)) => set.and_then(|most| usize::try_from(most).ok()),
            _ => None,
        };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        self.most = set.unwrap_or_else(|| usual(processors)).max(1);
    }

    fn deal(&mut self) {
        let now = self.begun.elapsed().as_secs();
        for id in self.turns.end(now) {
            self.peers.remove(&id);
        }
        for id in self.turns.grant(self.most, now) {
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
        let said = self.peers.get(&id).map(|peer| (&peer.stream).write_all(&[word]));
        if !matches!(said, Some(Ok(()))) {
            self.leave(id);
        }
    }

    fn leave(&mut self, id: u64) {
        self.peers.remove(&id);
        self.turns.leave(id);
    }
}
