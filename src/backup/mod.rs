//! What a backup is: one zstd frame of a plain tar, so that `zstd -dc FILE | tar x` gets at the data without this program.
//!
//! Over `Read` and `Write` alone: no path, no process. docs/backup.md has the format, decision 0006 its reasons. The reader
//! takes nothing but what the writer writes, byte for byte where it can: a tar that two programs read differently is how
//! archives escape.

mod entry;
mod error;
mod inner;
mod manifest;
mod pax;
mod read;
mod sparse;
mod ustar;
mod write;

pub use error::BackupError;
pub use inner::{Inner, LeftOut};
pub use manifest::{Checksums, Consistency, FORMAT, Manifest, Part, Priority, PriorityError, Volume, VolumeSum};
pub use read::{Most, Reader, Verified, verify};
pub use write::Writer;

/// Bytes of a volume in each entry but its last: a tar entry says its size before its bytes, and a volume's stream has
/// none.
pub const CHUNK: usize = 4 << 20;

/// The archive's first and last entry.
const MANIFEST: &str = "devbox-backup.toml";
const CHECKSUMS: &str = "checksums.toml";

/// More text than either has.
const MOST_TEXT: u64 = 1 << 20;

/// zstd's own default; beyond it a backup takes much longer to be a little smaller.
const LEVEL: i32 = 3;

/// The most memory that an archive may have a reader set aside: 16 MiB, as a power of two.
const MOST_WINDOW: u32 = 24;

#[cfg(test)]
mod tests;
