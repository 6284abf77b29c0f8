//! What a person asks for: a [`BoxSpec`], made only of values that cannot be invalid.
//!
//! No word of Podman's or systemd's belongs here: a second backend takes the same spec.

mod env;
mod image;
mod mount;
mod name;
mod size;

use serde::{Deserialize, Serialize};

pub use env::{EnvError, EnvVar};
pub use image::{DEFAULT_IMAGE, ImageError, ImageRef};
pub use mount::{Mount, MountError};
pub use name::{BoxName, NameError};
pub use size::{Cpu, Memory, SizeError};

/// One box as its owner asked for it, defaults filled in. It is what `box.toml` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxSpec {
    /// Layout of this file; raised when an older program could misread it.
    pub format: u32,
    pub name: BoxName,
    pub image: ImageRef,
    pub cpu: Cpu,
    pub memory: Memory,
    pub created_at: jiff::Timestamp,
    pub dev: DevIs,
    #[serde(default, skip_serializing_if = "Tailnet::is_none")]
    pub tailnet: Tailnet,
    /// Whether Syncthing runs in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_syncthing: bool,
    /// Its own terms, in days; 0 is never. None: the owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_stop_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_destroy_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
}

/// Who the box's user `dev` is on the host. All files in its home belong to that id, so it is decided once for a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DevIs {
    /// An id of the owner's that is nobody else's: needs no copy of the image.
    Subordinate,
    /// The owner: may write the folders that the owner shows in the box.
    Owner,
}

/// Who lets the box onto the tailnet. Whether there is one, and which, is said at each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tailnet {
    /// Nobody: the box was made where there is neither a broker nor a provider of its owner's.
    #[default]
    None,
    /// The host's broker.
    Broker,
    /// Its owner, by a provider of their own: the box was made where there is no broker.
    Own,
}

impl Tailnet {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl DevIs {
    pub fn word(self) -> &'static str {
        match self {
            Self::Subordinate => "subordinate",
            Self::Owner => "owner",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Subordinate, Self::Owner].into_iter().find(|d| d.word() == word)
    }
}

/// Why a `box.toml` is not a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("{0}")]
    Syntax(String),
    #[error("it is of format {0}, and this devbox-ctl knows format {FORMAT}")]
    Format(u32),
}

/// The `format` this program writes.
pub const FORMAT: u32 = 1;

impl BoxSpec {
    /// The same box without the values of its variables, to show.
    #[must_use]
    pub fn masked(mut self) -> Self {
        self.env = self.env.into_iter().map(EnvVar::masked).collect();
        self
    }

    /// Reads the text of a `box.toml`.
    pub fn from_toml(text: &str) -> Result<Self, SpecError> {
        let spec: Self = toml::from_str(text).map_err(|e| SpecError::Syntax(e.message().to_owned()))?;
        if spec.format == FORMAT { Ok(spec) } else { Err(SpecError::Format(spec.format)) }
    }

    /// The text of its `box.toml`.
    ///
    /// # Errors
    /// Only when the serializer fails, which the types leave no way to.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// `FromStr` and `Display` as the serialized form, so a file cannot hold what a flag could not.
macro_rules! serde_by_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_by_text;

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sample() -> BoxSpec {
        BoxSpec {
            format: FORMAT,
            name: "my-project".parse().unwrap(),
            image: ImageRef::default(),
            cpu: "2".parse().unwrap(),
            memory: "4G".parse().unwrap(),
            created_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            dev: DevIs::Owner,
            tailnet: Tailnet::Broker,
            with_syncthing: true,
            idle_stop_days: Some(3),
            stopped_destroy_days: None,
            env: vec!["A=b c".parse().unwrap()],
            mounts: vec!["/home/alice/src:/src:ro".parse().unwrap()],
        }
    }

    #[test]
    fn a_spec_survives_its_file() {
        let spec = sample();
        assert_eq!(BoxSpec::from_toml(&spec.to_toml().unwrap()), Ok(spec));
    }

    #[test]
    fn what_a_flag_refuses_a_file_cannot_bring_in() {
        let text = sample().to_toml().unwrap();
        for (good, bad) in [
            ("my-project", "../x"),
            ("\"4G\"", "\"1M\""),
            ("A=b c", "A=b\\nc"),
            ("/src:ro", "/src:wx"),
            ("format = 1", "format = 2"),
            ("cpu", "cpus"),
        ] {
            let broken = text.replace(good, bad);
            assert_ne!(broken, text);
            assert!(BoxSpec::from_toml(&broken).is_err(), "{broken}");
        }
    }
}
