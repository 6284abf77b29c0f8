//! A tailnet of the owner's own, for a host without a broker: the same decisions as the broker's ([`Giver`]), by the
//! owner's settings and with the owner's secret.

mod answer;
mod book;
mod pages;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use nix::sys::resource::{Resource, setrlimit};
use secrecy::SecretString;

use super::keeper::Left;
use super::{Account, HostError, files};
use crate::policy::asked::Id;
use crate::settings::{Provider, TailnetSettings};
use crate::spec::BoxName;
use crate::tailnet::{Credentials, Giver};
use crate::wire::OnTailnet;
pub use answer::answer;
use book::OwnBook;
use pages::Pages;

/// What mends a socket that is not there.
const ENABLE: &str = "systemctl --user enable --now devboxes-login.socket devboxes-tend.timer";

#[derive(Debug)]
pub struct Own {
    account: Account,
    giver: Arc<Giver>,
    book: OwnBook,
}

impl Own {
    /// `None`: the owner has set up none. It is the caller's to look for a broker before.
    pub fn open(account: &Account) -> Result<Option<Self>, HostError> {
        let Some(settings) = settings(account)? else { return Ok(None) };
        if settings.provider == Provider::None {
            return Ok(None);
        }
        let credentials = Credentials::Own { file: account.tailnet_credential(), uid: account.uid };
        let book = OwnBook::new(account.clone(), settings);
        Ok(Some(Self { account: account.clone(), giver: Arc::new(Giver::new(credentials)), book }))
    }

    /// How a box stands, the provider asked. Where nobody listens for boxes, that is what to mend first.
    pub(super) fn stands(&self, name: &BoxName) -> Result<OnTailnet, HostError> {
        let mut stands = self.giver.state(&self.book, name).map_err(HostError::Refused)?;
        let socket = self.account.login_socket();
        if matches!(stands.state.as_str(), "absent" | "unknown" | "expired") && !socket.exists() {
            stands.trouble = format!("nobody listens at {}, where boxes ask for their keys", socket.display());
            stands.hint = format!("`{ENABLE}`, then `devbox-ctl restart {name}`");
        }
        Ok(stands)
    }

    pub(super) fn key(&self, name: &BoxName, id: &str) -> Option<SecretString> {
        let Some(Id::Key(need)) = Id::of_word(id) else { return None };
        no_core();
        self.giver.key(&self.book, name, need, ()).map(|key| key.expose().to_owned().into())
    }
}

/// Takes devices of boxes that are gone off the owner's tailnet. The settings are not looked at where there are none.
pub(super) fn tidy(account: &Account) -> Result<Left, HostError> {
    let Some(pages) = Pages::open(account)? else { return Ok(Left::default()) };
    if pages.all()?.iter().all(|(_, page)| page.gone.is_empty()) {
        return Ok(Left::default());
    }
    // Without a provider there is nobody to ask; it is asked once there is one again.
    let Some(own) = Own::open(account)? else { return Ok(Left::default()) };
    let count = own.giver.remove_departed(&own.book);
    Ok(Left { count: u32::try_from(count).unwrap_or(u32::MAX), why: own.book.said() })
}

/// The box is gone: its device is to go.
pub(super) fn depart(account: &Account, name: &BoxName) -> Result<(), HostError> {
    Pages::open(account)?.map_or(Ok(()), |pages| pages.depart(name))
}

fn settings(account: &Account) -> Result<Option<TailnetSettings>, HostError> {
    let path = account.tailnet_settings();
    let text = files::read(&path).map_err(HostError::io("reading", &path))?;
    Ok(text.map(|text| TailnetSettings::read_own(&path.display().to_string(), &text)).transpose()?)
}

/// From here on there is a key in this process, and a core would keep it.
fn no_core() {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
