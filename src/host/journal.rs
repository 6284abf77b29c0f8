//! The journal of a box's unit, through journalctl(1).

use duct::cmd;
use tracing::debug;

/// The last lines of a unit, for an error. None where the journal cannot be read: the error stands without.
pub fn last_lines(unit: &str, count: usize) -> Vec<String> {
    let arguments = ["--user", "--no-pager", "--quiet", "--output=cat", "-n", &count.to_string(), "-u", unit];
    debug!("journalctl {}", arguments.join(" "));
    let read = cmd("journalctl", arguments).stdin_null().stderr_null().stdout_capture().unchecked().run();
    let text = read.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().map(crate::host::podman::printable).filter(|l| !l.trim().is_empty()).collect()
}

/// The arguments that show the logs of units.
pub fn arguments(units: &[String], follow: bool, tail: Option<u32>, since: Option<&str>, times: bool) -> Vec<String> {
    let mut list: Vec<String> = ["--user", "--no-pager", "--quiet"].map(str::to_owned).to_vec();
    list.extend(units.iter().map(|unit| format!("--unit={unit}")));
    list.push(format!("--output={}", if times { "short-iso" } else { "cat" }));
    if follow {
        list.push("--follow".to_owned());
    }
    if let Some(lines) = tail {
        list.push(format!("--lines={lines}"));
    } else if follow {
        list.push("--lines=10".to_owned());
    }
    if let Some(since) = since {
        list.push(format!("--since={since}"));
    }
    list
}
