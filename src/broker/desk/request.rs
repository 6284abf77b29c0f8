//! What devboxd is asked, by whom, and what it answers.

use super::login::LoginRequest;
use super::warn::{Told, WarnRequest};
use crate::broker::ledger::warnings::Waiting;
use crate::settings::TailnetSettings;
use crate::tailnet::book::{Departed, Facts};
use crate::wire::{AuditLine, Finding, LedgerBox, OwnerUse};

/// Who asks, by the bus's word.
#[derive(Debug, Clone)]
pub(in crate::broker) struct Caller {
    pub(in crate::broker) uid: u32,
    pub(in crate::broker) pid: u32,
    /// /proc/PID/comm at the time: the process may call itself what it likes.
    pub(in crate::broker) program: String,
    /// polkit said that this caller may administer.
    pub(in crate::broker) authorized: bool,
}

impl Caller {
    /// devboxd itself, in root's line of the queue, which nobody else fills.
    pub(in crate::broker) fn ourselves() -> Self {
        Self { uid: 0, pid: std::process::id(), program: "devboxd".to_owned(), authorized: false }
    }
}

#[derive(Debug, Clone)]
pub(in crate::broker) enum Request {
    Reserve {
        name: String,
        cpu_millis: u32,
        memory_bytes: u64,
        start: bool,
    },
    Commit {
        name: String,
    },
    Release {
        name: String,
    },
    Trash {
        name: String,
    },
    Restore {
        name: String,
        cpu_millis: u32,
        memory_bytes: u64,
        start: bool,
    },
    Start {
        name: String,
        memory_bytes: u64,
    },
    Report {
        boxes: Vec<(String, u32, u64, bool)>,
        disk_bytes: u64,
        sampled: i64,
        cleaned: i64,
    },
    /// For the administrator's command.
    Warn(Told),
    /// Whether that command takes what it is told; with `test`, something to try it with.
    Hook {
        test: bool,
    },
    Warnings(WarnRequest),
    Boxes {
        all: bool,
        after: String,
    },
    Limits,
    Audit {
        since: i64,
        owner: String,
        most: u32,
    },
    Reconcile {
        fix: bool,
    },
    Act {
        verb: String,
        owner: String,
        name: String,
    },
    /// An administrator takes a name from its owner.
    Evict {
        owner: String,
        name: String,
    },
    Status,
    /// How many boxes may start at once.
    Starting,
    Login(LoginRequest),
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::broker) enum Answer {
    Done,
    Boxes(Vec<LedgerBox>),
    Uses(Vec<OwnerUse>),
    Audit(Vec<AuditLine>),
    Findings(Vec<Finding>),
    Uid(u32),
    Status(bool, String),
    Starting(Option<u32>),
    Login(Box<Facts>),
    Departed(Vec<Departed>, TailnetSettings),
    Document(String),
    Waiting(Option<Waiting>),
}

impl Request {
    /// The word for the audit trail; none for what changes nothing.
    pub(super) fn verb(&self) -> Option<&str> {
        match self {
            Self::Reserve { .. } => Some("reserve"),
            Self::Commit { .. } => Some("create"),
            // The name, and with it the box: of a trashed one or of one that was not.
            Self::Release { .. } => Some("release"),
            Self::Trash { .. } => Some("trash"),
            Self::Restore { .. } => Some("restore"),
            Self::Start { .. } => Some("start"),
            Self::Act { verb, .. } => Some(verb),
            Self::Evict { .. } => Some("evict"),
            Self::Reconcile { fix: true } => Some("reconcile"),
            Self::Warn(_) => Some("warn"),
            Self::Hook { test: true } => Some("warn --test"),
            Self::Login(LoginRequest::Given { .. }) => Some("key"),
            _ => None,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Reserve { name, .. }
            | Self::Commit { name }
            | Self::Release { name }
            | Self::Trash { name }
            | Self::Restore { name, .. }
            | Self::Start { name, .. }
            | Self::Act { name, .. }
            | Self::Evict { name, .. } => name,
            Self::Login(LoginRequest::Given { row }) => &row.name,
            Self::Warn(told) => &told.name,
            _ => "",
        }
    }

    pub(in crate::broker) fn is_for_administrators(&self) -> bool {
        matches!(
            self,
            Self::Boxes { all: true, .. }
                | Self::Limits
                | Self::Audit { .. }
                | Self::Reconcile { .. }
                | Self::Act { .. }
                | Self::Evict { .. }
                | Self::Status
                | Self::Hook { .. }
        )
    }
}
