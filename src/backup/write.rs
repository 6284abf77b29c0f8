//! Writing an archive.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use zstd::stream::write::Encoder;

use super::inner::{Inner, LeftOut};
use super::manifest::{Checksums, Manifest, Part, VolumeSum};
use super::ustar::{self, BLOCK};
use super::{BackupError, CHECKSUMS, CHUNK, LEVEL, MANIFEST};

/// Read at once.
const PIECE: usize = 1 << 20;

/// An archive on its way to somewhere.
pub struct Writer<W: Write> {
    out: Encoder<'static, W>,
    mtime: u64,
    sums: Checksums,
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("sums", &self.sums).finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    pub fn begin(out: W, manifest: &Manifest) -> Result<Self, BackupError> {
        let mut out = Encoder::new(out, LEVEL).map_err(BackupError::Write)?;
        out.include_checksum(true).map_err(BackupError::Write)?;
        let mtime = u64::try_from(manifest.made_at.as_second()).unwrap_or(0);
        let mut writer = Self { out, mtime, sums: Checksums::default() };
        writer.text(MANIFEST, toml::to_string(manifest))?;
        Ok(writer)
    }

    /// One volume, as GNU tar gives it; `passed` hears the bytes and files so far, now and then. Says what was left out.
    pub fn volume(
        &mut self,
        part: Part,
        from: &mut impl Read,
        mut passed: impl FnMut(u64, u64),
    ) -> Result<LeftOut, BackupError> {
        let (mut hash, mut inner) = (Sha256::new(), Inner::packing(part));
        let (mut bytes, mut chunks) = (0, 0);
        let mut piece = vec![0; PIECE];
        let mut kept = Vec::with_capacity(CHUNK + PIECE);
        loop {
            let length = fill(from, &mut piece).map_err(BackupError::Stopped)?;
            inner.feed(&piece[..length], &mut |some| kept.extend_from_slice(some))?;
            let is_last = length < PIECE;
            while kept.len() >= CHUNK || (is_last && !kept.is_empty()) {
                let some = &kept[..kept.len().min(CHUNK)];
                hash.update(some);
                self.entry(&part.entry(chunks), some)?;
                chunks += 1;
                bytes += some.len() as u64;
                kept.drain(..some.len());
                passed(bytes, inner.entries());
            }
            if is_last {
                break;
            }
        }
        inner.end()?;
        self.sums.volumes.push(VolumeSum { part, bytes, chunks, sha256: hex(&hash.finalize()) });
        Ok(inner.left_out().clone())
    }

    /// Ends the archive. It is whole only after this.
    pub fn finish(mut self) -> Result<(W, Checksums), BackupError> {
        let sums = std::mem::take(&mut self.sums);
        self.text(CHECKSUMS, toml::to_string(&sums))?;
        self.out.write_all(&[0; 2 * BLOCK]).map_err(BackupError::Write)?;
        let out = self.out.finish().map_err(BackupError::Write)?;
        Ok((out, sums))
    }

    fn text(&mut self, name: &str, text: Result<String, toml::ser::Error>) -> Result<(), BackupError> {
        let text = text.map_err(|e| BackupError::Write(io::Error::other(e)))?;
        self.entry(name, text.as_bytes())
    }

    fn entry(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let size = bytes.len() as u64;
        let write = |out: &mut Encoder<'static, W>| {
            out.write_all(&ustar::plain_file(name, size, self.mtime))?;
            out.write_all(bytes)?;
            out.write_all(&[0; BLOCK][..ustar::padding(size)])
        };
        write(&mut self.out).map_err(BackupError::Write)
    }
}

/// As much as there is, up to the whole.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
