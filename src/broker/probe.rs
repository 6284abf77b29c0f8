//! What devboxd sees of the host: free memory, and which boxes run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::policy::host::Free;

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

/// (uid, box) of every box with a process, from the names of cgroups. Owners name their own units, so this says what an
/// owner claims to run, and never more than that.
pub(super) fn running() -> BTreeSet<(u32, String)> {
    let mut found = BTreeSet::new();
    for slice in names(Path::new("/sys/fs/cgroup/user.slice")) {
        let Some(uid) = slice.strip_prefix("user-").and_then(|s| s.strip_suffix(".slice")) else { continue };
        let Ok(uid) = uid.parse::<u32>() else { continue };
        let folder = format!("/sys/fs/cgroup/user.slice/{slice}/user@{uid}.service/devbox.slice");
        for slice in names(Path::new(&folder)) {
            let Some(name) = slice.strip_prefix("devbox-").and_then(|s| s.strip_suffix(".slice")) else { continue };
            let name = name.replace("\\x2d", "-");
            let events = format!("{folder}/{slice}/cgroup.events");
            if fs::read_to_string(events).is_ok_and(|text| text.lines().any(|l| l == "populated 1")) {
                found.insert((uid, name));
            }
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.take(MOST).filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
}
