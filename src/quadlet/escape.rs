//! The one door between a value and unit text.
//!
//! systemd expands `%` and `$` and reads backslashes and quotes; a line break would begin another key. A template
//! says which of the two readings its key has: the whole line (`Volume=`, `Image=`), or words (`Label=`,
//! `Environment=`, podman-systemd.unit(5)).

use std::fmt::Write as _;

/// A value that no unit file can carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot stand in a unit file: {1}")]
pub struct Unescapable(pub String, pub &'static str);

/// For a key whose value is the rest of its line, and which ends in an `ExecStart=`.
pub(super) fn line(value: &str) -> Result<String, Unescapable> {
    refuse_controls(value)?;
    if value.trim() != value {
        return Err(Unescapable(value.to_owned(), "white space at its ends would be trimmed"));
    }
    if value.ends_with('\\') {
        return Err(Unescapable(value.to_owned(), "a backslash at its end would join the next line"));
    }
    Ok(value.replace('%', "%%").replace('$', "$$"))
}

/// For a key whose value is a list of words: quoted, so that it is one.
pub(super) fn word(value: &str) -> Result<String, Unescapable> {
    refuse_controls(value)?;
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        match c {
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            '\\' | '"' => {
                let _ = write!(quoted, "\\{c}");
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

fn refuse_controls(value: &str) -> Result<(), Unescapable> {
    if value.chars().any(char::is_control) {
        return Err(Unescapable(value.to_owned(), "it has a control character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_readings() {
        assert_eq!(line("/a b/%h$x\"'").unwrap(), "/a b/%%h$$x\"'");
        assert_eq!(word("a \"b\" \\ %h $x").unwrap(), "\"a \\\"b\\\" \\\\ %%h $$x\"");
        for bad in ["a\nb", "a\0", "\u{85}", "\t"] {
            assert!(line(bad).is_err() && word(bad).is_err(), "{bad:?}");
        }
        assert!(line(" a").is_err() && line("a\\").is_err());
    }

    proptest! {
        #[test]
        fn nothing_escapes(value in "\\PC*|[%$\\\\\"' a-z]{0,20}") {
            if let Ok(text) = line(&value) {
                prop_assert!(!text.contains('\n') && !text.ends_with('\\'));
                prop_assert!(text.replace("%%", "").find('%').is_none());
                prop_assert!(text.replace("$$", "").find('$').is_none());
            }
            if let Ok(text) = word(&value) {
                let inner = &text[1..text.len() - 1];
                let mut escaped = false;
                for c in inner.chars() {
                    prop_assert!(escaped || c != '"');
                    escaped = !escaped && c == '\\';
                }
                prop_assert!(!escaped);
            }
        }
    }
}
