//! What `create` must know of the machine before it is decided.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use super::podman::VolumeState;
use super::{Account, Host, HostError, files, generator, health};
use crate::quadlet::names;
use crate::shown::printable;
use crate::spec::{BoxName, BoxSpec, DevIs, Mount};

/// Facts, not verdicts.
#[derive(Debug)]
pub struct Observed {
    pub image: bool,
    /// Volumes of this box that are there and carry its label.
    pub own_volumes: Vec<String>,
    /// Who `dev` is in those.
    pub kept_dev: Option<DevIs>,
    /// Something of a name we would generate that is not ours, in words.
    pub clash: Option<String>,
}

/// The version is asked for in a thread beside the rest.
pub fn observe(host: &Host, spec: &BoxSpec) -> Result<Observed, HostError> {
    let podman = &host.podman;
    health::locks(&host.account)?;
    // Quadlet's generator has the manager's environment.
    let config = host.account.home().join(".config");
    if let Some(elsewhere) = podman.environment().get("XDG_CONFIG_HOME").filter(|set| Path::new(set) != config) {
        return Err(HostError::ConfigHome(printable(elsewhere)));
    }
    let kept = host.account.kept_version();
    thread::scope(|scope| {
        let version = scope.spawn(|| generator::check_version(Some(&kept)));
        let image = podman.has_image(&spec.image);
        let clash = clash(host, &spec.name);
        // The version first: an absent or old podman explains whatever else went wrong.
        version.join().unwrap_or(Err(HostError::PodmanMissing))?;
        let (mut clash, image) = (clash?, image?);

        let (mut own_volumes, mut kept_dev) = (Vec::new(), None);
        for volume in names::volumes(&spec.name) {
            match podman.volume(&spec.name, &volume)? {
                VolumeState::Absent => {}
                VolumeState::Ours(dev) => {
                    own_volumes.push(volume);
                    kept_dev = kept_dev.or(Some(dev));
                }
                VolumeState::Foreign => clash = Some(format!("a volume {volume} that devbox-ctl did not make")),
            }
        }
        Ok(Observed { image, own_volumes, kept_dev, clash })
    })
}

/// Quadlet takes the first file of a name it meets and systemd prefers a hand-written unit, both without a word.
fn clash(host: &Host, name: &BoxName) -> Result<Option<String>, HostError> {
    let account = &host.account;
    let ours = names::unit_files(name);
    if let Some(path) = same_name(&account.quadlets(), &account.folder(name), &ours, &mut HashSet::new()) {
        return Ok(Some(format!("a unit file {}", path.display())));
    }
    let unit = names::service(name);
    if host.systemd.has_unit_file(&unit)? {
        return Ok(Some(format!("a unit {unit} that devbox-ctl did not make")));
    }
    if host.podman.has_foreign_container(name)? {
        return Ok(Some(format!("a container {} that devbox-ctl did not make", names::container(name))));
    }
    Ok(None)
}

/// A folder that cannot be read is none to Quadlet either.
fn same_name(folder: &Path, own: &Path, names: &[String], seen: &mut HashSet<(u64, u64)>) -> Option<PathBuf> {
    // Quadlet follows links to folders, and links can make a circle.
    let meta = folder.metadata().ok()?;
    if !seen.insert((meta.dev(), meta.ino())) {
        return None;
    }
    for path in files::names_in(folder).ok()?.into_iter().filter(|path| path != own) {
        if path.file_name().and_then(|n| n.to_str()).is_some_and(|n| names.iter().any(|o| o == n)) {
            return Some(path);
        }
        if path.is_dir()
            && let Some(found) = same_name(&path, own, names, seen)
        {
            return Some(found);
        }
    }
    None
}

/// The mount with its source where it really is: links are followed once, now, and never again (src/host/mounts.rs).
///
/// # Errors
/// What keeps it from being mounted, in words.
pub fn mount(account: &Account, asked: &Mount) -> Result<Mount, String> {
    let source = asked.source();
    let cannot = |e| format!("{} cannot be mounted: {}", source.display(), plain(&e));
    let real = source.canonicalize().map_err(cannot)?;
    if std::fs::metadata(&real).map_err(cannot)?.uid() != account.uid {
        return Err(format!("{} is not yours", source.display()));
    }
    asked.from(&real).map_err(|e| e.to_string())
}

/// An I/O error without the number.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it is not there".to_owned(),
        std::io::ErrorKind::PermissionDenied => "you may not read it".to_owned(),
        _ => error.to_string(),
    }
}
