//! `report`: what the owner's own timer runs (systemd/devboxes-report.timer).

use super::error::Failure;
use super::output::Output;
use super::session::Session;
use crate::host::{AccountLock, Entry, entries, life, trashed_entries};

/// Tell the broker which boxes you have and what disk they use
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, out: Output) -> Result<(), Failure> {
    let session = Session::begin(out, None)?;
    let Some(broker) = session.host.broker()? else {
        out.remark("this host has no broker to tell");
        return Ok(());
    };
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
    broker.report(&boxes, disk, [book.sampled, book.cleaned])?;
    out.remark(&format!("told the broker of {} boxes and {}", boxes.len(), super::output::size(disk)));
    Ok(())
}
