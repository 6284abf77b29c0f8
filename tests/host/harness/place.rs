//! Running commands in a place as its users: a lab host or a machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;

use expect_test::Expect;
use libtest_mimic::Failed;
use serde_json::Value;

use super::Outcome;
use super::stable::stable;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Fails with all output unless this was its exit code.
    pub(crate) fn expect(self, code: i32) -> Result<Self, Failed> {
        if self.code == code {
            Ok(self)
        } else {
            Err(format!("exit {} instead of {code}: {self:#?}", self.code).into())
        }
    }

    /// Fails unless this is all that the command said, after [`stable`].
    ///
    /// `UPDATE_EXPECT=1 cargo xtask test` writes what came into the test, for a reader to judge in the diff.
    pub(crate) fn shows(&self, wanted: &Expect) -> Outcome {
        let separator = if self.err.is_empty() { "" } else { "--- standard error\n" };
        shows(&format!("{}{separator}{}", self.out, self.err), wanted)
    }

    pub(crate) fn says(&self, text: &str) -> Outcome {
        let said = format!("{}{}", self.out, self.err);
        if said.contains(text) { Ok(()) } else { Err(format!("{text:?} is not in {said}").into()) }
    }

    pub(crate) fn json(&self) -> Result<Value, Failed> {
        serde_json::from_str(&self.out).map_err(|e| format!("{e}: {self:#?}").into())
    }
}

/// The same for a text that is no command's whole output, such as a file.
pub(crate) fn shows(text: &str, wanted: &Expect) -> Outcome {
    let text = stable(text);
    // It prints both texts and how they differ.
    std::panic::catch_unwind(|| wanted.assert_eq(&text))
        .map_err(|_| format!("the text is not the expected one (both are printed above):\n{text}").into())
}

/// A command at work; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    err: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a command");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut pipe = child.stderr.take().expect("a pipe");
        // Read all along: a full pipe would hold the command up.
        let err = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, out, err: Some(err) }
    }

    /// Whether it has not ended yet.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line)
    }

    /// Closes its standard input, if it has one, and waits for its end.
    pub(crate) fn finish(mut self) -> Ran {
        drop(self.child.stdin.take());
        let mut out = Vec::new();
        self.out.read_to_end(&mut out).expect("its output");
        let err = self.err.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let code = self.child.wait().expect("its end").code().unwrap_or(-1);
        Ran { code, out: String::from_utf8_lossy(&out).into_owned(), err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// A place with the program under test, and users in it.
pub(crate) trait Place {
    /// A command as that user, without a shell in between.
    fn command(&self, user: &str, argv: &[&str]) -> Command;

    fn run(&self, user: &str, argv: &[&str]) -> Ran {
        let mut command = self.command(user, argv);
        Ran::of(command.stdin(Stdio::null()).output().expect("a command"))
    }

    /// The same with that on its standard input.
    fn run_with(&self, user: &str, argv: &[&str], input: &str) -> Ran {
        let mut command = self.command(user, argv);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a command");
        // One that ends without reading it has its own reasons.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        Ran::of(child.wait_with_output().expect("its end"))
    }

    /// A command that has to succeed; its output.
    fn ok(&self, user: &str, argv: &[&str]) -> Result<String, Failed> {
        Ok(self.run(user, argv).expect(0)?.out)
    }

    /// devbox-ctl as alice.
    fn ctl(&self, arguments: &[&str]) -> Ran {
        self.run("alice", &[&["devbox-ctl"], arguments].concat())
    }

    /// A command that goes on while others run.
    fn spawn(&self, user: &str, argv: &[&str]) -> Running {
        Running::start(self.command(user, argv).stdin(Stdio::null()))
    }

    /// The same with a standard input that stays open until it is finished.
    fn spawn_with_input(&self, user: &str, argv: &[&str]) -> Running {
        Running::start(self.command(user, argv).stdin(Stdio::piped()))
    }
}
