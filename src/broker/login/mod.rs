//! The login socket: at each start of a box its systemd fetches here how the box gets onto the tailnet (systemd.exec(5),
//! LoadCredential=).
//!
//! Who asks is the uid of the socket's peer. The unit in the peer's address is what the peer says, so a key is given only
//! for a name that the ledger holds for that uid.

mod giver;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::accounts::Accounts;
use super::activity::{Activity, Working};
use super::desk::Caller;
use crate::policy::asked::{Id, asked};
pub(super) use giver::Giver;

/// Requests of one user at once, and of all: each may wait for the provider.
const MOST_OF_ONE: usize = 8;
const MOST: usize = 64;
/// A peer that does not read is not waited for.
const WRITE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct AtWork {
    of: Mutex<HashMap<u32, usize>>,
    ended: Condvar,
}

/// One request's place, given back when it is dropped.
pub(super) struct Place(Arc<AtWork>, u32);

impl AtWork {
    /// Waits until there is a place; `None` for a user who has too many already.
    pub(super) fn take(self: &Arc<Self>, uid: u32) -> Option<Place> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        while of.values().sum::<usize>() >= MOST {
            of = self.ended.wait(of).unwrap_or_else(PoisonError::into_inner);
        }
        self.place(&mut of, uid)
    }

    /// The same for who cannot wait.
    pub(super) fn take_now(self: &Arc<Self>, uid: u32) -> Option<Place> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.values().sum::<usize>() >= MOST { None } else { self.place(&mut of, uid) }
    }

    fn place(self: &Arc<Self>, of: &mut HashMap<u32, usize>, uid: u32) -> Option<Place> {
        let count = of.entry(uid).or_default();
        if *count >= MOST_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Place(Arc::clone(self), uid))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of = self.0.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                of.remove(&self.1);
            }
        }
        self.0.ended.notify_one();
    }
}

/// Accepts until this is dropped. What has not been accepted then is systemd's, and the next devboxd's.
#[derive(Debug)]
pub(super) struct Serving(#[allow(dead_code)] UnixStream);

impl Serving {
    /// And what can be read once it was dropped: whoever accepts waits for both.
    pub(super) fn begin(listener: &UnixListener) -> std::io::Result<(Self, UnixStream)> {
        listener.set_nonblocking(true)?;
        let (ours, dropped) = UnixStream::pair()?;
        Ok((Self(ours), dropped))
    }
}

/// Serves the socket from a thread of its own.
pub(super) fn serve(
    listener: UnixListener,
    giver: Arc<Giver>,
    activity: Arc<Activity>,
    accounts: Arc<Accounts>,
) -> std::io::Result<Serving> {
    let (serving, dropped) = Serving::begin(&listener)?;
    let at_work = Arc::new(AtWork::default());
    std::thread::Builder::new().name("login".to_owned()).spawn(move || {
        loop {
            let mut fds =
                [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(dropped.as_fd(), PollFlags::POLLIN)];
            let polled = poll(&mut fds, PollTimeout::NONE);
            if fds[1].any() == Some(true) {
                return;
            }
            // At work before it is accepted: what is accepted is answered.
            let working = activity.begin();
            let (Ok(_), Ok((connection, _))) = (polled, listener.accept()) else { continue };
            // Dropped, the connection is an empty credential.
            let Some(peer) = accounts.peer(&connection) else { continue };
            let Some(place) = at_work.take(peer.uid()) else { continue };
            let giver = Arc::clone(&giver);
            let answer = move || {
                answer(&connection, peer.uid(), peer.pid(), &giver, working);
                drop(place);
            };
            // No thread to be had: as if it had too many.
            let _ = std::thread::Builder::new().name("login".to_owned()).spawn(answer);
        }
    })?;
    Ok(serving)
}

fn answer(mut connection: &UnixStream, uid: u32, pid: i32, giver: &Arc<Giver>, working: Working) {
    let address = connection.peer_addr().ok();
    let Some(asked) = address.as_ref().and_then(SocketAddr::as_abstract_name).and_then(asked) else { return };
    let caller = Caller { uid, pid: pid.unsigned_abs(), program: "systemd".to_owned(), authorized: false };
    let _ = connection.set_write_timeout(Some(WRITE));
    let _ = match asked.id {
        Id::Login => connection.write_all(giver.login(&caller, &asked.name).as_bytes()),
        Id::Key(need) => match giver.key(&caller, &asked.name, need, working) {
            Some(key) => connection.write_all(key.expose().as_bytes()),
            None => Ok(()),
        },
    };
}
