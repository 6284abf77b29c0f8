//! `create NAME --from-backup FILE`: what is asked, and what of the backup is taken over.

use std::path::{Path, PathBuf};

use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::progress::Meter;
use super::session::Session;
use crate::backup::{BackupError, Consistency, Manifest, Most};
use crate::host::{HostError, Restore, backup};
use crate::plan::Fill;
use crate::shown::printable;
use crate::spec::{BoxName, BoxSpec, EnvVar, Memory};

#[derive(Debug, clap::Args)]
pub(super) struct FromBackup {
    /// With the settings and the data of a backup; other options go before what it says
    #[arg(long, value_name = "FILE")]
    from_backup: Option<PathBuf>,
    /// The most that the backup may unpack to [default: what is free on this host, less a reserve]
    #[arg(long, value_name = "SIZE", requires = "from_backup")]
    max_size: Option<String>,
}

/// What was typed, checked.
#[derive(Debug)]
pub(super) struct Asked {
    file: PathBuf,
    most: Option<Memory>,
}

impl FromBackup {
    pub(super) fn parse(&self) -> Result<Option<Asked>, Failure> {
        let most = self.max_size.as_deref().map(str::parse).transpose();
        let most = most.map_err(|e| Failure::from(e).hint("for example `--max-size 20G`"))?;
        Ok(self.from_backup.clone().map(|file| Asked { file, most }))
    }
}

impl Asked {
    /// What it says of itself, so that what is refused anyway is refused before hours of reading.
    pub(super) fn peek(&self) -> Result<Manifest, Failure> {
        Ok(Restore::peek(&self.file)?)
    }

    /// Reads all of it, and says what is wrong before anything is touched.
    pub(super) fn verify(&self, session: &Session) -> Result<Restore, Failure> {
        let room = session.host.podman.room()?;
        let most = Most { bytes: self.most.map_or(room.bytes, Memory::bytes), files: room.files };
        let meter = Meter::counting(session.out);
        let passed = |place, of, files| meter.of(place, of, &format!("checking {files} files"));
        Restore::verify(&self.file, most, &session.host.interrupts, &passed).map_err(|error| match error {
            HostError::Backup { cause: BackupError::TooLarge { most }, file } => {
                let message = format!("{} unpacks to more than {}", file.display(), output::size(most));
                let (kind, why) = match self.most {
                    Some(_) => (Kind::InvalidInput, "`--max-size` says no more"),
                    None => (Kind::NoResources, "that is what is free where your volumes are, less a reserve"),
                };
                Failure::new(kind, message).fact(why).hint("nothing was changed; `--max-size` allows another size")
            }
            HostError::Backup { cause: cause @ BackupError::TooMany { .. }, file } => {
                Failure::new(Kind::NoResources, format!("{}: {cause}", file.display()))
                    .fact("that is what the file system of your volumes has room for, less a reserve")
                    .hint("nothing was changed; `df --inodes` shows it")
            }
            other => other.into(),
        })
    }
}

/// Variables of the backup, with those that are given now in their place.
pub(super) fn merged(backup: &BoxSpec, given: &[EnvVar]) -> Vec<EnvVar> {
    let mut env: Vec<EnvVar> =
        backup.env.iter().filter(|old| given.iter().all(|new| new.key() != old.key())).cloned().collect();
    env.extend_from_slice(given);
    env
}

/// Which new volume each of the backup's goes to.
pub(super) fn fills(spec: &BoxSpec, manifest: &Manifest) -> Vec<Fill> {
    let volumes = backup::parts(&spec.name);
    let fill = |part| {
        let (_, volume) = volumes.iter().find(|(p, _)| *p == part)?;
        Some(Fill { volume: volume.clone(), part, image: spec.image.clone(), dev: spec.dev })
    };
    manifest.volumes.iter().filter_map(|v| fill(v.part)).collect()
}

/// Data that an earlier box of the name left cannot be had together with a backup's.
pub(super) fn kept(name: &BoxName, volumes: &[String]) -> Failure {
    Failure::new(Kind::Exists, format!("there is kept data of an earlier {name}: {}", volumes.join(", ")))
        .hint(format!("`devbox-ctl create {name}` has it again; choose another name for the backup's"))
}

/// What its owner should know of a box that came of a backup.
pub(super) fn say(restore: &Restore, spec: &BoxSpec, out: Output) {
    let manifest = &restore.verified().manifest;
    if manifest.consistency == Consistency::CrashConsistent {
        out.warning(&format!(
            "the backup is crash-consistent: {} ran while it was made, and its files are as after a power cut",
            manifest.spec.name
        ));
    }
    let missing = manifest.spec.mounts.iter().filter(|m| spec.mounts.iter().all(|new| new.target() != m.target()));
    for mount in missing {
        // The maker of the file chose both paths, so the warning contains no option that is ready to be copied.
        let short = |path: &Path| -> String { printable(&path.to_string_lossy()).chars().take(120).collect() };
        let (source, target) = (short(mount.source()), short(mount.target()));
        out.warning(&format!(
            "nothing is mounted at {target} in this box; the box that was backed up had {source} of its host there. `--mount` mounts a folder"
        ));
    }
}
