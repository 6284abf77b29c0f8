//! Headers of tar, as POSIX has them (pax(1), ustar interchange format).

use super::BackupError;

pub(super) const BLOCK: usize = 512;

/// One header of a plain file, as the writer writes it. The reader makes the same from what it read and compares: an
/// archive has no second way to say a thing.
pub(super) fn plain_file(name: &str, size: u64, mtime: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    // Both are ours, and fit: names have at most 19 bytes, sizes are below 8 GiB.
    let name = &name.as_bytes()[..name.len().min(100)];
    block[..name.len()].copy_from_slice(name);
    octal(&mut block[100..108], 0o600);
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], mtime);
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum = checksum(&block);
    octal(&mut block[148..155], sum);
    block[155] = b' ';
    block
}

/// What follows a body to fill its last block.
pub(super) fn padding(size: u64) -> usize {
    // Less than a block.
    usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0)
}

fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    field[..digits].copy_from_slice(&text.as_bytes()[text.len() - digits..]);
}

/// The sum of all bytes, those of its own field taken for spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let own = 148..156;
    block.iter().enumerate().map(|(at, byte)| u64::from(if own.contains(&at) { b' ' } else { *byte })).sum()
}

/// A header of somebody else's tar, in the one form that GNU tar's `--format=posix` has.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, BackupError> {
        let damaged = |what: &str| BackupError::damaged(format!("a volume's tar: {what}"));
        if &block[257..265] != b"ustar\x0000" {
            return Err(damaged("a header that is not POSIX's"));
        }
        if number(&block[148..156]) != Some(checksum(block)) {
            return Err(damaged("a header's checksum"));
        }
        for field in [100..108, 108..116, 116..124, 136..148] {
            number(&block[field]).ok_or_else(|| damaged("a number in a header"))?;
        }
        let size = number(&block[124..136]).ok_or_else(|| damaged("a size in a header"))?;
        // Names of owners, which are numbers here; a prefix, for which there is a record; and what star(1) has there, by
        // which GNU tar takes it for a header of another kind, with other rules for files with holes.
        if block[265..329].iter().chain(&block[345..]).any(|b| *b != 0) {
            return Err(BackupError::Unsafe("a header with more in it than tar writes".to_owned()));
        }
        let name = text(&block[..100]).ok_or_else(|| damaged("a name in a header"))?;
        let link = text(&block[157..257]).ok_or_else(|| damaged("a link in a header"))?;
        Ok(Self { kind: block[156], name: name.to_vec(), link: link.to_vec(), size })
    }
}

/// Up to its first NUL, after which there is nothing else.
fn text(field: &[u8]) -> Option<&[u8]> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    field[end..].iter().all(|b| *b == 0).then_some(&field[..end])
}

/// Octal digits, then spaces or NULs. Nothing before them, no other base.
fn number(field: &[u8]) -> Option<u64> {
    let digits = field.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || field[digits..].iter().any(|b| !matches!(b, 0 | b' ')) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&field[..digits]).ok()?, 8).ok()
}
