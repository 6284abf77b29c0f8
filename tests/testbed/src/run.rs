//! Running other programs: to their end, or until we are interrupted.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{interrupt, paths};

/// How long a program may take to clean up after itself when we are interrupted.
const GRACE: Duration = Duration::from_secs(8);

/// Runs to the end with its output in `log`; the last of it goes into the error.
pub fn logged(command: &mut Command, log: &Path) -> Result<()> {
    if let Some(dir) = log.parent() {
        paths::create(dir)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(log);
    let file = file.with_context(|| format!("cannot write {}", log.display()))?;
    let from = file.metadata().context("cannot size the log")?.len();
    let errors = file.try_clone().context("cannot share the log")?;
    let child = spawn(command.stdin(Stdio::null()).stdout(file).stderr(errors))?;
    let status = finish(child)?;
    if !status.success() {
        let text = std::fs::read(log).unwrap_or_default();
        let ours = text.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default();
        bail!("{} failed ({status}):\n{}", shown(command), tail(&String::from_utf8_lossy(ours)));
    }
    Ok(())
}

/// Runs a short command to its end and gives its output.
pub fn output(command: &mut Command) -> Result<String> {
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let errors = child.stderr.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).map(|_| text)
        })
    });
    let mut text = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut text).with_context(|| format!("cannot read from {}", shown(command)))?;
    }
    let status = finish(child)?;
    if !status.success() {
        let errors = errors.and_then(|t| t.join().ok()).and_then(Result::ok).unwrap_or_default();
        bail!("{} failed ({status}):\n{}", shown(command), tail(&errors));
    }
    Ok(text)
}

/// Starts it in a process group of its own, so that it and its children can be ended together.
fn spawn(command: &mut Command) -> Result<Child> {
    command.process_group(0).spawn().with_context(|| format!("cannot run {}", shown(command)))
}

/// Waits for the end. Polls, since it watches for an interrupt too; what it waits for takes seconds.
fn finish(mut child: Child) -> Result<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a child")? {
            return Ok(status);
        }
        if let Err(interrupted) = interrupt::check() {
            end(&mut child);
            return Err(interrupted);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Asks the child's whole group to end, then makes it.
fn end(child: &mut Child) {
    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    // The group may be gone already: then there is nothing to end.
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

/// The last lines of a program's output, as far as an error needs them.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
