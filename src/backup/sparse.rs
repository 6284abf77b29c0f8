//! The map of a file with holes, in front of its data (GNU tar's manual, "PAX Format, Version 1.0").
//!
//! Decimal numbers, one a line: how many pieces, then offset and length of each; filled up to a block. GNU tar reads as
//! many blocks of data as the map says, whatever the entry's size is, so that a map that says more would have it take the
//! following entries for data, and one that says less would have it take data for entries.

use super::BackupError;
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
}

impl Map {
    pub(super) fn new(real: u64) -> Self {
        Self { real, number: None, digits: 0, pieces: None, offset: None, end: 0, data: 0 }
    }

    /// The next block of it; the bytes of data that follow it, when it is through.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<Option<u64>, BackupError> {
        for byte in block {
            match byte {
                b'0'..=b'9' if self.digits < 20 => {
                    let number = self.number.unwrap_or(0).checked_mul(10);
                    self.number = number.and_then(|n| n.checked_add(u64::from(byte - b'0')));
                    self.digits += 1;
                    if self.number.is_none() {
                        return Err(odd());
                    }
                }
                b'\n' => {
                    let number = self.number.take().ok_or_else(odd)?;
                    self.digits = 0;
                    self.take(number)?;
                    if self.pieces == Some(0) {
                        return Ok(Some(self.data));
                    }
                }
                _ => return Err(odd()),
            }
        }
        Ok(None)
    }

    fn take(&mut self, number: u64) -> Result<(), BackupError> {
        let Some(pieces) = self.pieces else {
            self.pieces = Some(number);
            return Ok(());
        };
        let Some(offset) = self.offset.take() else {
            self.offset = Some(number);
            return Ok(());
        };
        let end = offset.checked_add(number).filter(|end| *end <= self.real).ok_or_else(odd)?;
        // Each piece begins in a block of its own, so that only what ends at a block's end can be followed by another.
        if offset < self.end || (number > 0 && !self.data.is_multiple_of(BLOCK as u64)) {
            return Err(odd());
        }
        (self.end, self.data) = (end, self.data + number);
        self.pieces = Some(pieces - 1);
        Ok(())
    }
}

fn odd() -> BackupError {
    BackupError::Unsafe("a file with holes whose map is not right".to_owned())
}
