//! A box's name: also its host name, and part of unit, volume and container names.

use std::fmt;
use std::str::FromStr;

use super::serde_by_text;

/// 3-63 characters (a DNS label, RFC 1035), lowercase letters, digits and single hyphens, a letter first, no
/// hyphen last. No double hyphen, because `--` separates a box from its parts in generated names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoxName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name has 3 to 63 characters, and this has {0}")]
    Length(usize),
    #[error("a name starts with a lowercase letter")]
    Start,
    #[error("a name ends with a letter or a digit")]
    End,
    #[error("a name has no two hyphens in a row")]
    DoubleHyphen,
    #[error("{0} is a name of every machine's own, and no box's")]
    Taken(&'static str),
    #[error("a name has lowercase letters, digits and hyphens, and no {0:?}")]
    Character(char),
}

/// `ssh` and browsers would not look for a box under these (RFC 6761; systemd-resolved(8), "Synthetic Records").
const TAKEN: [&str; 3] = ["invalid", "localdomain", "localhost"];

impl BoxName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BoxName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let length = text.chars().count();
        if let Some(odd) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(NameError::Character(odd));
        }
        if !(3..=63).contains(&length) {
            return Err(NameError::Length(length));
        }
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(NameError::Start);
        }
        if text.ends_with('-') {
            return Err(NameError::End);
        }
        if text.contains("--") {
            return Err(NameError::DoubleHyphen);
        }
        if let Some(taken) = TAKEN.into_iter().find(|taken| *taken == text) {
            return Err(NameError::Taken(taken));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for BoxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_by_text!(BoxName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_the_contract() {
        let longest = "a".repeat(63);
        for good in ["abc", "a1b", "my-project", "a-b-c", longest.as_str()] {
            assert_eq!(good.parse::<BoxName>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(64);
        for (bad, why) in [
            ("", NameError::Length(0)),
            ("ab", NameError::Length(2)),
            (too_long.as_str(), NameError::Length(64)),
            ("localhost", NameError::Taken("localhost")),
            ("-abc", NameError::Start),
            ("1abc", NameError::Start),
            ("abc-", NameError::End),
            ("a--b", NameError::DoubleHyphen),
            ("Abc", NameError::Character('A')),
            ("ünï", NameError::Character('ü')),
            ("../x", NameError::Character('.')),
            ("x;y", NameError::Character(';')),
            ("abc\n", NameError::Character('\n')),
            ("a b", NameError::Character(' ')),
            ("a\0b", NameError::Character('\0')),
        ] {
            assert_eq!(bad.parse::<BoxName>(), Err(why), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_name_is_a_dns_label_or_refused(text in "[a-z0-9-]{0,70}|\\PC{0,8}") {
            if let Ok(name) = text.parse::<BoxName>() {
                let name = name.as_str();
                assert!((3..=63).contains(&name.len()));
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
                assert!(!name.contains("--") && !name.starts_with('-') && !name.ends_with('-'));
            }
        }
    }
}
