//! What `create` must know of the machine before it is decided.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use super::podman::{self, VolumeState};
use super::systemd::Systemd;
use super::{Account, HostError, files, generator};
use crate::quadlet::names;
use crate::spec::{BoxName, BoxSpec, Mount};

/// Facts, not verdicts.
#[derive(Debug)]
pub struct Observed {
    pub image: bool,
    /// Volumes of this box that are there and carry its label.
    pub own_volumes: Vec<String>,
    /// Something of a name we would generate that is not ours, in words.
    pub clash: Option<String>,
}

/// The version is asked for in a thread beside the rest.
pub fn observe(account: &Account, systemd: &Systemd, spec: &BoxSpec) -> Result<Observed, HostError> {
    thread::scope(|scope| {
        let version = scope.spawn(generator::check_version);
        let image = podman::has_image(account, &spec.image);
        let clash = clash(account, systemd, &spec.name);
        // The version first: an absent or old podman explains whatever else went wrong.
        version.join().unwrap_or(Err(HostError::PodmanMissing))?;
        let (mut clash, image) = (clash?, image?);

        let mut own_volumes = Vec::new();
        for volume in names::volumes(&spec.name) {
            match podman::volume(account, &spec.name, &volume)? {
                VolumeState::Absent => {}
                VolumeState::Ours => own_volumes.push(volume),
                VolumeState::Foreign => clash = Some(format!("a volume {volume} that devbox-ctl did not make")),
            }
        }
        Ok(Observed { image, own_volumes, clash })
    })
}

/// Quadlet takes the first file of a name it meets and systemd prefers a hand-written unit, both without a word.
fn clash(account: &Account, systemd: &Systemd, name: &BoxName) -> Result<Option<String>, HostError> {
    let ours = names::unit_files(name);
    if let Some(path) = same_name(&account.quadlets(), &account.folder(name), &ours, 8)? {
        return Ok(Some(format!("a unit file {}", path.display())));
    }
    let unit = names::service(name);
    if systemd.has_unit_file(&unit)? {
        return Ok(Some(format!("a unit {unit} that devbox-ctl did not make")));
    }
    if podman::has_foreign_container(account, name)? {
        return Ok(Some(format!("a container {} that devbox-ctl did not make", names::container(name))));
    }
    Ok(None)
}

fn same_name(folder: &Path, own: &Path, names: &[String], depth: u32) -> Result<Option<PathBuf>, HostError> {
    for path in files::names_in(folder).map_err(HostError::io("reading", folder))? {
        if path == own {
            continue;
        }
        let is_ours = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| names.iter().any(|o| o == n));
        if is_ours {
            return Ok(Some(path));
        }
        // Quadlet follows links to folders; the depth ends a circle.
        if depth > 0
            && path.is_dir()
            && let Some(found) = same_name(&path, own, names, depth - 1)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What keeps a folder from being mounted, in words.
pub fn mount_trouble(account: &Account, mount: &Mount) -> Option<String> {
    let source = mount.source();
    match std::fs::metadata(source) {
        Err(e) => Some(format!("{} cannot be mounted: {}", source.display(), plain(&e))),
        Ok(meta) if meta.uid() != account.uid => Some(format!("{} is not yours", source.display())),
        Ok(_) => None,
    }
}

/// An I/O error without the number.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it is not there".to_owned(),
        std::io::ErrorKind::PermissionDenied => "you may not read it".to_owned(),
        _ => error.to_string(),
    }
}
