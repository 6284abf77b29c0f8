//! Devices of boxes that are gone, taken off the tailnet.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::{Giver, locked};
use crate::broker::desk::login::LoginRequest;
use crate::broker::desk::{Answer, Caller};
use crate::broker::ledger::devices::Departed;
use crate::policy::login::{self, Decision, Enrolled, Need};
use crate::settings::TailnetSettings;
use crate::tailnet::{self, Trouble};
use crate::wire::{Refused, Why};

impl Giver {
    /// Takes devices of boxes that are gone off the tailnet; how many are left.
    pub(in crate::broker) fn remove_departed(&self, caller: &Caller, all: bool) -> usize {
        let Ok((departed, _)) = self.departed(caller, all) else { return 1 };
        let owners: BTreeSet<u32> = departed.iter().map(|gone| gone.uid).collect();
        // In that owner's line: a box of the same name may be on its way, and its device is not the one that is to go.
        let clear = |uid: u32| {
            let line = self.line(uid);
            let _turn = locked(&line);
            self.clear(caller, uid, all)
        };
        owners.into_iter().map(clear).sum()
    }

    pub(super) fn line(&self, uid: u32) -> Arc<Mutex<()>> {
        Arc::clone(locked(&self.owners).entry(uid).or_default())
    }

    pub(super) fn clear(&self, caller: &Caller, uid: u32, all: bool) -> usize {
        let Ok((departed, settings)) = self.departed(caller, all) else { return 1 };
        let mut left = 0;
        for gone in departed.into_iter().filter(|gone| gone.uid == uid) {
            match self.remove_one(&gone, &settings) {
                Ok(()) => {
                    let _ = self.ask(caller, LoginRequest::Forget { id: gone.id });
                }
                Err(why) => {
                    eprintln!("the device of {}, which is gone, stays on the tailnet for now: {why}", gone.name);
                    left += 1;
                }
            }
        }
        left
    }

    fn remove_one(&self, gone: &Departed, settings: &TailnetSettings) -> Result<(), Trouble> {
        // Of a provider that is not used any more there is nobody to ask.
        if gone.provider != settings.identity() {
            return Ok(());
        }
        let Some(provider) = self.provider(settings)? else { return Ok(()) };
        let id = match &gone.device {
            Some(id) => Some(id.clone()),
            // The name is a box's again, and was cleared before that got its key.
            None if gone.is_reused => None,
            // A key was given, and what came of it not seen yet.
            None => {
                let Ok(tags) = tailnet::tags_of(&settings.tags, &gone.user) else { return Ok(()) };
                let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
                let unseen = Enrolled { device: None, is_here: true };
                let devices = self.lists.devices(settings, provider.as_ref(), true)?.unwrap_or_default();
                match login::decide(&gone.name, &tags, Some(&unseen), Some(&devices), Need::Lost) {
                    Decision::KeyInPlaceOf(id) => Some(id),
                    _ => None,
                }
            }
        };
        self.lists.changed();
        id.map_or(Ok(()), |id| provider.remove(&id))
    }

    pub(super) fn departed(&self, caller: &Caller, all: bool) -> Result<(Vec<Departed>, TailnetSettings), Refused> {
        match self.ask(caller, LoginRequest::Departed { all })? {
            Answer::Departed(departed, settings) => Ok((departed, settings)),
            _ => Err(Refused::new(Why::Ledger, "devboxd answered another question")),
        }
    }
}
