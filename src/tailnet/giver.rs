//! Keys and devices: what the provider is asked, and when. It may take seconds; what is known before and what came of it
//! is in a [`Book`]. devboxd and an owner without one give keys by this.

mod tidy;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use serde_json::json;

use super::book::{Book, DeviceRow, Facts, TroubleRow};
use super::lists::Lists;
use super::{AuthKey, Credentials, Provider, Trouble, Wanted};
use crate::policy::login::{self, Decision, Device, Enrolled, Need};
use crate::settings::{self, TailnetSettings};
use crate::spec::BoxName;
use crate::wire::{OnTailnet, Refused};

/// A start of a box waits no longer: waiting would eat the unit's own time.
const START_WAITS: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(10) };

/// What helps where nothing has to be done.
pub const LATER: &str = "it is tried again at the next start; `devbox-ctl restart NAME` tries now";

/// Gives keys: one of these for each who may be asked for some.
#[derive(Debug)]
pub struct Giver {
    credentials: Credentials,
    provider: Mutex<Option<(TailnetSettings, Arc<dyn Provider>)>>,
    lists: Lists,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Giver {
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, provider: Mutex::default(), lists: Lists::default() }
    }

    #[cfg(test)]
    pub(crate) fn with(self, settings: TailnetSettings, provider: Arc<dyn Provider>) -> Self {
        *locked(&self.provider) = Some((settings, provider));
        self
    }

    /// The control server and its certificates, for the box; empty where there is no tailnet.
    pub fn login(book: &impl Book, name: &BoxName) -> String {
        let Ok(facts) = book.facts(name) else { return String::new() };
        let settings = &facts.settings;
        if settings.provider == settings::Provider::None {
            return String::new();
        }
        let ca = settings.ca.as_deref().map(std::fs::read_to_string).transpose().unwrap_or_else(|why| {
            book.log(&format!("[tailnet] ca: {why}"));
            None
        });
        json!({ "name": name.as_str(), "server": settings.url, "ca": ca }).to_string()
    }

    /// A key for a box, unless it needs none. `working` is held for as long as something is done for it, which may be
    /// longer than is waited for.
    pub fn key(
        self: &Arc<Self>,
        book: &impl Book,
        name: &BoxName,
        need: Need,
        working: impl Send + 'static,
    ) -> Option<AuthKey> {
        let (said, made) = mpsc::sync_channel(1);
        let (maker, its, wanted) = (Arc::clone(self), book.clone(), name.clone());
        let spawned = std::thread::Builder::new().name("key".to_owned()).spawn(move || {
            // Taken by nobody, it was too late: it ends by itself.
            let _ = said.send(maker.make(&its, &wanted, need));
            drop(working);
        });
        let outcome = match spawned {
            Ok(_) => made.recv_timeout(START_WAITS),
            Err(_) => Err(mpsc::RecvTimeoutError::Disconnected),
        };
        let trouble = match outcome {
            Ok(Ok(key)) => return key,
            Ok(Err(Stopped::Refused)) => return None,
            Ok(Err(Stopped::Not(why))) => TroubleRow { text: why.message, hint: why.hint },
            Ok(Err(Stopped::Trouble(trouble))) => {
                TroubleRow { text: trouble.to_string(), hint: self.credentials.hint(&trouble) }
            }
            Ok(Err(Stopped::Clash(device))) => TroubleRow {
                text: format!("the tailnet has a device called {name} already, and it is not this box's"),
                hint: format!(
                    "remove or rename that device ({}), or create the box under another name",
                    device.addresses.first().map_or_else(|| device.id.clone(), ToString::to_string)
                ),
            },
            Err(_) => TroubleRow {
                text: format!("the provider of tailnet keys has not answered in {} seconds", START_WAITS.as_secs()),
                hint: LATER.to_owned(),
            },
        };
        troubled(book, name, trouble);
        None
    }

    fn make(&self, book: &impl Book, name: &BoxName, need: Need) -> Result<Option<AuthKey>, Stopped> {
        // Who holds no such name has no turn.
        let uid = book.facts(name).map_err(|_| Stopped::Refused)?.uid;
        book.in_turn(uid, || self.make_now(book, name, need)).map_err(Stopped::Not)?
    }

    fn make_now(&self, book: &impl Book, name: &BoxName, need: Need) -> Result<Option<AuthKey>, Stopped> {
        let facts = book.facts(name).map_err(|_| Stopped::Refused)?;
        let Some(provider) = self.provider(&facts.settings)? else { return Ok(None) };
        // What is left of this owner's boxes by that name goes first, or it would be in the way.
        if book.departed().is_ok_and(|(left, _)| left.iter().any(|d| d.name == name.as_str())) {
            self.clear(book, facts.uid);
        }
        let devices = self.lists.devices(&facts.settings, provider.as_ref(), need != Need::Start)?;
        let tags: Vec<String> = facts.tags.iter().map(ToString::to_string).collect();
        let enrolled = facts
            .device
            .as_ref()
            .map(|row| Enrolled { device: row.device.clone(), is_here: row.provider == facts.settings.identity() });
        match login::decide(name.as_str(), &tags, enrolled.as_ref(), devices.as_deref(), need) {
            Decision::Clash(device) => Err(Stopped::Clash(device)),
            Decision::On(device) => {
                if let Some(device) = device {
                    let _ = book.noted(row(&facts, Some(&device)));
                }
                Ok(None)
            }
            Decision::KeyInPlaceOf(id) => self.give(book, facts, None, |wanted| {
                provider.remove(&id)?;
                provider.key(wanted)
            }),
            Decision::Key(device) => self.give(book, facts, device.as_ref(), |wanted| {
                if let Some(device) = device.as_ref().filter(|d| d.expired) {
                    provider.renew(&device.id)?;
                }
                provider.key(wanted)
            }),
        }
    }

    /// The book has it before there is a key: whatever comes of a key is the box's. And an owner who may have no more
    /// keys keeps the device that there is.
    fn give(
        &self,
        book: &impl Book,
        facts: Facts,
        device: Option<&Device>,
        make: impl FnOnce(&Wanted<'_>) -> Result<AuthKey, Trouble>,
    ) -> Result<Option<AuthKey>, Stopped> {
        book.given(row(&facts, device)).map_err(Stopped::Not)?;
        let key = make(&Wanted { user: &facts.user, name: &facts.name, tags: &facts.tags });
        self.lists.changed();
        if key.is_err() {
            let _ = book.not_given(&facts.name, facts.device);
        }
        Ok(Some(key?))
    }

    /// How a box stands, the provider asked.
    pub fn state(&self, book: &impl Book, name: &BoxName) -> Result<OnTailnet, Refused> {
        let facts = book.facts(name)?;
        if facts.settings.provider == settings::Provider::None {
            return Ok(standing("none", None, TroubleRow::default()));
        }
        let trouble = facts.trouble.clone().unwrap_or_default();
        let known = facts.device.clone().filter(|row| row.provider == facts.settings.identity());
        let listed = self
            .provider(&facts.settings)
            .and_then(|p| p.map_or(Ok(None), |p| self.lists.devices(&facts.settings, p.as_ref(), true)));
        let devices = match listed {
            Ok(Some(devices)) => devices,
            Ok(None) => {
                let state = if known.is_some() { "given" } else { "absent" };
                return Ok(standing(state, known.as_ref(), trouble));
            }
            Err(why) => {
                let trouble = TroubleRow { text: why.to_string(), hint: self.credentials.hint(&why) };
                return Ok(standing("unknown", known.as_ref(), trouble));
            }
        };
        let tags: Vec<String> = facts.tags.iter().map(ToString::to_string).collect();
        let enrolled = known.as_ref().map(|k| Enrolled { device: k.device.clone(), is_here: true });
        Ok(match login::decide(name.as_str(), &tags, enrolled.as_ref(), Some(&devices), Need::Start) {
            Decision::On(Some(device)) => {
                let row = row(&facts, Some(&device));
                let _ = book.noted(row.clone());
                standing("on", Some(&row), TroubleRow::default())
            }
            Decision::Key(Some(_)) => standing("expired", known.as_ref(), trouble),
            _ => standing("absent", known.as_ref(), trouble),
        })
    }

    fn provider(&self, settings: &TailnetSettings) -> Result<Option<Arc<dyn Provider>>, Trouble> {
        let mut kept = locked(&self.provider);
        if let Some((of, provider)) = kept.as_ref()
            && of == settings
        {
            return Ok(Some(Arc::clone(provider)));
        }
        let made = super::provider(settings, &self.credentials)?.map(Arc::from);
        *kept = made.clone().map(|provider| (settings.clone(), provider));
        Ok(made)
    }
}

