//! What an archive says of itself: the manifest before its volumes and the checksums after them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::error::shown;
use crate::spec::{self, BoxSpec};

/// The `format` this program writes; raised when an older program could misread it.
pub const FORMAT: u32 = 1;

/// The archive's first entry. Nothing in it is of one host alone, but for the spec's mounts, which are not taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    pub made_at: Timestamp,
    pub consistency: Consistency,
    /// The `box.toml` of the box that it is of.
    pub spec: BoxSpec,
    /// In the archive's order: what is more important comes first.
    #[serde(default)]
    pub volumes: Vec<Volume>,
}

/// What a box did while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// Nothing ran in it.
    Stopped,
    /// It ran: files are as after a power cut, and not all of the same moment.
    CrashConsistent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    pub part: Part,
    pub priority: Priority,
}

/// Which of a box's volumes it is; their names are of the box that they are restored to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Home,
    State,
}

/// How important a volume is: 1 is the most, 9 the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no backup priority: 1 (the most important) to 9")]
pub struct PriorityError(String);

/// The archive's last entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checksums {
    #[serde(default)]
    pub volumes: Vec<VolumeSum>,
}

/// What came before of one volume, in all its chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSum {
    pub part: Part,
    pub bytes: u64,
    pub chunks: u32,
    /// SHA-256, as sha256sum(1) prints it.
    pub sha256: String,
}

impl Manifest {
    pub(super) fn from_toml(text: &str) -> Result<Self, BackupError> {
        /// Read before the rest, which may look otherwise in another format.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let wrong =
            |e: &toml::de::Error| BackupError::damaged(format!("its manifest: {}", shown(e.message().as_bytes())));
        let Version { format } = toml::from_str(text).map_err(|e| wrong(&e))?;
        if format != FORMAT {
            return Err(BackupError::Format(format));
        }
        let manifest: Self = toml::from_str(text).map_err(|e| wrong(&e))?;
        if manifest.spec.format != spec::FORMAT {
            return Err(BackupError::damaged(format!("its box.toml is of format {}", manifest.spec.format)));
        }
        let mut parts: Vec<Part> = manifest.volumes.iter().map(|v| v.part).collect();
        parts.sort_unstable();
        if parts.windows(2).any(|two| two[0] == two[1]) {
            return Err(BackupError::damaged("its manifest names a volume twice"));
        }
        Ok(manifest)
    }

    pub fn has(&self, part: Part) -> bool {
        self.volumes.iter().any(|v| v.part == part)
    }
}

impl Checksums {
    pub fn of(&self, part: Part) -> Option<&VolumeSum> {
        self.volumes.iter().find(|v| v.part == part)
    }

    /// Bytes of all volumes.
    pub fn bytes(&self) -> u64 {
        self.volumes.iter().map(|v| v.bytes).sum()
    }
}

impl Consistency {
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::CrashConsistent => "crash-consistent",
        }
    }
}

impl Part {
    pub fn word(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::State => "state",
        }
    }

    /// Where the volume's label says nothing else: what a person made before what can be made again.
    pub fn default_priority(self) -> Priority {
        match self {
            Self::Home => Priority(1),
            Self::State => Priority(2),
        }
    }

    /// The name of a chunk's entry.
    pub(super) fn entry(self, number: u32) -> String {
        format!("{}.tar/{number:06}", self.word())
    }
}

impl Priority {
    pub const LEAST: Self = Self(9);
}

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, PriorityError> {
        text.parse().ok().and_then(|n: u8| Self::try_from(n).ok()).ok_or_else(|| PriorityError(text.to_owned()))
    }
}

impl TryFrom<u8> for Priority {
    type Error = PriorityError;

    fn try_from(number: u8) -> Result<Self, PriorityError> {
        if (1..=9).contains(&number) { Ok(Self(number)) } else { Err(PriorityError(number.to_string())) }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
