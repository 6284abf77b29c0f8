//! Unpacking a backup: once to nowhere, to know that it is whole, and then into the volumes of a new box.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::copier::{self, Copy, CopyLock};
use super::podman::VolumeState;
use super::systemd::{Job, JobEnd};
use super::{Host, HostError, Interrupts, volumes};
use crate::backup::{self, BackupError, Manifest, Most, Reader, Verified};
use crate::plan::Fill;
use crate::quadlet::names;
use crate::spec::BoxName;

const BUFFER: usize = 256 << 10;

/// A backup that was verified, by the file that is open since: under its name there may be another by now.
#[derive(Debug)]
pub struct Restore {
    path: PathBuf,
    file: File,
    most: Most,
    verified: Verified,
    /// Where the second reading is; volumes come in the archive's order.
    reader: Option<Reader<BufReader<File>>>,
}

impl Restore {
    /// What a backup says of itself in its beginning, before anything of it is known to be true.
    pub fn peek(path: &Path) -> Result<Manifest, HostError> {
        let wrong = |cause| HostError::Backup { file: path.to_owned(), cause };
        let file = open(path).map_err(|e| wrong(BackupError::Read(e)))?;
        let reader = Reader::open(BufReader::with_capacity(BUFFER, file), Most::ANY).map_err(wrong)?;
        Ok(reader.manifest().clone())
    }

    /// Reads all of a backup and changes nothing. `passed` hears the place in the file, its length, and the files so far.
    pub fn verify(
        path: &Path,
        most: Most,
        interrupts: &Interrupts,
        passed: &dyn Fn(u64, u64, u64),
    ) -> Result<Self, HostError> {
        let unread = |e| refused(path, BackupError::Read(e), interrupts);
        let file = open(path).map_err(unread)?;
        let length = file.metadata().map_err(unread)?.len();
        let place = file.try_clone().map_err(unread)?;
        let verified = backup::verify(BufReader::with_capacity(BUFFER, &file), most, |_, files| {
            passed((&place).stream_position()?, length, files);
            interrupts.check().map_err(io::Error::other)
        });
        let verified = verified.map_err(|cause| refused(path, cause, interrupts))?;
        Ok(Self { path: path.to_owned(), file, most, verified, reader: None })
    }

    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    fn changed(&self) -> HostError {
        let cause = BackupError::Damaged("it was changed while it was read".to_owned());
        HostError::Backup { file: self.path.clone(), cause }
    }

    /// The second reading, at the next volume.
    fn reader(&mut self) -> Result<Reader<BufReader<File>>, HostError> {
        if let Some(reader) = self.reader.take() {
            return Ok(reader);
        }
        let wrong = |cause| HostError::Backup { file: self.path.clone(), cause };
        let again = self.file.try_clone().and_then(|mut file| file.rewind().map(|()| file));
        let from = BufReader::with_capacity(BUFFER, again.map_err(|e| wrong(BackupError::Read(e)))?);
        let reader = Reader::open(from, self.most).map_err(wrong)?;
        if *reader.manifest() == self.verified.manifest { Ok(reader) } else { Err(self.changed()) }
    }
}

/// A file that can be read twice.
fn open(path: &Path) -> io::Result<File> {
    // A FIFO would be waited for.
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

fn refused(path: &Path, cause: BackupError, interrupts: &Interrupts) -> HostError {
    match interrupts.check() {
        Err(interrupted) => interrupted,
        Ok(()) => HostError::Backup { file: path.to_owned(), cause },
    }
}

impl Host {
    /// Makes a volume of a box through its own service, so that it has its labels, and unpacks it.
    pub(super) fn fill(&self, name: &BoxName, fill: &Fill, restore: &mut Restore) -> Result<(), HostError> {
        let unknown = || HostError::UnitUnknown { unit: fill.volume.clone(), why: Vec::new() };
        let unit = names::volume_service(name, &fill.volume).ok_or_else(unknown)?;
        match self.systemd.job(Job::Start, &unit, super::apply::START, None, &self.interrupts)? {
            JobEnd::Ended(result) if result == "done" => {}
            JobEnd::Ended(result) => return Err(self.failed(Job::Start, &unit, result)),
            JobEnd::NoSuchUnit => return Err(unknown()),
        }
        // There may have been another's by then, which its service takes as it is.
        let made = self.podman.ask_volume(name, &fill.volume)?;
        if !matches!(made, VolumeState::Ours(_)) {
            return Err(HostError::ForeignVolume(fill.volume.clone()));
        }
        let lock = CopyLock::take(&self.account.folder(name), name.as_str(), &self.interrupts)?;
        let mut reader = restore.reader()?;
        let copy = Copy { name, volume: &fill.volume, part: fill.part, image: &fill.image, dev: fill.dev };
        let mut to = copier::into(copy, &self.podman, &lock, &self.interrupts)?;
        let sum = match reader.volume(fill.part, &mut to, |_, _| Ok(())) {
            Ok(sum) => sum,
            // The container's end says more than that it does not listen any more.
            Err(BackupError::Stopped(source)) => {
                self.interrupts.check()?;
                to.finish(copier::FILLING)?;
                return Err(HostError::Podman { what: "run", stderr: source.to_string() });
            }
            Err(cause) => return Err(refused(&restore.path, cause, &self.interrupts)),
        };
        to.finish(copier::FILLING)?;
        if restore.verified.sums.of(fill.part) != Some(&sum) {
            return Err(restore.changed());
        }
        restore.reader = Some(reader);
        volumes::note_made(&self.account, &self.podman, name, &fill.volume)
    }
}
