//! What the host as a whole may promise, and what it has left now. Only the broker knows these facts.

use super::limits::Request;
use crate::settings::Settings;
use crate::spec::Memory;

/// What all owners together hold, reservations included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Promised {
    pub boxes: u64,
    pub cpu_millis: u64,
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostRefusal {
    #[error("this host has {held} boxes, and {limit} is its limit")]
    Boxes { held: u64, limit: u32 },
    #[error("this host has promised {} of its {} processors, and {} more are asked for", units(*.promised), units(*.limit), units(*.asked))]
    Cpu { promised: u64, asked: u64, limit: u64 },
    #[error("this host has promised {} of its {} of memory, and {} more are asked for", gib(*.promised), gib(*.limit), gib(*.asked))]
    Memory { promised: u64, asked: u64, limit: u64 },
}

/// Decides over the sum of what is promised; that is what makes it hold when all boxes run.
pub fn admit(request: Request<'_>, promised: Promised, settings: &Settings) -> Result<(), HostRefusal> {
    if promised.boxes >= u64::from(settings.host_max_boxes) {
        return Err(HostRefusal::Boxes { held: promised.boxes, limit: settings.host_max_boxes });
    }
    let asked = u64::from(request.cpu.millis());
    if let Some(limit) = settings.host_total_cpu.map(u64::from)
        && promised.cpu_millis.saturating_add(asked) > limit
    {
        return Err(HostRefusal::Cpu { promised: promised.cpu_millis, asked, limit });
    }
    let asked = request.memory.bytes();
    if let Some(limit) = settings.host_total_memory.map(Memory::bytes)
        && promised.memory_bytes.saturating_add(asked) > limit
    {
        return Err(HostRefusal::Memory { promised: promised.memory_bytes, asked, limit });
    }
    Ok(())
}

/// What the kernel says at this moment (proc_meminfo(5), PSI).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Free {
    pub available_bytes: u64,
    /// Share of the last ten seconds in which some task waited for memory, in percent; none where PSI is off.
    pub pressure: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoRoom {
    #[error("this host has {} of memory left now, and starting a box of {} needs a quarter of that", gib(*.available), gib(*.wanted))]
    Memory { available: u64, wanted: u64 },
    #[error("this host is short of memory now: tasks waited for it {pressure:.0} % of the last ten seconds")]
    Pressure { pressure: f64 },
}

const MOST_PRESSURE: f64 = 40.0;

/// Whether a box can be started now. A box rarely takes all it may, so a quarter has to be there; the kernel holds the
/// rest to account.
pub fn room(memory_bytes: u64, free: Free) -> Result<(), NoRoom> {
    if free.available_bytes < memory_bytes / 4 {
        return Err(NoRoom::Memory { available: free.available_bytes, wanted: memory_bytes });
    }
    match free.pressure {
        Some(pressure) if pressure > MOST_PRESSURE => Err(NoRoom::Pressure { pressure }),
        _ => Ok(()),
    }
}

fn units(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        (millis / 1000).to_string()
    } else {
        format!("{}.{}", millis / 1000, millis % 1000 / 100)
    }
}

fn gib(bytes: u64) -> String {
    if bytes >= 10 << 30 { format!("{}G", bytes >> 30) } else { format!("{}M", bytes >> 20) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decide(promised: Promised, cpu: &str, memory: &str, settings: &str) -> Result<(), HostRefusal> {
        let settings = Settings::read(&[("t".to_owned(), settings.to_owned())]).unwrap();
        let name = "abc".parse().unwrap();
        admit(
            Request { owner: "alice", name: &name, cpu: cpu.parse().unwrap(), memory: memory.parse().unwrap() },
            promised,
            &settings,
        )
    }

    #[test]
    fn limits_of_the_host() {
        let promised = Promised { boxes: 6, cpu_millis: 14_500, memory_bytes: 60 << 30 };
        assert_eq!(decide(promised, "2", "4G", ""), Ok(()));
        assert_eq!(
            decide(Promised { boxes: 7, ..promised }, "2", "4G", ""),
            Err(HostRefusal::Boxes { held: 7, limit: 7 })
        );
        let limits = "[host]\ntotal_cpu = 16\ntotal_memory = \"64G\"\n";
        assert_eq!(decide(promised, "1.5", "4G", limits), Ok(()));
        let cpu = decide(promised, "2", "4G", limits).unwrap_err();
        assert_eq!(cpu.to_string(), "this host has promised 14.5 of its 16 processors, and 2 more are asked for");
        let memory = decide(promised, "1", "5G", limits).unwrap_err();
        assert_eq!(memory.to_string(), "this host has promised 60G of its 64G of memory, and 5120M more are asked for");
    }

    #[test]
    fn room_now() {
        let free = |gib: u64, pressure| Free { available_bytes: gib << 30, pressure };
        assert_eq!(room(4 << 30, free(1, None)), Ok(()));
        assert!(matches!(room(8 << 30, free(1, Some(0.0))), Err(NoRoom::Memory { .. })));
        assert!(matches!(room(1 << 30, free(64, Some(41.0))), Err(NoRoom::Pressure { .. })));
    }

    proptest! {
        #[test]
        fn never_more_than_the_host_may_promise(asked in prop::collection::vec((1_u32..80, 1_u64..20), 0..40)) {
            let settings = Settings::read(&[("t".to_owned(), "[host]\nmax_boxes = 12\ntotal_cpu = 16\ntotal_memory = \"64G\"\n".to_owned())]).unwrap();
            let mut held = Promised::default();
            let name = "abc".parse().unwrap();
            for (cpu, memory) in asked {
                let request = Request { owner: "x", name: &name, cpu: format!("{}.{}", cpu / 10, cpu % 10).parse().unwrap_or("1".parse().unwrap()), memory: format!("{memory}G").parse().unwrap() };
                if admit(request, held, &settings).is_ok() {
                    held.boxes += 1;
                    held.cpu_millis += u64::from(request.cpu.millis());
                    held.memory_bytes += request.memory.bytes();
                }
            }
            prop_assert!(held.boxes <= 12 && held.cpu_millis <= 16_000 && held.memory_bytes <= 64 << 30);
        }
    }
}
