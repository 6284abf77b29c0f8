//! Looks at a volume's tar as it passes: every entry must stay in the volume, and the whole must be whole.
//!
//! GNU tar unpacks it in a container that holds only the new volume, so that nothing depends on this alone; and the same
//! look is taken when a backup is made, since one that would be refused is none.

use super::entry::{Judge, Path, Verdict};
use super::pax::{self, Records};
use super::sparse::Map;
use super::ustar::{BLOCK, Header};
use super::{BackupError, MOST_TEXT, Part};

/// Names of what was left out that are kept to be told.
const MOST_NAMES: usize = 5;

/// The header and the map of a file with holes, of which it is not known yet whether it is left out: a hundred thousand
/// pieces are some 2 MB.
const MOST_HELD: usize = 32 << 20;

/// Attributes of folders, which tar holds until its end.
const MOST_ATTRIBUTES: usize = 64 << 20;

/// Takes a tar in pieces of any size.
#[derive(Debug)]
pub struct Inner {
    state: State,
    judge: Judge,
    /// What no backup can bring back is left out of one that is made, and refused in one that is there.
    leaves_out: bool,
    /// Part of a block.
    held: Vec<u8>,
    records: Option<Records>,
    /// What came of an entry before it was known whether it is left out.
    waits: Vec<u8>,
    attributes: usize,
    left_out: LeftOut,
    entries: u64,
    on_disk: u64,
    #[cfg(test)]
    pub(super) names: Vec<Vec<u8>>,
}

/// What is not in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    pub count: u64,
    /// The first of them and why, fit to be shown.
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
        path: Path,
        map: Map,
        left: u64,
    },
    /// What is left of a file, with its padding, and whether it is left out.
    Body {
        left: u64,
        kept: bool,
    },
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
            waits: Vec::new(),
            attributes: 0,
            left_out: LeftOut::default(),
            entries: 0,
            on_disk: 0,
            #[cfg(test)]
            names: Vec::new(),
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
                State::Body { left, kept } => {
                    let passed = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    if *kept {
                        keep(&bytes[..passed]);
                    }
                    bytes = &bytes[passed..];
                    *left -= passed as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
                State::Extended { left, text } => {
                    // At most a mebibyte.
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.waits.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    *left -= taken as u64;
                    if *left == 0 {
                        self.records = Some(pax::parse(&self.waits[BLOCK..][..*text])?);
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
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Map { path, map, left } => return self.map(block, (path, map, left), keep),
            State::Ending | State::Ended if is_empty => {}
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
            self.waits.extend_from_slice(block);
            self.state = State::Extended { left: header.size.next_multiple_of(BLOCK as u64), text };
            return Ok(());
        }
        let records = self.records.take().unwrap_or_default();
        if header.kind == b'5' && records.attributes {
            self.attributes += self.waits.len();
            if self.attributes > MOST_ATTRIBUTES {
                return Err(BackupError::Unsafe("more attributes of folders than tar can hold".to_owned()));
            }
        }
        let fine = match self.judge.entry(&header, records)? {
            Verdict::Fine(fine) => fine,
            Verdict::Hopeless(path, why, size) => return self.leave_out(&path, why, size),
        };
        #[cfg(test)]
        self.names.push(fine.path.name.clone());
        self.waits.extend_from_slice(block);
        self.on_disk = self.on_disk.saturating_add(fine.on_disk);
        if let Some(holes) = fine.holes {
            self.state = State::Map { path: fine.path, map: Map::new(holes.real), left: fine.size };
        } else {
            self.take(fine.size, keep);
        }
        Ok(())
    }

    /// A block of a map. A file that grows while it is read gets one that tar itself cannot read.
    fn map(
        &mut self,
        block: &[u8],
        (path, mut map, left): (Path, Map, u64),
        keep: &mut impl FnMut(&[u8]),
    ) -> Result<(), BackupError> {
        let why = match (left.checked_sub(BLOCK as u64), map.block(block)) {
            (Some(left), Ok(Some(data))) if data == left => {
                self.waits.extend_from_slice(block);
                self.on_disk = self.on_disk.saturating_add(map.on_disk());
                self.take(data, keep);
                return Ok(());
            }
            (Some(left @ 1..), Ok(None)) if self.waits.len() < MOST_HELD => {
                self.waits.extend_from_slice(block);
                self.state = State::Map { path, map, left };
                return Ok(());
            }
            (_, Err(())) => "holes that are not where it says",
            _ => "holes, and not as long as it says",
        };
        self.judge.leave_out(&path)?;
        self.leave_out(&path, why, left.saturating_sub(BLOCK as u64))
    }

    /// The entry is in the backup, and so many bytes of it are still to come.
    fn take(&mut self, size: u64, keep: &mut impl FnMut(&[u8])) {
        keep(&self.waits);
        self.waits.clear();
        self.entries += 1;
        self.state = body(size, true);
    }

    fn leave_out(&mut self, path: &Path, why: &'static str, size: u64) -> Result<(), BackupError> {
        let fits = size.checked_next_multiple_of(BLOCK as u64).is_some();
        if !self.leaves_out || !fits {
            return Err(BackupError::Unsafe(format!("{why}: {}", path.shown)));
        }
        self.waits.clear();
        self.left_out.add(format!("{} ({why})", path.shown));
        self.state = body(size, false);
        Ok(())
    }
}

/// Where a file's bytes are awaited, if it has some.
fn body(size: u64, kept: bool) -> State {
    match size.next_multiple_of(BLOCK as u64) {
        0 => State::Header,
        left => State::Body { left, kept },
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
