//! Reading an archive, once from its beginning to its end. What it does not know it refuses.

use std::io::{self, BufRead, Read, Write};

use sha2::{Digest, Sha256};
use zstd::stream::read::Decoder;

use super::error::shown;
use super::inner::Inner;
use super::manifest::{Checksums, Manifest, Part, VolumeSum};
use super::ustar::{self, BLOCK};
use super::write::hex;
use super::{BackupError, CHECKSUMS, CHUNK, MANIFEST, MOST_TEXT, MOST_WINDOW};

/// An archive at the place that was read up to.
pub struct Reader<R: BufRead> {
    from: Decoder<'static, R>,
    manifest: Manifest,
    mtime: u64,
    /// The next entry's name and size; `None` at the end.
    next: Option<(String, u64)>,
    sums: Checksums,
    most: Most,
    /// What came out of the volumes that were read.
    came: Most,
}

/// What an archive may unpack to, on disk: many small files take more there than they are long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    pub bytes: u64,
    pub files: u64,
}

impl Most {
    pub const ANY: Self = Self { bytes: u64::MAX, files: u64::MAX };
    const NOTHING: Self = Self { bytes: 0, files: 0 };
}

/// An archive that was read to its end, and holds what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub manifest: Manifest,
    pub sums: Checksums,
}

impl<R: BufRead> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("manifest", &self.manifest).field("next", &self.next).finish_non_exhaustive()
    }
}

/// Reads all of it and keeps nothing; `passed` hears the bytes and files so far.
pub fn verify(
    from: impl BufRead,
    most: Most,
    mut passed: impl FnMut(u64, u64) -> io::Result<()>,
) -> Result<Verified, BackupError> {
    let mut reader = Reader::open(from, most)?;
    let (mut before, mut files_before) = (0, 0);
    for volume in reader.manifest.volumes.clone() {
        let (mut bytes, mut files) = (0, 0);
        reader.volume(volume.part, &mut io::sink(), |b, f| {
            (bytes, files) = (b, f);
            passed(before + b, files_before + f)
        })?;
        before += bytes;
        files_before += files;
    }
    reader.finish()
}

