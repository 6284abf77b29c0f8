//! Programs that go on running beside this one: ended with it, or found again by what it left in a folder.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::lab::Netns;
use crate::{interrupt, paths, run};

/// How long a program lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// No longer than this process, however that ends.
    Ours,
    /// Until somebody ends it.
    Kept,
}

/// A program's folder: its `pid`, its `log`, and what else it keeps there. The program is given paths in it, by which
/// it is known again.
#[derive(Debug, Clone)]
pub struct Daemon {
    folder: PathBuf,
    netns: Option<Netns>,
}

impl Daemon {
    /// The one of that folder, running or not.
    pub fn of(folder: PathBuf) -> Self {
        Self { folder, netns: None }
    }

    /// The same in a network namespace, once it is started.
    pub fn within(folder: PathBuf, netns: &Netns) -> Self {
        Self { folder, netns: Some(netns.clone()) }
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What it has said; of all its runs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.file("log")).unwrap_or_default()).into_owned()
    }

    /// Starts it, with nothing of this process's environment.
    pub fn start(
        &self,
        program: &Path,
        arguments: &[OsString],
        environment: &[(&str, OsString)],
        life: Life,
    ) -> Result<()> {
        paths::create(&self.folder)?;
        let log = OpenOptions::new().create(true).append(true).open(self.file("log")).context("cannot write a log")?;
        let errors = log.try_clone().context("cannot share the log")?;
        let in_netns = |program: &OsStr| match &self.netns {
            Some(netns) => netns.command(program),
            None => Command::new(program),
        };
        let mut command = match life {
            Life::Kept => in_netns(program.as_os_str()),
            Life::Ours => {
                let mut command = in_netns(OsStr::new("setpriv"));
                command.args(["--pdeathsig=KILL", "--"]).arg(program);
                command
            }
        };
        command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &self.folder);
        command.envs(environment.iter().map(|(k, v)| (k, v)));
        // A process group of its own: what ends it is not the terminal's Ctrl-C but what that leads to.
        command.process_group(0).current_dir("/").stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut child = spawn(command).with_context(|| format!("cannot run {}", program.display()))?;
        let written = paths::write(&self.file("pid"), child.id().to_string());
        if written.is_err() {
            let _ = child.kill();
        }
        let pid = child.id();
        // Reaps it whenever it ends, else it would be found long after.
        std::thread::spawn(move || child.wait());
        written?;
        await_exec(pid, program);
        Ok(())
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.find().is_some()
    }

    /// A pid file outlives a crash and pids are reused: what counts is the command line.
    fn find(&self) -> Option<(Pid, OwnedFd)> {
        let pid = Pid::from_raw(std::fs::read_to_string(self.file("pid")).ok()?.trim().parse().ok()?)?;
        // Opened before the check, so that it is the checked process that is signalled later.
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let begun = Instant::now();
        let mut line = Vec::new();
        // For a moment after an exec there is none to read, and of one that has ended there never is.
        while line.is_empty() && !ended(&handle, Duration::from_millis(1)).ok()? {
            if begun.elapsed() > Duration::from_secs(1) {
                return None;
            }
            line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
        }
        let folder = self.folder.join("").into_os_string();
        line.windows(folder.len()).any(|w| w == folder.as_encoded_bytes()).then_some((pid, handle))
    }

    /// Ends it at once, if it runs, and waits until it has ended.
    pub fn end(&self) -> Result<()> {
        let Some((pid, handle)) = self.find() else { return Ok(()) };
        // What it started is in its group, which is there as long as it is.
        let _ = kill_process_group(pid, Signal::KILL);
        match pidfd_send_signal(&handle, Signal::KILL) {
            Err(e) if e != rustix::io::Errno::SRCH => return Err(e).context("cannot end a process"),
            _ => {}
        }
        if !ended(&handle, Duration::from_mins(1))? {
            bail!("the process of {} survives SIGKILL", self.folder.display());
        }
        Ok(())
    }

    /// Polls until it is ready, for a program that does not say so; fails with the end of its log.
    pub fn await_ready(&self, patience: Duration, ready: impl Fn() -> bool) -> Result<()> {
        let begun = Instant::now();
        let handle = self.find();
        while !ready() {
            interrupt::check()?;
            let why = match &handle {
                Some((_, handle)) if !ended(handle, Duration::from_millis(10))? => {
                    if begun.elapsed() < patience {
                        continue;
                    }
                    "is not ready"
                }
                _ => "ended",
            };
            bail!("the program of {} {why}; the end of its log:\n{}", self.folder.display(), run::tail(&self.log()));
        }
        Ok(())
    }
}

/// Waits until nsenter and setpriv have become the program. While one executes the next, its command line can be read
/// as empty or as cut off, and would not be known again.
fn await_exec(pid: u32, program: &Path) {
    let begun = Instant::now();
    let is_program = || match std::fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => line.split(|b| *b == 0).next() == Some(program.as_os_str().as_encoded_bytes()),
        // The process has ended; `await_ready` reports that.
        Err(_) => true,
    };
    while !is_program() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the process has ended, or does so by then.
fn ended(handle: &OwnedFd, patience: Duration) -> Result<bool> {
    let timeout = Timespec::try_from(patience).context("too long a time to wait")?;
    Ok(poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout)).context("cannot wait for a process")? > 0)
}

type Order = (Command, Sender<std::io::Result<Child>>);

/// Starts it from a thread that lasts: what the kernel ends with its parent, it ends with the thread that began it.
fn spawn(command: Command) -> Result<Child> {
    static ORDERS: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // Whoever asked is waiting.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, child) = channel();
    let gone = || anyhow!("the thread that starts programs is gone");
    orders.lock().map_err(|_| gone())?.send((command, answer)).map_err(|_| gone())?;
    Ok(child.recv().map_err(|_| gone())??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_found_by_its_folder_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Daemon::of(dir.path().join("one")), Daemon::of(dir.path().join("other")));
        // Its folder's path as an argument, as a program's file would be.
        let arguments = ["-c".into(), "echo up; sleep 1000; exit".into(), one.file("config").into_os_string()];
        one.start(Path::new("/bin/sh"), &arguments, &[], Life::Ours).unwrap();
        one.await_ready(Duration::from_secs(10), || one.log() == "up\n").unwrap();
        // A pid that came to be another program's.
        paths::write(&other.file("pid"), std::fs::read(one.file("pid")).unwrap()).unwrap();
        assert!(one.runs() && !other.runs());
        other.end().unwrap();
        assert!(one.runs());
        one.end().unwrap();
        assert!(!one.runs());
        // The shell's own child is gone with it.
        let group = Pid::from_raw(std::fs::read_to_string(one.file("pid")).unwrap().parse().unwrap()).unwrap();
        let begun = Instant::now();
        while rustix::process::test_kill_process_group(group).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(10), "something of it goes on");
            std::thread::yield_now();
        }
        one.end().unwrap();
    }

    #[test]
    fn one_that_ends_early_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::of(dir.path().join("one"));
        let arguments = ["-c".into(), "echo no such thing".into(), daemon.file("config").into_os_string()];
        daemon.start(Path::new("/bin/sh"), &arguments, &[], Life::Kept).unwrap();
        let said = format!("{:#}", daemon.await_ready(Duration::from_secs(10), || false).unwrap_err());
        assert!(said.contains("ended") && said.contains("no such thing"), "{said}");
    }
}
