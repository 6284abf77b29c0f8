//! The QEMU process of a machine.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
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

const RESUME_DEADLINE: Duration = Duration::from_mins(1);
const SAVE_DEADLINE: Duration = Duration::from_mins(3);

const PROGRAM: &str = "qemu-system-x86_64";

/// Of a template: what a booted machine wrote to its disk, and its memory and devices.
const OVERLAY: &str = "overlay.qcow2";
const STATE: &str = "state.gz";

/// What the kernel is told: where to write, nothing to do that a machine of a few minutes has no need of.
const KERNEL: &str = "console=ttyS0 quiet loglevel=4 mitigations=off nokaslr systemd.condition-needs-update=no \
                      systemd.gpt_auto=no";

/// Starts a machine from the state that [`save`] left in the template. It answers ssh on that loopback port.
pub(super) fn resume(dir: &VmDir, template: &Path, port: u16) -> Result<(Running, Child)> {
    let mut qemu = hardware(dir, template, port)?;
    // What the machine writes goes into a file that QEMU unlinks at once: it lasts over a reboot, and not longer.
    let disk = option("format=qcow2,if=virtio,snapshot=on,file=", &template.join(OVERLAY));
    qemu.arg("-drive").arg(disk).env("TMPDIR", dir.path());
    // Relative to the template, so that no path gets into a shell's line.
    qemu.arg("-incoming").arg(format!("exec:gzip -dc <{STATE}")).current_dir(template);
    spawn(dir, qemu)
}

/// Boots a machine from the template's `disk` and saves its state beside that, once its users can work.
pub(super) fn save(dir: &VmDir, template: &Path) -> Result<()> {
    let mut image = Command::new("qemu-img");
    image.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "disk", OVERLAY]).current_dir(template);
    run::output(&mut image)?;
    let mut qemu = hardware(dir, template, 0)?;
    let monitor = UnixListener::bind(dir.file("monitor")).context("cannot listen for QEMU's monitor")?;
    qemu.arg("-drive").arg(option("format=qcow2,if=virtio,file=", &template.join(OVERLAY)));
    qemu.arg("-monitor").arg(option("unix:", &dir.file("monitor"))).current_dir(template);
    let (running, mut child) = spawn(dir, qemu)?;
    let saved = await_boot(dir, &running, 1).and_then(|()| {
        let (mut monitor, _) = monitor.accept().context("QEMU's monitor is away")?;
        monitor.set_read_timeout(Some(SAVE_DEADLINE)).context("cannot set a timeout")?;
        // `migrate` holds the other two up until all is written. QEMU quits with success after a failed one too.
        let commands = format!("migrate \"exec:gzip -1 >{STATE}\"\ninfo migrate\nquit");
        writeln!(monitor, "{commands}").context("cannot ask QEMU to save the machine")?;
        let mut said = String::new();
        monitor.read_to_string(&mut said).context("QEMU does not save the machine")?;
        if said.contains("Migration status: completed") { Ok(()) } else { bail!("QEMU says {said:?}") }
    });
    if saved.is_err() {
        running.kill()?;
    }
    child.wait().context("cannot wait for QEMU")?;
    saved.with_context(|| format!("the machine was not saved:\n{}", run::tail(&dir.read("log").unwrap_or_default())))
}

/// All of a machine but its disk. The state of one fits only another that has the same.
fn hardware(dir: &VmDir, template: &Path, port: u16) -> Result<Command> {
    let log = OpenOptions::new().create(true).append(true).open(dir.file("log")).context("cannot write the log")?;
    let errors = log.try_clone().context("cannot share the log")?;
    let mut qemu = Command::new(PROGRAM);
    // Emulated, one processor, and this model without that one feature: QEMU 7.2 panics the guest with anything more.
    qemu.args(["-accel", "tcg,thread=single,tb-size=512", "-smp", "1", "-cpu", "Westmere,-cx16", "-m", "2048"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-append", KERNEL]);
    qemu.arg("-kernel").arg(template.join("kernel")).arg("-initrd").arg(template.join("initramfs"));
    qemu.args(["-device", "virtio-rng-pci", "-device", "virtio-net-pci,netdev=net,romfile="]);
    let (network, outer, inner) = (recipe::NETWORK, recipe::OUTER, recipe::INNER);
    // The last address of the four has to be named, or QEMU takes one that is not of this network.
    let ends = format!("net={network},host={outer},dhcpstart={inner},dns=198.18.0.3");
    qemu.arg("-netdev");
    qemu.arg(format!("user,id=net,restrict=on,{ends},hostfwd=tcp:127.0.0.1:{port}-{inner}:22"));
    qemu.arg("-serial").arg(serial(dir, "console")).arg("-serial").arg(serial(dir, "ready"));
    // A process group of its own: it may outlive this process and does not hear its Ctrl-C.
    qemu.process_group(0).stdin(Stdio::null()).stdout(log).stderr(errors);
    Ok(qemu)
}

fn spawn(dir: &VmDir, mut qemu: Command) -> Result<(Running, Child)> {
    let child = qemu.spawn().context("cannot run qemu-system-x86_64")?;
    paths::write(&dir.file("pid"), child.id().to_string())?;
    // Not through `find`: for a moment after an exec there is no command line to read.
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
    Ok((Running(pidfd_open(pid, PidfdFlags::empty()).context("cannot watch QEMU")?), child))
}

/// What `--version` says: a state is read by the version that wrote it.
pub(super) fn version() -> Result<String> {
    run::output(Command::new(PROGRAM).arg("--version"))
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

/// Waits until QEMU listens on the port. It does so once it has read the machine's state.
pub(super) fn await_port(dir: &VmDir, running: &Running, port: u16) -> Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        interrupt::check()?;
        let log = || run::tail(&dir.read("log").unwrap_or_default());
        if running.ends_within(Duration::from_millis(20))? {
            bail!("QEMU ended:\n{}", log());
        }
        if begun.elapsed() > RESUME_DEADLINE {
            bail!("QEMU does not listen after {} s:\n{}", RESUME_DEADLINE.as_secs(), log());
        }
    }
    Ok(())
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