enum Stopped {
    /// It is not theirs.
    Refused,
    /// They had enough.
    Not(Refused),
    Clash(Device),
    Trouble(Trouble),
}

impl From<Trouble> for Stopped {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Says why there is no key where it is looked for.
pub(crate) fn troubled(book: &impl Book, name: &BoxName, trouble: TroubleRow) {
    book.log(&format!("no key for {name}: {}", trouble.text));
    let _ = book.trouble(name, trouble);
}

fn row(facts: &Facts, device: Option<&Device>) -> DeviceRow {
    let addresses: Vec<String> = device.iter().flat_map(|d| &d.addresses).map(ToString::to_string).collect();
    DeviceRow {
        name: facts.name.to_string(),
        uid: facts.uid,
        provider: facts.settings.identity(),
        device: device.map(|d| d.id.clone()),
        hostname: device.map_or_else(|| facts.name.to_string(), |d| d.hostname.clone()),
        addresses: addresses.join(" "),
        expired: device.is_some_and(|d| d.expired),
        at: jiff::Timestamp::now().as_second(),
    }
}

fn standing(state: &str, row: Option<&DeviceRow>, trouble: TroubleRow) -> OnTailnet {
    let addresses = row.map_or("", |r| &r.addresses).split(' ').filter(|a| !a.is_empty());
    OnTailnet {
        state: state.to_owned(),
        hostname: row.map(|r| r.hostname.clone()).unwrap_or_default(),
        addresses: addresses.map(str::to_owned).collect(),
        trouble: trouble.text,
        hint: trouble.hint,
    }
}
