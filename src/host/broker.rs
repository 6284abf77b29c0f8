//! devboxd as its callers see it.

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_util::future::{Either, select};
use tracing::debug;
use zbus::proxy;

use super::HostError;
use crate::policy::warning::Event;
use crate::spec::{BoxName, Cpu, Memory};
use crate::wire::{self, AuditLine, ERROR_PREFIX, Finding, LedgerBox, OnTailnet, OwnerUse, Refused, Why};

#[proxy(interface = "io.devbox.Broker1", default_service = "io.devbox.Broker1", default_path = "/io/devbox/Broker1")]
trait Broker1 {
    fn reserve(&self, name: &str, cpu_millis: u32, memory_bytes: u64, start: bool) -> zbus::Result<()>;
    fn commit(&self, name: &str) -> zbus::Result<()>;
    fn release(&self, name: &str) -> zbus::Result<()>;
    fn trash(&self, name: &str) -> zbus::Result<()>;
    fn restore(&self, name: &str, cpu_millis: u32, memory_bytes: u64, start: bool) -> zbus::Result<()>;
    fn start(&self, name: &str, memory_bytes: u64) -> zbus::Result<()>;
    fn report(
        &self,
        boxes: &[(String, u32, u64, bool)],
        disk_bytes: u64,
        sampled: i64,
        cleaned: i64,
    ) -> zbus::Result<()>;
    fn warn(&self, name: &str, event: &str, seconds: u64, work: &str) -> zbus::Result<()>;
    fn hook(&self, test: bool) -> zbus::Result<(bool, String)>;
    fn boxes(&self, all: bool, after: &str) -> zbus::Result<Vec<LedgerBox>>;
    fn limits(&self) -> zbus::Result<Vec<OwnerUse>>;
    fn audit(&self, since: i64, owner: &str, most: u32) -> zbus::Result<Vec<AuditLine>>;
    fn reconcile(&self, fix: bool) -> zbus::Result<Vec<Finding>>;
    fn act(&self, verb: &str, owner: &str, name: &str) -> zbus::Result<u32>;
    fn status(&self) -> zbus::Result<(bool, String)>;
    fn tailnet(&self, name: &str) -> zbus::Result<OnTailnet>;
    fn tidy(&self) -> zbus::Result<u32>;
    fn evict(&self, owner: &str, name: &str) -> zbus::Result<()>;
}

/// The system's bus where it always is: what `$DBUS_SYSTEM_BUS_ADDRESS` names could be anybody's.
const BUS: &str = "/run/dbus/system_bus_socket";
/// Where the broker's activation file is, if it is installed (dbus-daemon(1), standard_system_servicedirs).
const INSTALLED: [&str; 4] = [
    "/usr/share/dbus-1/system-services",
    "/usr/local/share/dbus-1/system-services",
    "/etc/dbus-1/system-services",
    "/run/current-system/sw/share/dbus-1/system-services",
];
/// Longer than the bus waits for a service to start, and than a test of the administrator's command.
const PATIENCE: Duration = Duration::from_mins(1);
/// Connections that never say who they are hold up all others at dbus-daemon(1) (max_incomplete_connections).
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// For how long that the bus is full is not its last word.
const FULL_FOR: Duration = Duration::from_secs(20);

/// A connection to the system's bus.
///
/// # Errors
/// [`HostError::BusFull`] where there is none to be had in time; [`HostError::Broker`] where the bus refuses it.
pub(super) fn system_bus() -> Result<zbus::Connection, HostError> {
    debug!("connecting to {BUS}");
    let connect = async {
        zbus::connection::Builder::address(format!("unix:path={BUS}").as_str()).method_timeout(PATIENCE).build().await
    };
    match zbus::block_on(select(pin!(connect), pin!(Timer::after(CONNECTED_WITHIN)))) {
        Either::Left((connected, _)) => connected.map_err(|e| HostError::Broker(e.to_string())),
        Either::Right(_) => Err(HostError::BusFull(CONNECTED_WITHIN)),
    }
}

