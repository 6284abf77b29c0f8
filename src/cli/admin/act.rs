//! `admin stop|start|destroy OWNER/NAME`: run as that owner, inside their slice, by the system's manager. Nothing of an
//! owner's is opened with other rights than theirs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::unistd::Uid;

use crate::cli::error::{Failure, Kind};
use crate::cli::output;
use crate::shown::printable;
use crate::spec::BoxName;

/// More than these verbs ever say.
const MOST_SAID: u64 = 64 << 10;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sudo devbox-ctl admin stop alice/my-project")]
pub(super) struct Args {
    #[arg(value_name = "OWNER/NAME")]
    which: String,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sudo devbox-ctl admin destroy --yes alice/my-project\n  sudo devbox-ctl admin destroy --yes --now alice/my-project"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct DestroyArgs {
    #[arg(value_name = "OWNER/NAME")]
    which: String,
    /// It is not asked, so this has to be said
    #[arg(short, long, required = true)]
    yes: bool,
    /// Delete the box at once and keep its volumes
    #[arg(long)]
    keep_volume: bool,
    /// Delete it and its data at once, for good; also one that is in the trash
    #[arg(long)]
    now: bool,
    /// Take the name from its owner even where the box is only busy
    #[arg(long)]
    evict: bool,
}

pub(super) fn run(verb: &str, args: &Args) -> Result<(), Failure> {
    act(verb, verb, &args.which, &[])
}

pub(super) fn destroy(args: &DestroyArgs) -> Result<(), Failure> {
    let mut options = vec!["--yes", "--by-administrator"];
    options.extend(args.keep_volume.then_some("--keep-volume"));
    options.extend(args.now.then_some("--now"));
    let noted = if args.now || args.keep_volume { "destroy --now" } else { "destroy" };
    let done = act("destroy", noted, &args.which, &options);
    let Err(failure) = done else { return Ok(()) };
    match next(failure.kind, args.evict) {
        Next::Leave => return Err(failure),
        Next::Busy => {
            return Err(Failure::new(Kind::TimedOut, format!("{} is busy, and is as it was", args.which))
                .fact("a backup of it may be on its way, or its owner may hold it up")
                .hint(format!(
                    "later again; `devbox-ctl admin destroy --yes --evict {}` takes the name from them",
                    args.which
                )));
        }
        Next::Evict => {}
    }
    let (owner, name) = parse(&args.which)?;
    match super::broker()?.evict(owner, &name) {
        Ok(()) => {
            Err(Failure::new(failure.kind, format!("the box {name} of {owner} could not be destroyed as {owner}"))
                .fact(format!("the name {name} is taken from {owner} all the same; what still runs meets their slice"))
                .hint(format!("`loginctl terminate-user {owner}` ends everything of theirs")))
        }
        Err(_) => Err(failure),
    }
}

/// What is to be done where a box could not be destroyed as its owner.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Leave,
    Busy,
    /// What is the owner's to do, an owner can hinder. The name is the broker's.
    Evict,
}

fn next(kind: Kind, evict: bool) -> Next {
    match kind {
        // One that is in the trash, or that the trash has no room for, is as it is by rule.
        Kind::InvalidInput | Kind::NotAllowed | Kind::OwnerLimit | Kind::AlreadySo | Kind::TailnetLeft => Next::Leave,
        Kind::TimedOut if !evict => Next::Busy,
        _ => Next::Evict,
    }
}

fn parse(which: &str) -> Result<(&str, BoxName), Failure> {
    let form = || {
        Failure::new(Kind::InvalidInput, format!("{which:?} is not OWNER/NAME")).hint("for example alice/my-project")
    };
    let (owner, name) = which.split_once('/').ok_or_else(form)?;
    Ok((owner, name.parse()?))
}

