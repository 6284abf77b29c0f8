//! What the desk knows and writes about boxes on the tailnet. Nothing here asks the provider: that takes seconds, and
//! everybody would wait.

use super::{Answer, Caller, Desk, MOST_KEYS, Seen, Verdict, no_such};
use crate::broker::ledger::Ledger;
use crate::spec::BoxName;
use crate::tailnet::book::{Departed, DeviceRow, Facts, TroubleRow};
use crate::tailnet::tags_of;
use crate::wire::{Refused, Why};

/// What the broker does for itself, in a caller's line of the queue; no method of the bus's leads here as such.
#[derive(Debug, Clone)]
pub(in crate::broker) enum LoginRequest {
    /// What is known, for a box that its holder asks about.
    Facts {
        name: String,
    },
    /// A key was given for it.
    Given {
        row: DeviceRow,
    },
    /// It could not be made after all.
    NotGiven {
        name: String,
        before: Option<DeviceRow>,
    },
    /// The provider was asked: what it said of the device.
    Noted {
        row: DeviceRow,
    },
    Trouble {
        name: String,
        trouble: TroubleRow,
    },
    /// Devices of boxes that are gone: the caller's, or all.
    Departed {
        all: bool,
    },
    Forget {
        id: i64,
    },
}

/// One in the trash is no box: it has no device, and gets no key.
fn has_box(ledger: &Ledger<'_>, name: &str, caller: &Caller) -> rusqlite::Result<bool> {
    Ok(ledger.holder(name)?.is_some_and(|held| held.uid == caller.uid && held.trashed.is_none()))
}

impl Desk {
    pub(super) fn login(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        request: &LoginRequest,
        seen: &Seen,
    ) -> rusqlite::Result<Verdict> {
        match request {
            LoginRequest::Facts { name } => {
                let Ok(parsed) = name.parse::<BoxName>() else { return Ok(Err(no_such(name))) };
                if !has_box(ledger, name, caller)? {
                    return Ok(Err(no_such(name)));
                }
                let user = self.names.of(caller.uid);
                if !self.rules.settings.owner(&user).allowed {
                    return Ok(Err(Refused::new(Why::NotAllowed, "you may have no boxes on this host")));
                }
                let settings = self.rules.settings.tailnet.clone();
                let tags = match tags_of(&settings.tags, &user) {
                    Ok(tags) => tags,
                    Err(why) => return Ok(Err(Refused::new(Why::NotAllowed, why.to_string()))),
                };
                // Another's is not theirs, whatever the name was.
                let device = ledger.device(name)?.filter(|row| row.uid == caller.uid);
                let trouble = ledger.trouble(name)?;
                let facts = Facts { name: parsed, uid: caller.uid, user, tags, settings, device, trouble };
                Ok(Ok(Answer::Login(Box::new(facts))))
            }
            LoginRequest::Given { row } | LoginRequest::Noted { row } => {
                let is_key = matches!(request, LoginRequest::Given { .. }) && caller.uid != 0;
                if is_key && ledger.keys_since(caller.uid, seen.now - 86_400)? >= MOST_KEYS {
                    let refused = Refused::new(Why::TooMany, format!("you had {MOST_KEYS} tailnet keys in a day"));
                    return Ok(Err(
                        refused.hint("try again tomorrow; a box that asks at every start has lost its volume")
                    ));
                }
                // Destroyed meanwhile: what was just made for it is to go as well.
                if has_box(ledger, &row.name, caller)? {
                    ledger.put_device(row)?;
                    ledger.set_trouble(&row.name, caller.uid, None, seen.now)?;
                } else {
                    ledger.add_departed(row, seen.now)?;
                }
                Ok(Ok(Answer::Done))
            }
            LoginRequest::NotGiven { name, before } => {
                if has_box(ledger, name, caller)? {
                    ledger.forget_device(name)?;
                    before.as_ref().map_or(Ok(()), |row| ledger.put_device(row))?;
                }
                Ok(Ok(Answer::Done))
            }
            LoginRequest::Trouble { name, trouble } => {
                if has_box(ledger, name, caller)? {
                    ledger.set_trouble(name, caller.uid, Some(trouble), seen.now)?;
                }
                Ok(Ok(Answer::Done))
            }
            LoginRequest::Departed { all } => {
                let mut departed: Vec<Departed> = ledger.departed((!all).then_some(caller.uid))?;
                for gone in &mut departed {
                    gone.user = self.names.of(gone.uid);
                    gone.is_reused = ledger.device(&gone.name)?.is_some();
                }
                Ok(Ok(Answer::Departed(departed, self.rules.settings.tailnet.clone())))
            }
            LoginRequest::Forget { id } => {
                ledger.forget_departed(*id)?;
                Ok(Ok(Answer::Done))
            }
        }
    }
}
