//! `exec NAME -- CMD`.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::error::{Failure, Kind};
use super::output::Output;
use super::view::State;
use crate::host::podman::{self, Podman};
use crate::host::systemd::Systemd;
use crate::host::{Account, entry, exec};
use crate::quadlet::names;
use crate::spec::BoxName;

/// Run a command in a box; its exit status is the command's
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl exec my-project -- git status")]
pub(super) struct Args {
    name: String,
    /// As root in the box (you outside of it)
    #[arg(long)]
    root: bool,
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(super) fn run(args: &Args, _: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let (_, podman) = running(&name)?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let user = if args.root { "root" } else { "dev" };
    let mut arguments = podman::exec_arguments(&name, user, terminal, &exec::watched(&args.command));
    arguments.insert(1, "--preserve-fds=1".to_owned());
    let code = exec::run(&podman, &arguments)?;
    // Nothing is open that would have to be closed first.
    std::process::exit(code.into())
}

/// Fails unless the box is up: podman's own words for it are not kind.
pub(super) fn running(name: &BoxName) -> Result<(Account, Podman), Failure> {
    let account = Account::current()?;
    entry(&account, name).ok_or_else(|| Failure::no_such_box(name))?;
    let unit = names::service(name);
    let systemd = Systemd::connect(&account)?;
    let units = systemd.states(&unit)?;
    match State::of_unit(units.get(&unit)) {
        State::Running => {
            let podman = Podman::of(&account, &systemd)?;
            Ok((account, podman))
        }
        other => Err(Failure::new(Kind::AlreadySo, format!("{name} is {}", other.word()))
            .hint(format!("`devbox-ctl start {name}`"))),
    }
}

/// Becomes podman; returns only when that failed.
pub(super) fn replace(podman: &Podman, arguments: &[String]) -> Failure {
    tracing::debug!("podman {}", arguments.join(" "));
    let error = Command::new("podman").args(arguments).env_clear().envs(podman.environment()).exec();
    Failure::new(Kind::Backend, format!("podman cannot be run: {error}"))
}