/// `noted`: the word for the audit trail.
fn act(verb: &str, noted: &str, which: &str, options: &[&str]) -> Result<(), Failure> {
    let (owner, name) = parse(which)?;
    // Asked first: it knows who may, and the trail has it before it is done.
    let uid = super::broker()?.act(noted, owner, &name)?;
    if uid == 0 {
        return Err(Failure::new(Kind::NotAllowed, "root has no boxes"));
    }
    let program = std::env::current_exe().map_err(|e| Failure::new(Kind::Bug, format!("no path of my own: {e}")))?;
    let mut command = Command::new("systemd-run");
    command.args(["--system", "--quiet", "--collect", "--wait", "--pipe", "--service-type=exec"]);
    // The owner could hold it up for good.
    command.arg("--property=RuntimeMaxSec=5min");
    command.arg(format!("--uid={uid}"));
    command.arg(format!("--slice=user-{uid}.slice"));
    command.arg("--").arg(program).arg(verb).args(options).arg(name.as_str());
    tracing::debug!("{command:?}");
    let code = run_apart(&mut command, owner)?;
    match code {
        // The process is the owner's, who can make it end with any status.
        Some(0) => is_done(verb, owner, &name),
        // devbox-ctl does not end one of these verbs with 1: it is systemd-run's own.
        Some(1) if !Uid::effective().is_root() => Err(Failure::new(
            Kind::NotAllowed,
            "systemd does not let you act as another user",
        )
        .hint(format!("`sudo devbox-ctl admin {verb} {}{which}`", if verb == "destroy" { "--yes " } else { "" }))),
        Some(code) => {
            let failure = Failure::of_another(code);
            let message =
                format!("`devbox-ctl {verb} {name}` of {owner} ended with status {code}; what it said is above");
            Err(Failure { message, ..failure })
        }
        None => Err(Failure::new(Kind::Backend, "systemd-run was killed")),
    }
}

/// What the ledger and the control groups show afterwards, whatever the owner's process said.
fn is_done(verb: &str, owner: &str, name: &BoxName) -> Result<(), Failure> {
    let boxes = super::broker()?.boxes(true)?;
    let held = boxes.iter().find(|b| b.owner == owner && b.name == name.as_str());
    let wrong = match (verb, held) {
        ("start", Some(held)) if !held.running => "it does not run",
        ("stop" | "destroy", Some(held)) if held.running => "it still runs",
        ("destroy", Some(held)) if held.trashed == 0 => "it is still a box in the ledger",
        ("start", None) => "the ledger has no such box",
        _ => return Ok(()),
    };
    Err(Failure::new(Kind::Backend, format!("{owner}'s devbox-ctl says that it is done, but {wrong}"))
        .hint(format!("`devbox-ctl admin audit --owner {owner}` has what was done; `loginctl terminate-user {owner}` ends everything of theirs")))
}

/// Runs it with pipes of ours: what runs as the owner could keep a terminal that it is given, read what is typed there
/// later, and write to it.
fn run_apart(command: &mut Command, owner: &str) -> Result<Option<i32>, Failure> {
    let failed = |error| Failure::new(Kind::Backend, format!("systemd-run cannot be run: {error}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (said, lines) = mpsc::sync_channel(64);
    let readers: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
        child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>),
    ];
    for (is_error, from) in [false, true].into_iter().zip(readers) {
        let (Some(from), said) = (from, said.clone()) else { continue };
        std::thread::spawn(move || {
            for line in BufReader::new(from.take(MOST_SAID)).split(b'\n').map_while(Result::ok) {
                if said.send((is_error, printable(&String::from_utf8_lossy(&line)))).is_err() {
                    return;
                }
            }
        });
    }
    drop(said);
    let mut ended = None;
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            // Whose words they are is said in each line.
            Ok((true, line)) => output::error_text(&format!("{owner}: {line}\n")),
            Ok((false, line)) => output::line(&format!("{owner}: {line}")),
            // The owner may keep our pipes open, and is not waited for.
            Err(_) if ended.is_some() => return Ok(ended.flatten()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                ended = child.try_wait().map_err(failed)?.map(|status| status.code());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(child.wait().map_err(failed)?.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_taken_for_being_busy() {
        assert_eq!(next(Kind::TimedOut, false), Next::Busy);
        assert_eq!(next(Kind::TimedOut, true), Next::Evict);
        assert_eq!(next(Kind::Backend, false), Next::Evict);
        assert_eq!(next(Kind::OwnerLimit, true), Next::Leave);
    }
}
