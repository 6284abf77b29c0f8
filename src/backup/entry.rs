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
const ON_DISK: u64 = 4096;

/// The login of a device is one device's: a copy of it would be the same device twice.
const NOT_OF_STATE: &[u8] = b"tailscale";

/// What was judged of the entries so far.
#[derive(Debug)]
pub(super) struct Judge {
    part: Part,
    /// Paths at which a symbolic link was made, as hashes: what is below one is not below the volume.
    links: HashSet<u64>,
    /// Paths of devices, which have second names too.
    devices: HashSet<u64>,
    hash: RandomState,
}

/// An entry that is in order.
#[derive(Debug)]
pub(super) struct Fine {
    /// Bytes that follow its header, without their padding.
    pub(super) size: u64,
    pub(super) holes: Option<Holes>,
    /// What it takes on a disk, about.
    pub(super) on_disk: u64,
}

#[derive(Debug)]
pub(super) enum Verdict {
    Fine(Fine),
    /// A device, by its name: no container may make one, so that no backup can bring it back. Anybody can make the one
    /// that hides a file in overlayfs.
    Device(String),
}

impl Judge {
    pub(super) fn new(part: Part) -> Self {
        Self { part, links: HashSet::new(), devices: HashSet::new(), hash: RandomState::new() }
    }

    pub(super) fn entry(&mut self, header: &Header, mut records: Records) -> Result<Verdict, BackupError> {
        let holes = records.holes()?;
        // GNU tar cuts the header's own name anywhere where a record has it whole, so that it only counts without one.
        let names = [records.path.as_ref(), holes.as_ref().map(|h| &h.name)];
        let name = names.into_iter().flatten().next_back().unwrap_or(&header.name);
        for other in names.into_iter().flatten() {
            parts(other)?;
        }
        let path = parts(name)?;
        let refuse = |what: &str| Err(BackupError::Unsafe(format!("{what}: {}", shown(name))));
        if self.part == Part::State && path.first() == Some(&NOT_OF_STATE) {
            return refuse("the login of another device");
        }
        let size = records.size.unwrap_or(header.size);
        if header.kind != b'5' && name.ends_with(b"/") {
            return refuse("a folder's name for something else");
        }
        if holes.is_some() && header.kind != b'0' {
            return refuse("holes in something that is no file");
        }
        let key = self.key(&path);
        let mut makes_link = false;
        match header.kind {
            b'1' | b'2' | b'5' | b'6' if size != 0 => return refuse("something with a size that can have none"),
            b'1' => {
                let target = parts(records.link.as_ref().unwrap_or(&header.link))?;
                if self.is_below_link(&target)? {
                    return refuse("a hard link through a symbolic link");
                }
                let target = self.key(&target);
                if self.devices.contains(&target) {
                    return Ok(Verdict::Device(shown(name)));
                }
                // A second name of a symbolic link is one.
                makes_link = self.links.contains(&target);
            }
            b'2' => makes_link = true,
            b'0' | b'5' | b'6' => {}
            b'3' | b'4' => {
                remember(&mut self.devices, key)?;
                return Ok(Verdict::Device(shown(name)));
            }
            _ => return refuse("an entry of a kind that is not in backups"),
        }
        if self.is_below_link(&path)? {
            return refuse("something below a symbolic link");
        }
        if self.links.contains(&key) {
            return refuse("something in the place of a symbolic link");
        }
        if makes_link {
            remember(&mut self.links, key)?;
        }
        if size.checked_next_multiple_of(BLOCK as u64).is_none() {
            return refuse("a size that cannot be");
        }
        let on_disk = size.checked_next_multiple_of(ON_DISK).unwrap_or(u64::MAX).max(ON_DISK);
        Ok(Verdict::Fine(Fine { size, holes, on_disk }))
    }

    fn key(&self, path: &[&[u8]]) -> u64 {
        self.hash.hash_one(path)
    }

    fn is_below_link(&self, path: &[&[u8]]) -> Result<bool, BackupError> {
        if self.links.is_empty() {
            return Ok(false);
        }
        // Else a name of a mebibyte would cost as many hashes of as much.
        if path.len() > 2048 {
            return Err(BackupError::Unsafe("a path that is too deep".to_owned()));
        }
        Ok((1..path.len()).any(|n| self.links.contains(&self.key(&path[..n]))))
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
