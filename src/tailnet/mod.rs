//! Where boxes get their tailnet keys, and what becomes of their devices: one [`Provider`] behind which the services
//! differ.
//!
//! What is asked of a provider is decided by its caller (the [`Giver`]): which host name, which tags. No tenant's word
//! reaches one but a box's name, which is a DNS label.

mod authkey;
pub mod book;
mod command;
mod credentials;
mod file;
pub mod giver;
mod headscale;
mod http;
mod lists;
mod onepassword;
mod program;
mod tags;
mod tailscale;
mod trouble;

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

pub use authkey::AuthKey;
pub use credentials::Credentials;
pub use giver::Giver;
pub use tags::{Tag, TagError, tags_of};
pub use trouble::{Doing, Mend, Trouble};

use crate::policy::login::Device;
use crate::settings::{Provider as Kind, TailnetSettings};
use crate::spec::BoxName;

/// How long a minted key may be used: longer than the slowest start, no longer than that needs.
pub const KEY_LIVES: Duration = Duration::from_mins(10);

/// A box that wants to be on the tailnet.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub user: &'a str,
    pub name: &'a BoxName,
    pub tags: &'a [Tag],
}

/// A service that gives keys.
pub trait Provider: Debug + Send + Sync {
    /// A key for one box.
    fn key(&self, wanted: &Wanted<'_>) -> Result<AuthKey, Trouble>;

    /// The tailnet's devices; `None` where the provider only has keys.
    fn devices(&self) -> Result<Option<Vec<Device>>, Trouble>;

    /// Takes a device off the tailnet. One that is gone already is no trouble.
    fn remove(&self, id: &str) -> Result<(), Trouble>;

    /// What a device whose node key has expired needs before it logs in anew with another key.
    fn renew(&self, _id: &str) -> Result<(), Trouble> {
        Ok(())
    }

    /// The control server that boxes log in to; `None`: Tailscale's own.
    fn login_server(&self) -> Option<&str> {
        None
    }
}

/// Where programs are, and for how long they and the provider are waited for; in tests it is elsewhere, and shorter.
#[derive(Debug, Clone)]
pub struct Places {
    /// Where `op` is looked for: no folder that a tenant could write.
    pub path: String,
    /// The folder that `command` is below.
    pub commands: PathBuf,
    /// Who may have put it there: that folder and all in it has to be one of theirs.
    pub owners: Vec<u32>,
    /// For one request to a provider, and for one run of a program.
    pub patience: Duration,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            commands: "/etc".into(),
            owners: vec![0],
            patience: Duration::from_secs(8),
        }
    }
}

impl Places {
    /// For an owner's own keys: what they may run anyway.
    fn own(uid: u32) -> Self {
        Self { commands: "/".into(), owners: vec![uid, 0], ..Self::default() }
    }
}

/// A user's name, if it can be a part of a path and an argument. Names come from wherever the host's accounts do.
fn plain(user: &str) -> Result<&str, Trouble> {
    let is_plain = (1..=64).contains(&user.len())
        && !user.starts_with(['-', '.'])
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@'));
    if is_plain {
        return Ok(user);
    }
    let mend = "give that account a name of letters, digits, hyphens, underscores and dots".to_owned();
    Err(Trouble::new(
        Doing::ReadingKey,
        format!("no key can be kept under the user name {:?}", authkey::shown(user, &[])),
    )
    .mend(Mend::Administrator(mend)))
}

/// The provider that the settings name; none is a choice too.
pub fn provider(settings: &TailnetSettings, credentials: &Credentials) -> Result<Option<Box<dyn Provider>>, Trouble> {
    let places = match credentials {
        Credentials::Given(_) => Places::default(),
        Credentials::Own { uid, .. } => Places::own(*uid),
    };
    provider_at(settings, credentials, &places)
}

/// The same, with programs from elsewhere.
pub fn provider_at(
    settings: &TailnetSettings,
    credentials: &Credentials,
    places: &Places,
) -> Result<Option<Box<dyn Provider>>, Trouble> {
    let url = settings.url.as_deref();
    Ok(Some(match settings.provider {
        Kind::None => return Ok(None),
        Kind::Tailscale => {
            let client = http::Client::new(url.unwrap_or(tailscale::API), settings.ca.as_deref(), places.patience)?;
            Box::new(tailscale::Tailscale::new(client, credentials.secret(settings)?))
        }
        Kind::Headscale => {
            let url = url.ok_or_else(|| Trouble::settings("[tailnet] url is not set, and headscale is somewhere"))?;
            let client = http::Client::new(url, settings.ca.as_deref(), places.patience)?;
            Box::new(headscale::Headscale::new(client, url, credentials.secret(settings)?))
        }
        Kind::OnePassword => {
            Box::new(onepassword::OnePassword::new(&settings.op_vault, credentials.secret(settings)?, url, places))
        }
        Kind::File => {
            let path = settings.path.as_deref();
            Box::new(file::File::new(path.ok_or_else(|| Trouble::settings("[tailnet] path is not set"))?, url))
        }
        Kind::Command => Box::new(command::Command::new(&settings.command, url, places)?),
    }))
}
