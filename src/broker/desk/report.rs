//! What an owner's timer tells of their boxes.

use super::{Answer, Caller, Verdict, admission};
use crate::broker::ledger::{Ledger, Reported, Timers};
use crate::spec::BoxName;
use crate::wire::{Refused, Why};

/// Boxes in one report.
const MOST_REPORTED: usize = 1000;

fn reported((name, cpu, memory, trashed): &(String, u32, u64, bool)) -> Option<Reported> {
    let trashed = *trashed;
    // Its owner cannot read its size any more: it is there, and never adopted as a box.
    if (*cpu, *memory) == (0, 0) {
        return name.parse().ok().map(|name: BoxName| Reported { name: name.to_string(), cpu: 0, memory: 0, trashed });
    }
    let (name, cpu, memory) = admission::parse((name, *cpu, *memory)).ok()?;
    Some(Reported { name: name.to_string(), cpu: cpu.millis(), memory: memory.bytes(), trashed })
}

/// An owner's report, the whole of it or nothing.
pub(super) fn report(
    ledger: &Ledger<'_>,
    caller: &Caller,
    boxes: &[(String, u32, u64, bool)],
    disk_bytes: u64,
    timers: Timers,
) -> rusqlite::Result<Verdict> {
    if boxes.len() > MOST_REPORTED {
        // A part of it would make the others look lost.
        return Ok(Err(Refused::new(Why::InvalidInput, format!("a report has at most {MOST_REPORTED} boxes"))));
    }
    if ledger.reported_at(caller.uid)? == Some(timers.reported) {
        return Ok(Err(Refused::new(Why::TooMany, "one report a second is enough")));
    }
    let boxes: Vec<Reported> = boxes.iter().filter_map(reported).collect();
    ledger.report(caller.uid, timers, disk_bytes, &boxes)?;
    Ok(Ok(Answer::Done))
}
