//! Which tests a run has: those of every commit, all of them, or the former and a commit's slice of the rest.

use std::str::FromStr;

use sha2::{Digest, Sha256};

/// How often a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In each run.
    EveryCommit,
    /// With `--all`, and in the slice of one commit in [`SLICES`].
    Slow,
}

/// So many commits in a row run every slow test once.
pub const SLICES: u64 = 10;

/// The choice of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Those of every commit.
    EveryCommit,
    /// The same, and the slow ones of this slice, which is below [`SLICES`].
    Slice(u64),
    /// All.
    All,
}

impl Choice {
    /// Whether the run has the test of that name.
    pub fn has(self, tier: Tier, name: &str) -> bool {
        match (self, tier) {
            (_, Tier::EveryCommit) | (Self::All, _) => true,
            (Self::EveryCommit, Tier::Slow) => false,
            (Self::Slice(slice), Tier::Slow) => slice_of(name) == slice,
        }
    }
}

/// By its name alone: a new test moves no other into another slice.
fn slice_of(name: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(name).into();
    digest.iter().take(8).fold(0, |sum: u64, byte| (sum << 8) | u64::from(*byte)) % SLICES
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EveryCommit => f.write_str("every-commit"),
            Self::Slice(slice) => write!(f, "slice-{slice}"),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for Choice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let slice = text.strip_prefix("slice-").and_then(|n| n.parse().ok()).filter(|n| *n < SLICES);
        match (text, slice) {
            ("every-commit", _) => Ok(Self::EveryCommit),
            ("all", _) => Ok(Self::All),
            (_, Some(slice)) => Ok(Self::Slice(slice)),
            _ => anyhow::bail!("{text:?} is none of every-commit, all and slice-0 to slice-{}", SLICES - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slices_together_have_each_slow_test_once() {
        for n in 0..500 {
            let name = format!("room::test_{n}");
            let runs = (0..SLICES).filter(|slice| Choice::Slice(*slice).has(Tier::Slow, &name)).count();
            assert_eq!(runs, 1, "{name}");
        }
    }

    #[test]
    fn tests_of_every_commit_are_in_every_run() {
        for choice in [Choice::EveryCommit, Choice::Slice(3), Choice::All] {
            assert!(choice.has(Tier::EveryCommit, "room::test"), "{choice}");
        }
        assert!(!Choice::EveryCommit.has(Tier::Slow, "room::test"));
        assert!(Choice::All.has(Tier::Slow, "room::test"));
    }

    #[test]
    fn a_choice_is_read_as_it_is_written() {
        for choice in [Choice::EveryCommit, Choice::Slice(0), Choice::Slice(9), Choice::All] {
            assert_eq!(choice.to_string().parse::<Choice>().unwrap(), choice);
        }
        for text in ["", "slice-10", "slice--1", "slice-", "ALL"] {
            assert!(text.parse::<Choice>().is_err(), "{text:?}");
        }
    }
}
