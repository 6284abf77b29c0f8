//! `report`: what the owner's own timer runs (systemd/devbox-report.timer).

use super::error::Failure;
use super::output::Output;
use super::session::Session;
use crate::host::entries;

/// Tell the broker which boxes you have and what disk they use
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, out: Output) -> Result<(), Failure> {
    let session = Session::begin(out, None)?;
    let Some(broker) = session.host.broker()? else {
        out.remark("this host has no broker to tell");
        return Ok(());
    };
    let boxes: Vec<(String, u32, u64)> = entries(&session.host.account)?
        .into_iter()
        .filter_map(|entry| {
            let spec = entry.spec.ok()?;
            Some((entry.name.to_string(), spec.cpu.millis(), spec.memory.bytes()))
        })
        .collect();
    let disk = session.host.podman.disk_bytes()?;
    broker.report(&boxes, disk)?;
    out.remark(&format!("told the broker of {} boxes and {}", boxes.len(), super::output::size(disk)));
    Ok(())
}
