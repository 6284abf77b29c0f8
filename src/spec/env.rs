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
    #[error("a variable has no `=`, and none of that name is set in your environment")]
    Unset,
    #[error("a variable's name has letters, digits and _ only, and no digit first")]
    Key,
    #[error("{0} is set by the box itself")]
    Reserved(String),
    // Podman's reader of such a file ends at a longer line (Go's bufio.Scanner, MaxScanTokenSize).
    #[error("{0} is longer than the 64 KiB that an environment file can carry")]
    Long(String),
    // Podman reads the file line by line (podman-run(1), --env-file): a line break would begin another variable.
    #[error("the value of {0} has a line break or another control character, which an environment file cannot carry")]
    Value(String),
}

/// What the supervisor and Podman set; overriding them breaks the box or its readiness.
const RESERVED: [&str; 4] = ["NOTIFY_SOCKET", "container", "LISTEN_FDS", "LISTEN_PID"];

/// Bytes of a line, its line break with it.
const LONGEST: usize = 64 * 1024;

impl EnvVar {
    /// As podman-run(1) takes `--env`: a name alone has the value of the caller's own environment.
    ///
    /// # Errors
    /// [`EnvError::Unset`] for a name alone that is not set there, and those of a `KEY=VALUE`.
    pub fn given(text: &str, own: impl Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        if text.contains('=') {
            return text.parse();
        }
        // Judged before it is looked up or shown.
        format!("{text}=").parse::<Self>()?;
        match own(text) {
            Some(value) => format!("{text}={value}").parse(),
            None => Err(EnvError::Unset),
        }
    }

    /// Those of a file: one a line, as for `--env`. Empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is none, by its number, and what is wrong with it.
    pub fn of_lines(text: &str, own: impl Fn(&str) -> Option<String>) -> Result<Vec<Self>, (usize, EnvError)> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines.map(|(at, line)| Self::given(line, &own).map_err(|e| (at + 1, e))).collect()
    }

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
        if text.len() >= LONGEST {
            return Err(EnvError::Long(key.to_owned()));
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
    fn names_alone_and_files() {
        let own = |key: &str| (key == "OWN").then(|| "mine".to_owned());
        let all = EnvVar::of_lines("A=b\n\n# a remark\nOWN\nC=#d \n", own).unwrap();
        assert_eq!(all.iter().map(EnvVar::to_string).collect::<Vec<_>>(), ["A=b", "OWN=mine", "C=#d "]);
        assert_eq!(EnvVar::given("OTHER", own), Err(EnvError::Unset));
        assert_eq!(EnvVar::of_lines("A=b\nhunter2 x", own), Err((2, EnvError::Key)));
        assert_eq!(EnvVar::given("hunter2!", own), Err(EnvError::Key));
    }

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
        let longest = format!("A={}", "x".repeat(LONGEST - 3));
        assert!(longest.parse::<EnvVar>().is_ok());
        assert_eq!(format!("{longest}x").parse::<EnvVar>(), Err(EnvError::Long("A".to_owned())));
        assert_eq!("A=b".parse::<EnvVar>().unwrap().masked().to_string(), "A=(hidden)");
    }
}
