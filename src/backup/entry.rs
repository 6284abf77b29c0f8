//! What may be in a volume's tar, entry by entry.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::error::shown;
use super::pax::{Holes, Records};
use super::ustar::{BLOCK, Header};
use super::{BackupError, Part};

/// Links that are remembered, 8 bytes each. More than any home has, and 32 MB are not an attack.
const MOST_LINKS: usize = 4_000_000;

/// What a file takes on a disk at least, and what its size is rounded up to: a block of most file systems.
pub(super) const ON_DISK: u64 = 4096;

/// Bytes of a path. The kernel takes 4095 (path_resolution(7)), and for attributes tar puts some before it: GNU tar packs
/// what is deeper, folder by folder, and cannot unpack it.
const MOST_PATH: usize = 4000;

/// The login of a device is one device's: a copy of it would be the same device twice.
const NOT_OF_STATE: &[u8] = b"tailscale";

/// What was judged of the entries so far.
#[derive(Debug)]
pub(super) struct Judge {
    part: Part,
    /// Paths at which a symbolic link was made, as hashes: what is below one is not below the volume.
    links: HashSet<u64>,
    /// Paths of what no backup can bring back, which may have second names.
    hopeless: HashSet<u64>,
    hash: RandomState,
}

/// An entry that is in order.
#[derive(Debug)]
pub(super) struct Fine {
    pub(super) path: Path,
    /// Bytes that follow its header, without their padding.
    pub(super) size: u64,
    pub(super) holes: Option<Holes>,
    /// What it takes on a disk, about.
    pub(super) on_disk: u64,
}

