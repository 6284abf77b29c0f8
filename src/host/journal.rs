//! The journal of a box's unit, through journalctl(1).

use duct::cmd;
use tracing::debug;

use crate::quadlet::names;
use crate::shown::printable;
use crate::spec::BoxName;

/// The last lines of a unit, for an error. None where the journal cannot be read: the error stands without.
pub(super) fn last_lines(unit: &str, count: usize) -> Vec<String> {
    let arguments = ["--user", "--no-pager", "--quiet", "--output=cat", "-n", "40", "-u", unit];
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
pub fn arguments(boxes: &[BoxName], follow: bool, tail: Option<u32>, since: Option<&str>, times: bool) -> Vec<String> {
    let mut list: Vec<String> = ["--user", "--no-pager", "--quiet"].map(str::to_owned).to_vec();
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
    for (number, name) in boxes.iter().enumerate() {
        if number > 0 {
            list.push("+".to_owned());
        }
        list.push(format!("CONTAINER_NAME={}", names::container(name)));
        list.push("+".to_owned());
        list.push(format!("USER_UNIT={}", names::service(name)));
    }
    list
}
