//! What is seen of a running box from outside: files of cgroupfs and procfs. No process is started and none is entered.
//!
//! What lies below /proc/PID/root is the box's: nothing there is read, only looked up without following links.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fstat};

use crate::policy::life::activity::{Seen, carried_much};
use crate::quadlet::names;
use crate::spec::BoxName;

/// Larger is none of these files.
const LONGEST: u64 = 1 << 20;
/// More terminals than anybody has.
const MOST_TERMINALS: usize = 1024;

/// A box's container as the kernel knows it: the identity of this run, and what is seen of it. `carried`: the bytes that
/// its network had carried at the last look.
pub(super) fn look(uid: u32, name: &BoxName, carried_before: Option<u64>) -> Option<(String, Seen)> {
    let (run, cgroup) = payload(uid, name)?;
    let mut seen = Seen {
        cpu: text(&cgroup.join("cpu.stat")).and_then(|t| field(&t, "usage_usec")),
        io: text(&cgroup.join("io.stat")).and_then(|t| transferred(&t)),
        ..Seen::default()
    };
    if let Some(process) = first_process(&cgroup) {
        seen.net = text(&process.join("net/dev")).map(|t| carried(&t));
        // The kernel goes through all of the host's connections for each of these: milliseconds. Only where it matters.
        if seen.net.zip(carried_before).is_some_and(|(now, before)| carried_much(before, now)) {
            let connections = |file: &str| text(&process.join(file)).map_or(0, |t| established(&t));
            seen.connections = Some(connections("net/tcp") + connections("net/tcp6"));
        }
        if let Some(root) = Root::of(&process) {
            seen.terminals = root.terminals();
            seen.claimed = root.changed("run/devbox/active");
        }
    }
    Some((run, seen))
}

/// Whether there is anything to look at.
pub(super) fn runs(uid: u32, name: &BoxName) -> bool {
    payload(uid, name).is_some()
}

/// The cgroup that podman makes for the box's processes, and the container's number, which is another at each start.
fn payload(uid: u32, name: &BoxName) -> Option<(String, PathBuf)> {
    let manager = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/devbox.slice");
    let service = Path::new(&manager).join(names::slice(name)).join(names::service(name));
    fs::read_dir(service).ok()?.find_map(|entry| {
        let entry = entry.ok()?;
        let run = entry.file_name().to_str()?.strip_prefix("libpod-payload-")?.to_owned();
        Some((run, entry.path()))
    })
}

/// The folder in /proc of the box's own first process: others may have other views of the file system.
fn first_process(cgroup: &Path) -> Option<PathBuf> {
    text(&cgroup.join("cgroup.procs"))?.lines().find_map(|pid| {
        let folder = Path::new("/proc").join(pid);
        let status = text(&folder.join("status"))?;
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        (numbers.split_whitespace().skip(1).eq(["1"])).then_some(folder)
    })
}

/// The box's file system.
struct Root(OwnedFd);

impl Root {
    fn of(process: &Path) -> Option<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(&process.join("root"), flags, Mode::empty()).ok().map(Self)
    }

    fn open(&self, path: &str, flags: OFlag) -> Option<OwnedFd> {
        let resolve =
            ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        openat2(self.0.as_fd(), path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve)).ok()
    }

    fn changed(&self, path: &str) -> Option<i64> {
        let stat = fstat(self.open(path, OFlag::O_PATH)?).ok()?;
        Some(stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec))
    }

    /// The kernel notes as a terminal's access time when what was typed on it was read, to eight seconds (w(1) shows idle
    /// times by it).
    fn terminals(&self) -> Option<BTreeMap<u32, i64>> {
        let folder = self.open("dev/pts", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK)?;
        let mut listing = Dir::from_fd(folder).ok()?;
        let numbers: Vec<u32> = listing
            .iter()
            .take(MOST_TERMINALS)
            .filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok())
            .collect();
        let read = |n: u32| Some((n, fstat(self.open(&format!("dev/pts/{n}"), OFlag::O_PATH)?).ok()?.st_atime));
        Some(numbers.into_iter().filter_map(read).collect())
    }
}

fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// `8:0 rbytes=1 wbytes=2 …` of each device.
fn transferred(text: &str) -> Option<u64> {
    let words = text.split_whitespace().filter_map(|w| w.strip_prefix("rbytes=").or(w.strip_prefix("wbytes=")));
    words.map(|w| w.parse::<u64>().ok()).sum()
}

/// Bytes in and out of each interface but the loopback.
fn carried(text: &str) -> u64 {
    let of = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        (name.trim() != "lo").then(|| numbers.first().unwrap_or(&0).saturating_add(*numbers.get(8).unwrap_or(&0)))
    };
    text.lines().filter_map(of).sum()
}

/// The fourth column is the state, and 01 is established (proc_pid_net(5)).
fn established(text: &str) -> u32 {
    let is = |line: &&str| line.split_whitespace().nth(3) == Some("01");
    u32::try_from(text.lines().filter(is).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes() {
        assert_eq!(field("usage_usec 168328\nuser_usec 49733\n", "usage_usec"), Some(168_328));
        assert_eq!(field("nr_periods 0\n", "usage_usec"), None);
        assert_eq!(transferred("8:0 rbytes=10 wbytes=5 rios=1\n8:16 rbytes=1 wbytes=0\n"), Some(16));
        assert_eq!(transferred(""), Some(0));
        let dev = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n    lo: 409 7 0 0 0 0 0 0 409 7 0 0 0 0 0 0\n host0: 100 2 0 0 0 0 0 0 176 2 0 0 0 0 0 0\n";
        assert_eq!(carried(dev), 276);
        let tcp = "  sl  local_address rem_address   st tx_queue\n   0: 0100007F:0016 00000000:0000 0A 0\n   1: 0100007F:1F90 0100007F:C350 01 0\n";
        assert_eq!(established(tcp), 1);
    }
}
