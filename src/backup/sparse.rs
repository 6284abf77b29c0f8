//! The map of a file with holes, in front of its data (GNU tar's manual, "PAX Format, Version 1.0").
//!
//! Decimal numbers, one a line: how many pieces, then offset and length of each; filled up to a block. GNU tar reads as
//! many blocks of data as the map says, whatever the entry's size is, so that a map that says more would have it take the
//! following entries for data, and one that says less would have it take data for entries.

use super::entry::ON_DISK;
use super::ustar::BLOCK;

/// A map on its way.
#[derive(Debug)]
pub(super) struct Map {
    /// The file's size with its holes.
    real: u64,
    number: Option<u64>,
    digits: u8,
    pieces: Option<u64>,
    offset: Option<u64>,
    /// Where the last piece ended.
    end: u64,
    /// Bytes of all pieces.
    data: u64,
    /// Bytes of the blocks of a disk that they are in.
    on_disk: u64,
}

impl Map {
    pub(super) fn new(real: u64) -> Self {
        Self { real, number: None, digits: 0, pieces: None, offset: None, end: 0, data: 0, on_disk: 0 }
    }

    /// What the pieces take on a disk.
    pub(super) fn on_disk(&self) -> u64 {
        self.on_disk
    }

    /// The next block of it; the bytes of data that follow it, when it is through; an error when it is not right.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<Option<u64>, ()> {
        for byte in block {
            match byte {
                b'0'..=b'9' if self.digits < 20 => {
                    let number = self.number.unwrap_or(0).checked_mul(10);
                    self.number = number.and_then(|n| n.checked_add(u64::from(byte - b'0')));
                    self.digits += 1;
                    if self.number.is_none() {
                        return Err(());
                    }
                }
                b'\n' => {
                    let number = self.number.take().ok_or(())?;
                    self.digits = 0;
                    self.take(number)?;
                    if self.pieces == Some(0) {
                        return Ok(Some(self.data));
                    }
                }
                _ => return Err(()),
            }
        }
        Ok(None)
    }

    fn take(&mut self, number: u64) -> Result<(), ()> {
        let Some(pieces) = self.pieces else {
            self.pieces = Some(number);
            return Ok(());
        };
        let Some(offset) = self.offset.take() else {
            self.offset = Some(number);
            return Ok(());
        };
        let end = offset.checked_add(number).filter(|end| *end <= self.real).ok_or(())?;
        // Each piece begins in a block of its own, so that only what ends at a block's end can be followed by another.
        // Of nothing there is one piece at most, and it is the last: each takes memory of tar's.
        let is_odd = if number > 0 { !self.data.is_multiple_of(BLOCK as u64) } else { pieces > 1 };
        if offset < self.end || is_odd {
            return Err(());
        }
        if number > 0 {
            let blocks = (end - 1) / ON_DISK - offset / ON_DISK + 1;
            self.on_disk = self.on_disk.saturating_add(blocks.saturating_mul(ON_DISK));
        }
        (self.end, self.data) = (end, self.data + number);
        self.pieces = Some(pieces - 1);
        Ok(())
    }
}
