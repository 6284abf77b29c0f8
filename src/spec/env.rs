//! An environment variable of a box.

use std::fmt;
use std::str::FromStr;

use super::serde_by_text;

/// `KEY=VALUE`. The value is literal: `$`, `%`, quotes and backslashes stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVar {
    key: String,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    // Neither shows what was typed: it may be a secret, or half of one.
    #[error("a variable has no `=`: it is given as KEY=VALUE")]
    Form,
    #[error("a variable's name has letters, digits and _ only, and no digit first")]
    Key,
    #[error("{0} is set by the box itself")]
    Reserved(String),
    // Podman reads the file line by line (podman-run(1), --env-file): a line break would begin another variable.
    #[error("the value of {0} has a line break or another control character, which an environment file cannot carry")]
    Value(String),
}

/// What the supervisor and Podman set; overriding them breaks the box or its readiness.
const RESERVED: [&str; 4] = ["NOTIFY_SOCKET", "container", "LISTEN_FDS", "LISTEN_PID"];

impl EnvVar {
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn value(&self) -> &str {
        &self.value
    }

    /// The variable with its value hidden, to show.
    #[must_use]
    pub fn masked(self) -> Self {
        Self { value: "(hidden)".to_owned(), ..self }
    }
}

impl FromStr for EnvVar {
    type Err = EnvError;

    fn from_str(text: &str) -> Result<Self, EnvError> {
        let (key, value) = text.split_once('=').ok_or(EnvError::Form)?;
        let mut characters = key.chars();
        let named = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !named || key.len() > 255 {
            return Err(EnvError::Key);
        }
        if RESERVED.contains(&key) {
            return Err(EnvError::Reserved(key.to_owned()));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(EnvError::Value(key.to_owned()));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

serde_by_text!(EnvVar);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_values_and_refused_ones() {
        for good in ["A=", "A=b=c", "_x1=%h $HOME ${A} \"q\" 'q' \\ # ü\t"] {
            assert_eq!(good.parse::<EnvVar>().unwrap().to_string(), good);
        }
        for bad in
            ["A", "=b", "1A=b", "A B=c", "A-B=c", "A=b\nC=d", "A=b\0", "A=\u{85}", "A=b\r", "NOTIFY_SOCKET=/x", ""]
        {
            assert!(bad.parse::<EnvVar>().is_err(), "{bad:?}");
        }
        for secret in ["hunter2", "hunter2 x=y", "A=hunter2\n"] {
            let error = secret.parse::<EnvVar>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        assert_eq!("A=b".parse::<EnvVar>().unwrap().masked().to_string(), "A=(hidden)");
    }
}
