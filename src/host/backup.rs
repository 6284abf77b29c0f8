//! Making a backup.

use std::io::{self, Write};

use super::copier::{self, Copy, CopyLock};
use super::podman::VolumeState;
use super::{Held, Host, HostError};
use crate::backup::{BackupError, Checksums, Consistency, FORMAT, LeftOut, Manifest, Part, Priority, Volume, Writer};
use crate::quadlet::names;
use crate::spec::{BoxName, BoxSpec};

/// A volume that is in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    pub name: String,
    pub volume: Volume,
}

/// What a backup will be of.
#[derive(Debug)]
pub struct BackupRequest<'a> {
    pub spec: &'a BoxSpec,
    pub volumes: Vec<Saved>,
    pub consistency: Consistency,
}

/// What became of it.
#[derive(Debug)]
pub struct BackedUp {
    pub sums: Checksums,
    /// Left out: no archive can hold one.
    pub sockets: u64,
    /// Files that no backup can bring back.
    pub left_out: LeftOut,
    /// Files of a running box changed while they were read.
    pub changed: bool,
}

/// Is told the volume that is read, the bytes of all so far, and the files of this one.
pub type Passed<'a> = &'a dyn Fn(&str, u64, u64);

/// Which volume of a box is which part of a backup.
pub fn parts(name: &BoxName) -> [(Part, String); 2] {
    [(Part::Home, names::home_volume(name)), (Part::State, names::state_volume(name))]
}

impl Host {
    /// The box's volumes that are at least that important, the most important first. A box that was never started has
    /// none.
    pub fn volumes_to_save(&self, name: &BoxName, least: Priority) -> Result<Vec<Saved>, HostError> {
        let mut found = Vec::new();
        for (part, volume) in parts(name) {
            let label = match self.podman.labelled_volume(name, &volume)? {
                (VolumeState::Absent, _) => continue,
                (VolumeState::Foreign, _) => return Err(HostError::ForeignVolume(volume)),
                (VolumeState::Ours(_), label) => label,
            };
            let priority = match label {
                None => part.default_priority(),
                Some(text) => text.parse().map_err(|_| HostError::BadPriority { volume: volume.clone(), text })?,
            };
            found.push(Saved { name: volume, volume: Volume { part, priority } });
        }
        found.retain(|saved| saved.volume.priority <= least);
        found.sort_by_key(|saved| (saved.volume.priority, saved.volume.part));
        Ok(found)
    }

    /// About how many bytes that will be, to show how far it is. It costs a look at every file.
    pub fn bytes_to_save(&self, volumes: &[Saved]) -> Option<u64> {
        self.podman.volumes_bytes(volumes.iter().map(|saved| saved.name.as_str())).ok()
    }

    /// Whether nothing runs in the box, nor is about to.
    pub fn consistency(&self, name: &BoxName) -> Result<Consistency, HostError> {
        let unit = names::service(name);
        let states = self.systemd.states(&unit)?;
        Ok(match states.get(&unit).map(|unit| unit.active.as_str()) {
            None | Some("inactive" | "failed") => Consistency::Stopped,
            _ => Consistency::CrashConsistent,
        })
    }

    /// When it last began to run, in microseconds since 1970; 0 where systemd has forgotten.
    fn last_start(&self, name: &BoxName) -> Result<u64, HostError> {
        let details = self.systemd.details(&[names::service(name)])?;
        Ok(details.first().map_or(0, |unit| unit.active_since))
    }

    /// Writes a backup of a box that is held meanwhile.
    pub fn back_up<W: Write>(
        &self,
        held: &Held,
        request: &BackupRequest<'_>,
        out: W,
        passed: Passed<'_>,
    ) -> Result<(W, BackedUp), HostError> {
        let spec = request.spec;
        let manifest = Manifest {
            format: FORMAT,
            made_at: super::now(),
            consistency: request.consistency,
            spec: spec.clone(),
            volumes: request.volumes.iter().map(|saved| saved.volume).collect(),
        };
        let name = &spec.name;
        let lock = CopyLock::take(&held.entry.folder, name.as_str(), &self.interrupts)?;
        let started = self.last_start(name)?;
        let mut writer = Writer::begin(out, &manifest).map_err(|e| self.stopped(e))?;
        let (mut sockets, mut left_out, mut changed, mut before) = (0, LeftOut::default(), false, 0);
        for saved in &request.volumes {
            self.interrupts.check()?;
            let part = saved.volume.part;
            let copy = Copy { name, volume: &saved.name, part, image: &spec.image, dev: spec.dev };
            let mut from = copier::out(copy, &self.podman, &lock, &self.interrupts)?;
            let mut so_far = 0;
            let written = writer.volume(part, &mut from, |bytes, files| {
                so_far = bytes;
                passed(&saved.name, before + bytes, files);
            });
            before += so_far;
            let copied = match written {
                Ok(of_this) => {
                    left_out.join(&of_this);
                    from.finish(copier::READING)?
                }
                // It says more itself when it failed first: the stream just ended.
                Err(cause @ BackupError::Damaged(_)) => {
                    from.finish(copier::READING)?;
                    return Err(self.stopped(cause));
                }
                Err(BackupError::Unsafe(what)) if request.consistency == Consistency::CrashConsistent => {
                    return Err(HostError::Unsteady { name: name.to_string(), what });
                }
                Err(cause) => return Err(self.stopped(cause)),
            };
            sockets += copied.sockets;
            changed |= copied.changed;
        }
        // The lock keeps devbox-ctl from starting it, and nothing keeps its owner's systemctl.
        if request.consistency == Consistency::Stopped
            && (changed || self.consistency(name)? != Consistency::Stopped || self.last_start(name)? != started)
        {
            return Err(HostError::StartedMeanwhile(name.to_string()));
        }
        self.interrupts.check()?;
        let (out, sums) = writer.finish().map_err(|e| self.stopped(e))?;
        Ok((out, BackedUp { sums, sockets, left_out, changed }))
    }

    /// What stopped a stream, in the host's words.
    pub(super) fn stopped(&self, cause: BackupError) -> HostError {
        if let Err(interrupted) = self.interrupts.check() {
            return interrupted;
        }
        match cause {
            BackupError::Write(source) => HostError::Io { doing: "writing", path: "the backup".into(), source },
            BackupError::Stopped(source) => HostError::Podman { what: "run", stderr: source.to_string() },
            other => HostError::Podman { what: "run", stderr: format!("what it gave is no backup: {other}") },
        }
    }
}

/// Counts and sums what goes through.
#[derive(Debug)]
pub struct Summed<W> {
    pub to: W,
    pub bytes: u64,
    hash: sha2::Sha256,
}

impl<W> Summed<W> {
    pub fn new(to: W) -> Self {
        Self { to, bytes: 0, hash: sha2::Sha256::default() }
    }

    /// SHA-256 of all, as sha256sum(1) prints it.
    pub fn sha256(&self) -> String {
        use sha2::Digest;
        self.hash.clone().finalize().iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use sha2::Digest;
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
