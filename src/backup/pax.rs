//! The extended records before an entry (pax(1), pax extended header).

use super::BackupError;
use super::error::shown;

/// The records that change which file it is and how large; the others say what it is like.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// The name of a file with holes, whose `path` and header name are made up.
    pub(super) sparse_name: Option<Vec<u8>>,
}

/// What GNU tar writes for what we ask it to keep. Anything else could mean something to it that is not looked at here.
const HARMLESS: [&[u8]; 5] = [b"mtime", b"uid", b"gid", b"GNU.sparse.minor", b"GNU.sparse.realsize"];
const HARMLESS_BEGINNINGS: [&[u8]; 2] = [b"SCHILY.xattr.", b"SCHILY.acl."];

/// Reads `LENGTH KEY=VALUE\n`, again and again.
pub(super) fn parse(mut text: &[u8]) -> Result<Records, BackupError> {
    let mut records = Records::default();
    while !text.is_empty() {
        let (record, rest) = split(text).ok_or_else(|| BackupError::damaged("a volume's tar: an extended record"))?;
        text = rest;
        let Some(at) = record.iter().position(|b| *b == b'=') else {
            return Err(BackupError::damaged("a volume's tar: an extended record without a value"));
        };
        let (key, value) = (&record[..at], &record[at + 1..]);
        let twice = match key {
            b"path" => records.path.replace(whole(key, value)?).is_some(),
            b"linkpath" => records.link.replace(whole(key, value)?).is_some(),
            b"GNU.sparse.name" => records.sparse_name.replace(whole(key, value)?).is_some(),
            b"size" => records.size.replace(number(value)?).is_some(),
            // The one that is written today: its map is in the data.
            b"GNU.sparse.major" if value == b"1" => false,
            key if HARMLESS.contains(&key) || HARMLESS_BEGINNINGS.iter().any(|b| key.starts_with(b)) => false,
            key => return Err(BackupError::Unsafe(format!("an extended record {}", shown(key)))),
        };
        if twice {
            return Err(BackupError::Unsafe(format!("two values of {} for one file", shown(key))));
        }
    }
    Ok(records)
}

/// The first record without its length and line break, and what follows.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().take(12).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    if length <= space + 1 || length > text.len() || text[length - 1] != b'\n' {
        return None;
    }
    Some((&text[space + 1..length - 1], &text[length..]))
}

/// A NUL would end it for one reader and not for another.
fn whole(key: &[u8], value: &[u8]) -> Result<Vec<u8>, BackupError> {
    if value.is_empty() || value.contains(&0) {
        return Err(BackupError::Unsafe(format!("a {} that is no name: {}", shown(key), shown(value))));
    }
    Ok(value.to_vec())
}

fn number(value: &[u8]) -> Result<u64, BackupError> {
    let digits = value.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(value).ok()?.parse().ok());
    digits.flatten().ok_or_else(|| BackupError::damaged("a volume's tar: a size that is no number"))
}
