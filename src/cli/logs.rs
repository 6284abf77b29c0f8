//! `logs NAME…`.

use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::error::{Failure, Kind};
use super::output::{self, Output};
use crate::host::{Account, entry, journal};
use crate::shown::may_be_shown;
use crate::spec::BoxName;

/// Show what boxes wrote to the journal
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl logs my-project --tail 50\n  devbox-ctl logs my-project -f --since '10 min ago'"
)]
pub(super) struct Args {
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Only what is newer: a time or a span as journalctl(1) takes it
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
}

pub(super) fn run(args: &Args, _: Output) -> Result<(), Failure> {
    let account = Account::current()?;
    let mut boxes = Vec::new();
    for name in &args.names {
        let name: BoxName = name.parse()?;
        entry(&account, &name).ok_or_else(|| Failure::no_such_box(&name))?;
        boxes.push(name);
    }
    if !journal::is_readable(&account) {
        return Err(unreadable(&account));
    }
    let arguments =
        journal::arguments(&account, &boxes, args.follow, args.tail, args.since.as_deref(), args.timestamps);
    let mut command = Command::new("journalctl");
    command.args(arguments);
    let failed = |e: io::Error| Failure::new(Kind::Backend, format!("journalctl cannot be run: {e}"));
    if !io::stdout().is_terminal() {
        // It replaces this process: its status is ours, and -f ends with Ctrl-C as anywhere.
        return Err(failed(command.exec()));
    }
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let Some(lines) = child.stdout.take() else { return Ok(()) };
    show(BufReader::new(lines)).and_then(|()| child.wait()).map_err(failed)?;
    Ok(())
}

/// Else journalctl would say "No journal files were opened", or nothing.
fn unreadable(account: &Account) -> Failure {
    let uid = account.uid;
    Failure::new(Kind::Backend, "you may not read what your boxes wrote: journald keeps it in the system's journal")
        .fact(format!(
            "there is no journal of your user id {uid}: it is one that systemd keeps for services and containers, or this \
             host keeps no journal"
        ))
        .hint(format!(
            "`sudo usermod -aG systemd-journal {}` and a new login let you read it, with that of everybody else",
            account.user
        ))
}

/// A box writes what it likes; a terminal would obey it.
fn show(mut lines: impl BufRead) -> io::Result<()> {
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let text: String = String::from_utf8_lossy(&line).chars().filter(|c| *c == '\t' || may_be_shown(*c)).collect();
        output::line(&text);
        line.clear();
    }
    Ok(())
}
