//! Devices of boxes that are gone, taken off the tailnet.

use std::collections::BTreeSet;

use super::Giver;
use crate::policy::login::{self, Decision, Enrolled, Need};
use crate::settings::TailnetSettings;
use crate::tailnet::book::{Book, Departed};
use crate::tailnet::{Trouble, tags_of};

impl Giver {
    /// Takes devices of boxes that are gone off the tailnet; how many are left.
    pub fn remove_departed(&self, book: &impl Book) -> usize {
        let Ok((departed, _)) = book.departed() else { return 1 };
        let owners: BTreeSet<u32> = departed.iter().map(|gone| gone.uid).collect();
        // In that owner's turn: a box of the same name may be on its way, and its device is not the one that is to go.
        owners.into_iter().map(|uid| book.in_turn(uid, || self.clear(book, uid)).unwrap_or(1)).sum()
    }

    pub(super) fn clear(&self, book: &impl Book, uid: u32) -> usize {
        let Ok((departed, settings)) = book.departed() else { return 1 };
        let mut left = 0;
        for gone in departed.into_iter().filter(|gone| gone.uid == uid) {
            match self.remove_one(&gone, &settings) {
                Ok(()) => {
                    let _ = book.forget(&gone);
                }
                Err(why) => {
                    book.log(&format!(
                        "the device of {}, which is gone, stays on the tailnet for now: {why}",
                        gone.name
                    ));
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
                let Ok(tags) = tags_of(&settings.tags, &gone.user) else { return Ok(()) };
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
}
