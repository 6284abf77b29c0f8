//! A box as it is shown: the contract's JSON, and the words for its state.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use super::tailnet;
use crate::host::life::{self, Outlook};
use crate::host::systemd::{UnitDetails, UnitState};
use crate::host::{Entry, Pending, Trouble};
use crate::plan::TrashedBy;
use crate::policy::life::Act;
use crate::policy::life::book::Record;
use crate::policy::said::{Said, said};
use crate::quadlet::names;
use crate::spec::{Cpu, Tailnet};
use crate::wire::{LedgerBox, OnTailnet};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Running,
    Starting,
    Stopping,
    Stopped,
    Failed,
    /// Its folder is damaged.
    Broken,
    Creating,
    Destroying,
    /// Destroyed, and can be brought back.
    Trashed,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Creating => "creating",
            Self::Destroying => "destroying",
            Self::Trashed => "trashed",
        }
    }

    /// What systemd says; a unit it has not loaded is stopped.
    pub(super) fn of_unit(unit: Option<&UnitState>) -> Self {
        match unit.map(|u| u.active.as_str()) {
            Some("active" | "reloading" | "refreshing") => Self::Running,
            Some("activating") => Self::Starting,
            Some("deactivating") => Self::Stopping,
            Some("failed") => Self::Failed,
            _ => Self::Stopped,
        }
    }

    pub(super) fn of(entry: &Entry, unit: Option<&UnitState>) -> Self {
        match &entry.pending {
            Some(Pending::Destroy { .. } | Pending::Trash) => Self::Destroying,
            Some(Pending::Create { .. } | Pending::Fill) if entry.is_busy() => Self::Creating,
            // It is going to be taken back.
            Some(Pending::Fill) => Self::Broken,
            _ if entry.trashed.is_some() => Self::Trashed,
            _ if entry.spec.is_err() => Self::Broken,
            // One that runs has its volumes, wherever they are.
            _ if !entry.gone.is_empty() && Self::of_unit(unit) != Self::Running => Self::Broken,
            _ => Self::of_unit(unit),
        }
    }
}

/// One box for scripts. Fields are added, never renamed (docs/box.schema.json).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) state: State,
    pub(super) created_at: Option<Timestamp>,
    pub(super) last_activity_at: Option<Timestamp>,
    pub(super) cpu_limit: Option<Cpu>,
    pub(super) memory_limit: Option<String>,
    pub(super) volume_name: String,
    pub(super) tailscale_hostname: Option<String>,
    #[serde(rename = "tailscaleIP")]
    pub(super) tailscale_ip: Option<String>,
    /// `on`, `absent`, `expired`, `given` or `unknown` (docs/tailnet.md).
    pub(super) tailnet: Option<String>,
    /// It was made to be on one.
    #[serde(skip)]
    pub(super) has_tailnet: bool,
    /// devbox-ctl stopped it.
    #[serde(skip)]
    pub(super) is_marked: bool,
    pub(super) with_syncthing: bool,
    pub(super) image: Option<String>,
    pub(super) health: Option<&'static str>,
    pub(super) restarts: Option<u32>,
    pub(super) active_since: Option<Timestamp>,
    pub(super) stopped_at: Option<Timestamp>,
    pub(super) stopped_why: Option<String>,
    pub(super) stops_at: Option<Timestamp>,
    pub(super) trashed_at: Option<Timestamp>,
    /// `owner`, `timer` or `administrator`.
    pub(super) trashed_by: Option<TrashedBy>,
    pub(super) trashed_why: Option<String>,
    /// When it is deleted for good; null in the trash is until someone says so.
    pub(super) emptied_at: Option<Timestamp>,
    /// What its volumes take; only `trash` measures it.
    pub(super) size_bytes: Option<u64>,
    pub(super) unit: String,
    pub(super) memory_used_bytes: Option<u64>,
    pub(super) cpu_used_seconds: Option<u64>,
    pub(super) disk_used_bytes: Option<u64>,
    /// Why the box is not whole.
    pub(super) trouble: Option<String>,
    pub(super) services: Vec<View>,
}