/// Which file it is.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// Fit to be shown.
    pub(super) shown: String,
    key: u64,
    #[cfg(test)]
    pub(super) name: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Verdict {
    Fine(Fine),
    /// No backup can bring it back, for that reason; so many bytes follow its header.
    Hopeless(Path, &'static str, u64),
}

impl Judge {
    pub(super) fn new(part: Part) -> Self {
        Self { part, links: HashSet::new(), hopeless: HashSet::new(), hash: RandomState::new() }
    }

    /// It is not in the backup after all.
    pub(super) fn leave_out(&mut self, path: &Path) -> Result<(), BackupError> {
        remember(&mut self.hopeless, path.key)
    }

    pub(super) fn entry(&mut self, header: &Header, mut records: Records) -> Result<Verdict, BackupError> {
        let holes = records.holes()?;
        // GNU tar cuts the header's own name anywhere where a record has it whole, so that it only counts without one.
        let names = [records.path.as_ref(), holes.as_ref().map(|h| &h.name)];
        let name = names.into_iter().flatten().next_back().unwrap_or(&header.name);
        for other in names.into_iter().flatten() {
            parts(other)?;
        }
        let parts_of_name = parts(name)?;
        let path = Path {
            shown: shown(name),
            key: self.key(&parts_of_name),
            #[cfg(test)]
            name: name.clone(),
        };
        let refuse = |what: &str| Err(BackupError::Unsafe(format!("{what}: {}", path.shown)));
        if self.part == Part::State && parts_of_name.first() == Some(&NOT_OF_STATE) {
            return refuse("the login of another device");
        }
        let size = records.size.unwrap_or(header.size);
        if size.checked_next_multiple_of(BLOCK as u64).is_none() {
            return refuse("a size that cannot be");
        }
        if header.kind != b'5' && name.ends_with(b"/") {
            return refuse("a folder's name for something else");
        }
        if holes.is_some() && (header.kind != b'0' || size < BLOCK as u64) {
            return refuse("holes in something that can have none");
        }
        if matches!(header.kind, b'1'..=b'6') && size != 0 {
            return refuse("something with a size that can have none");
        }
        let target = records.link.as_ref().unwrap_or(&header.link);
        let link = if header.kind == b'1' { Some((parts(target)?, target)) } else { None };
        let is_long = name.len() > MOST_PATH || link.as_ref().is_some_and(|(_, target)| target.len() > MOST_PATH);
        let is_unreadable = is_lost_in_ascii(name) || link.as_ref().is_some_and(|(_, target)| is_lost_in_ascii(target));
        let hopeless = match (header.kind, &link) {
            // No container may make one; and anybody can make the one that hides a file in overlayfs.
            (b'3' | b'4', _) => Some("a device"),
            _ if is_long => Some("a path that is too long"),
            _ if is_unreadable => Some("a name that tar may read otherwise"),
            (_, Some((target, _))) if self.hopeless.contains(&self.key(target)) => Some("a second name of such a one"),
            _ => None,
        };
        if let Some(why) = hopeless {
            self.leave_out(&path)?;
            return Ok(Verdict::Hopeless(path, why, size));
        }
        let mut makes_link = false;
        match (header.kind, &link) {
            (_, Some((target, _))) => {
                if self.is_below_link(target) {
                    return refuse("a hard link through a symbolic link");
                }
                // A second name of a symbolic link is one.
                makes_link = self.links.contains(&self.key(target));
            }
            (b'2', _) => makes_link = true,
            (b'0' | b'5' | b'6', _) => {}
            _ => return refuse("an entry of a kind that is not in backups"),
        }
        if self.is_below_link(&parts_of_name) {
            return refuse("something below a symbolic link");
        }
        if self.links.contains(&path.key) {
            return refuse("something in the place of a symbolic link");
        }
        if makes_link {
            remember(&mut self.links, path.key)?;
        }
        let data = if holes.is_some() { 0 } else { size.checked_next_multiple_of(ON_DISK).unwrap_or(u64::MAX) };
        let on_disk = data.max(ON_DISK).saturating_add(if records.attributes { ON_DISK } else { 0 });
        Ok(Verdict::Fine(Fine { path, size, holes, on_disk }))
    }

    fn key(&self, path: &[&[u8]]) -> u64 {
        self.hash.hash_one(path)
    }

    fn is_below_link(&self, path: &[&[u8]]) -> bool {
        !self.links.is_empty() && (1..path.len()).any(|n| self.links.contains(&self.key(&path[..n])))
    }
}

fn remember(paths: &mut HashSet<u64>, key: u64) -> Result<(), BackupError> {
    if paths.len() == MOST_LINKS {
        return Err(BackupError::Unsafe("more links and devices than can be remembered".to_owned()));
    }
    paths.insert(key);
    Ok(())
}

/// The parts of a path below the volume, in the one form in which tar writes them: `./`, `./a/b`, a folder `./a/b/`.
/// What has a second way to be written could be another file to tar than to us.
fn parts(name: &[u8]) -> Result<Vec<&[u8]>, BackupError> {
    let rest = name.strip_prefix(b"./").map(|rest| rest.strip_suffix(b"/").unwrap_or(rest));
    let odd = |part: &&[u8]| matches!(*part, b"" | b"." | b"..");
    match rest {
        Some(b"") if name == b"./" => Ok(Vec::new()),
        Some(rest) if !rest.split(|b| *b == b'/').any(|part| odd(&part)) => Ok(rest.split(|b| *b == b'/').collect()),
        _ => Err(BackupError::Unsafe(format!("a name that is not one of the volume's: {}", shown(name)))),
    }
}

/// A locale that knows ASCII alone takes Unicode's tags (U+E0000 to U+E007F) out of a name that has nothing else beyond
/// ASCII, as iconv(3) of glibc does, and then it is another. The container's locale is not such a one; an image may have
/// no other.
fn is_lost_in_ascii(name: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(name) else { return false };
    let is_tag = |c: char| ('\u{e0000}'..='\u{e007f}').contains(&c);
    text.contains(is_tag) && text.chars().all(|c| c.is_ascii() || is_tag(c))
}
