//! Looks at a volume's tar as it passes: every entry must stay in the volume, and the whole must be whole.
//!
//! GNU tar unpacks it in a container that holds only the new volume, so that nothing depends on this alone; and the same
//! look is taken when a backup is made, since one that would be refused is none.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::error::shown;
use super::pax::{self, Records};
use super::ustar::{BLOCK, Header};
use super::{BackupError, MOST_TEXT};

/// Links that are remembered, 8 bytes each. More than any home has, and 32 MB are not an attack.
const MOST_LINKS: usize = 4_000_000;

/// Takes a tar in pieces of any size.
#[derive(Debug)]
pub struct Inner {
    state: State,
    /// Part of a block, or an extended header.
    held: Vec<u8>,
    records: Option<Records>,
    /// Paths at which a symbolic link was made, as hashes: what is below one is not below the volume.
    links: HashSet<u64>,
    hash: RandomState,
    entries: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// What is left of an extended header, with its padding, and without.
    Extended {
        left: u64,
        text: usize,
    },
    /// What is left of a file, with its padding.
    Body(u64),
    /// The first of the two empty blocks was there.
    Ending,
    Ended,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            state: State::Header,
            held: Vec::with_capacity(BLOCK),
            records: None,
            links: HashSet::new(),
            hash: RandomState::new(),
            entries: 0,
        }
    }
}

impl Inner {
    /// Files, folders and links so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), BackupError> {
        while !bytes.is_empty() {
            match self.state {
                State::Body(left) => {
                    let skipped = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    bytes = &bytes[skipped..];
                    self.state = match left - skipped as u64 {
                        0 => State::Header,
                        left => State::Body(left),
                    };
                }
                State::Extended { left, text } => {
                    // At most a mebibyte.
                    let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.held.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    self.state = State::Extended { left: left - taken as u64, text };
                    if left == taken as u64 {
                        self.records = Some(pax::parse(&self.held[..text])?);
                        self.held.clear();
                        self.state = State::Header;
                    }
                }
                State::Header | State::Ending | State::Ended => {
                    let taken = bytes.len().min(BLOCK - self.held.len());
                    self.held.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if let Ok(block) = <[u8; BLOCK]>::try_from(self.held.as_slice()) {
                        self.held.clear();
                        self.block(&block)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The stream is over: it must have been whole.
    pub fn end(&self) -> Result<(), BackupError> {
        if self.state == State::Ended && self.held.is_empty() {
            return Ok(());
        }
        Err(BackupError::damaged("a volume's tar ends too early"))
    }

    fn block(&mut self, block: &[u8; BLOCK]) -> Result<(), BackupError> {
        let is_empty = block.iter().all(|b| *b == 0);
        match self.state {
            State::Ending | State::Ended if is_empty => {
                self.state = State::Ended;
                Ok(())
            }
            State::Ending | State::Ended => Err(BackupError::Unsafe("something after a volume's end".to_owned())),
            _ if is_empty && self.records.is_none() => {
                self.state = State::Ending;
                Ok(())
            }
            _ if is_empty => Err(BackupError::damaged("a volume's tar: an extended header of nothing")),
            _ => self.entry(&Header::parse(block)?),
        }
    }

    fn entry(&mut self, header: &Header) -> Result<(), BackupError> {
        if header.kind == b'x' {
            if self.records.is_some() || header.size == 0 || header.size > MOST_TEXT {
                return Err(BackupError::Unsafe("an extended header of an odd size or place".to_owned()));
            }
            let text = usize::try_from(header.size).unwrap_or(usize::MAX);
            self.state = State::Extended { left: header.size.next_multiple_of(BLOCK as u64), text };
            return Ok(());
        }
        let records = self.records.take().unwrap_or_default();
        // The name that counts to one reader may not be the one that counts to another: all must be safe.
        let names = [Some(&header.name), records.path.as_ref(), records.sparse_name.as_ref()];
        for name in names.into_iter().flatten() {
            inside(name)?;
        }
        let name = names.into_iter().flatten().next_back().unwrap_or(&header.name);
        let size = records.size.unwrap_or(header.size);
        let refuse = |what: &str| Err(BackupError::Unsafe(format!("{what}: {}", shown(name))));
        let mut makes_link = false;
        match header.kind {
            b'1' | b'2' | b'5' | b'6' if size != 0 => return refuse("something with a size that can have none"),
            b'1' => {
                let target = records.link.as_ref().unwrap_or(&header.link);
                for target in [&header.link, target] {
                    inside(target)?;
                }
                if self.is_below_link(target)? {
                    return refuse("a hard link through a symbolic link");
                }
                // A second name of a symbolic link is one.
                makes_link = self.links.contains(&self.key(&components(target)));
            }
            b'2' => makes_link = true,
            b'0' | b'5' | b'6' => {}
            b'3' | b'4' => return refuse("a device"),
            _ => return refuse("an entry of a kind that is not in backups"),
        }
        if self.is_below_link(name)? {
            return refuse("something below a symbolic link");
        }
        let key = self.key(&components(name));
        if self.links.contains(&key) {
            return refuse("something in the place of a symbolic link");
        }
        if makes_link {
            if self.links.len() == MOST_LINKS {
                return refuse("more symbolic links than can be remembered");
            }
            self.links.insert(key);
        }
        self.entries += 1;
        self.state = match size.checked_next_multiple_of(BLOCK as u64) {
            Some(0) => State::Header,
            Some(size) => State::Body(size),
            None => return refuse("a size that cannot be"),
        };
        Ok(())
    }

    fn key(&self, components: &[&[u8]]) -> u64 {
        self.hash.hash_one(components)
    }

    fn is_below_link(&self, name: &[u8]) -> Result<bool, BackupError> {
        if self.links.is_empty() {
            return Ok(false);
        }
        let parts = components(name);
        // Else a name of a mebibyte would cost as many hashes of as much.
        if parts.len() > 2048 {
            return Err(BackupError::Unsafe("a path that is too deep".to_owned()));
        }
        Ok((1..parts.len()).any(|n| self.links.contains(&self.key(&parts[..n]))))
    }
}

/// What a path goes through, without what says nothing.
fn components(name: &[u8]) -> Vec<&[u8]> {
    name.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect()
}

fn inside(name: &[u8]) -> Result<(), BackupError> {
    if name.is_empty() || name[0] == b'/' || name.split(|b| *b == b'/').any(|part| part == b"..") {
        return Err(BackupError::Unsafe(format!("a name that leads out of the volume: {}", shown(name))));
    }
    Ok(())
}
