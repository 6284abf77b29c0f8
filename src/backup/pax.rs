//! The extended records before an entry (pax(1), pax extended header).

use super::BackupError;
use super::error::shown;

/// The records that change which file it is and how large; the others say what it is like.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// There are attributes, which take a block of their own on a disk.
    pub(super) attributes: bool,
    sparse: Sparse,
}

/// What GNU tar writes of a file with holes: all four, or none.
#[derive(Debug, Default)]
struct Sparse {
    major: Option<u64>,
    minor: Option<u64>,
    name: Option<Vec<u8>>,
    real: Option<u64>,
}

/// A file with holes, by the one form of them that is written today: its map is in front of its data.
#[derive(Debug)]
pub(super) struct Holes {
    /// `path` and the header's name are made up.
    pub(super) name: Vec<u8>,
    pub(super) real: u64,
}

/// The attributes that GNU tar writes for what we ask it to keep. Any other record could mean something to it that is not
/// looked at here. tar holds in memory also what it does not set.
const ATTRIBUTES: [&[u8]; 3] = [b"SCHILY.xattr.security.capability", b"SCHILY.acl.access", b"SCHILY.acl.default"];
const ATTRIBUTES_OF_USERS: &[u8] = b"SCHILY.xattr.user.";

impl Records {
    pub(super) fn holes(&mut self) -> Result<Option<Holes>, BackupError> {
        match std::mem::take(&mut self.sparse) {
            Sparse { major: None, minor: None, name: None, real: None } => Ok(None),
            Sparse { major: Some(1), minor: Some(0), name: Some(name), real: Some(real) } => {
                Ok(Some(Holes { name, real }))
            }
            _ => Err(BackupError::Unsafe("a file with holes of another form".to_owned())),
        }
    }
}

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
            b"size" => records.size.replace(number(value)?).is_some(),
            b"GNU.sparse.major" => records.sparse.major.replace(number(value)?).is_some(),
            b"GNU.sparse.minor" => records.sparse.minor.replace(number(value)?).is_some(),
            b"GNU.sparse.name" => records.sparse.name.replace(whole(key, value)?).is_some(),
            b"GNU.sparse.realsize" => records.sparse.real.replace(number(value)?).is_some(),
            b"mtime" => {
                time(value)?;
                false
            }
            b"uid" | b"gid" => {
                owner(key, value)?;
                false
            }
            key if ATTRIBUTES.contains(&key) || key.starts_with(ATTRIBUTES_OF_USERS) => {
                records.attributes = true;
                false
            }
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
    let length = usize::try_from(digits(&text[..space])?).ok()?;
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

/// A size, or the number of a form. No file is larger than `off_t` can say, and tar ends with an error at one that is.
fn number(value: &[u8]) -> Result<u64, BackupError> {
    let number = digits(value).filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| BackupError::damaged("a volume's tar: a size that is no number of 63 bits"))
}

/// Seconds since 1970, with a fraction or without one. A file may have any time that fits 64 bits; GNU tar ends with an
/// error at one that does not, after it unpacked the rest.
fn time(value: &[u8]) -> Result<(), BackupError> {
    let (sign, digits) = value.strip_prefix(b"-").map_or((&b""[..], value), |rest| (&b"-"[..], rest));
    let mut halves = digits.splitn(2, |b| *b == b'.');
    let (seconds, fraction) = (halves.next().unwrap_or_default(), halves.next());
    let are_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let fits = std::str::from_utf8(&[sign, seconds].concat()).ok().and_then(|text| text.parse::<i64>().ok());
    let is_written = are_digits(seconds) && fraction.is_none_or(are_digits);
    // Anything below the least second is out of range to tar.
    let is_in_range = fits.is_some_and(|seconds| seconds > i64::MIN || fraction.is_none());
    if is_written && is_in_range { Ok(()) } else { Err(odd_value(b"mtime", value)) }
}

/// The number of a user or group: 32 bits.
fn owner(key: &[u8], value: &[u8]) -> Result<(), BackupError> {
    let number = digits(value).and_then(|number| u32::try_from(number).ok());
    number.map(drop).ok_or_else(|| odd_value(key, value))
}

fn odd_value(key: &[u8], value: &[u8]) -> BackupError {
    BackupError::Unsafe(format!("a {} that tar does not write: {}", shown(key), shown(value)))
}

/// Nothing but digits.
fn digits(text: &[u8]) -> Option<u64> {
    text.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}
