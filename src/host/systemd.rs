//! The owner's systemd manager over D-Bus (org.freedesktop.systemd1(5)): the few methods a box needs.

mod job;

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join_all, select};
use tracing::debug;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, proxy};

use super::{Account, HostError};
pub(super) use job::Line;
pub use job::{Job, JobEnd};

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn reload(&self) -> zbus::Result<()>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn get_unit_file_state(&self, name: &str) -> zbus::Result<String>;
    #[allow(clippy::type_complexity)] // the reply's own shape
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<ListedUnit>>;
    fn subscribe(&self) -> zbus::Result<()>;
    #[zbus(property)]
    fn system_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn environment(&self) -> zbus::Result<Vec<String>>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

/// name, description, load, active, sub, following, path, job id, job type, job path
type ListedUnit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// What systemd says of a unit. Absent from the manager's list means stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    pub active: String,
    pub sub: String,
}

/// More of one unit, from its properties.
#[derive(Debug, Clone, Default)]
pub struct UnitDetails {
    pub active: String,
    pub sub: String,
    pub loaded: bool,
    /// Microseconds since 1970 when it last became active, and when it last stopped being so; 0 is never.
    pub active_since: u64,
    pub inactive_since: u64,
    pub restarts: u32,
    pub result: String,
    /// What the box says of itself. Any process in the box can: untrusted.
    pub status_text: String,
    pub memory_bytes: Option<u64>,
    pub cpu_nanoseconds: Option<u64>,
}

/// A connection to the manager.
#[derive(Debug)]
pub struct Systemd {
    manager: ManagerProxy<'static>,
}

impl Systemd {
    /// By the fixed path of the account's bus: `su` and cron leave the variables behind.
    pub fn connect(account: &Account) -> Result<Self, HostError> {
        let bus = account.bus();
        if !bus.exists() {
            return Err(HostError::NoUserManager { user: account.user.clone() });
        }
        zbus::block_on(async {
            let address = format!("unix:path={}", bus.display());
            let connection = zbus::connection::Builder::address(address.as_str())
                .method_timeout(Duration::from_mins(1))
                .build()
                .await?;
            let manager =
                ManagerProxy::builder(&connection).cache_properties(zbus::proxy::CacheProperties::No).build().await?;
            Ok(Self { manager })
        })
        .map_err(|e: zbus::Error| match HostError::from(e) {
            HostError::Systemd(_) | HostError::BusLost => HostError::NoUserManager { user: account.user.clone() },
            other => other,
        })
    }

    /// The system's own manager.
    pub fn system() -> Result<Self, HostError> {
        let connection = super::broker::system_bus()?;
        let proxy = ManagerProxy::builder(&connection).cache_properties(zbus::proxy::CacheProperties::No).build();
        Ok(Self { manager: zbus::block_on(proxy)? })
    }

    pub fn reload(&self) -> Result<(), HostError> {
        debug!("systemd: Reload");
        Ok(zbus::block_on(self.manager.reload())?)
    }

