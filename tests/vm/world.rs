//! The machine as the tests see it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use libtest_mimic::Failed;
use xtask::vm::Vm;

pub(crate) type Outcome = Result<(), Failed>;

/// A room's tests and their names.
pub(crate) type Tests = &'static [(&'static str, fn(&World) -> Outcome)];

/// How long a command in the machine may take, in seconds. The slowest make or remove a box: a dozen.
const PATIENCE: &str = "90";

pub(crate) fn ensure(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// A booted machine with the program under test.
pub(crate) struct World(Vm);

/// How a command ended; with code 124 when it was cut off.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Fails with all that was said unless it ended so.
    pub(crate) fn expect(self, code: i32) -> Result<Self, Failed> {
        if self.code == code {
            Ok(self)
        } else {
            Err(format!("exit {} instead of {code}: {self:#?}", self.code).into())
        }
    }
}

/// A command at work, whose standard input is open: what runs in the machine ends with that.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// The next line that it says.
    pub(crate) fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line)
    }

    /// Closes its standard input; how it ended.
    pub(crate) fn finish(mut self) -> Result<Ran, Failed> {
        drop(self.child.stdin.take());
        let mut out = String::new();
        self.out.read_to_string(&mut out)?;
        let output = self.child.wait()?;
        Ok(Ran { code: output.code().unwrap_or(-1), out, err: String::new() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl World {
    pub(crate) fn boot() -> Self {
        let vm = Vm::boot("test").expect("a machine");
        let binary = std::env::var_os("DEVBOX_BIN").expect("DEVBOX_BIN names the program under test");
        vm.install(Path::new(&binary)).expect("the program installed");
        Self(vm)
    }

    pub(crate) fn down(self) {
        self.0.halt().expect("the machine gone");
    }

    /// A command with a deadline: one that a limit holds up for good is a failure, and not the end of the run.
    fn command(&self, user: &str, argv: &[&str]) -> Command {
        let ssh = self.0.command(user, argv);
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", PATIENCE]).arg(ssh.get_program()).args(ssh.get_args());
        command
    }

    pub(crate) fn run(&self, user: &str, argv: &[&str]) -> Ran {
        Ran::of(self.command(user, argv).stdin(Stdio::null()).output().expect("ssh"))
    }

    /// A command that has to go well; its output.
    pub(crate) fn ok(&self, user: &str, argv: &[&str]) -> Result<String, Failed> {
        Ok(self.run(user, argv).expect(0)?.out)
    }

    /// devbox-ctl as alice.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Ran {
        self.run("alice", &[&["devbox-ctl"], arguments].concat())
    }

    /// A command that goes on while others run.
    pub(crate) fn spawn(&self, user: &str, argv: &[&str]) -> Result<Running, Failed> {
        let mut child = self.command(user, argv).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        Ok(Running { child, out })
    }

    /// Puts a text of the administrator's into the machine.
    pub(crate) fn write(&self, path: &str, text: &str) -> Outcome {
        let mut child = self.command("root", &["sh", "-c", "mkdir -p \"${1%/*}\" && cat >\"$1\"", "-", path]);
        let mut child = child.stdin(Stdio::piped()).spawn()?;
        child.stdin.take().ok_or("no pipe")?.write_all(text.as_bytes())?;
        ensure(child.wait()?.success(), &format!("cannot write {path}"))
    }

    /// Takes everything away that a test before may have left.
    pub(crate) fn clean(&self) -> Outcome {
        self.ok("root", &["sh", "-c", "rm -rf /etc/devbox; devbox-ctl admin apply-limits"])?;
        let script = "for box in .config/containers/systemd/devbox/*/box.toml; do test -e \"$box\" || continue; \
                      box=${box%/box.toml}; box=${box##*/}; \
                      systemctl --user kill --signal=KILL \"devbox-$box.service\"; devbox-ctl destroy --now --yes \"$box\"; \
                      done; rm -rf .config/containers; systemctl --user reset-failed";
        self.ok("alice", &["sh", "-c", script]).map(drop)
    }
}