impl View {
    pub(super) fn new(owner: &str, entry: &Entry, units: &HashMap<String, UnitState>) -> Self {
        let unit = names::service(&entry.name);
        let spec = entry.spec.as_ref().ok();
        let restored = matches!(entry.pending, Some(Pending::Create { restored: true }));
        let interrupted = matches!(entry.pending, Some(Pending::Create { .. })) && !entry.is_busy();
        let state = State::of(entry, units.get(&unit));
        let trouble = match &entry.spec {
            Err(trouble) => Some(trouble.to_string()),
            Ok(_) if !entry.gone.is_empty() && matches!(state, State::Broken | State::Trashed) => {
                Some(format!("podman has no volume {} any more", entry.gone.join(", nor ")))
            }
            Ok(_) if state == State::Broken => {
                Some("its creation from a backup was cut short; the next command takes it back".to_owned())
            }
            Ok(_) if interrupted && !matches!(state, State::Running | State::Trashed) => {
                let what = if restored { "its return from the trash" } else { "its creation" };
                Some(format!("{what} was cut short; start or destroy it"))
            }
            Ok(_) => None,
        };
        let mark = entry.stopped.clone().unwrap_or_default();
        let trashed = entry.trashed.clone().unwrap_or_default();
        Self {
            name: entry.name.to_string(),
            owner: owner.to_owned(),
            state,
            created_at: spec.map(|s| s.created_at),
            last_activity_at: None,
            cpu_limit: spec.map(|s| s.cpu),
            memory_limit: spec.map(|s| s.memory.to_string()),
            volume_name: names::home_volume(&entry.name),
            tailscale_hostname: None,
            tailscale_ip: None,
            tailnet: None,
            is_marked: entry.stopped.is_some(),
            has_tailnet: tailnet::of(entry) != Tailnet::None,
            with_syncthing: spec.is_some_and(|s| s.with_syncthing),
            image: spec.map(|s| s.image.to_string()),
            health: None,
            restarts: None,
            active_since: None,
            stopped_at: mark.at,
            stopped_why: mark.why,
            stops_at: None,
            trashed_at: trashed.at,
            trashed_by: trashed.by,
            trashed_why: trashed.why,
            emptied_at: None,
            size_bytes: None,
            unit,
            memory_used_bytes: None,
            cpu_used_seconds: None,
            disk_used_bytes: None,
            trouble,
            services: Vec::new(),
        }
    }

    /// A box of any owner's, of which the broker knows no more than this.
    pub(super) fn of_ledger(b: &LedgerBox, state: State, cpu: Option<Cpu>, memory: Option<String>) -> Option<Self> {
        let name = b.name.parse().ok()?;
        let folder = std::path::PathBuf::new();
        let unknown = Err(Trouble::Missing { file: String::new() });
        let entry =
            Entry { name, folder, spec: unknown, stopped: None, pending: None, gone: Vec::new(), trashed: None };
        let created_at = Timestamp::from_second(b.since).ok();
        let view = Self::new(&b.owner, &entry, &HashMap::new());
        let known = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
        let (tailscale_hostname, tailscale_ip) = (known(&b.hostname), known(&b.address));
        let view = Self { tailscale_hostname, tailscale_ip, ..view };
        Some(Self { state, created_at, cpu_limit: cpu, memory_limit: memory, trouble: None, ..view })
    }

    /// What is known of its device.
    pub(super) fn add_tailnet(&mut self, stands: OnTailnet) {
        if stands.state == "none" {
            return;
        }
        self.tailscale_hostname = Some(stands.hostname).filter(|h| !h.is_empty());
        self.tailscale_ip = stands.addresses.into_iter().next();
        self.trouble = self.trouble.take().or_else(|| Some(stands.trouble).filter(|t| !t.is_empty()));
        self.tailnet = Some(stands.state);
    }

    /// What is known of its use, and what comes of it.
    pub(super) fn add_outlook(&mut self, outlook: &Outlook) {
        let evidence = outlook.record.as_ref().map(Record::evidence).unwrap_or_default();
        self.last_activity_at = evidence.first().map(|e| e.when);
        if let (State::Running, Some((Act::Stop, left))) = (self.state, outlook.decision.next) {
            self.stops_at = life::in_seconds(left);
        }
    }

    /// What the box says of itself, until who knows better is asked.
    pub(super) fn add_own_word(&mut self, status_text: &str) {
        if self.has_tailnet
            && let Said::On(hostname, address) = said(status_text)
        {
            self.tailscale_hostname = Some(hostname.to_string());
            self.tailscale_ip = Some(address.to_string());
        }
    }

    /// What only the unit's properties tell.
    pub(super) fn add(&mut self, details: &UnitDetails) {
        self.restarts = Some(details.restarts);
        if self.state == State::Running {
            self.active_since = timestamp(details.active_since);
            // The box says READY=1 itself, and systemd believes it only while its main process lives.
            self.health = Some(if details.sub == "running" { "ready" } else { "not-ready" });
            self.memory_used_bytes = details.memory_bytes;
            self.cpu_used_seconds = details.cpu_nanoseconds.map(|ns| ns / 1_000_000_000);
            self.add_own_word(&details.status_text);
        } else if self.stopped_at.is_none() {
            self.stopped_at = timestamp(details.inactive_since);
            if self.state == State::Stopped && self.stopped_at.is_some() && !self.is_marked {
                self.stopped_why.get_or_insert_with(|| "not by devbox-ctl".to_owned());
            }
        }
        if self.state == State::Failed && self.trouble.is_none() {
            self.trouble = Some(format!("its unit failed: {}", details.result));
        }
    }
}

fn timestamp(microseconds: u64) -> Option<Timestamp> {
    let microseconds = i64::try_from(microseconds).ok().filter(|m| *m > 0)?;
    // Whole seconds are what a person or a script can use.
    Timestamp::from_second(microseconds / 1_000_000).ok()
}
