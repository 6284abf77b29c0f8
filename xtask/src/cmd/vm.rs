//! `cargo xtask vm …`

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use clap::Subcommand;
use testbed::{tools, vm};

use super::build;

#[derive(Debug, Subcommand)]
pub(crate) enum Vm {
    /// Boot a machine with devbox-ctl and its box image, in place of one of that name
    Up {
        #[arg(default_value = "vm")]
        name: String,
    },
    /// Run a command in a machine: `vm in alice devbox-ctl create abc`, `vm in root bash`
    In {
        #[arg(long, default_value = "vm")]
        name: String,
        /// alice, bob, carol, dave or root
        user: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Reboot a machine
    Reboot {
        #[arg(default_value = "vm")]
        name: String,
    },
    /// End a machine at once; nothing of it is kept
    Down {
        #[arg(default_value = "vm")]
        name: String,
    },
}

pub(crate) fn run(verb: Vm) -> Result<()> {
    match verb {
        Vm::Up { name } => {
            let binary = build::release()?;
            tools::become_root()?;
            let vm = vm::Vm::up(&name)?;
            vm.install(&binary)?;
            vm.keep();
            Ok(())
        }
        Vm::In { name, user, command } => {
            tools::become_root()?;
            let vm = vm::Vm::attach(&name)?;
            let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
            let mut enter =
                if terminal { vm.command_on_terminal(&user, &command) } else { vm.command(&user, &command) };
            // In our place: terminal, signals and exit status are the command's.
            Err(enter.exec()).context("cannot run ssh")
        }
        Vm::Reboot { name } => {
            tools::become_root()?;
            vm::Vm::attach(&name)?.reboot()
        }
        Vm::Down { name } => {
            tools::become_root()?;
            vm::down(&name)
        }
    }
}
