//! What can be wrong with a host or an account, each with the command that mends it.

mod bus;
mod escaped;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use duct::cmd;
use nix::unistd::{Uid, User};
use serde::Serialize;

use super::{
    Account, Broker, Host, HostError, Pending, entries, generator, hook, life, now, resolver, settings, trashed_entries,
};
use crate::policy::life::book::SILENT;
use crate::spec::ImageRef;

pub use escaped::escaped;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub check: &'static str,
    pub good: bool,
    pub text: String,
    /// A command, or who has to do what.
    pub mend: Option<String>,
}

fn good(check: &'static str, text: impl Into<String>) -> Checked {
    Checked { check, good: true, text: text.into(), mend: None }
}

fn bad(check: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Checked {
    Checked { check, good: false, text: text.into(), mend: Some(mend.into()) }
}

/// What holds for everybody on this host.
pub fn of_host() -> Vec<Checked> {
    let podman = match generator::check_version(None) {
        Ok(()) => good("podman", "podman is new enough"),
        Err(why) => bad("podman", why.to_string(), "install podman 5.4 or newer"),
    };
    let settings = match settings() {
        Ok(_) => good("settings", "the settings of /etc/devbox are good"),
        Err(why) => bad("settings", why.to_string(), "mend that file; `devbox-ctl admin check` tells more"),
    };
    let broker = match Broker::connect().and_then(|found| found.map(|b| b.boxes(false)).transpose()) {
        Ok(Some(_)) => good("broker", "devboxd answers"),
        Ok(None) => good("broker", "this host has no broker: names and limits are each owner's own"),
        Err(why @ HostError::BusFull(_)) => bad("broker", why.to_string(), bus::MEND),
        Err(why) => bad("broker", why.to_string(), "`systemctl status devboxd` and `journalctl -u devboxd`"),
    };
    let mut checked = vec![podman, settings, broker];
    if Uid::current().is_root() && Broker::is_installed() {
        checked.push(bus::bus());
    }
    checked
}

/// Whether somebody else made the file of podman's locks, which is in a folder where everybody may make one and has a name
/// that everybody knows. Then no podman of the account's runs until it is deleted.
///
/// # Errors
/// [`HostError::LocksTaken`].
pub fn locks(account: &Account) -> Result<(), HostError> {
    let path = Path::new("/dev/shm").join(format!("libpod_rootless_lock_{}", account.uid));
    match path.symlink_metadata() {
        Ok(meta) if meta.uid() != account.uid => {
            let by = User::from_uid(Uid::from_raw(meta.uid()))
                .ok()
                .flatten()
                .map_or_else(|| meta.uid().to_string(), |u| u.name);
            Err(HostError::LocksTaken { path, by })
        }
        _ => Ok(()),
    }
}

/// Whether the account's boxes run without a session of its owner's (loginctl(1), enable-linger).
pub fn lingers(account: &Account) -> bool {
    Path::new("/var/lib/systemd/linger").join(&account.user).exists()
}

/// What holds for one account.
pub fn of_account(host: &Host) -> Result<Vec<Checked>, HostError> {
    let (user, uid) = (&host.account.user, host.account.uid);
    let linger = lingers(&host.account);
    let controllers = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers");
    let controllers = fs::read_to_string(controllers).unwrap_or_default();
    let missing: Vec<&str> =
        ["cpu", "memory", "pids"].into_iter().filter(|c| !controllers.split_whitespace().any(|d| d == *c)).collect();
    let image = ImageRef::default();
    let locks = match locks(&host.account) {
        Ok(()) => good("locks", "podman's locks are yours"),
        Err(why) => bad(
            "locks",
            why.to_string(),
            "an administrator can delete that file; `lock_type = \"file\"` keeps it from happening (docs/admin-guide.md)",
        ),
    };
    let mut checked = vec![
        locks,
        if linger {
            good("linger", "your boxes run without a session of yours")
        } else {
            bad("linger", "your boxes end with your last session", format!("`sudo loginctl enable-linger {user}`"))
        },
        if has_subordinate_ids(user, uid) {
            good("subordinate ids", "you have subordinate ids")
        } else {
            let mend = format!(
                "`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`, with a range of its own"
            );
            bad("subordinate ids", "you have no subordinate ids, without which rootless podman has no users", mend)
        },
        if missing.is_empty() {
            good("controllers", "limits of single boxes are enforced")
        } else {
            let text = format!("limits of single boxes are not enforced: {} not delegated to you", missing.join(", "));
            bad(
                "controllers",
                text,
                "`sudo systemctl edit user@.service`: [Service] Delegate=cpu cpuset io memory pids",
            )
        },
        if host.podman.has_image(&image)? {
            good("image", format!("you have {image}"))
        } else {
            bad("image", format!("you have no {image}"), "`podman load -i devbox-image.oci.tar`")
        },
    ];
    for entry in entries(&host.account)?.into_iter().chain(trashed_entries(&host.account)?) {
        let name = &entry.name;
        match (&entry.spec, &entry.pending) {
            (_, Some(Pending::Destroy { .. })) if !entry.is_busy() => {
                checked.push(bad(
                    "box",
                    format!("{name} is half destroyed"),
                    format!("`devbox-ctl destroy --now --yes {name}`"),
                ));
            }
            (_, Some(Pending::Trash)) if !entry.is_busy() => {
                checked.push(bad(
                    "box",
                    format!("{name} is half destroyed"),
                    "`devbox-ctl doctor --fix` goes on with it",
                ));
            }
            (Ok(_), None) if !entry.gone.is_empty() => checked.push(bad(
                "box",
                format!("{name}: podman has no volume {} any more", entry.gone.join(", nor ")),
                format!("`devbox-ctl destroy --now --keep-volume {name}` keeps what is left; create it again, `--from-backup` with your files"),
            )),
            (Ok(_), None) if entry.trashed.is_none() => {
                if let Some((had, has)) = resolver::changed(&host.account, name) {
                    let text = format!("{name} still uses the name servers {had}; the host has {has} now");
                    checked.push(bad("name servers", text, format!("`devbox-ctl restart {name}`")));
                }
            }
            _ if entry.trashed.is_some() => {}
            (_, Some(Pending::Fill)) if !entry.is_busy() => checked.push(bad(
                "box",
                format!("creating {name} from a backup was cut short"),
                "`devbox-ctl doctor --fix` takes it back",
            )),
            (Err(why), _) => {
                let mend = format!("`devbox-ctl destroy --keep-volume {name}` keeps its data; create it again");
                checked.push(bad("box", format!("{name}: {why}"), mend));
            }
            (Ok(_), Some(Pending::Create { restored })) if !entry.is_busy() => {
                checked.push(bad(
                    "box",
                    format!("{} {name} was cut short", if *restored { "restoring" } else { "creating" }),
                    format!("`devbox-ctl start {name}`"),
                ));
            }
            _ => {}
        }
    }
    checked.extend(timers(host)?);
    checked.extend(escaped(Some(uid)));
    Ok(checked)
}

/// (what it is checked as, the timer, what it does, what is so without it)
const TIMERS: [(&str, &str, &str, &str); 3] = [
    (
        "report",
        "devboxes-report.timer",
        "your timer reports your boxes to the broker",
        "your boxes and their disk use are not reported to the broker",
    ),
    (
        "sample",
        "devboxes-sample.timer",
        "your boxes are looked at, so that what is used is known",
        "nobody looks whether your boxes are used, and what is not used is not stopped",
    ),
    (
        "cleanup",
        "devboxes-cleanup.timer",
        "your boxes that nobody uses are warned of and put away",
        "your boxes that nobody uses are neither warned of nor put away",
    ),
];
/// The owner's timers: those that are not active, and those that are and do nothing all the same. Without a broker an
/// owner may do without any; one that did its work once is missed.
fn timers(host: &Host) -> Result<Vec<Checked>, HostError> {
    let book = life::read(&host.account);
    let has_broker = Broker::is_installed();
    let oldest = entries(&host.account)?.iter().filter_map(|e| Some(e.spec.as_ref().ok()?.created_at)).min();
    let mut checked = Vec::new();
    for ((check, timer, does, without), last) in TIMERS.into_iter().zip([None, book.sampled, book.cleaned]) {
        if !has_broker && last.is_none() {
            continue;
        }
        let runs = host.systemd.states(timer)?.get(timer).is_some_and(|t| t.active == "active");
        // One that never ran was due since there has been something to do.
        let first = oldest.filter(|_| !book.is_young(now()));
        let since = last.or(first).filter(|_| check != "report");
        let ago = since.map_or(0, |at| now().as_second() - at.as_second());
        let last = last.map(|at| format!(", since {}", at.strftime("%Y-%m-%d %H:%M UTC"))).unwrap_or_default();
        checked.push(if !runs {
            let mend = format!(
                "`systemctl --user unmask {timer}; systemctl --user start {timer}`; for everybody `sudo systemctl --global enable {timer}`"
            );
            bad(check, format!("{without}{last}: {timer} does not run"), mend)
        } else if ago > SILENT {
            let service = timer.replace(".timer", ".service");
            let mend = format!("`systemctl --user start {service}` runs it now; `journalctl --user -u {service}`");
            bad(check, format!("{without}{last}: {service} has not come through for two days"), mend)
        } else {
            good(check, does)
        });
    }
    Ok(checked)
}

/// For root: whether the administrator's command takes what it is told.
pub fn hook() -> Option<Checked> {
    let command = settings().ok()?.warnings;
    if command.is_empty() {
        return None;
    }
    if let Err(why) = hook::check(&command) {
        return Some(bad(
            "warnings",
            format!("[warnings] command: {why}"),
            "mend that; `devbox-ctl admin warn --test` tries it",
        ));
    }
    // A broker that does not answer is told of already.
    let (is_good, text) = Broker::connect().ok()??.hook(false).ok()?;
    Some(if is_good {
        good("warnings", text)
    } else {
        bad("warnings", text, "`journalctl -u 'devbox-warn@*'`, and `devbox-ctl admin warn --test` tries it")
    })
}

/// As newuidmap(1) knows them: from /etc/subuid and /etc/subgid, or from a directory (nsswitch.conf(5), `subid:`).
fn has_subordinate_ids(user: &str, uid: u32) -> bool {
    let uid = uid.to_string();
    let in_file = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.split(':').next().is_some_and(|who| who == user || who == uid))
    };
    let asked = |arguments: &[&str]| {
        let call = cmd("getsubids", arguments).stdin_null().stdout_null().stderr_null().unchecked().run();
        call.is_ok_and(|done| done.status.success())
    };
    (in_file("/etc/subuid") || asked(&[user])) && (in_file("/etc/subgid") || asked(&["-g", user]))
}
