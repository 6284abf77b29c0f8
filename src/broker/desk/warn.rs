//! What owners say of their boxes for the administrator's command. It is kept first and handed over later: whoever says
//! it waits for nothing, and learns nothing of the command.

use super::{Answer, Caller, Desk, Seen, Verdict, no_such, plain};
use crate::broker::ledger::Ledger;
use crate::broker::ledger::warnings::Waiting;
use crate::host::own_name;
use crate::policy::warning::{About, Event, Said, most_a_day, pause};
use crate::wire::{Refused, Why};

const DAY: i64 = 86_400;
/// The same is not said again for this long: a daily timer is not always on the minute.
const SAME: i64 = 20 * 3600;
/// A box that is gone may be told of for this long after its name was given back: for as long as its owner keeps what
/// could not be said, and the cleanup after that.
const AFTER: i64 = 8 * DAY;

/// What the broker does for itself; no method of the bus's leads here as such.
#[derive(Debug, Clone)]
pub(in crate::broker) enum WarnRequest {
    /// But of these owners.
    Next {
        but: Vec<u32>,
    },
    Outcome {
        waiting: Waiting,
        trouble: Option<String>,
    },
    /// An administrator's test went well: what failed before need not wait.
    Again,
}

/// What an owner said.
#[derive(Debug, Clone)]
pub(in crate::broker) struct Told {
    pub(in crate::broker) name: String,
    pub(in crate::broker) event: String,
    /// Until it happens, or since it has happened.
    pub(in crate::broker) seconds: u64,
    pub(in crate::broker) work: String,
}

impl Desk {
    /// Whether anybody is to be told anything.
    pub(super) fn has_hook(&self) -> bool {
        !self.rules.settings.warnings.is_empty()
    }

    pub(super) fn told(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        told: &Told,
        seen: &Seen,
    ) -> rusqlite::Result<Verdict> {
        let said = match Said::parse(&told.name, &told.event, told.seconds, &told.work) {
            Ok(said) => said,
            Err(why) => return Ok(Err(Refused::new(Why::InvalidInput, why))),
        };
        if !is_theirs(ledger, caller, &said, seen)? {
            return Ok(Err(no_such(&told.name)));
        }
        // What happened a while ago may have been said then.
        let then = seen.now - SAME.max(said.ago() + 3600);
        if ledger.was_said(caller.uid, &said, then, seen.now)? {
            return Ok(Ok(Answer::Done));
        }
        let owner = self.names.of(caller.uid);
        let most = most_a_day(self.rules.settings.owner(&owner).max_boxes);
        if ledger.said_since(caller.uid, seen.now - DAY, seen.now)? >= most {
            return Ok(Err(Refused::new(
                Why::TooMany,
                format!("more than {most} things were told of your boxes in a day"),
            )));
        }
        ledger.add_warning(caller.uid, &said, &document(&said, &owner, caller.uid, false, seen), seen.now)?;
        Ok(Ok(Answer::Done))
    }

    /// What a test hands over.
    pub(super) fn hook_test(&mut self, caller: &Caller, seen: &Seen) -> Verdict {
        if !self.has_hook() {
            return Err(Refused::new(Why::InvalidInput, "no command is set that is told of warnings")
                .hint("[warnings] command in /etc/devbox/users.toml; docs/idle.md has examples"));
        }
        let who = self.names.of(caller.uid);
        Ok(Answer::Document(document(&Said::example(), &who, caller.uid, true, seen)))
    }

    /// Whether what was said arrives, for administrators.
    pub(super) fn hook(&self, ledger: &Ledger<'_>, seen: &Seen) -> rusqlite::Result<Verdict> {
        if !self.has_hook() {
            return Ok(Ok(Answer::Status(true, "no command is told of warnings".to_owned())));
        }
        let failing = ledger.failing(seen.now)?;
        let text = failing.as_ref().map_or_else(
            || "the command that is told of warnings takes them".to_owned(),
            |f| {
                let (waiting, lost) = (f.waiting, f.given_up);
                let why = if f.trouble.is_empty() { "devboxd ended while one was handed over" } else { &f.trouble };
                format!("warnings do not arrive: {why}; {waiting} wait to be tried again, {lost} are not tried by themselves any more")
            },
        );
        Ok(Ok(Answer::Status(failing.is_none(), text)))
    }

    pub(super) fn warnings(
        &self,
        ledger: &Ledger<'_>,
        request: &WarnRequest,
        seen: &Seen,
    ) -> rusqlite::Result<Verdict> {
        match request {
            WarnRequest::Next { .. } if !self.has_hook() => Ok(Ok(Answer::Waiting(None))),
            WarnRequest::Next { but } => {
                let waiting = ledger.next_warning(seen.now, but)?;
                if let Some(Waiting { id, tries, .. }) = &waiting {
                    ledger.is_tried(*id, pause(tries + 1).map(|pause| seen.now + pause))?;
                }
                Ok(Ok(Answer::Waiting(waiting)))
            }
            WarnRequest::Outcome { waiting, trouble: None } => {
                ledger.handed_over(waiting.id)?;
                Ok(Ok(Answer::Done))
            }
            WarnRequest::Outcome { waiting, trouble: Some(why) } => {
                ledger.not_handed_over(waiting.id, &plain(why, 300))?;
                Ok(Ok(Answer::Done))
            }
            WarnRequest::Again => {
                ledger.try_warnings_again(seen.now)?;
                Ok(Ok(Answer::Done))
            }
        }
    }
}

/// A box of the caller's, or one that was theirs until just now.
fn is_theirs(ledger: &Ledger<'_>, caller: &Caller, said: &Said, seen: &Seen) -> rusqlite::Result<bool> {
    let name = said.name.as_str();
    match ledger.holder(name)? {
        Some(held) => Ok(held.uid == caller.uid && held.expires.is_none()),
        None if said.event == Event::Deleted => ledger.was_released(caller.uid, name, seen.now - AFTER),
        None => Ok(false),
    }
}

fn document(said: &Said, owner: &str, uid: u32, test: bool, seen: &Seen) -> String {
    said.document(About { host: &own_name(), owner: &plain(owner, 64), uid, test }, seen.now)
}
