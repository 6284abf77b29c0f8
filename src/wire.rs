//! What devboxd and its callers say to each other on the system bus. docs/broker.md is the same for people.

use zbus::zvariant::Type;

use crate::spec::BoxName;

/// Lines of the audit trail that are given at once.
pub const MOST_LINES: u32 = 10_000;
pub const BUS_NAME: &str = "io.devbox.Broker1";
pub const PATH: &str = "/io/devbox/Broker1";
pub const INTERFACE: &str = "io.devbox.Broker1";
/// Where systemd fetches a box's login to the tailnet, as the credentials [`LOGIN`] and [`KEY`] (systemd.exec(5),
/// LoadCredential=).
pub const LOGIN_SOCKET: &str = "/run/devboxd/login.sock";
/// The same of an owner's own, where there is no broker; `%t` is systemd's for the owner's /run/user/UID.
pub const OWN_LOGIN_SOCKET: &str = "%t/devbox/login.sock";
/// Where a box waits for its turn to start, while many start: told [`WAIT`] every few seconds, and then [`TURN`]. The turn
/// is over with the connection.
pub const TURN_SOCKET: &str = "/run/devboxd/turn.sock";
pub const WAIT: u8 = b'w';
pub const TURN: u8 = b't';
/// Credential: the control server and whom it is trusted by, as JSON; empty where there is no tailnet.
pub const LOGIN: &str = "tailnet-login";
/// Credential: the key, and nothing else; empty for a box that is on the tailnet already.
pub const KEY: &str = "tailnet-key";
/// The same for a box that has lost its login: its old device goes, and a new key comes. Asked by devbox-ctl as systemd
/// asks.
pub const KEY_ANEW: &str = "tailnet-key-anew";
/// The same for a box that has a login and is to log in anew with it.
pub const KEY_ROTATED: &str = "tailnet-key-rotated";
/// Where devboxd hands over what the administrator's command is told (systemd/devbox-warn.socket).
pub const WARN_SOCKET: &str = "/run/devboxd/warn.sock";
/// The answer of a command that took it; anything else says why it did not.
pub const TAKEN: &str = "taken";
/// Boxes in one answer: what devboxd has in memory at once.
pub const PAGE: u32 = 1000;

/// What helps where the trash is full, whoever says so.
pub const TRASH_ROOM: &str = "`devbox-ctl restore NAME`, `devbox-ctl destroy --now NAME` or `devbox-ctl trash --empty` makes room; with `--now` this box is deleted at once, for good";

/// What helps where a name is one in the trash.
pub fn in_trash(name: &BoxName) -> String {
    format!("`devbox-ctl restore {name}` brings it back; `devbox-ctl destroy --now {name}` deletes it for good")
}

/// One box of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, Type)]
pub struct LedgerBox {
    pub owner: String,
    pub name: String,
    pub cpu_millis: u32,
    pub memory_bytes: u64,
    /// Seconds since 1970.
    pub since: i64,
    /// When a reservation ends; 0 for a box.
    pub expires: i64,
    /// When it was put into the trash; 0 for one that is not there.
    pub trashed: i64,
    /// Whether a process of it runs.
    pub running: bool,
    /// Its device on the tailnet, as the provider last showed it; empty where there is none or it was never shown.
    pub hostname: String,
    pub address: String,
}

/// A box on the tailnet, as its owner may know it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, Type)]
pub struct OnTailnet {
    /// `none`: this host has no tailnet; `on`; `absent`: no device; `expired`: its login no longer holds; `given`: a key
    /// was given, and the provider does not tell more; `unknown`: the provider does not answer.
    pub state: String,
    pub hostname: String,
    pub addresses: Vec<String>,
    /// Why it got no key, and what helps; empty where it did.
    pub trouble: String,
    pub hint: String,
}

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, Type)]
pub struct AuditLine {
    /// Seconds since 1970.
    pub at: i64,
    pub caller: String,
    pub pid: u32,
    /// What the process called itself: not proven.
    pub program: String,
    pub verb: String,
    pub owner: String,
    pub name: String,
    /// `allowed`, or the kind of the refusal.
    pub outcome: String,
}

/// What an owner has and may have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, Type)]
pub struct OwnerUse {
    pub owner: String,
    pub boxes: u32,
    pub max_boxes: u32,
    /// In the trash, of at most as many.
    pub trashed: u32,
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    /// As the owner's own timer measured it; 0 where it never did.
    pub disk_bytes: u64,
    /// When it last did, in seconds since 1970; 0 is never.
    pub reported: i64,
    /// When their boxes were last looked at and their cleanup last ran, by their own word; 0 is never or not told.
    pub sampled: i64,
    pub cleaned: i64,
}

/// Something that the ledger and the host disagree on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, Type)]
pub struct Finding {
    /// `orphan`, `taken`, `trashed`, `lost`, `stale`, `gone` or `silent`.
    pub kind: String,
    pub owner: String,
    pub name: String,
    pub text: String,
    /// Whether `--fix` mends it, or did.
    pub mends: bool,
}

/// Why devboxd said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    InvalidInput,
    Exists,
    OwnerLimit,
    HostLimit,
    NoResources,
    NoSuchBox,
    NotAllowed,
    /// Too many calls at once or in a day.
    TooMany,
    /// The ledger cannot be read or written.
    Ledger,
}

impl Why {
    pub fn word(self) -> &'static str {
        match self {
            Self::InvalidInput => "InvalidInput",
            Self::Exists => "Exists",
            Self::OwnerLimit => "OwnerLimit",
            Self::HostLimit => "HostLimit",
            Self::NoResources => "NoResources",
            Self::NoSuchBox => "NoSuchBox",
            Self::NotAllowed => "NotAllowed",
            Self::TooMany => "TooMany",
            Self::Ledger => "Ledger",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        [
            Self::InvalidInput,
            Self::Exists,
            Self::OwnerLimit,
            Self::HostLimit,
            Self::NoResources,
            Self::NoSuchBox,
            Self::NotAllowed,
            Self::TooMany,
            Self::Ledger,
        ]
        .into_iter()
        .find(|why| why.word() == word)
    }
}

/// A refusal as it goes over the bus: the error `io.devbox.Error.WHY` with (message, facts, hint).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    pub why: Why,
    pub message: String,
    pub facts: Vec<String>,
    pub hint: String,
}

pub const ERROR_PREFIX: &str = "io.devbox.Error.";

impl Refused {
    pub fn new(why: Why, message: impl Into<String>) -> Self {
        Self { why, message: message.into(), facts: Vec::new(), hint: String::new() }
    }

    #[must_use]
    pub fn fact(mut self, fact: impl Into<String>) -> Self {
        self.facts.push(fact.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl zbus::DBusError for Refused {
    fn create_reply(&self, call: &zbus::message::Header<'_>) -> zbus::Result<zbus::Message> {
        zbus::Message::error(call, self.name()).build(&(&self.message, &self.facts, &self.hint))
    }

    fn name(&self) -> zbus::names::ErrorName<'_> {
        zbus::names::ErrorName::try_from(format!("{ERROR_PREFIX}{}", self.why.word()))
            .unwrap_or_else(|_| unreachable!("a word is letters only"))
    }

    fn description(&self) -> Option<&str> {
        Some(&self.message)
    }
}
