//! What a cleanup tells the administrator's command, where the broker has one. It decides nothing here: whoever cannot be
//! told is told of in every other way, and at the next cleanup.

use std::cell::Cell;

use super::super::error::Failure;
use super::super::report;
use super::super::session::Session;
use crate::host::life::Open;
use crate::host::{self, Broker, HostError};
use crate::policy::life::book::Book;
use crate::policy::warning::{self, Still, Unsaid};
use crate::wire::Why;

#[derive(Debug)]
pub(super) struct Teller<'a> {
    pub(super) session: &'a Session,
    /// The broker has not answered: the others would each wait as long for it.
    is_unanswered: Cell<bool>,
    /// Whether a broker is installed, reachable or not.
    has_broker: bool,
}

impl<'a> Teller<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self { session, is_unanswered: Cell::new(false), has_broker: Broker::is_installed() }
    }

    /// Until it is said; whoever calls saves the book.
    pub(super) fn keep(&self, book: &mut Book, unsaid: Unsaid) {
        if self.has_broker {
            warning::keep(&mut book.unsaid, unsaid);
        }
    }

    pub(super) fn keep_now(&self, unsaid: &Unsaid) -> Result<(), Failure> {
        if !self.has_broker {
            return Ok(());
        }
        let mut open = Open::wait(&self.session.host.account)?;
        self.keep(&mut open.book, unsaid.clone());
        Ok(open.save()?)
    }

    /// What was begun is done; whoever calls saves the book.
    pub(super) fn came_true(&self, book: &mut Book, begun: Unsaid) -> Unsaid {
        warning::forget(&mut book.unsaid, &begun);
        let done = Unsaid { at: host::now(), begun: false, ..begun };
        self.keep(book, done.clone());
        done
    }

    /// What is kept.
    pub(super) fn tell(&self, unsaid: &Unsaid) -> Result<(), Failure> {
        self.tell_all(std::slice::from_ref(unsaid))
    }

    /// What could not be told before, as far as it holds: boxes were just looked at.
    pub(super) fn tell_again(&self) -> Result<(), Failure> {
        let mut open = Open::wait(&self.session.host.account)?;
        let all = std::mem::take(&mut open.book.unsaid);
        if all.is_empty() {
            return Ok(());
        }
        let mut due = Vec::new();
        for unsaid in all {
            match unsaid.still(open.book.record(&unsaid.name), host::now()) {
                Still::Drop => {}
                Still::Keep => open.book.unsaid.push(unsaid),
                Still::Say(_) => {
                    // It came true, whatever its owner makes of the box until it is said.
                    let unsaid = Unsaid { begun: false, ..unsaid };
                    due.push(unsaid.clone());
                    open.book.unsaid.push(unsaid);
                }
            }
        }
        open.save()?;
        drop(open);
        self.tell_all(&due)
    }

    fn tell_all(&self, due: &[Unsaid]) -> Result<(), Failure> {
        if !self.has_broker {
            return Ok(());
        }
        let said: Vec<&Unsaid> = due.iter().filter(|unsaid| self.is_said(unsaid)).collect();
        if said.is_empty() {
            return Ok(());
        }
        let mut open = Open::wait(&self.session.host.account)?;
        open.book.unsaid.retain(|unsaid| !said.contains(&unsaid));
        Ok(open.save()?)
    }

    /// Whether there is nothing left to say.
    fn is_said(&self, unsaid: &Unsaid) -> bool {
        let Some(seconds) = unsaid.seconds(host::now()) else { return true };
        if self.is_unanswered.get() {
            return false;
        }
        let (name, work) = (&unsaid.name, &unsaid.work);
        let broker = self.session.host.broker();
        let Err(why) = broker.and_then(|b| b.map_or(Ok(()), |b| b.warn(name, unsaid.event, seconds, work))) else {
            return true;
        };
        self.session.out.warning(&format!("the administrator's command was not told of {name}: {why}"));
        if matches!(why, HostError::Broker(_) | HostError::BusFull(_)) {
            self.is_unanswered.set(true);
        }
        is_final(&why)
    }

    /// The daily report is of before this cleanup, which ran later than it should have.
    pub(super) fn report(&self) {
        if self.is_unanswered.get() {
            return;
        }
        if let Err(why) = report::tell(self.session) {
            self.session.out.warning(&format!("the broker was not told that this ran: {}", why.message));
        }
    }
}

/// A refusal is an answer too, but for what may be otherwise tomorrow.
fn is_final(why: &HostError) -> bool {
    match why {
        HostError::Broker(_) | HostError::BusFull(_) => false,
        HostError::Refused(refused) => !matches!(refused.why, Why::Ledger | Why::TooMany),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Refused;

    #[test]
    fn what_is_refused_for_a_while_is_kept() {
        let refused = |why| is_final(&HostError::Refused(Refused::new(why, "no")));
        assert!(refused(Why::NoSuchBox) && refused(Why::InvalidInput));
        assert!(!refused(Why::Ledger) && !refused(Why::TooMany));
        assert!(!is_final(&HostError::Broker("no answer".to_owned())));
    }
}
