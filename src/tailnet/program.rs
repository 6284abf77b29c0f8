//! Programs that print a key. They get nothing of our environment, have a time limit, and leave no process behind.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::authkey::shown;
use super::trouble::{Doing, Mend, Trouble};

/// More than any key is long; a program that goes on printing must not fill our memory.
const LONGEST: usize = 4096;
/// Between looks whether a program that prints nothing has ended.
const LOOK: Duration = Duration::from_millis(10);

pub(super) struct Program<'a> {
    pub(super) argv: &'a [&'a str],
    /// Where it is looked for.
    pub(super) path: &'a str,
    pub(super) variables: &'a [(&'a str, &'a str)],
    /// What must not be in an error, whatever it looks like.
    pub(super) secrets: &'a [&'a str],
}

/// How a program ended.
pub(super) struct Ran {
    pub(super) good: bool,
    pub(super) out: String,
    /// Fit to be shown.
    pub(super) err: String,
}

/// A child at the head of a process group of its own. It is not waited for before its group is ended: until then nobody
/// else can have its number.
struct Group {
    head: Child,
    status: Option<ExitStatus>,
}

impl Group {
    /// Ends what is left of it.
    fn end(&mut self) -> std::io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let status = self.head.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.head.id().cast_signed())
    }

    fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// One of its outputs, of which the beginning is kept.
struct Output {
    pipe: Option<File>,
    text: Vec<u8>,
}

impl Output {
    fn of(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(File::from), text: Vec::new() }
    }

    fn read(&mut self) {
        let mut some = [0; 4096];
        match self.pipe.as_mut().map(|pipe| pipe.read(&mut some)) {
            Some(Ok(n)) if n > 0 => {
                let room = LONGEST - self.text.len();
                self.text.extend_from_slice(&some[..n.min(room)]);
            }
            _ => self.pipe = None,
        }
    }
}

/// Reads what comes in that time; whether something did.
fn read_some(outputs: &mut [Output; 2], wait: Duration) -> bool {
    let (mut fds, mut which) = (Vec::new(), Vec::new());
    for (n, output) in outputs.iter().enumerate() {
        if let Some(pipe) = &output.pipe {
            fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            which.push(n);
        }
    }
    let _ = poll(&mut fds, PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO));
    let ready: Vec<usize> = fds.iter().zip(which).filter(|(fd, _)| fd.any() == Some(true)).map(|(_, n)| n).collect();
    drop(fds);
    for n in &ready {
        outputs[*n].read();
    }
    !ready.is_empty()
}

/// Runs a program, and ends it with all that it has started when it takes longer than that.
pub(super) fn run(program: &Program<'_>, patience: Duration, until: Instant) -> Result<Ran, Trouble> {
    let name = program.argv.first().copied().unwrap_or_default();
    let trouble = |why: String| {
        Trouble::new(Doing::ReadingKey, why)
            .mend(Mend::Administrator(format!("run {name} by hand, as devboxd's user where there is a broker")))
    };
    let environment = [("PATH", program.path), ("LC_ALL", "C.UTF-8")];
    let child = Command::new(name)
        .args(program.argv.iter().skip(1))
        .env_clear()
        .envs(environment.into_iter().chain(program.variables.iter().copied()))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| trouble(format!("{name} cannot be run: {e}")))?;
    let mut group = Group { head: child, status: None };
    let mut outputs = [
        Output::of(group.head.stdout.take().map(OwnedFd::from)),
        Output::of(group.head.stderr.take().map(OwnedFd::from)),
    ];
    loop {
        // Looked at before its output is: what it has said is in the pipes by then.
        let ended = group.has_ended();
        let some = read_some(&mut outputs, if ended { Duration::ZERO } else { LOOK });
        if ended && !some {
            break;
        }
        if Instant::now() >= until {
            return Err(trouble(format!("{name} has not answered in {} seconds", patience.as_secs())));
        }
    }
    let status = group.end().map_err(|e| trouble(format!("{name}: {e}")))?;
    let [out, err] = outputs.map(|output| String::from_utf8_lossy(&output.text).into_owned());
    Ok(Ran { good: status.success(), out, err: shown(&err, program.secrets) })
}
