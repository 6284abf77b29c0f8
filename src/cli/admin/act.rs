//! `admin stop|start|destroy OWNER/NAME`: run as that owner, inside their slice, by the system's manager. Nothing of an
//! owner's is opened with other rights than theirs.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::Uid;

use crate::cli::error::{Failure, Kind};
use crate::spec::BoxName;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sudo devbox-ctl admin stop alice/my-project")]
pub(super) struct Args {
    #[arg(value_name = "OWNER/NAME")]
    which: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sudo devbox-ctl admin destroy --yes alice/my-project --keep-volume")]
pub(super) struct DestroyArgs {
    #[arg(value_name = "OWNER/NAME")]
    which: String,
    /// It is not asked, so this has to be said
    #[arg(short, long, required = true)]
    yes: bool,
    /// Keep its volumes
    #[arg(long)]
    keep_volume: bool,
}

pub(super) fn run(verb: &str, args: &Args) -> Result<(), Failure> {
    act(verb, &args.which, &[])
}

pub(super) fn destroy(args: &DestroyArgs) -> Result<(), Failure> {
    let options: &[&str] = if args.keep_volume { &["--yes", "--keep-volume"] } else { &["--yes"] };
    act("destroy", &args.which, options)
}

fn act(verb: &str, which: &str, options: &[&str]) -> Result<(), Failure> {
    let form = || {
        Failure::new(Kind::InvalidInput, format!("{which:?} is not OWNER/NAME")).hint("for example alice/my-project")
    };
    let (owner, name) = which.split_once('/').ok_or_else(form)?;
    let name: BoxName = name.parse()?;
    // Asked first: it knows who may, and the trail has it before it is done.
    let uid = super::broker()?.act(verb, owner, &name)?;
    if uid == 0 {
        return Err(Failure::new(Kind::NotAllowed, "root has no boxes"));
    }
    let program = std::env::current_exe().map_err(|e| Failure::new(Kind::Bug, format!("no path of my own: {e}")))?;
    let mut command = Command::new("systemd-run");
    command.args(["--system", "--quiet", "--collect", "--wait", "--pipe", "--service-type=exec"]);
    command.arg(format!("--uid={uid}"));
    command.arg(format!("--slice=user-{uid}.slice"));
    command.arg("--").arg(program).arg(verb).args(options).arg(name.as_str());
    tracing::debug!("{command:?}");
    let not_run = |error| Failure::new(Kind::Backend, format!("systemd-run cannot be run: {error}"));
    if Uid::effective().is_root() {
        return Err(not_run(command.exec()));
    }
    // devbox-ctl does not end one of these verbs with 1: it is systemd-run's own.
    match command.status().map_err(not_run)?.code() {
        Some(0) => Ok(()),
        Some(1) => Err(Failure::new(Kind::NotAllowed, "systemd does not let you act as another user")
            .hint(format!("`sudo devbox-ctl admin {verb} {}{which}`", if verb == "destroy" { "--yes " } else { "" }))),
        // What the verb said is on the terminal.
        Some(code) => std::process::exit(code),
        None => Err(Failure::new(Kind::Backend, "systemd-run was killed")),
    }
}
