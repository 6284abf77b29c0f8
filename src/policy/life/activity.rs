//! Whether a box is used: what was seen of it at two moments, compared.
//!
//! Everything is seen from outside the box. What is compared are counters and changes, never one clock with another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::book::SHORTEST_STEP;

/// Share of a processor above which a box works, in thousandths. At rest it takes less than 1, with an editor open in a
/// browser that nobody looks at 27 (docs/idle.md has the measurements behind each floor).
pub const CPU_FLOOR: u64 = 50;
/// Bytes a second that are read and written.
pub const IO_FLOOR: u64 = 64 << 10;
/// Bytes a second over the box's network, while somebody is connected; such an editor sends 2100.
pub const NET_FLOOR: u64 = 8 << 10;

/// What is seen of a running box at one moment; what could not be read is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Microseconds of all its processes (cgroup v2, cpu.stat).
    pub cpu: Option<u64>,
    /// Bytes read and written (io.stat); only where the io controller is delegated.
    pub io: Option<u64>,
    /// Bytes in and out of its network (/proc/PID/net/dev).
    pub net: Option<u64>,
    /// Established connections in its network; looked at only where [`carried_much`].
    pub connections: Option<u32>,
    /// When something was last typed on each terminal, as the kernel notes it: only its changes are looked at.
    #[serde(default)]
    pub terminals: Option<BTreeMap<u32, i64>>,
    /// When a program in it last touched /run/devbox/active; likewise.
    pub claimed: Option<i64>,
}

impl Seen {
    /// With what was seen before, where now nothing could be.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.or(before.cpu),
            io: self.io.or(before.io),
            net: self.net.or(before.net),
            connections: self.connections,
            terminals: self.terminals.or(before.terminals),
            claimed: self.claimed.or(before.claimed),
        }
    }
}

/// What shows that a box is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It was started.
    Started,
    /// Something was typed on a terminal in it.
    Typed,
    /// It computed.
    Cpu,
    /// It read or wrote.
    Io,
    /// It was connected to, and something was sent.
    Network,
    /// A program in it said so.
    Claimed,
    /// Its owner's `busy` command said so.
    Busy,
    /// It is kept awake.
    Lease,
}

/// What two moments show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It was used, and how.
    Used(Vec<(Kind, String)>),
    /// It was not.
    Unused,
    /// What it takes to say so could not be read.
    Unknown,
}

/// Whether so many bytes can be above the floor, however soon after another the two looks were.
pub fn carried_much(before: u64, now: u64) -> bool {
    now.saturating_sub(before) >= NET_FLOOR * SHORTEST_STEP
}

