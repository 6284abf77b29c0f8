//! The QEMU process of a machine.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::dir::VmDir;
use super::recipe;
use crate::{interrupt, paths, run};

/// A machine is emulated, and its boot takes half a minute where nothing else runs.
const BOOT_DEADLINE: Duration = Duration::from_mins(5);

/// What the kernel is told: where to write, nothing to do that a machine of a few minutes has no need of.
const KERNEL: &str = "console=ttyS0 quiet loglevel=4 mitigations=off nokaslr systemd.condition-needs-update=no \
                      systemd.gpt_auto=no";

/// Starts a machine that answers ssh on that loopback port.
pub(super) fn start(dir: &VmDir, template: &Path, port: u16) -> Result<(Running, Child)> {
    let log = OpenOptions::new().create(true).append(true).open(dir.file("log")).context("cannot write the log")?;
    let errors = log.try_clone().context("cannot share the log")?;
    let mut qemu = Command::new("qemu-system-x86_64");
    // Emulated, one processor, and this model without that one feature: QEMU 7.2 panics the guest with anything more.
    qemu.args(["-accel", "tcg,thread=single,tb-size=512", "-smp", "1", "-cpu", "Westmere,-cx16", "-m", "2048"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-append", KERNEL]);
    qemu.arg("-kernel").arg(template.join("kernel")).arg("-initrd").arg(template.join("initramfs"));
    // What the machine writes goes into a file that QEMU unlinks at once: it lasts over a reboot, and not longer.
    let disk = template.join("disk");
    qemu.arg("-drive").arg(option("format=raw,if=virtio,snapshot=on,file=", &disk)).env("TMPDIR", dir.path());
    qemu.args(["-device", "virtio-rng-pci", "-device", "virtio-net-pci,netdev=net,romfile="]);
    let (network, outer, inner) = (recipe::NETWORK, recipe::OUTER, recipe::INNER);
    // The last address of the four has to be named, or QEMU takes one that is not of this network.
    let ends = format!("net={network},host={outer},dhcpstart={inner},dns=198.18.0.3");
    qemu.arg("-netdev");
    qemu.arg(format!("user,id=net,restrict=on,{ends},hostfwd=tcp:127.0.0.1:{port}-{inner}:22"));
    qemu.arg("-serial").arg(serial(dir, "console")).arg("-serial").arg(serial(dir, "ready"));
    // A process group of its own: it may outlive this process and does not hear its Ctrl-C.
    qemu.process_group(0).current_dir("/").stdin(Stdio::null()).stdout(log).stderr(errors);
    let child = qemu.spawn().context("cannot run qemu-system-x86_64")?;
    paths::write(&dir.file("pid"), child.id().to_string())?;
    // Not through `find`: for a moment after an exec there is no command line to read.
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
    Ok((Running(pidfd_open(pid, PidfdFlags::empty()).context("cannot watch QEMU")?), child))
}

fn serial(dir: &VmDir, name: &str) -> OsString {
    let mut word = OsString::from("file:");
    word.push(dir.file(name));
    word
}

/// An option with a path at its end; a comma in it is written twice.
fn option(start: &str, path: &Path) -> String {
    format!("{start}{}", path.display().to_string().replace(',', ",,"))
}

/// A machine that is up.
#[derive(Debug)]
pub(super) struct Running(OwnedFd);

/// The machine's QEMU if it runs. A pid file outlives a crash and pids are reused: what counts is the command line.
pub(super) fn find(dir: &VmDir) -> Option<Running> {
    let pid: i32 = dir.number("pid")?;
    // Opened before the check, so that it is the checked process that is signalled later.
    let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let word = serial(dir, "console");
    line.split(|b| *b == 0).any(|w| w == word.as_encoded_bytes()).then_some(Running(handle))
}

impl Running {
    /// Ends QEMU at once and waits until it has.
    pub(super) fn kill(&self) -> Result<()> {
        match pidfd_send_signal(&self.0, Signal::KILL) {
            Err(e) if e != rustix::io::Errno::SRCH => return Err(e).context("cannot kill QEMU"),
            _ => {}
        }
        if !self.ends_within(Duration::from_secs(10))? {
            bail!("QEMU survives SIGKILL");
        }
        Ok(())
    }

    fn ends_within(&self, patience: Duration) -> Result<bool> {
        let timeout = Timespec::try_from(patience).context("too long a time to wait")?;
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        Ok(poll(&mut fds, Some(&timeout)).context("cannot wait for QEMU")? > 0)
    }
}

/// How often the machine has said that its users can work: once for each boot.
pub(super) fn boots(dir: &VmDir) -> usize {
    dir.read("ready").unwrap_or_default().lines().filter(|l| l.trim() == "ready").count()
}

/// Waits until the machine has booted that many times.
pub(super) fn await_boot(dir: &VmDir, running: &Running, times: usize) -> Result<()> {
    let begun = Instant::now();
    while boots(dir) < times {
        interrupt::check()?;
        let console = dir.read("console").unwrap_or_default();
        let failed = if console.contains("Kernel panic") {
            "its kernel panicked".to_owned()
        } else if begun.elapsed() > BOOT_DEADLINE {
            format!("not booted after {} s", BOOT_DEADLINE.as_secs())
        } else if running.ends_within(Duration::from_millis(100))? {
            format!("QEMU ended:\n{}", run::tail(&dir.read("log").unwrap_or_default()))
        } else {
            continue;
        };
        bail!("{failed}; the end of its console:\n{}", run::tail(&console));
    }
    Ok(())
}
