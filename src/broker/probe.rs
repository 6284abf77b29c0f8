//! What devboxd sees of the host: free memory, and which boxes run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::policy::host::Free;
use crate::quadlet::names;

/// proc_meminfo(5) and /proc/pressure/memory.
pub(super) fn free() -> Option<Free> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    let pressure = fs::read_to_string("/proc/pressure/memory").ok().and_then(|text| {
        let some = text.lines().find(|l| l.starts_with("some"))?;
        some.split_whitespace().find_map(|w| w.strip_prefix("avg10="))?.parse().ok()
    });
    Some(Free { available_bytes: kibibytes * 1024, pressure })
}

/// More folders than this of one owner's are not looked at: cgroups are the owner's to make.
const MOST: usize = 1024;

const USERS: &str = "/sys/fs/cgroup/user.slice";

/// (uid, box) of every box with a process, from the names of cgroups. Owners name their own units, so this says what an
/// owner claims to run, and never more than that.
pub(super) fn running() -> BTreeSet<(u32, String)> {
    let mut found = BTreeSet::new();
    for slice in listed(Path::new(USERS)) {
        let Some(uid) = slice.strip_prefix("user-").and_then(|s| s.strip_suffix(".slice")) else { continue };
        let Ok(uid) = uid.parse::<u32>() else { continue };
        let folder = folder(uid);
        for slice in listed(&folder) {
            let Some(name) = slice.strip_prefix("devbox-").and_then(|s| s.strip_suffix(".slice")) else { continue };
            if is_populated(&folder.join(&slice)) {
                found.insert((uid, name.replace("\\x2d", "-")));
            }
        }
    }
    found
}

/// Whether one box has a process.
pub(super) fn runs(uid: u32, name: &str) -> bool {
    name.parse().is_ok_and(|name| is_populated(&folder(uid).join(names::slice(&name))))
}

/// Where the boxes of an owner have their cgroups.
fn folder(uid: u32) -> PathBuf {
    Path::new(USERS).join(format!("user-{uid}.slice/user@{uid}.service/devbox.slice"))
}

fn is_populated(cgroup: &Path) -> bool {
    let events = fs::read_to_string(cgroup.join("cgroup.events"));
    events.is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
}

fn listed(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.take(MOST).filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
}
