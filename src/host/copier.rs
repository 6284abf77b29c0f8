//! A volume's files out of it and into it, by a tar that runs in a container with nothing but that volume.
//!
//! What a box wrote is neither read nor unpacked by the owner's own processes: a file there is whatever the box made it.
//! The stream goes past conmon, through a file descriptor that podman passes on: through the container's standard
//! output it would be copied twice more.

mod call;

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::debug;

use super::podman::Podman;
use super::{HostError, Interrupts, lock};
use crate::backup::Part;
use crate::quadlet::names;
use crate::shown::printable;
use crate::spec::{BoxName, DevIs, ImageRef};

/// Whose volume, and what to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copy<'a> {
    pub(super) name: &'a BoxName,
    pub(super) volume: &'a str,
    pub(super) part: Part,
    /// The box's own: its tar is as good as the box.
    pub(super) image: &'a ImageRef,
    /// The mapping of ids is the box's, so that the stream has the ids of its inside.
    pub(super) dev: DevIs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    Into,
}

/// A copy at work. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Copying<'a, P> {
    pipe: Option<P>,
    process: Process<'a>,
    interrupts: &'a Interrupts,
}

#[derive(Debug)]
struct Process<'a> {
    child: Child,
    said: Option<JoinHandle<Said>>,
    podman: &'a Podman,
    container: String,
    ended: bool,
}

/// What tar had to say.
#[derive(Debug, Default)]
struct Said {
    last: String,
    sockets: u64,
}

impl Said {
    /// Then everything that follows is said because of it.
    fn is_full(&self) -> bool {
        self.last.contains(FULL)
    }
}

/// As the C library says it; tar itself says for most of a full disk that it "wrote only" so much.
const FULL: &str = "No space left on device";

/// How a copy ended that went well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copied {
    /// Sockets, which no archive can hold.
    pub(super) sockets: u64,
    /// Files changed while they were read.
    pub(super) changed: bool,
}

/// Held by whatever copies, and kept by it should devbox-ctl be killed: a volume is neither removed nor copied again
/// before.
#[derive(Debug)]
pub(super) struct CopyLock {
    file: File,
    /// The box's.
    folder: PathBuf,
}

impl CopyLock {
    pub(super) fn take(folder: &Path, what: &str, interrupts: &Interrupts) -> Result<Self, HostError> {
        let path = folder.join(names::COPYING_FILE);
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(HostError::io("making", &path))?;
        let file = lock::take_file(file, &path, what, interrupts)?;
        Ok(Self { file, folder: folder.to_owned() })
    }

    /// Waits for what a killed command left running.
    pub(super) fn wait(folder: &Path, what: &str, interrupts: &Interrupts) -> Result<(), HostError> {
        let path = folder.join(names::COPYING_FILE);
        match File::open(&path) {
            Ok(file) => lock::take_file(file, &path, what, interrupts).map(drop),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(HostError::io("locking", path)(e)),
        }
    }
}

/// Begins to read a volume.
pub(super) fn out<'a>(
    copy: Copy<'_>,
    podman: &'a Podman,
    lock: &CopyLock,
    interrupts: &'a Interrupts,
) -> Result<Copying<'a, PipeReader>, HostError> {
    let (ours, theirs) = io::pipe().map_err(piping)?;
    let process = begin(copy, Way::Out, podman, lock, theirs.into())?;
    Ok(Copying { pipe: Some(prepared(ours)?), process, interrupts })
}

/// Begins to fill a volume.
pub(super) fn into<'a>(
    copy: Copy<'_>,
    podman: &'a Podman,
    lock: &CopyLock,
    interrupts: &'a Interrupts,
) -> Result<Copying<'a, PipeWriter>, HostError> {
    let (theirs, ours) = io::pipe().map_err(piping)?;
    let process = begin(copy, Way::Into, podman, lock, theirs.into())?;
    Ok(Copying { pipe: Some(prepared(ours)?), process, interrupts })
}

