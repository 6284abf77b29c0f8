//! Tests on a machine of its own kernel, emulated by QEMU: what the kernel enforces, which a lab host cannot.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use testbed::vm::Vm;

use crate::harness::rooms;
use crate::prelude::*;

rooms! {
    boxes,
    slice,
}

/// The name of the machine.
pub(crate) const NAME: &str = "test";

/// How long a command in the machine may take, in seconds. The slowest make or remove a box: a dozen.
const PATIENCE: &str = "90";

/// A booted machine with the program under test.
#[derive(Debug)]
pub(crate) struct Machine(Vm);

impl Place for Machine {
    /// A command with a deadline: one that a limit holds up for good is a failure, and not the end of the run.
    fn command(&self, user: &str, argv: &[&str]) -> Command {
        let ssh = self.0.command(user, argv);
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", PATIENCE]).arg(ssh.get_program()).args(ssh.get_args());
        command
    }
}

impl Machine {
    pub(crate) fn boot() -> Result<Self, Failed> {
        let vm = Vm::up(NAME).map_err(|e| format!("{e:#}"))?;
        let binary = std::env::var_os("DEVBOX_BIN").ok_or("DEVBOX_BIN names the program under test")?;
        vm.install(Path::new(&binary)).map_err(|e| format!("{e:#}"))?;
        Ok(Self(vm))
    }

    pub(crate) fn down(self) {
        self.0.halt().expect("the machine gone");
    }

    /// Puts a text of the administrator's into the machine.
    pub(crate) fn write(&self, path: &str, text: &str) -> Outcome {
        self.run_with("root", &["sh", "-c", "mkdir -p \"${1%/*}\" && cat >\"$1\"", "-", path], text).expect(0).map(drop)
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
