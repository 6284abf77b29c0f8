//! Runs a command in a box. It gets the signals that this process gets, and ends when this process ends.
//!
//! `podman exec` passes no signal on, and leaves the command behind when it is killed. So a small shell in the box waits
//! beside the command for what comes through a pipe: the names of signals, or the pipe's end.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use async_signal::{Signal, Signals};
use command_fds::{CommandFdExt, FdMapping};
use futures_util::StreamExt;
use nix::sys::signal;
use nix::unistd::{self, Pid};

use super::HostError;
use super::podman::Podman;

/// What `sh -c` runs in the box before it becomes the command, whose process group it leads (crun starts each command in
/// a session of its own). What waits beside it is no child of the command's, and in no group or terminal of its.
const START: &str = r#"watch=$1
shift
( setsid sh -c "$watch" devbox-watch $$ </dev/null >/dev/null 2>&1 & )
exec 3<&-
exec "$@""#;

/// What waits. A command that `sudo` runs takes signals from root alone.
const WATCH: &str = r#"group=$1
to() { kill -s "$1" -- "-$group" || sudo -n kill -s "$1" -- "-$group"; }
while read -r word <&3; do
	[ "$word" = end ] && exit
	to "$word"
done
to HUP && to CONT && sleep 5 && to KILL"#;

/// Signals that go to the command.
const PASSED: [(Signal, &str); 6] = [
    (Signal::Hup, "HUP"),
    (Signal::Int, "INT"),
    (Signal::Quit, "QUIT"),
    (Signal::Term, "TERM"),
    (Signal::Usr1, "USR1"),
    (Signal::Usr2, "USR2"),
];

/// The command as it is run in the box.
pub fn watched(command: &[String]) -> Vec<String> {
    let shell = ["sh", "-c", START, "devbox-exec", WATCH].map(str::to_owned);
    shell.into_iter().chain(command.iter().cloned()).collect()
}

/// Runs podman with these arguments, which have [`watched`] in them, and `--preserve-fds=1`.
///
/// # Errors
/// [`HostError::Podman`] where it cannot be run.
pub fn run(podman: &Podman, arguments: &[String]) -> Result<u8, HostError> {
    tracing::debug!("podman {}", arguments.join(" "));
    let failed = |e: io::Error| HostError::Podman { what: "exec", stderr: e.to_string() };
    let (theirs, mut ours) = io::pipe().map_err(failed)?;
    let ignored = ignored();
    let passed = PASSED.iter().map(|(signal, _)| *signal).filter(|signal| !ignored.contains(&(*signal as i32)));
    let mut signals = Signals::new(passed.chain([Signal::Child, Signal::Winch, Signal::Tstp])).map_err(failed)?;
    await_foreground();
    // podman has a session of its own, so that the terminal sends its signals to this process alone. It can still read and
    // write the terminal.
    let mut command = Command::new("setsid");
    command.arg("podman").args(arguments).env_clear().envs(podman.environment());
    command
        .fd_mappings(vec![FdMapping { parent_fd: theirs.into(), child_fd: 3 }])
        .map_err(|e| failed(io::Error::other(e)))?;
    let mut child = command.spawn().map_err(failed)?;
    // With it goes our copy of the other end.
    drop(command);
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            // `end` says that the command has ended, so that the shell that waits in the box sends it no signal. It is not
            // written where podman alone ended: killed by a signal, as at a closed pipe, or failed by itself.
            if status.code().is_some_and(|code| code != PODMANS_OWN) {
                let _ = ours.write_all(b"end\n");
            }
            return Ok(code(status));
        }
        match zbus::block_on(signals.next()) {
            Some(Ok(Signal::Child)) => {}
            Some(Ok(Signal::Winch)) => drop(signal::kill(pid, signal::Signal::SIGWINCH)),
            // Podman must not read what is typed for others meanwhile.
            Some(Ok(Signal::Tstp)) => {
                let _ = signal::kill(pid, signal::Signal::SIGSTOP);
                let _ = signal::raise(signal::Signal::SIGSTOP);
                await_foreground();
                let _ = signal::kill(pid, signal::Signal::SIGCONT);
            }
            Some(Ok(signal)) => {
                let word = PASSED.iter().find(|(passed, _)| *passed == signal).map_or("TERM", |(_, word)| word);
                // The write fails when the command has ended, which is seen next.
                let _ = writeln!(ours, "{word}");
            }
            Some(Err(e)) => return Err(failed(e)),
            None => return child.wait().map(code).map_err(failed),
        }
    }
}

/// Podman's status for a failure of its own (podman-exec(1), Exit Status).
const PODMANS_OWN: i32 = 125;

/// More often than a person moves one command between foreground and background.
const MOST_STOPS: usize = 64;

/// A job in the background that reads from the terminal is stopped until it is in the foreground. The kernel does that for
/// processes of the terminal's session, of which podman is none here.
fn await_foreground() {
    let stdin = io::stdin();
    let is_behind = || unistd::tcgetpgrp(&stdin).is_ok_and(|foreground| foreground != unistd::getpgrp());
    // A group that no shell looks after is not stopped, and goes on (signal(7), orphaned process groups).
    for _ in 0..MOST_STOPS {
        if !is_behind() || signal::raise(signal::Signal::SIGTTIN).is_err() {
            return;
        }
    }
}

/// The numbers of the signals that this process was started to ignore, as nohup(1) has it ignore SIGHUP.
fn ignored() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    (1..=64).filter(|number| mask >> (number - 1) & 1 == 1).collect()
}

/// As a shell says it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}
