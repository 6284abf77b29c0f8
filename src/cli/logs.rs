//! `logs NAME…`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::error::{Failure, Kind};
use super::output::Output;
use crate::host::{Account, entry, journal};
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
    let arguments = journal::arguments(&boxes, args.follow, args.tail, args.since.as_deref(), args.timestamps);
    // It replaces this process: its status is ours, and -f ends with Ctrl-C as anywhere.
    let error = Command::new("journalctl").args(arguments).exec();
    Err(Failure::new(Kind::Backend, format!("journalctl cannot be run: {error}")))
}
