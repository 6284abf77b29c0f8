//! Programs that go on running beside this one: ended with it, or found again by what it left in a folder.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{paths, run};

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
pub struct Daemon(PathBuf);

impl Daemon {
    /// The one of that folder, running or not.
    pub fn of(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
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
        paths::create(&self.0)?;
        let log = OpenOptions::new().create(true).append(true).open(self.file("log")).context("cannot write a log")?;
        let errors = log.try_clone().context("cannot share the log")?;
        let mut command = match life {
            Life::Kept => Command::new(program),
            Life::Ours => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig=KILL", "--"]).arg(program);
                command
            }
        };
        command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &self.0);
        command.envs(environment.iter().map(|(k, v)| (k, v)));
        // A process group of its own: what ends it is not the terminal's Ctrl-C but what that leads to.
        command.process_group(0).current_dir("/").stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut child = spawn(command).with_context(|| format!("cannot run {}", program.display()))?;
        let written = paths::write(&self.file("pid"), child.id().to_string());
        if written.is_err() {
            let _ = child.kill();
        }
        // Reaps it whenever it ends, else it would be found long after.
        std::thread::spawn(move || child.wait());
        written
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.find().is_some()
    }

    /// A pid file outlives a crash and pids are reused: what counts is the command line.
    fn find(&self) -> Option<OwnedFd> {
        let pid: i32 = std::fs::read_to_string(self.file("pid")).ok()?.trim().parse().ok()?;
        // Opened before the check, so that it is the checked process that is signalled later.
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let folder = self.0.join("").into_os_string();
        line.windows(folder.len()).any(|w| w == folder.as_encoded_bytes()).then_some(handle)
    }

    /// Ends it at once, if it runs, and waits until it has ended.
    pub fn end(&self) -> Result<()> {
        let Some(handle) = self.find() else { return Ok(()) };
        match pidfd_send_signal(&handle, Signal::KILL) {
            Err(e) if e != rustix::io::Errno::SRCH => return Err(e).context("cannot end a process"),
            _ => {}
        }
        let timeout = Timespec::try_from(Duration::from_secs(10)).context("too long a time to wait")?;
        if poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout)).context("cannot wait for a process")? == 0 {
            bail!("the process of {} survives SIGKILL", self.0.display());
        }
        Ok(())
    }

    /// Polls until it is ready, for a program that does not say so; fails with the end of its log.
    pub fn await_ready(&self, patience: Duration, ready: impl Fn() -> bool) -> Result<()> {
        let begun = std::time::Instant::now();
        while !ready() {
            crate::interrupt::check()?;
            let why = if !self.runs() {
                "ended"
            } else if begun.elapsed() > patience {
                "is not ready"
            } else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            bail!("the program of {} {why}; the end of its log:\n{}", self.0.display(), run::tail(&self.log()));
        }
        Ok(())
    }
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
