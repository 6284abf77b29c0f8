//! The owner's book of their boxes' devices, for the [`Giver`](crate::tailnet::Giver).

use std::sync::{Arc, Mutex, PoisonError};

use super::pages::{Page, Pages};
use crate::host::{Account, HostError, entry};
use crate::settings::TailnetSettings;
use crate::spec::{BoxName, Tailnet};
use crate::tailnet::book::{Book, Departed, DeviceRow, Facts, TroubleRow};
use crate::tailnet::tags_of;
use crate::wire::{Refused, Why};

#[derive(Debug, Clone)]
pub(super) struct OwnBook {
    account: Account,
    settings: Arc<TailnetSettings>,
    said: Arc<Mutex<Vec<String>>>,
}

impl OwnBook {
    pub(super) fn new(account: Account, settings: TailnetSettings) -> Self {
        Self { account, settings: Arc::new(settings), said: Arc::default() }
    }

    /// What there was to say since this was asked the last time.
    pub(super) fn said(&self) -> Vec<String> {
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The folder of a box is what makes it one.
    fn is_there(&self, name: &BoxName) -> bool {
        entry(&self.account, name).is_some()
    }

    fn pages(&self) -> Result<Pages, Refused> {
        Pages::make(&self.account).map_err(refused)
    }

    fn change(&self, name: &BoxName, change: impl FnOnce(&mut Page)) -> Result<(), Refused> {
        self.pages()?.change(name, change).map_err(refused)
    }

    /// Of a box that was destroyed meanwhile, what was just made for it is to go as well.
    fn put(&self, row: DeviceRow) -> Result<(), Refused> {
        let name = name_of(&row.name)?;
        self.change(&name, |page| {
            if !self.is_there(&name) {
                return page.add_gone(&row);
            }
            page.trouble = None;
            // When it was looked at last is not worth a write by itself.
            if page.device.as_ref().is_none_or(|old| DeviceRow { at: old.at, ..row.clone() } != *old) {
                page.device = Some(row);
            }
        })
    }
}

fn name_of(name: &str) -> Result<BoxName, Refused> {
    name.parse().map_err(|_| Refused::new(Why::InvalidInput, "that is no name of a box"))
}

fn refused(why: HostError) -> Refused {
    let text = match why {
        HostError::Io { doing, path, source } => format!("{doing} {} failed: {source}", path.display()),
        other => other.to_string(),
    };
    Refused::new(Why::Ledger, text)
}

impl Book for OwnBook {
    fn facts(&self, name: &BoxName) -> Result<Facts, Refused> {
        let spec = entry(&self.account, name).and_then(|entry| entry.spec.ok());
        if spec.is_none_or(|spec| spec.tailnet != Tailnet::Own) {
            return Err(Refused::new(Why::NoSuchBox, format!("{name} is no box on a tailnet of yours")));
        }
        let user = self.account.user.clone();
        let tags = tags_of(&self.settings.tags, &user).map_err(|why| Refused::new(Why::NotAllowed, why.to_string()))?;
        let page = self.pages()?.page(name).map_err(refused)?;
        Ok(Facts {
            name: name.clone(),
            uid: self.account.uid,
            user,
            tags,
            settings: (*self.settings).clone(),
            device: page.device,
            trouble: page.trouble,
        })
    }

    fn given(&self, row: DeviceRow) -> Result<(), Refused> {
        self.put(row)
    }

    fn not_given(&self, name: &BoxName, before: Option<DeviceRow>) -> Result<(), Refused> {
        self.change(name, |page| {
            if self.is_there(name) {
                page.device = before;
            }
        })
    }

    fn noted(&self, row: DeviceRow) -> Result<(), Refused> {
        self.put(row)
    }

    fn trouble(&self, name: &BoxName, trouble: TroubleRow) -> Result<(), Refused> {
        self.change(name, |page| {
            if self.is_there(name) {
                page.trouble = Some(trouble);
            }
        })
    }

    fn departed(&self) -> Result<(Vec<Departed>, TailnetSettings), Refused> {
        let mut departed = Vec::new();
        for (name, page) in self.pages()?.all().map_err(refused)? {
            let is_reused = page.device.is_some();
            departed.extend(page.gone.into_iter().map(|gone| Departed {
                // Which one it is, its device says.
                id: 0,
                name: name.to_string(),
                uid: self.account.uid,
                provider: gone.provider,
                device: gone.device,
                user: self.account.user.clone(),
                is_reused,
            }));
        }
        Ok((departed, (*self.settings).clone()))
    }

    fn forget(&self, gone: &Departed) -> Result<(), Refused> {
        self.change(&name_of(&gone.name)?, |page| {
            page.gone.retain(|g| (&g.provider, &g.device) != (&gone.provider, &gone.device));
        })
    }

    fn in_turn<T>(&self, _: u32, work: impl FnOnce() -> T) -> Result<T, Refused> {
        let _turn = self.pages()?.turn().map_err(refused)?;
        Ok(work())
    }

    fn log(&self, text: &str) {
        tracing::debug!("{text}");
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }
}