fn begin<'a>(
    copy: Copy<'_>,
    way: Way,
    podman: &'a Podman,
    lock: &CopyLock,
    theirs: Stdio,
) -> Result<Process<'a>, HostError> {
    let arguments = call::arguments(copy, way);
    debug!("podman {}", arguments.join(" "));
    // The shell only moves the stream to where podman passes it on from.
    let script = match way {
        Way::Out => "exec podman \"$@\" 3>&1 >/dev/null",
        Way::Into => "exec podman \"$@\" 3<&1 >/dev/null",
    };
    let mut command = Command::new("sh");
    command.args(["-c", script, "podman"]).args(&arguments).env_clear().envs(podman.environment_in(&lock.folder));
    let held = lock.file.try_clone().map_err(piping)?;
    command.stdin(Stdio::from(held)).stdout(theirs).stderr(Stdio::piped());
    // Ctrl-C is ours to answer, not the child's.
    command.process_group(0);
    let mut child = command.spawn().map_err(|e| HostError::Podman { what: "run", stderr: e.to_string() })?;
    // With it goes our copy of their end of the pipe.
    drop(command);
    let said = child.stderr.take().map(|stderr| std::thread::spawn(move || listen(stderr)));
    Ok(Process { child, said, podman, container: names::copier(copy.name), ended: false })
}

fn piping(error: impl Into<io::Error>) -> HostError {
    HostError::Podman { what: "run", stderr: error.into().to_string() }
}

/// Our end of a pipe, which must not keep us from hearing a signal.
fn prepared<P: AsFd>(pipe: P) -> Result<P, HostError> {
    let flags = fcntl(&pipe, FcntlArg::F_GETFL).map_err(piping)?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(&pipe, FcntlArg::F_SETFL(flags)).map_err(piping)?;
    // Fewer turns; where it is not granted it goes without.
    let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(1 << 20));
    Ok(pipe)
}

fn listen(stderr: impl Read) -> Said {
    let mut said = Said::default();
    let mut from = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // In pieces: how long a line is, is said by who named the files.
        match from.by_ref().take(8192).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return said,
            Ok(_) if line.ends_with(b": socket ignored\n") => said.sockets += 1,
            Ok(_) => {
                let mut text = printable(String::from_utf8_lossy(&line).trim());
                if text.contains(": Wrote only ") {
                    text = format!("{FULL} ({text})");
                }
                // What tar says last of all only repeats that something was said.
                if !text.is_empty() && !text.contains("Exiting with failure status") && !said.is_full() {
                    said.last = text;
                }
            }
        }
    }
}

impl<P> Copying<'_, P> {
    /// Waits for the container's end.
    pub(super) fn finish(mut self, way: &'static str) -> Result<Copied, HostError> {
        drop(self.pipe.take());
        let status = self.process.child.wait().map_err(piping)?;
        self.process.ended = true;
        let said = self.process.said.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        match status.code() {
            Some(0) => Ok(Copied { sockets: said.sockets, changed: false }),
            // "Some files differ": they changed, or went, while they were read (tar(1)).
            Some(1) if way == READING => Ok(Copied { sockets: said.sockets, changed: true }),
            code => Err(HostError::Copy { way, said: if said.last.is_empty() { silent(code) } else { said.last } }),
        }
    }
}

/// Why a tar ended that said nothing: 128 and a signal's number, by the shell's and podman's rule.
fn silent(code: Option<i32>) -> String {
    match code {
        // Stack and memory are bounded, and tar takes some of both for each folder that it is in.
        Some(134 | 137 | 139) => {
            "tar ran out of memory; folders in folders, many thousands deep, are more than it can follow".to_owned()
        }
        Some(code) => format!("tar ended with status {code} and said nothing"),
        None => "podman was killed".to_owned(),
    }
}

pub(super) const READING: &str = "reading";
pub(super) const FILLING: &str = "filling";

impl Drop for Process<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.podman.remove_copier(&self.container);
            let _ = self.child.wait();
        }
    }
}

/// Until something can be done, or a signal came.
fn wait(pipe: BorrowedFd<'_>, flags: PollFlags, interrupts: &Interrupts) -> io::Result<()> {
    // A signal may come between a look and the wait, so that the wait is short.
    let most = PollTimeout::from(200_u8);
    loop {
        interrupts.check().map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(pipe, flags)], most) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

impl Read for Copying<'_, PipeReader> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(pipe) = self.pipe.as_mut() else { return Ok(0) };
        loop {
            match pipe.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    wait(pipe.as_fd(), PollFlags::POLLIN, self.interrupts)?;
                }
                other => return other,
            }
        }
    }
}

impl Write for Copying<'_, PipeWriter> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(pipe) = self.pipe.as_mut() else { return Ok(0) };
        loop {
            match pipe.write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    wait(pipe.as_fd(), PollFlags::POLLOUT, self.interrupts)?;
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
