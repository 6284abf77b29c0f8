//! The nspawn process of a host: is it there, and the wait for its end.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::dir::HostDir;

/// A host that is up.
#[derive(Debug)]
pub(crate) struct Running {
    handle: OwnedFd,
    /// PID 1 of the host, as seen from outside.
    pub(crate) leader: u32,
}

/// The host's nspawn if it runs. A pid file outlives a crash and pids are reused: what counts is the command line.
pub(crate) fn find(dir: &HostDir) -> Option<Running> {
    let (pid, leader) = (number(&dir.pid_file())?, number(&dir.leader_file())?);
    // Opened before the check, so that it is the checked process that is signalled later.
    let handle = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
    let ours = is_nspawn_of(pid, &dir.root()) && is_leader(leader, pid);
    ours.then_some(Running { handle, leader })
}

fn number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn is_nspawn_of(pid: u32, root: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let directory = [b"--directory=", root.as_os_str().as_encoded_bytes()].concat();
    let mut words = line.split(|b| *b == 0);
    words.next().is_some_and(|w| w.ends_with(b"systemd-nspawn")) && words.any(|w| w == directory)
}

fn is_leader(leader: u32, nspawn: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{leader}/status")) else { return false };
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    field("PPid:") == Some(nspawn.to_string().as_str()) && field("NSpid:").is_some_and(|ids| ids.ends_with("\t1"))
}

impl Running {
    /// Asks for an orderly poweroff; nspawn passes it on to the host's PID 1.
    pub(crate) fn power_off(&self) -> Result<()> {
        pidfd_send_signal(&self.handle, Signal::TERM).context("cannot ask the host to power off")
    }

    /// Ends nspawn at once; its children die with it.
    pub(crate) fn kill(&self) -> Result<()> {
        match pidfd_send_signal(&self.handle, Signal::KILL) {
            Err(e) if e != rustix::io::Errno::SRCH => Err(e).context("cannot kill systemd-nspawn"),
            _ => Ok(()),
        }
    }

    /// Waits until nspawn has ended; false when it has not by then.
    pub(crate) fn wait(&self, patience: Duration) -> Result<bool> {
        let timeout = Timespec::try_from(patience).context("too long a time to wait")?;
        let mut fds = [PollFd::new(&self.handle, PollFlags::IN)];
        Ok(poll(&mut fds, Some(&timeout)).context("cannot wait for the host")? > 0)
    }
}
