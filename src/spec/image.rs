//! An image reference.

use std::fmt;
use std::str::FromStr;

use super::serde_by_text;

/// The image of a box that asked for none. Never pulled unasked.
pub const DEFAULT_IMAGE: &str = "localhost/devbox:latest";

/// `[registry/]path[:tag][@digest]`: only characters the grammar of references has, and never an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an image: write NAME[:TAG], as `podman images` shows it")]
pub struct ImageError(String);

impl ImageRef {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ImageRef {
    fn default() -> Self {
        Self(DEFAULT_IMAGE.to_owned())
    }
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | ':' | '@' | '-');
        // Quadlet takes Image=x.image and Image=x.build for references to other units.
        let a_unit = text.rsplit_once('.').is_some_and(|(_, end)| matches!(end, "image" | "build"));
        let good = text.len() <= 512
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed)
            && !a_unit;
        if good { Ok(Self(text.to_owned())) } else { Err(ImageError(text.to_owned())) }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_by_text!(ImageRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_and_what_is_none() {
        for good in [DEFAULT_IMAGE, "debian", "debian:trixie-slim", "h:5000/a/b@sha256:00ff"] {
            assert!(good.parse::<ImageRef>().is_ok(), "{good:?}");
        }
        for bad in
            ["", "-v", "--privileged", "a b", "a\nb", "a%h", "a$b", "box.image", "box.build", "a:", "ü", "dir:/etc "]
        {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
    }
}