impl<R: BufRead> Reader<R> {
    /// Reads the manifest. No more than `most` will come out of it.
    pub fn open(from: R, most: Most) -> Result<Self, BackupError> {
        let mut from = Decoder::with_buffer(from).map_err(BackupError::reading)?.single_frame();
        from.window_log_max(MOST_WINDOW).map_err(BackupError::reading)?;
        let mut block = [0; BLOCK];
        from.read_exact(&mut block).map_err(|e| match (e.raw_os_error(), e.kind()) {
            (None, kind) if kind != io::ErrorKind::UnexpectedEof => BackupError::NotABackup,
            _ => BackupError::reading(e),
        })?;
        // The one header whose time is not known before.
        let mtime = mtime_of(&block);
        let size = size_of(&block);
        if !block.starts_with(MANIFEST.as_bytes())
            || size > MOST_TEXT
            || block != ustar::plain_file(MANIFEST, size, mtime)
        {
            return Err(BackupError::NotABackup);
        }
        let text = text(&mut from, size)?;
        let manifest = Manifest::from_toml(&text)?;
        if u64::try_from(manifest.made_at.as_second()).ok() != Some(mtime) {
            return Err(BackupError::damaged("its manifest and its headers disagree"));
        }
        let mut reader =
            Self { from, manifest, mtime, next: None, sums: Checksums::default(), most, came: Most::NOTHING };
        reader.next = reader.header()?;
        Ok(reader)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The next volume, which must be this one. What is written is checked by then, but for the checksum, which is known
    /// when all of it is written; `passed` hears the bytes and files so far, and may stop it.
    pub fn volume(
        &mut self,
        part: Part,
        to: &mut impl Write,
        mut passed: impl FnMut(u64, u64) -> io::Result<()>,
    ) -> Result<VolumeSum, BackupError> {
        let (mut hash, mut inner) = (Sha256::new(), Inner::unpacking(part));
        let (mut bytes, mut chunks) = (0, 0);
        let mut buffer = vec![0; 128 << 10];
        let mut is_last = false;
        while let Some(size) = self.chunk(&part.entry(chunks))? {
            if is_last || size == 0 || size > CHUNK as u64 {
                return Err(BackupError::damaged(format!("a chunk of {} is of a wrong size", part.word())));
            }
            self.check(bytes + size, 0)?;
            is_last = size < CHUNK as u64;
            let mut left = size;
            while left > 0 {
                let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let some = &mut buffer[..length];
                self.from.read_exact(some).map_err(BackupError::reading)?;
                inner.feed(some, &mut |_| {})?;
                hash.update(&*some);
                left -= length as u64;
                bytes += length as u64;
                self.check(inner.on_disk(), inner.entries())?;
                to.write_all(some).map_err(BackupError::Stopped)?;
                passed(bytes, inner.entries()).map_err(BackupError::Stopped)?;
            }
            self.skip_padding(size)?;
            chunks += 1;
            self.next = self.header()?;
        }
        inner.end()?;
        self.came.bytes = self.came.bytes.saturating_add(bytes.max(inner.on_disk()));
        self.came.files += inner.entries();
        let sum = VolumeSum { part, bytes, chunks, sha256: hex(&hash.finalize()) };
        self.sums.volumes.push(sum.clone());
        Ok(sum)
    }

    fn check(&self, bytes: u64, files: u64) -> Result<(), BackupError> {
        if self.came.bytes.saturating_add(bytes) > self.most.bytes {
            return Err(BackupError::TooLarge { most: self.most.bytes });
        }
        if self.came.files.saturating_add(files) > self.most.files {
            return Err(BackupError::TooMany { most: self.most.files });
        }
        Ok(())
    }

    /// What is left must be the checksums, and then the archive's end and the file's.
    pub fn finish(mut self) -> Result<Verified, BackupError> {
        let Some(size) = self.chunk(CHECKSUMS)?.filter(|size| *size <= MOST_TEXT) else {
            return Err(BackupError::damaged("its checksums are not where they belong"));
        };
        let text = text(&mut self.from, size)?;
        let said: Checksums = toml::from_str(&text)
            .map_err(|e| BackupError::damaged(format!("its checksums: {}", shown(e.message().as_bytes()))))?;
        for (said, found) in said.volumes.iter().zip(&self.sums.volumes) {
            if said != found {
                return Err(BackupError::damaged(format!("the checksum of {} is wrong", found.part.word())));
            }
        }
        if said != self.sums {
            return Err(BackupError::damaged("its checksums are not of its volumes"));
        }
        if self.header()?.is_some() {
            return Err(BackupError::damaged("there is more after its checksums"));
        }
        // What the frame's own checksum is read for; it must be all that is left.
        let mut more = [0; 1];
        if self.from.read(&mut more).map_err(BackupError::reading)? != 0 {
            return Err(BackupError::damaged("there is more after its end"));
        }
        let mut rest = self.from.finish();
        if !rest.fill_buf().map_err(BackupError::Read)?.is_empty() {
            return Err(BackupError::damaged("there is more after its end"));
        }
        Ok(Verified { manifest: self.manifest, sums: self.sums })
    }

    /// The size of the next entry, if it is of that name.
    fn chunk(&self, name: &str) -> Result<Option<u64>, BackupError> {
        match &self.next {
            Some((next, size)) if next == name => Ok(Some(*size)),
            Some(_) => Ok(None),
            None => Err(BackupError::damaged("it ends before its checksums")),
        }
    }

    /// `None` for the two empty blocks at the end.
    fn header(&mut self) -> Result<Option<(String, u64)>, BackupError> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(BackupError::reading)?;
        if block == [0; BLOCK] {
            self.from.read_exact(&mut block).map_err(BackupError::reading)?;
            return if block == [0; BLOCK] { Ok(None) } else { Err(BackupError::damaged("a header is missing")) };
        }
        let end = block.iter().position(|b| *b == 0).unwrap_or(0);
        let name = String::from_utf8_lossy(&block[..end]).into_owned();
        let size = size_of(&block);
        if name.len() > 100 || block != ustar::plain_file(&name, size, self.mtime) {
            return Err(BackupError::damaged("a header is not as devbox-ctl writes it"));
        }
        Ok(Some((name, size)))
    }

    fn skip_padding(&mut self, size: u64) -> Result<(), BackupError> {
        padding(&mut self.from, size)
    }
}

fn padding(from: &mut impl Read, size: u64) -> Result<(), BackupError> {
    let mut block = [0; BLOCK];
    let some = &mut block[..ustar::padding(size)];
    from.read_exact(some).map_err(BackupError::reading)?;
    if some.iter().all(|b| *b == 0) { Ok(()) } else { Err(BackupError::damaged("something between its entries")) }
}

/// A small entry, whole.
fn text(from: &mut impl Read, size: u64) -> Result<String, BackupError> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    from.read_exact(&mut bytes).map_err(BackupError::reading)?;
    padding(from, size)?;
    String::from_utf8(bytes).map_err(|_| BackupError::damaged("a text of it is no text"))
}

/// Digits that are not octal give another header when it is made anew, and so are refused there.
fn octal(field: &[u8]) -> u64 {
    let digits = field.iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0, |number: u64, b| number.wrapping_mul(8).wrapping_add(u64::from(b - b'0')))
}

fn size_of(block: &[u8; BLOCK]) -> u64 {
    octal(&block[124..136])
}

fn mtime_of(block: &[u8; BLOCK]) -> u64 {
    octal(&block[136..148])
}
