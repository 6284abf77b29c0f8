//! What is to be told goes to the administrator's command, one at a time, in a thread of its own. The command runs in a
//! unit of its own (systemd/devbox-warn@.service): it has neither our ledger nor our credentials nor our user.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::activity::Activity;
use super::desk::warn::WarnRequest;
use super::desk::{Answer, Caller, Request};
use super::queue::Queue;
use crate::shown::may_be_shown;
use crate::wire::{TAKEN, WARN_SOCKET};

/// Longer than a command may run, with the start of its unit.
const PATIENCE: Duration = Duration::from_secs(45);
/// An answer has less.
const LONGEST: u64 = 1024;
/// Owners in a row of whom one was not taken, after which the rest waits for another time: each may take as long as a
/// command that hangs.
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

/// Whose is next: one of each owner's in turn, and none more of one of whom one was not taken.
#[derive(Debug, Default)]
struct Turns {
    failed: Vec<u32>,
    served: Vec<u32>,
    in_a_row: u32,
}

impl Turns {
    fn but(&self) -> Vec<u32> {
        [self.failed.as_slice(), &self.served].concat()
    }

    fn took(&mut self, uid: u32, is_taken: bool) {
        if is_taken {
            self.in_a_row = 0;
            self.served.push(uid);
        } else {
            self.in_a_row += 1;
            self.failed.push(uid);
        }
    }

    /// Nobody else has any: whether there may be more of those who had their turn.
    fn again(&mut self) -> bool {
        !std::mem::take(&mut self.served).is_empty()
    }

    fn is_over(&self) -> bool {
        self.in_a_row >= MOST_FAILURES
    }
}

fn carry(queue: &Queue, activity: &Arc<Activity>, socket: &Path, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        let mut turns = Turns::default();
        while !turns.is_over() {
            let Some(Answer::Waiting(next)) = ask(queue, WarnRequest::Next { but: turns.but() }) else { break };
            let Some(waiting) = next else {
                if turns.again() {
                    continue;
                }
                break;
            };
            // We do not end for want of calls while it is on its way.
            let _at_work = activity.begin();
            let trouble = hand_over(socket, &waiting.document).err();
            if let Some(why) = &trouble {
                eprintln!("a warning was not taken, try {}: {why}", waiting.tries + 1);
            }
            turns.took(waiting.uid, trouble.is_none());
            if ask(queue, WarnRequest::Outcome { waiting, trouble }).is_none() {
                break;
            }
        }
    }
}

fn ask(queue: &Queue, request: WarnRequest) -> Option<Answer> {
    zbus::block_on(queue.ask(Caller::ourselves(), Request::Warnings(request))).ok()
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
        why => Err(why.chars().filter(|c| may_be_shown(*c)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn owners_take_turns_and_one_fails_for_themself_alone() {
        let mut turns = Turns::default();
        turns.took(1, true);
        turns.took(2, false);
        turns.took(3, true);
        assert_eq!(turns.but(), [2, 1, 3]);
        assert!(turns.again());
        assert_eq!(turns.but(), [2], "whoever failed waits for another time");
        assert!(!turns.again(), "nobody is left");
        // Not in a row.
        for uid in 10..12 {
            turns.took(uid, false);
        }
        turns.took(1, true);
        turns.took(20, false);
        turns.took(21, false);
        assert!(!turns.is_over());
        turns.took(22, false);
        assert!(turns.is_over());
    }

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
