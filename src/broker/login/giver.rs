//! Keys for callers of the broker: [`tailnet::Giver`](crate::tailnet::Giver) with the ledger as its book.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::AtWork;
use crate::broker::desk::login::LoginRequest;
use crate::broker::desk::{Answer, Caller, Request};
use crate::broker::queue::Queue;
use crate::policy::login::Need;
use crate::settings::TailnetSettings;
use crate::spec::BoxName;
use crate::tailnet::book::{Book, Departed, DeviceRow, Facts, TroubleRow};
use crate::tailnet::giver::{LATER, troubled};
use crate::tailnet::{self, AuthKey, Credentials};
use crate::wire::{OnTailnet, Refused, Why};

#[derive(Debug)]
pub(in crate::broker) struct Giver {
    queue: Arc<Queue>,
    keys: Arc<tailnet::Giver>,
    turns: Arc<Turns>,
    /// Keys that are being made, whether somebody still waits or not.
    making: Arc<AtWork>,
}

type Turns = Mutex<HashMap<u32, Arc<Mutex<()>>>>;

impl Giver {
    pub(in crate::broker) fn new(queue: Arc<Queue>, credentials: Credentials) -> Self {
        Self::of(queue, tailnet::Giver::new(credentials))
    }

    pub(super) fn of(queue: Arc<Queue>, keys: tailnet::Giver) -> Self {
        Self { queue, keys: Arc::new(keys), turns: Arc::default(), making: Arc::default() }
    }

    pub(super) fn login(&self, caller: &Caller, name: &BoxName) -> String {
        tailnet::Giver::login(&self.book(caller, false), name)
    }

    pub(super) fn key(
        &self,
        caller: &Caller,
        name: &BoxName,
        need: Need,
        working: impl Send + 'static,
    ) -> Option<AuthKey> {
        let book = self.book(caller, false);
        // Otherwise a provider that is slow would have more and more of our threads.
        let Some(place) = self.making.take_now(caller.uid) else {
            let text = "the provider of tailnet keys is slow, and has too many requests already".to_owned();
            troubled(&book, name, TroubleRow { text, hint: LATER.to_owned() });
            return None;
        };
        self.keys.key(&book, name, need, (place, working))
    }

    pub(in crate::broker) fn state(&self, caller: &Caller, name: &BoxName) -> Result<OnTailnet, Refused> {
        self.keys.state(&self.book(caller, false), name)
    }

    /// `all`: every owner's.
    pub(in crate::broker) fn remove_departed(&self, caller: &Caller, all: bool) -> usize {
        self.keys.remove_departed(&self.book(caller, all))
    }

    fn book(&self, caller: &Caller, all: bool) -> CallersBook {
        CallersBook { queue: Arc::clone(&self.queue), turns: Arc::clone(&self.turns), caller: caller.clone(), all }
    }
}

/// The ledger, in a caller's line of the queue. Nothing here waits for the provider in the ledger's thread.
#[derive(Clone)]
struct CallersBook {
    queue: Arc<Queue>,
    turns: Arc<Turns>,
    caller: Caller,
    /// Departed devices of every owner.
    all: bool,
}

impl CallersBook {
    fn ask(&self, request: LoginRequest) -> Result<Answer, Refused> {
        zbus::block_on(self.queue.ask(self.caller.clone(), Request::Login(request)))
    }
}

fn odd<T>() -> Result<T, Refused> {
    Err(Refused::new(Why::Ledger, "devboxd answered another question"))
}

impl Book for CallersBook {
    fn facts(&self, name: &BoxName) -> Result<Facts, Refused> {
        match self.ask(LoginRequest::Facts { name: name.to_string() })? {
            Answer::Login(facts) => Ok(*facts),
            _ => odd(),
        }
    }

    fn given(&self, row: DeviceRow) -> Result<(), Refused> {
        self.ask(LoginRequest::Given { row }).map(drop)
    }

    fn not_given(&self, name: &BoxName, before: Option<DeviceRow>) -> Result<(), Refused> {
        self.ask(LoginRequest::NotGiven { name: name.to_string(), before }).map(drop)
    }

    fn noted(&self, row: DeviceRow) -> Result<(), Refused> {
        self.ask(LoginRequest::Noted { row }).map(drop)
    }

    fn trouble(&self, name: &BoxName, trouble: TroubleRow) -> Result<(), Refused> {
        self.ask(LoginRequest::Trouble { name: name.to_string(), trouble }).map(drop)
    }

    fn departed(&self) -> Result<(Vec<Departed>, TailnetSettings), Refused> {
        match self.ask(LoginRequest::Departed { all: self.all })? {
            Answer::Departed(departed, settings) => Ok((departed, settings)),
            _ => odd(),
        }
    }

    fn forget(&self, gone: &Departed) -> Result<(), Refused> {
        self.ask(LoginRequest::Forget { id: gone.id }).map(drop)
    }

    fn in_turn<T>(&self, uid: u32, work: impl FnOnce() -> T) -> Result<T, Refused> {
        let turn = Arc::clone(self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(uid).or_default());
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(work())
    }

    fn log(&self, text: &str) {
        eprintln!("for uid {}: {text}", self.caller.uid);
    }
}
