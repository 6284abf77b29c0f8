//! Who lets boxes onto a tailnet: the host's broker, or their owner by a provider of their own.

use super::own::{self, Own};
use super::{Account, Broker, HostError, login};
use crate::spec::{BoxName, Tailnet};
use crate::wire::OnTailnet;
use secrecy::SecretString;

#[derive(Debug)]
pub enum Keeper {
    Broker(Broker),
    Own(Own),
}

/// Devices of boxes that are gone and that could not be taken off the tailnet yet.
#[derive(Debug, Default)]
pub struct Left {
    pub count: u32,
    /// As far as it is told here.
    pub why: Vec<String>,
}

impl Keeper {
    /// Who that is for a box that was made so; `None` where there is nobody. Where there is a broker, an administrator
    /// has decided about tailnets, and an owner's own settings are not looked at.
    pub fn of(account: &Account, tailnet: Tailnet, broker: Option<Broker>) -> Result<Option<Self>, HostError> {
        match (tailnet, broker) {
            (Tailnet::Broker, broker) => Ok(broker.map(Self::Broker)),
            (Tailnet::Own, None) => Ok(Own::open(account)?.map(Self::Own)),
            _ => Ok(None),
        }
    }

    /// What a new box is made with.
    pub fn of_new_boxes(account: &Account, broker: Option<&Broker>) -> Result<Tailnet, HostError> {
        Ok(match broker {
            Some(_) => Tailnet::Broker,
            None if Own::open(account)?.is_some() => Tailnet::Own,
            None => Tailnet::None,
        })
    }

    /// As a person calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Broker(_) => "the broker",
            Self::Own(_) => "your provider",
        }
    }

    /// How a box stands. May wait for the provider.
    pub fn stands(&self, name: &BoxName) -> Result<OnTailnet, HostError> {
        match self {
            Self::Broker(broker) => broker.tailnet(name),
            Self::Own(own) => own.stands(name),
        }
    }

    /// A key for a box that runs; `id`: [`crate::wire::KEY_ANEW`] or [`crate::wire::KEY_ROTATED`]. `None`: there is none,
    /// and how it stands says why.
    pub fn key(&self, name: &BoxName, id: &str) -> Result<Option<SecretString>, HostError> {
        match self {
            Self::Broker(_) => login::key(name, id),
            Self::Own(own) => Ok(own.key(name, id)),
        }
    }
}

/// Takes devices of the account's boxes that are gone off the tailnet.
pub fn tidy(account: &Account, broker: Option<&Broker>) -> Result<Left, HostError> {
    match broker {
        Some(broker) => Ok(Left { count: broker.tidy()?, why: Vec::new() }),
        None => own::tidy(account),
    }
}
