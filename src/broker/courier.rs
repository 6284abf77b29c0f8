//! What is to be told goes to the administrator's command, one at a time, in a thread of its own. The command runs in a
//! unit of its own (systemd/devbox-warn@.service): it has neither our ledger nor our credentials nor our user.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::desk::warn::WarnRequest;
use super::desk::{Answer, Caller, Request};
use super::interface::Activity;
use super::queue::Queue;
use crate::wire::{TAKEN, WARN_SOCKET};

/// Longer than a command may run, with the start of its unit.
const PATIENCE: Duration = Duration::from_secs(45);
/// An answer has less.
const LONGEST: u64 = 1024;
/// Failures in a row, after which the rest waits for another time: each may take as long as a command that hangs.
const MOST_FAILURES: u32 = 3;

/// Wakes the thread.
#[derive(Debug, Clone)]
pub(super) struct Courier {
    wake: SyncSender<()>,
    socket: PathBuf,
}

impl Courier {
    /// It looks once for what an earlier devboxd has left, and then whenever it is woken.
    pub(super) fn start(queue: Arc<Queue>, activity: Arc<Activity>) -> std::io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let courier = Self { wake, socket: PathBuf::from(WARN_SOCKET) };
        let socket = courier.socket.clone();
        std::thread::Builder::new()
            .name("warnings".to_owned())
            .spawn(move || carry(&queue, &activity, &socket, &woken))?;
        courier.wake();
        Ok(courier)
    }

    #[cfg(test)]
    pub(super) fn idle() -> Self {
        Self { wake: sync_channel(1).0, socket: PathBuf::new() }
    }

    /// There may be something to carry. It is awake already where this says nothing new.
    pub(super) fn wake(&self) {
        let _ = self.wake.try_send(());
    }

    /// Hands one over now, whoever waits for the others.
    pub(super) fn hand_over(&self, document: &str) -> Result<(), String> {
        hand_over(&self.socket, document)
    }
}

fn carry(queue: &Queue, activity: &Arc<Activity>, socket: &Path, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        let mut failures = 0;
        while failures < MOST_FAILURES {
            let Some(Answer::Waiting(Some(waiting))) = ask(queue, WarnRequest::Next) else { break };
            // We do not end for want of calls while it is on its way.
            let _at_work = activity.begin();
            let trouble = hand_over(socket, &waiting.document).err();
            if let Some(why) = &trouble {
                failures += 1;
                eprintln!("a warning was not taken, try {}: {why}", waiting.tries + 1);
            }
            if ask(queue, WarnRequest::Outcome { waiting, trouble }).is_none() {
                break;
            }
        }
    }
}

/// In root's line of the queue, which nobody else fills.
fn ask(queue: &Queue, request: WarnRequest) -> Option<Answer> {
    let caller = Caller { uid: 0, pid: std::process::id(), program: "devboxd".to_owned(), authorized: false };
    zbus::block_on(queue.ask(caller, Request::Warnings(request))).ok()
}

fn hand_over(socket: &Path, document: &str) -> Result<(), String> {
    let failed = |doing: &str| {
        let doing = doing.to_owned();
        move |why: std::io::Error| match why.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                format!("{doing}: nothing came of it in {} seconds", PATIENCE.as_secs())
            }
            _ => format!("{doing}: {why}"),
        }
    };
    let mut connection = UnixStream::connect(socket).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            "devbox-warn.socket is not active: `systemctl enable --now devbox-warn.socket`".to_owned()
        }
        _ => format!("{}: {why}", socket.display()),
    })?;
    connection.set_read_timeout(Some(PATIENCE)).map_err(failed("waiting"))?;
    connection.set_write_timeout(Some(PATIENCE)).map_err(failed("waiting"))?;
    connection.write_all(document.as_bytes()).map_err(failed("handing it over"))?;
    connection.shutdown(Shutdown::Write).map_err(failed("handing it over"))?;
    let mut answer = String::new();
    connection.take(LONGEST).read_to_string(&mut answer).map_err(failed("waiting for the command"))?;
    match answer.trim() {
        TAKEN => Ok(()),
        "" => Err("the command's unit ended without an answer: `journalctl -u 'devbox-warn@*'`".to_owned()),
        why => Err(why.chars().filter(|c| !c.is_control()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_the_other_end_says_decides() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("warn.sock");
        assert!(hand_over(&socket, "{}").unwrap_err().contains("devbox-warn.socket is not active"));
        let listener = UnixListener::bind(&socket).unwrap();
        let answers = ["taken\n", "", "it ended with exit status 3\u{1b}[2J\n"];
        let serving = std::thread::spawn(move || {
            answers.map(|answer| {
                let (mut connection, _) = listener.accept().unwrap();
                let mut document = String::new();
                connection.read_to_string(&mut document).unwrap();
                connection.write_all(answer.as_bytes()).unwrap();
                document
            })
        });
        assert_eq!(hand_over(&socket, "{\"a\":1}"), Ok(()));
        assert!(hand_over(&socket, "{}").unwrap_err().contains("ended without an answer"));
        assert_eq!(hand_over(&socket, "{}"), Err("it ended with exit status 3[2J".to_owned()));
        assert_eq!(serving.join().unwrap(), ["{\"a\":1}", "{}", "{}"]);
    }
}
