//! Requests on their way to the ledger: each caller in a line of their own, the lines served in turn, so that nobody
//! waits behind somebody else's thousand calls. What is taken together is written together, with one fsync.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;
use rusqlite::{Connection, TransactionBehavior};

use super::desk::{Answer, Caller, Desk, Request, Seen};
use super::ledger::Ledger;
use super::probe;
use crate::wire::{Refused, Why};

/// Calls of one user that wait at once.
const MOST_WAITING: usize = 64;
/// Requests in one transaction.
const MOST_TOGETHER: usize = 64;

pub(super) type Reply = Result<Answer, Refused>;

#[derive(Debug)]
struct Ticket {
    caller: Caller,
    request: Request,
    reply: oneshot::Sender<Reply>,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: BTreeMap<u32, VecDeque<Ticket>>,
    /// Who was served last.
    last: u32,
    closed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: Mutex<Lines>,
    ready: Condvar,
}

impl Queue {
    /// Queues a request and waits for its answer, which comes after what it changed is on disk.
    pub(super) async fn ask(&self, caller: Caller, request: Request) -> Reply {
        let answer = self.line_up(caller, request)?;
        answer.await.unwrap_or_else(|_| Err(Refused::new(Why::Ledger, "devboxd is ending")))
    }

    /// The same for who looks for the answer later.
    pub(super) fn line_up(&self, caller: Caller, request: Request) -> Result<oneshot::Receiver<Reply>, Refused> {
        let (reply, answer) = oneshot::channel();
        {
            let mut lines = self.lock();
            let line = lines.waiting.entry(caller.uid).or_default();
            // Root's is not limited: it could do worse.
            if line.len() >= MOST_WAITING && caller.uid != 0 {
                return Err(Refused::new(Why::TooMany, format!("{MOST_WAITING} calls of yours are waiting already")));
            }
            line.push_back(Ticket { caller, request, reply });
        }
        self.ready.notify_one();
        Ok(answer)
    }

    /// Serves until [`Queue::close`], and then what is left.
    pub(super) fn serve(&self, mut connection: Connection, mut desk: Desk) {
        while let Some(tickets) = self.take() {
            let seen = Seen::at(jiff::Timestamp::now().as_second(), probe::free());
            let replies = answer_all(&mut connection, &mut desk, &tickets, &seen).unwrap_or_else(|_| {
                // One of them may be the cause: each alone, so that the others do not pay for it.
                desk.rules.doubt();
                tickets.iter().map(|ticket| answer_one(&mut connection, &mut desk, ticket, &seen)).collect()
            });
            for (ticket, reply) in tickets.into_iter().zip(replies) {
                // A caller that is gone wants no answer.
                let _ = ticket.reply.send(reply);
            }
        }
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    /// The next requests, one of each caller in turn.
    fn take(&self) -> Option<Vec<Ticket>> {
        let mut lines = self.lock();
        while lines.waiting.is_empty() {
            if lines.closed {
                return None;
            }
            lines = self.ready.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Vec::new();
        while taken.len() < MOST_TOGETHER {
            let after = (Bound::Excluded(lines.last), Bound::Unbounded);
            let next = lines.waiting.range(after).next().or_else(|| lines.waiting.iter().next()).map(|(uid, _)| *uid);
            let Some(uid) = next else { break };
            lines.last = uid;
            let Some(line) = lines.waiting.get_mut(&uid) else { break };
            taken.extend(line.pop_front());
            if line.is_empty() {
                lines.waiting.remove(&uid);
            }
        }
        Some(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer_all(
    connection: &mut Connection,
    desk: &mut Desk,
    tickets: &[Ticket],
    seen: &Seen,
) -> rusqlite::Result<Vec<Reply>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let ledger = Ledger(&transaction);
    let replies: Vec<Reply> = tickets
        .iter()
        .map(|ticket| desk.answer(&ledger, &ticket.caller, &ticket.request, seen))
        .collect::<rusqlite::Result<_>>()?;
    transaction.commit()?;
    Ok(replies)
}

fn answer_one(connection: &mut Connection, desk: &mut Desk, ticket: &Ticket, seen: &Seen) -> Reply {
    match answer_all(connection, desk, std::slice::from_ref(ticket), seen) {
        Ok(mut replies) => replies.pop().unwrap_or_else(|| Err(Refused::new(Why::Ledger, "no answer"))),
        Err(why) => {
            eprintln!("the ledger: {why}");
            desk.rules.doubt();
            Err(Refused::new(Why::Ledger, format!("devboxd cannot use its ledger: {why}"))
                .hint("nothing was changed; an administrator finds more with `journalctl -u devboxd`"))
        }
    }
}
