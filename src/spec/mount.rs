//! A folder of the owner's, shown inside the box.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::serde_by_text;

/// `SRC:DST[:ro]`, both absolute and without `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    source: String,
    target: String,
    read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    #[error("{0:?} is not SRC:DST or SRC:DST:ro")]
    Form(String),
    #[error("{0:?} is not an absolute path without `..`")]
    Path(String),
    #[error("{0:?} has a character that a mount cannot carry (a colon, a comma or a control character)")]
    Character(String),
    #[error("{0} in the box is taken by the box itself")]
    Taken(String),
}

/// Where the box keeps its own: mounting over these breaks it or hides its data.
const TAKEN: [&str; 8] = ["/", "/home", "/home/dev", "/var/lib/devbox", "/run", "/proc", "/sys", "/dev"];

impl Mount {
    /// On the host.
    pub fn source(&self) -> &Path {
        Path::new(&self.source)
    }

    /// The same mount with another path of its source.
    ///
    /// # Errors
    /// [`MountError::Path`] and [`MountError::Character`] for a path that a mount cannot carry.
    pub fn from(&self, source: &Path) -> Result<Self, MountError> {
        let shown = || source.to_string_lossy().into_owned();
        let text = source.to_str().ok_or_else(|| MountError::Path(shown()))?;
        if text.contains(':') {
            return Err(MountError::Character(shown()));
        }
        Ok(Self { source: tidy(text)?, ..self.clone() })
    }

    /// In the box.
    pub fn target(&self) -> &Path {
        Path::new(&self.target)
    }

    pub fn read_only(&self) -> bool {
        self.read_only
    }
}

impl FromStr for Mount {
    type Err = MountError;

    fn from_str(text: &str) -> Result<Self, MountError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, read_only) = match parts.as_slice() {
            [source, target] | [source, target, "rw"] => (*source, *target, false),
            [source, target, "ro"] => (*source, *target, true),
            _ => return Err(MountError::Form(text.to_owned())),
        };
        let source = tidy(source)?;
        let target = tidy(target)?;
        if TAKEN.contains(&target.as_str()) {
            return Err(MountError::Taken(target));
        }
        Ok(Self { source, target, read_only })
    }
}

fn tidy(path: &str) -> Result<String, MountError> {
    if path.chars().any(|c| c.is_control() || c == ',') {
        return Err(MountError::Character(path.to_owned()));
    }
    let bad = || MountError::Path(path.to_owned());
    let mut tidied = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::RootDir | Component::Normal(_) => tidied.push(component),
            Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(bad()),
        }
    }
    // systemd and Quadlet trim white space at the ends of a value, so such a path would become another one.
    let text = tidied.into_os_string().into_string().map_err(|_| bad())?;
    if !text.starts_with('/') || text.trim() != text {
        return Err(bad());
    }
    Ok(text)
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.read_only { ":ro" } else { "" };
        write!(f, "{}:{}{mode}", self.source, self.target)
    }
}

serde_by_text!(Mount);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, shown) in
            [("/a:/b", "/a:/b"), ("/a/:/b/./c:ro", "/a:/b/c:ro"), ("/a b/$x%h\"\\:/b:rw", "/a b/$x%h\"\\:/b")]
        {
            assert_eq!(text.parse::<Mount>().unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "/a",
            "a:/b",
            "/a:b",
            "/a:/b:z",
            "/a:/b:ro:x",
            "/a/../b:/c",
            "/a:/..",
            "/a:/home/dev",
            "/a:/",
            "/a,b:/c",
            "/a\n:/b",
            "/a:/home/dev/",
            "/a : /b",
            "/a:/b ",
        ] {
            assert!(bad.parse::<Mount>().is_err(), "{bad:?}");
        }
    }
}
