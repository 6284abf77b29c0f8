//! `report`: what the owner's own timer runs (systemd/devboxes-report.timer).

use jiff::Timestamp;

use super::error::Failure;
use super::output::Output;
use super::session::Session;
use crate::host::{AccountLock, Entry, entries, life, now, trashed_entries};

/// Tell the broker which boxes you have and what disk they use
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, out: Output) -> Result<(), Failure> {
    let session = Session::begin(out, None)?;
    out.remark(&tell(&session)?.unwrap_or_else(|| "this host has no broker to tell".to_owned()));
    Ok(())
}

/// What the broker was told; none where there is none.
pub(super) fn tell(session: &Session) -> Result<Option<String>, Failure> {
    let Some(broker) = session.host.broker()? else { return Ok(None) };
    // First what takes minutes: what is not in a report counts as gone.
    let disk = session.host.podman.disk_bytes()?;
    let _lock = AccountLock::take(&session.host.account, &session.host.interrupts)?;
    // One that cannot be read is there all the same; nothing is said of its size.
    let size = |entry: &Entry| entry.spec.as_ref().map_or((0, 0), |s| (s.cpu.millis(), s.memory.bytes()));
    let account = &session.host.account;
    // The trash last: what goes there meanwhile is in both, and its last word counts.
    let all = entries(account)?.into_iter().chain(trashed_entries(account)?);
    let boxes: Vec<(String, u32, u64, bool)> = all
        .map(|entry| {
            let (cpu, memory) = size(&entry);
            (entry.name.to_string(), cpu, memory, entry.trashed.is_some())
        })
        .collect();
    let book = life::read(account);
    let never = if book.is_young(now()) { -1 } else { 0 };
    broker.report(&boxes, disk, [book.sampled, book.cleaned].map(|at| at.map_or(never, Timestamp::as_second)))?;
    Ok(Some(format!("told the broker of {} boxes and {}", boxes.len(), super::output::size(disk))))
}