#[derive(Debug, Clone)]
pub struct Broker(Broker1Proxy<'static>);

impl Broker {
    pub fn is_installed() -> bool {
        let file = format!("{}.service", wire::BUS_NAME);
        INSTALLED.iter().any(|folder| Path::new(folder).join(&file).exists())
    }

    /// `None` where this host has no broker. One that is installed and does not answer is an error of its calls: to go
    /// on without it would be to go on without limits.
    pub fn connect() -> Result<Option<Self>, HostError> {
        if !Self::is_installed() {
            return Ok(None);
        }
        let connection = system_bus()?;
        let proxy = Broker1Proxy::builder(&connection).cache_properties(zbus::proxy::CacheProperties::No).build();
        zbus::block_on(proxy).map(|proxy| Some(Self(proxy))).map_err(|e| HostError::Broker(e.to_string()))
    }

    /// Whether the name may be had, held for the caller from now on for a while.
    pub fn reserve(&self, name: &BoxName, cpu: Cpu, memory: Memory, start: bool) -> Result<(), HostError> {
        debug!("broker: Reserve {name}");
        ask(|| self.0.reserve(name.as_str(), cpu.millis(), memory.bytes(), start))
    }

    pub fn commit(&self, name: &BoxName) -> Result<(), HostError> {
        debug!("broker: Commit {name}");
        ask(|| self.0.commit(name.as_str()))
    }

    /// A name that is somebody else's by now is given back already.
    pub fn release(&self, name: &BoxName) -> Result<(), HostError> {
        debug!("broker: Release {name}");
        match ask(|| self.0.release(name.as_str())) {
            Err(HostError::Refused(refused)) if refused.why == Why::NoSuchBox => Ok(()),
            other => other,
        }
    }

    pub fn start(&self, name: &BoxName, memory_bytes: u64) -> Result<(), HostError> {
        debug!("broker: Start {name}");
        ask(|| self.0.start(name.as_str(), memory_bytes))
    }

    /// Holds the name as one in the trash. One that is somebody else's by now is not held for its owner any more.
    pub fn trash(&self, name: &BoxName) -> Result<(), HostError> {
        debug!("broker: Trash {name}");
        match ask(|| self.0.trash(name.as_str())) {
            Err(HostError::Refused(refused)) if refused.why == Why::NoSuchBox => Ok(()),
            other => other,
        }
    }

    /// Makes it a box again, if it is admitted.
    pub fn restore(&self, name: &BoxName, cpu: Cpu, memory: Memory, start: bool) -> Result<(), HostError> {
        debug!("broker: Restore {name}");
        ask(|| self.0.restore(name.as_str(), cpu.millis(), memory.bytes(), start))
    }

    /// `true` beside a box: it is in the trash. `timers`: when boxes were last looked at, and the cleanup last ran, in
    /// seconds since 1970; 0 is never, and -1 not known.
    pub fn report(
        &self,
        boxes: &[(String, u32, u64, bool)],
        disk_bytes: u64,
        [sampled, cleaned]: [i64; 2],
    ) -> Result<(), HostError> {
        debug!("broker: Report of {} box(es)", boxes.len());
        let report = || ask(|| self.0.report(boxes, disk_bytes, sampled, cleaned));
        match report() {
            // The broker takes one a second, and the owner's timer may have told it in this one.
            Err(HostError::Refused(refused)) if refused.why == Why::TooMany => {
                std::thread::sleep(Duration::from_secs(1));
                report()
            }
            other => other,
        }
    }

    /// Tells the administrator's command, where there is one, what is said to the box's owner.
    pub fn warn(&self, name: &BoxName, event: Event, seconds: u64, work: &str) -> Result<(), HostError> {
        debug!("broker: Warn {name} {}", event.word());
        ask(|| self.0.warn(name.as_str(), event.word(), seconds, work))
    }

    /// Whether that command takes what it is told, and in words how it stands; `test`: tried now.
    pub fn hook(&self, test: bool) -> Result<(bool, String), HostError> {
        debug!("broker: Hook {test}");
        ask(|| self.0.hook(test))
    }

    /// By name.
    pub fn boxes(&self, all: bool) -> Result<Vec<LedgerBox>, HostError> {
        let mut boxes: Vec<LedgerBox> = Vec::new();
        loop {
            let after = boxes.last().map_or("", |b| b.name.as_str());
            let page = ask(|| self.0.boxes(all, after))?;
            let is_last = page.len() < wire::PAGE as usize;
            boxes.extend(page);
            if is_last {
                return Ok(boxes);
            }
        }
    }

    pub fn limits(&self) -> Result<Vec<OwnerUse>, HostError> {
        ask(|| self.0.limits())
    }

    pub fn audit(&self, since: i64, owner: &str, most: u32) -> Result<Vec<AuditLine>, HostError> {
        ask(|| self.0.audit(since, owner, most))
    }

    pub fn reconcile(&self, fix: bool) -> Result<Vec<Finding>, HostError> {
        ask(|| self.0.reconcile(fix))
    }

    /// Notes an administrator's act; the owner's uid.
    pub fn act(&self, verb: &str, owner: &str, name: &BoxName) -> Result<u32, HostError> {
        ask(|| self.0.act(verb, owner, name.as_str()))
    }

    /// How a box stands on the tailnet. May wait for the provider.
    pub fn tailnet(&self, name: &BoxName) -> Result<OnTailnet, HostError> {
        debug!("broker: Tailnet {name}");
        ask(|| self.0.tailnet(name.as_str()))
    }

    /// Takes a name from its owner.
    pub fn evict(&self, owner: &str, name: &BoxName) -> Result<(), HostError> {
        ask(|| self.0.evict(owner, name.as_str()))
    }

    /// Takes devices of boxes that are gone off the tailnet; how many are left.
    pub fn tidy(&self) -> Result<u32, HostError> {
        debug!("broker: Tidy");
        ask(|| self.0.tidy())
    }

    pub fn status(&self) -> Result<(bool, String), HostError> {
        ask(|| self.0.status())
    }
}

/// Calls, and again where the bus has too much for the broker waiting to take this too (dbus-daemon(1),
/// max_incoming_bytes and its like): then the broker has heard nothing of it, and whoever fills the bus has to stop.
fn ask<T, F: Future<Output = zbus::Result<T>>>(call: impl Fn() -> F) -> Result<T, HostError> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        let reply = zbus::block_on(call());
        let is_full = reply
            .as_ref()
            .is_err_and(|e| matches!(e, zbus::Error::FDO(e) if matches!(**e, zbus::fdo::Error::LimitsExceeded(_))));
        if !is_full || begun.elapsed() > FULL_FOR {
            return said(reply);
        }
        debug!("broker: the bus has too much for it; again in {} ms", pause.as_millis());
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// A refusal is the broker's word; anything else means that there was none.
fn said<T>(reply: zbus::Result<T>) -> Result<T, HostError> {
    let error = match reply {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if let zbus::Error::MethodError(name, _, message) = &error
        && let Some(why) = name.strip_prefix(ERROR_PREFIX).and_then(Why::of_word)
        && let Ok((text, facts, hint)) = message.body().deserialize::<(String, Vec<String>, String)>()
    {
        return Err(HostError::Refused(Refused { why, message: text, facts, hint }));
    }
    Err(HostError::Broker(error.to_string()))
}
