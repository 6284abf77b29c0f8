//! The journal of a box's unit, through journalctl(1).

use std::fs;

use duct::cmd;
use tracing::debug;

use super::Account;
use crate::quadlet::names;
use crate::shown::printable;
use crate::spec::BoxName;

/// Where journald keeps journals (journald.conf(5), Storage=).
const KEPT: &str = "/var/log/journal";

/// Whether journald has a journal of its own for that user id. It has none where nothing is kept over a boot, where journals
/// are not split (SplitMode=), and for ids that are for services and containers (<https://systemd.io/UIDS-GIDS/>), which
/// accounts of a directory can have: then what they write goes into the system's.
fn has_own(uid: u32) -> bool {
    let file = format!("user-{uid}.journal");
    fs::read_dir(KEPT).is_ok_and(|hosts| hosts.flatten().any(|host| host.path().join(&file).exists()))
}

/// Whether the account can read what its units wrote.
pub fn is_readable(account: &Account) -> bool {
    // Where it may not open a single journal, journalctl says so and fails.
    let asked = || cmd!("journalctl", "--system", "--quiet", "--no-pager", "-n", "0").stdin_null().stdout_null();
    has_own(account.uid) || asked().stderr_null().unchecked().run().is_ok_and(|done| done.status.success())
}

/// Which journals are read: the account's own, or all that it can read.
fn journals(account: &Account) -> Vec<String> {
    let own = has_own(account.uid).then_some("--user");
    own.into_iter().chain(["--no-pager", "--quiet"]).map(str::to_owned).collect()
}

/// The last lines of a unit, for an error. None where the journal cannot be read: the error stands without.
pub(super) fn last_lines(account: &Account, unit: &str, count: usize) -> Vec<String> {
    let mut arguments = journals(account);
    // With the account's user id beside the unit's name (journalctl(1), --user-unit=).
    arguments.extend(["--output=cat", "-n", "40", "--user-unit", unit].map(str::to_owned));
    debug!("journalctl {}", arguments.join(" "));
    let read = cmd("journalctl", arguments).stdin_null().stderr_null().stdout_capture().unchecked().run();
    let text = read.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    // Podman writes each of its events there too.
    let telling = |line: &&str| !line.trim().is_empty() && !line.contains("PODMAN_SYSTEMD_UNIT=");
    let lines: Vec<String> = text.lines().filter(telling).map(printable).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

/// The arguments that show boxes' logs: what they wrote, and what systemd says of their units. The unit's own
/// journal has Podman's events between them.
pub fn arguments(
    account: &Account,
    boxes: &[BoxName],
    follow: bool,
    tail: Option<u32>,
    since: Option<&str>,
    times: bool,
) -> Vec<String> {
    let mut list = journals(account);
    list.push(format!("--output={}", if times { "short-iso" } else { "cat" }));
    if follow {
        list.push("--follow".to_owned());
    }
    if let Some(lines) = tail {
        list.push(format!("--lines={lines}"));
    }
    if let Some(since) = since {
        list.push(format!("--since={since}"));
    }
    // Matches of two fields are joined by AND, what `+` stands between by OR.
    let own = format!("_UID={}", account.uid);
    let matches = boxes
        .iter()
        .flat_map(|name| {
            [format!("CONTAINER_NAME={}", names::container(name)), format!("USER_UNIT={}", names::service(name))]
        })
        .map(|field| [own.clone(), field]);
    list.extend(matches.collect::<Vec<_>>().join(&"+".to_owned()));
    list
}
