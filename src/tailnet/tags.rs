//! The tags of a box's device: what the tailnet's policy knows it by.

use std::fmt;

/// `tag:` and a name of letters, digits and hyphens that begins with a letter (Tailscale's policy syntax, tagOwners).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error(
        "{0} cannot be a tailnet tag: after `tag:` it has lowercase letters, digits and hyphens, and begins with a letter"
    )]
    Odd(String),
    #[error("{0} would be this user's tag, and is one of the tags that all boxes have")]
    Taken(String),
}

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tags that a user's boxes get, from the administrator's patterns. An owner has no say in them.
pub fn tags_of(patterns: &[String], user: &str) -> Result<Vec<Tag>, TagError> {
    let tags: Vec<Tag> = patterns
        .iter()
        .map(|pattern| {
            let text = pattern.replace("{username}", user);
            let is_tag = text.strip_prefix("tag:").is_some_and(|name| {
                name.starts_with(|c: char| c.is_ascii_lowercase())
                    && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            });
            if is_tag { Ok(Tag(text)) } else { Err(TagError::Odd(text)) }
        })
        .collect::<Result<_, _>>()?;
    // By their name alone somebody would have what another tag allows.
    match tags.iter().enumerate().find(|(n, tag)| tags[..*n].contains(tag)) {
        Some((_, tag)) => Err(TagError::Taken(tag.to_string())),
        None => Ok(tags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_tags_are_theirs() {
        let patterns = ["tag:devcontainer".to_owned(), "tag:{username}-container".to_owned()];
        let tags = tags_of(&patterns, "alice").unwrap();
        assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["tag:devcontainer", "tag:alice-container"]);
        for user in ["a_b", "Alice", "a.b", "a b", "a,tag:admin", "ü", "$x"] {
            assert!(tags_of(&patterns, user).is_err(), "{user}");
        }
        // A user whose name makes their tag one that means something else.
        assert!(tags_of(&["tag:devcontainer".to_owned(), "tag:{username}".to_owned()], "devcontainer").is_err());
        // Of a tag that begins with the user's name, the name has to begin like one.
        assert!(tags_of(&["tag:{username}".to_owned()], "1a").is_err());
        assert!(tags_of(&patterns, "1a").is_err());
    }
}
