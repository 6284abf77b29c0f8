//! Looks at a volume's tar as it passes: every entry must stay in the volume, and the whole must be whole.
//!
//! GNU tar unpacks it in a container that holds only the new volume, so that nothing depends on this alone; and the same
//! look is taken when a backup is made, since one that would be refused is none.

use super::entry::{Judge, Verdict};
use super::pax::{self, Records};
use super::sparse::Map;
use super::ustar::{BLOCK, Header};
use super::{BackupError, MOST_TEXT, Part};

/// Names of what was left out that are kept to be told.
const MOST_NAMES: usize = 5;

/// Takes a tar in pieces of any size.
#[derive(Debug)]
pub struct Inner {
    state: State,
    judge: Judge,
    /// What no backup can bring back is left out of one that is made, and refused in one that is there.
    leaves_out: bool,
    /// Part of a block, or an extended header's text.
    held: Vec<u8>,
    records: Option<Records>,
    /// The extended header as it came: whether its file is left out is known after it.
    extended: Vec<u8>,
    left_out: LeftOut,
    entries: u64,
    on_disk: u64,
}

/// What is not in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    pub count: u64,
    /// The first of them, fit to be shown.
    pub names: Vec<String>,
}

#[derive(Debug)]
enum State {
    Header,
    /// What is left of an extended header, with its padding, and its length without.
    Extended {
        left: u64,
        text: usize,
    },
    /// The map before the data of a file with holes, and what is left of both, without padding.
    Map {
        map: Map,
        left: u64,
    },
    /// What is left of a file, with its padding.
    Body(u64),
    /// The first of the two empty blocks was there.
    Ending,
    Ended,
}

impl Inner {
    /// A look at what is to be unpacked.
    pub fn unpacking(part: Part) -> Self {
        Self {
            state: State::Header,
            judge: Judge::new(part),
            leaves_out: false,
            held: Vec::with_capacity(BLOCK),
            records: None,
            extended: Vec::new(),
            left_out: LeftOut::default(),
            entries: 0,
            on_disk: 0,
        }
    }

    /// A look at what is packed.
    pub fn packing(part: Part) -> Self {
        Self { leaves_out: true, ..Self::unpacking(part) }
    }

    /// Files, folders and links so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// What they take on a disk, about.
    pub fn on_disk(&self) -> u64 {
        self.on_disk
    }

    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// `keep` gets all of it but what is left out.
    pub fn feed(&mut self, mut bytes: &[u8], keep: &mut impl FnMut(&[u8])) -> Result<(), BackupError> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Body(left) => {
                    let passed = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    keep(&bytes[..passed]);
                    bytes = &bytes[passed..];
                    *left -= passed as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
                State::Extended { left, text } => {
                    // At most a mebibyte.
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.extended.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    *left -= taken as u64;
                    if *left == 0 {
                        self.records = Some(pax::parse(&self.extended[BLOCK..][..*text])?);
                        self.state = State::Header;
                    }
                }
                State::Header | State::Map { .. } | State::Ending | State::Ended => {
                    let taken = bytes.len().min(BLOCK - self.held.len());
                    self.held.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if let Ok(block) = <[u8; BLOCK]>::try_from(self.held.as_slice()) {
                        self.held.clear();
                        self.block(&block, keep)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The stream is over: it must have been whole.
    pub fn end(&self) -> Result<(), BackupError> {
        if matches!(self.state, State::Ended) && self.held.is_empty() {
            return Ok(());
        }
        Err(BackupError::damaged("a volume's tar ends too early"))
    }

    fn block(&mut self, block: &[u8; BLOCK], keep: &mut impl FnMut(&[u8])) -> Result<(), BackupError> {
        let is_empty = block.iter().all(|b| *b == 0);
        match &mut self.state {
            State::Map { map, left } => {
                let odd = || BackupError::Unsafe("a file with holes that is not as long as it says".to_owned());
                let left = left.checked_sub(BLOCK as u64).ok_or_else(odd)?;
                match map.block(block)? {
                    Some(data) if data == left => self.state = body(data),
                    None if left > 0 => self.state = State::Map { map: std::mem::replace(map, Map::new(0)), left },
                    _ => return Err(odd()),
                }
            }
            State::Ending | State::Ended if is_empty => self.state = State::Ended,
            State::Ending | State::Ended => {
                return Err(BackupError::Unsafe("something after a volume's end".to_owned()));
            }
            _ if is_empty && self.records.is_none() => self.state = State::Ending,
            _ if is_empty => return Err(BackupError::damaged("a volume's tar: an extended header of nothing")),
            _ => return self.entry(block, keep),
        }
        keep(block);
        Ok(())
    }

    fn entry(&mut self, block: &[u8; BLOCK], keep: &mut impl FnMut(&[u8])) -> Result<(), BackupError> {
        let header = Header::parse(block)?;
        if header.kind == b'x' {
            if self.records.is_some() || header.size == 0 || header.size > MOST_TEXT {
                return Err(BackupError::Unsafe("an extended header of an odd size or place".to_owned()));
            }
            let text = usize::try_from(header.size).unwrap_or(usize::MAX);
            self.extended.extend_from_slice(block);
            self.state = State::Extended { left: header.size.next_multiple_of(BLOCK as u64), text };
            return Ok(());
        }
        let fine = match self.judge.entry(&header, self.records.take().unwrap_or_default())? {
            Verdict::Fine(fine) => fine,
            Verdict::Device(name) if self.leaves_out && header.size == 0 => {
                self.extended.clear();
                self.left_out.add(name);
                return Ok(());
            }
            Verdict::Device(name) => return Err(BackupError::Unsafe(format!("a device: {name}"))),
        };
        keep(&self.extended);
        self.extended.clear();
        keep(block);
        self.entries += 1;
        self.on_disk = self.on_disk.saturating_add(fine.on_disk);
        self.state = match fine.holes {
            Some(holes) => State::Map { map: Map::new(holes.real), left: fine.size },
            None => body(fine.size),
        };
        Ok(())
    }
}

/// Where a file's bytes are awaited, if it has some.
fn body(size: u64) -> State {
    match size.next_multiple_of(BLOCK as u64) {
        0 => State::Header,
        size => State::Body(size),
    }
}

impl LeftOut {
    fn add(&mut self, name: String) {
        self.count += 1;
        if self.names.len() < MOST_NAMES {
            self.names.push(name);
        }
    }

    pub fn join(&mut self, other: &Self) {
        self.count += other.count;
        let room = MOST_NAMES.saturating_sub(self.names.len());
        self.names.extend(other.names.iter().take(room).cloned());
    }
}