/// `elapsed`: seconds between them in which the host was awake; not 0.
pub fn compare(before: &Seen, now: &Seen, elapsed: u64) -> Shown {
    let rate = |before: Option<u64>, now: Option<u64>| now?.checked_sub(before?)?.checked_div(elapsed);
    let mut used = Vec::new();
    if let (Some(old), Some(new)) = (&before.terminals, &now.terminals) {
        let typed = new.iter().filter(|(n, at)| old.get(n) != Some(at)).count();
        if typed > 0 {
            used.push((Kind::Typed, format!("on {}", count(typed, "terminal"))));
        }
    }
    let cpu = rate(before.cpu, now.cpu).map(|micros| micros / 1000);
    if let Some(millis) = cpu.filter(|millis| *millis >= CPU_FLOOR) {
        used.push((Kind::Cpu, format!("{} % of a processor", millis / 10)));
    }
    if let Some(bytes) = rate(before.io, now.io).filter(|bytes| *bytes >= IO_FLOOR) {
        used.push((Kind::Io, format!("{} KiB/s read and written", bytes >> 10)));
    }
    let net = rate(before.net, now.net).filter(|bytes| *bytes >= NET_FLOOR);
    if let (Some(bytes), Some(connections @ 1..)) = (net, now.connections) {
        let connections = count(connections as usize, "connection");
        used.push((Kind::Network, format!("{} KiB/s with {connections}", bytes >> 10)));
    }
    if now.claimed.is_some() && before.claimed != now.claimed {
        used.push((Kind::Claimed, "a program touched /run/devbox/active".to_owned()));
    }
    match (used.is_empty(), cpu, &before.terminals, &now.terminals) {
        (false, ..) => Shown::Used(used),
        // Without these two nobody can say that it was left alone.
        (true, Some(_), Some(_), Some(_)) => Shown::Unused,
        _ => Shown::Unknown,
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(cpu: u64, net: u64, connections: u32, terminals: &[(u32, i64)]) -> Seen {
        Seen {
            cpu: Some(cpu),
            io: Some(0),
            net: Some(net),
            connections: Some(connections),
            terminals: Some(terminals.iter().copied().collect()),
            claimed: None,
        }
    }

    fn kinds(before: &Seen, now: &Seen) -> Option<Vec<Kind>> {
        match compare(before, now, 300) {
            Shown::Used(used) => Some(used.into_iter().map(|(kind, _)| kind).collect()),
            Shown::Unused => Some(Vec::new()),
            Shown::Unknown => None,
        }
    }

    #[test]
    fn what_counts() {
        let rest = seen(0, 0, 0, &[]);
        // What tailscaled says to its control server; and an editor in a window that nobody looks at.
        assert_eq!(kinds(&rest, &seen(300_000, 50_000, 2, &[])), Some(vec![]));
        assert_eq!(kinds(&rest, &seen(8_100_000, 630_000, 3, &[])), Some(vec![]));
        assert_eq!(kinds(&rest, &seen(15_000_000, 0, 0, &[])), Some(vec![Kind::Cpu]));
        // A terminal that is there and does not move is none; one that went is none either.
        let open = seen(0, 0, 0, &[(0, 7), (1, 9)]);
        assert_eq!(kinds(&open, &open), Some(vec![]));
        assert_eq!(kinds(&open, &seen(0, 0, 0, &[(0, 7)])), Some(vec![]));
        assert_eq!(kinds(&open, &seen(0, 0, 0, &[(0, 7), (1, 10)])), Some(vec![Kind::Typed]));
        // A clock that was set back does not hide it.
        assert_eq!(kinds(&open, &seen(0, 0, 0, &[(0, 7), (1, 2)])), Some(vec![Kind::Typed]));
        // Connected alone is no use, and neither is what is sent with nobody there.
        assert_eq!(kinds(&rest, &seen(0, 10_000, 3, &[])), Some(vec![]));
        assert_eq!(kinds(&rest, &seen(0, 9_000_000, 0, &[])), Some(vec![]));
        assert_eq!(kinds(&rest, &seen(0, 9_000_000, 1, &[])), Some(vec![Kind::Network]));
        let claimed = Seen { claimed: Some(5), ..rest.clone() };
        assert_eq!(kinds(&rest, &claimed), Some(vec![Kind::Claimed]));
        assert_eq!(kinds(&claimed, &claimed), Some(vec![]));
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_rest() {
        let rest = seen(500, 0, 0, &[]);
        assert_eq!(kinds(&rest, &Seen { cpu: None, ..rest.clone() }), None);
        assert_eq!(kinds(&rest, &Seen { terminals: None, ..rest.clone() }), None);
        // A counter that went back is another's.
        assert_eq!(kinds(&rest, &seen(100, 0, 0, &[])), None);
        assert_eq!(compare(&rest, &rest, 0), Shown::Unknown);
        // Where the io controller is not delegated, and no network can be seen, the rest decides.
        assert_eq!(kinds(&rest, &Seen { io: None, net: None, connections: None, ..rest.clone() }), Some(vec![]));
        assert_eq!(kinds(&Seen::default(), &Seen::default()), None);
    }
}