    /// What the manager gives every unit.
    pub fn environment(&self) -> Result<Vec<(String, String)>, HostError> {
        let list = zbus::block_on(self.manager.environment())?;
        Ok(list.iter().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// Clears a failure and the start limit; a unit that is not loaded has neither.
    pub fn reset_failed(&self, unit: &str) -> Result<(), HostError> {
        debug!("systemd: ResetFailedUnit {unit}");
        match zbus::block_on(self.manager.reset_failed_unit(unit)) {
            Err(e) if !is_unknown_unit(&e) => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Whether a unit file of this name exists, whoever wrote it.
    pub fn has_unit_file(&self, unit: &str) -> Result<bool, HostError> {
        debug!("systemd: GetUnitFileState {unit}");
        match zbus::block_on(self.manager.get_unit_file_state(unit)) {
            Ok(_) => Ok(true),
            Err(e) if is_unknown_unit(&e) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The loaded units that match, in one call. `ByNames` would load each (115 ms for 300).
    pub fn states(&self, pattern: &str) -> Result<HashMap<String, UnitState>, HostError> {
        debug!("systemd: ListUnitsByPatterns {pattern}");
        let units = zbus::block_on(self.manager.list_units_by_patterns(&[], &[pattern]))?;
        let state = |(name, _, _, active, sub, _, _, _, job, _): ListedUnit| {
            // One that waits for its turn is on its way.
            let waits = active == "inactive" && job == "start";
            // systemd leaves it so where what the box needs failed when it was to be started again (systemd 257).
            let is_stuck = sub == "auto-restart-queued" && job.is_empty();
            let active = if waits { "activating".to_owned() } else { active };
            (name, UnitState { active: if is_stuck { "failed".to_owned() } else { active }, sub })
        };
        Ok(units.into_iter().map(state).collect())
    }

    /// Whether the manager is on its way up, with all that it starts by itself.
    pub fn is_starting(&self) -> Result<bool, HostError> {
        debug!("systemd: SystemState");
        Ok(matches!(zbus::block_on(self.manager.system_state())?.as_str(), "initializing" | "starting"))
    }

    /// Lets a start that waits for this go on, and sees it end: started, failed, or nobody's wish any more.
    pub fn see_start(&self, unit: &str, patience: Duration, go: impl FnOnce()) -> Result<(), HostError> {
        debug!("systemd: the start of {unit}");
        zbus::block_on(async {
            // Jobs of others are told to those only who have asked for it.
            self.manager.subscribe().await?;
            let mut removed = self.manager.receive_job_removed().await?;
            let listed = self.manager.list_units_by_patterns(&[], &[unit]).await?;
            // Also where nobody wants it to start any more: a unit that ends before it is ready has failed.
            go();
            if listed.iter().all(|(.., job, _, _)| *job == 0) {
                return Ok(());
            }
            let ended = async {
                while let Some(signal) = removed.next().await {
                    if signal.args().is_ok_and(|args| args.unit() == unit) {
                        break;
                    }
                }
            };
            select(pin!(ended), pin!(async_io::Timer::after(patience))).await;
            Ok(())
        })
    }

    /// What the services of boxes say of themselves (STATUS=, sd_notify(3)); empty where a unit is not loaded. One call for
    /// each, and no more than that property: [`Self::details`] of 100 units are 6 MB.
    pub fn status_texts(&self, units: &[String]) -> Result<Vec<String>, HostError> {
        debug!("systemd: StatusText of {} unit(s)", units.len());
        let connection = self.manager.inner().connection();
        let one = |unit: &String| {
            let path = object_path(unit);
            async move {
                let asked = ("org.freedesktop.systemd1.Service", "StatusText");
                let to = Some("org.freedesktop.systemd1");
                let interface = Some("org.freedesktop.DBus.Properties");
                let reply = connection.call_method(to, path.as_str(), interface, "Get", &asked).await;
                match reply {
                    Ok(reply) => {
                        let value: OwnedVariant = reply.body().deserialize()?;
                        Ok(<&str>::try_from(&*value).unwrap_or_default().to_owned())
                    }
                    Err(e) if is_unknown_unit(&e) || is_unknown_object(&e) => Ok(String::new()),
                    Err(e) => Err(HostError::from(e)),
                }
            }
        };
        let mut all = Vec::with_capacity(units.len());
        for some in units.chunks(MANY) {
            all.extend(zbus::block_on(join_all(some.iter().map(one))));
        }
        all.into_iter().collect()
    }

    /// Properties of many units at once: all calls are sent before the first answer is awaited.
    pub fn details(&self, units: &[String]) -> Result<Vec<UnitDetails>, HostError> {
        debug!("systemd: properties of {} unit(s)", units.len());
        let connection = self.manager.inner().connection();
        let one = |unit: &String| {
            let unit = unit.clone();
            async move {
                let path = self.manager.load_unit(&unit).await?;
                let unit = properties(connection, &path, "org.freedesktop.systemd1.Unit").await?;
                let service = properties(connection, &path, "org.freedesktop.systemd1.Service").await?;
                Ok(details(&unit, &service))
            }
        };
        let mut all = Vec::with_capacity(units.len());
        // Together, but not hundreds: an answer is some 30 KiB.
        for some in units.chunks(TOGETHER) {
            all.extend(zbus::block_on(join_all(some.iter().map(one))));
        }
        all.into_iter().collect()
    }
}

/// Units that are asked about at once.
const TOGETHER: usize = 32;
/// And of which one property is asked: the bus holds no more answers back (dbus-daemon(1), max_replies_per_connection).
const MANY: usize = 100;

/// Where the manager has a unit: each byte of its name that is no letter or digit as `_` and two hexadecimal digits, and a
/// digit at the beginning too (sd_bus_path_encode(3)).
fn object_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (at, byte) in unit.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => path.push(byte.into()),
            b'0'..=b'9' if at > 0 => path.push(byte.into()),
            other => path.push_str(&format!("_{other:02x}")),
        }
    }
    path
}

type Properties = HashMap<String, OwnedVariant>;

async fn properties(connection: &Connection, path: &OwnedObjectPath, interface: &str) -> Result<Properties, HostError> {
    let reply = connection
        .call_method(
            Some("org.freedesktop.systemd1"),
            path,
            Some("org.freedesktop.DBus.Properties"),
            "GetAll",
            &(interface),
        )
        .await?;
    Ok(reply.body().deserialize()?)
}

fn details(unit: &Properties, service: &Properties) -> UnitDetails {
    let text = |map: &Properties, key: &str| -> String {
        map.get(key).and_then(|v| <&str>::try_from(&**v).ok()).unwrap_or_default().to_owned()
    };
    let number = |map: &Properties, key: &str| map.get(key).and_then(|v| u64::try_from(&**v).ok());
    // The largest number is systemd's "unknown".
    let known = |n: Option<u64>| n.filter(|n| *n != u64::MAX);
    UnitDetails {
        active: text(unit, "ActiveState"),
        sub: text(unit, "SubState"),
        loaded: text(unit, "LoadState") == "loaded",
        active_since: number(unit, "ActiveEnterTimestamp").unwrap_or(0),
        inactive_since: number(unit, "InactiveEnterTimestamp").unwrap_or(0),
        restarts: service.get("NRestarts").and_then(|v| u32::try_from(&**v).ok()).unwrap_or(0),
        result: text(service, "Result"),
        status_text: text(service, "StatusText"),
        memory_bytes: known(number(service, "MemoryCurrent")),
        cpu_nanoseconds: known(number(service, "CPUUsageNSec")),
    }
}

fn is_unknown_object(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == "org.freedesktop.DBus.Error.UnknownObject")
}

fn is_unknown_unit(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, _, _) => name.as_str() == "org.freedesktop.systemd1.NoSuchUnit",
        // What systemd answers for a unit file that is nowhere.
        zbus::Error::FDO(error) => matches!(**error, zbus::fdo::Error::FileNotFound(_)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_units() {
        let path = "/org/freedesktop/systemd1/unit/devbox_2dapi_2dv2_2eservice";
        assert_eq!(object_path("devbox-api-v2.service"), path);
        assert_eq!(object_path("1a"), "/org/freedesktop/systemd1/unit/_31a");
    }
}
