//! A turn to start a box, while all boxes of a host start at once: the owner's own, by a lock, and the host's, by devboxd.
//!
//! Nothing here keeps a box from starting for long: where somebody does not answer, it starts without a turn.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use tracing::debug;

use super::{Account, HostError, files};
use crate::wire::{self, TURN};

/// devboxd says something to those who wait every few seconds.
const SILENCE: Duration = Duration::from_secs(10);
/// For how long nobody asks a devboxd that was silent.
const DOUBT: Duration = Duration::from_mins(5);
/// devboxd may end and be started again while somebody waits.
const TRIES: usize = 5;
/// Of an owner's turns: each waits at devboxd, where places are bounded for all owners together.
const MOST: usize = 16;
/// Between two looks whether one of the owner's turns is free. Only one process of the owner's looks.
const LOOK: Duration = Duration::from_millis(20);

const QUEUE: &str = "queue";
/// Present since devboxd was silent.
const SILENT: &str = "silent";

/// A turn; over when it is dropped, or with the process that has it.
#[derive(Debug)]
pub struct Turn {
    _own: File,
    hosts: Option<UnixStream>,
}

impl Turn {
    /// Waits for one of the owner's, so that no more of an owner's than these come before devboxd.
    pub fn of_the_owners(account: &Account) -> Result<Self, HostError> {
        let folder = account.turns();
        files::private_folder(&folder)?;
        Ok(Self { _own: own(&folder)?, hosts: None })
    }

    /// Waits for one of the host's too, where there is a devboxd that gives them.
    pub fn and_the_hosts(&mut self, account: &Account) {
        self.hosts = hosts(&account.turns(), Path::new(wire::TURN_SOCKET), SILENCE);
    }
}

/// As many as there are processors, within reason: without a broker that is all that bounds them.
fn owners() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(MOST)
}

fn own(folder: &Path) -> Result<File, HostError> {
    let queue = open(folder.join(QUEUE))?;
    queue.lock().map_err(HostError::io("locking", folder.join(QUEUE)))?;
    loop {
        for n in 0..owners() {
            let file = open(folder.join(format!("turn-{n}")))?;
            if file.try_lock().is_ok() {
                return Ok(file);
            }
        }
        thread::sleep(LOOK);
    }
}

fn open(path: PathBuf) -> Result<File, HostError> {
    File::options().write(true).create(true).truncate(false).open(&path).map_err(HostError::io("locking", path))
}

/// devboxd's word; `None` where there is no devboxd, or none that speaks.
fn hosts(folder: &Path, socket: &Path, patience: Duration) -> Option<UnixStream> {
    let silent = folder.join(SILENT);
    let was_silent = |path: &Path| path.metadata().ok()?.modified().ok()?.elapsed().ok();
    if was_silent(&silent).is_some_and(|ago| ago < DOUBT) {
        return None;
    }
    for _ in 0..TRIES {
        let mut stream = match connect(socket, patience) {
            Ok(stream) => stream,
            // Full of others who wait, and nobody takes them.
            Err(Errno::EAGAIN) => {
                doubt(&silent, "takes nobody");
                return None;
            }
            // No socket: no broker.
            Err(_) => return None,
        };
        stream.set_read_timeout(Some(patience)).ok()?;
        let mut word = [0];
        loop {
            match stream.read_exact(&mut word) {
                Ok(()) if word[0] == TURN => return Some(stream),
                Ok(()) => {}
                // It ended; another one may come.
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(e) => {
                    doubt(&silent, &format!("says nothing: {e}"));
                    return None;
                }
            }
        }
    }
    None
}

/// The boxes after this one need not find that out again.
fn doubt(silent: &Path, why: &str) {
    debug!("devboxd {why}");
    let _ = std::fs::remove_file(silent);
    let _ = File::create(silent);
}

/// Waits no longer than that: where nobody accepts, a connect ends only by its own limit (unix(7)).
fn connect(path: &Path, patience: Duration) -> Result<UnixStream, Errno> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(
        &socket,
        sockopt::SendTimeout,
        &TimeVal::milliseconds(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX)),
    )?;
    nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn an_owners_turns_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        assert!((1..=MOST).contains(&owners()));
        let mut held: Vec<File> = (0..owners()).map(|_| own(folder.path()).unwrap()).collect();
        let path = folder.path().to_owned();
        let (sent, got) = mpsc::channel();
        thread::spawn(move || sent.send(own(&path).map(drop).is_ok()));
        assert_eq!(got.recv_timeout(LOOK * 5), Err(mpsc::RecvTimeoutError::Timeout), "one more waits");
        drop(held.pop());
        assert_eq!(got.recv_timeout(Duration::from_secs(10)), Ok(true));
    }

    #[test]
    fn devboxds_word_is_waited_for_and_an_end_is_not_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        assert!(hosts(folder.path(), &socket, SILENCE).is_none(), "nobody there");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            drop(listener.accept().unwrap());
            let mut peer = listener.accept().unwrap().0;
            peer.write_all(&[wire::WAIT, wire::WAIT, TURN]).unwrap();
            // Until the turn is over.
            peer.read_exact(&mut [0]).unwrap_err().kind()
        });
        let turn = hosts(folder.path(), &socket, SILENCE).unwrap();
        drop(turn);
        assert_eq!(server.join().unwrap(), std::io::ErrorKind::UnexpectedEof);
        std::fs::write(folder.path().join(SILENT), "").unwrap();
        assert!(hosts(folder.path(), &socket, SILENCE).is_none(), "not asked again for a while");
    }

    #[test]
    fn a_devboxd_that_takes_nobody_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        nix::sys::socket::bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let patience = Duration::from_millis(200);
        // One more than none fits.
        let _first = connect(&path, patience).unwrap();
        let begun = std::time::Instant::now();
        assert!(hosts(folder.path(), &path, patience).is_none());
        assert!(begun.elapsed() >= patience && begun.elapsed() < SILENCE, "{:?}", begun.elapsed());
        assert!(folder.path().join(SILENT).exists(), "and the next box does not ask");
    }
}
