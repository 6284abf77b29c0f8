//! Processor shares and memory sizes, as the contract writes them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::serde_by_text;

/// Processors, in thousandths: 0.1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu(u32);

/// Memory, 64M or more, shown in the unit it was given in. `2048M` and `2G` are equal.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    bytes: u64,
    in_gibibytes: bool,
}

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Memory {}

impl PartialOrd for Memory {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Memory {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("{0:?} is not a number of processors: write 2 or 0.5 (0.1 to 64)")]
    CpuForm(String),
    #[error("{0} processors is outside 0.1 to 64")]
    CpuRange(String),
    #[error("{0:?} is not a memory size: write 512M or 4G")]
    MemoryForm(String),
    #[error("{0} is too little memory: 64M is the least")]
    MemorySmall(String),
    #[error("{0} is more memory than can be counted")]
    MemoryLarge(String),
}

impl Cpu {
    /// In thousandths of a processor.
    pub fn millis(self) -> u32 {
        self.0
    }

    /// From thousandths, as they go over the bus.
    pub fn from_millis(millis: u32) -> Result<Self, SizeError> {
        format!("{}.{:03}", millis / 1000, millis % 1000).parse()
    }

    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl FromStr for Cpu {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let form = || SizeError::CpuForm(text.to_owned());
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.len() <= 9 && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 3 {
            return Err(form());
        }
        let whole: u32 = whole.parse().map_err(|_| form())?;
        let part: u32 = format!("{part:0<3}").parse().map_err(|_| form())?;
        match whole.checked_mul(1000).and_then(|w| w.checked_add(part)) {
            Some(millis) if (100..=64_000).contains(&millis) => Ok(Self(millis)),
            _ => Err(SizeError::CpuRange(text.to_owned())),
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        if part == 0 {
            return f.pad(&whole.to_string());
        }
        f.pad(format!("{whole}.{part:03}").trim_end_matches('0'))
    }
}

// A number in files, as in the contract's users.toml.
impl Serialize for Cpu {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1000) { s.serialize_u32(self.0 / 1000) } else { s.serialize_f64(self.as_f64()) }
    }
}

impl<'de> Deserialize<'de> for Cpu {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = Cpu;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of processors, 0.1 to 64")
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Cpu, E> {
                n.to_string().parse().map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Cpu, E> {
                n.to_string().parse().map_err(E::custom)
            }
            fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Cpu, E> {
                n.to_string().parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Number)
    }
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Memory {
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// From bytes, as they go over the bus: whole mebibytes.
    pub fn from_bytes(bytes: u64) -> Result<Self, SizeError> {
        if bytes.is_multiple_of(GIB) { format!("{}G", bytes / GIB) } else { format!("{}M", bytes / MIB) }.parse()
    }
}

impl FromStr for Memory {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let form = || SizeError::MemoryForm(text.to_owned());
        let (number, unit) = match (text.strip_suffix('M'), text.strip_suffix('G')) {
            (Some(number), _) => (number, MIB),
            (_, Some(number)) => (number, GIB),
            _ => return Err(form()),
        };
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(form());
        }
        let bytes = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(unit))
            // systemd reads the value into a 64-bit page count; a pebibyte is beyond any host of today.
            .filter(|bytes| *bytes <= 1 << 50)
            .ok_or_else(|| SizeError::MemoryLarge(text.to_owned()))?;
        if bytes < 64 * MIB {
            return Err(SizeError::MemorySmall(text.to_owned()));
        }
        if number.starts_with('0') {
            return Err(form());
        }
        Ok(Self { bytes, in_gibibytes: unit == GIB })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, letter) = if self.in_gibibytes { (GIB, 'G') } else { (MIB, 'M') };
        f.pad(&format!("{}{letter}", self.bytes / unit))
    }
}

serde_by_text!(Memory);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn processors() {
        for (text, millis, shown) in [
            ("2", 2000, "2"),
            ("0.1", 100, "0.1"),
            ("1.5", 1500, "1.5"),
            ("64", 64_000, "64"),
            ("0.125", 125, "0.125"),
            ("2.0", 2000, "2"),
        ] {
            let cpu: Cpu = text.parse().unwrap();
            assert_eq!((cpu.millis(), cpu.to_string().as_str()), (millis, shown));
        }
        for bad in ["0", "0.05", "64.001", "65", "-1", "", "x", "1e9", "1.2345", ".5", "1.", "NaN", "99999999999"] {
            assert!(bad.parse::<Cpu>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn memory() {
        for (text, bytes, shown) in [
            ("64M", 64 * MIB, "64M"),
            ("512M", 512 * MIB, "512M"),
            ("4G", 4096 * MIB, "4G"),
            ("2048M", 2048 * MIB, "2048M"),
        ] {
            let memory: Memory = text.parse().unwrap();
            assert_eq!((memory.bytes(), memory.to_string().as_str()), (bytes, shown));
        }
        for bad in [
            "0",
            "63M",
            "5X",
            "-1",
            "1e9G",
            "",
            "G",
            "4g",
            "4GB",
            "4 G",
            "99999999999999G",
            "0064M",
            "4194304000G",
            "\u{663}G",
        ] {
            assert!(bad.parse::<Memory>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 100_u32..=64_000, mib in 64_u64..=1 << 30) {
            let cpu = Cpu(millis);
            prop_assert_eq!(cpu.to_string().parse::<Cpu>(), Ok(cpu));
            let memory = Memory { bytes: mib * MIB, in_gibibytes: false };
            prop_assert_eq!(memory.to_string().parse::<Memory>(), Ok(memory));
        }
        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = (text.parse::<Cpu>(), text.parse::<Memory>());
        }
    }
}
