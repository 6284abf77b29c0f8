//! Owners' slices: their drop-ins under /run, which systemd reads at its next reload and sets live.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::User;

use super::systemd::Systemd;
use super::{HostError, files};
use crate::policy::slices::{self, DropIns};
use crate::settings::Settings;

/// Gone at a reboot, and written again by devbox-limits.service: /etc is the administrator's own.
const FOLDER: &str = "/run/systemd/system";
const FILE: &str = "50-devbox.conf";
/// Present while systemd may not have read all drop-ins. No unit can have that name.
const PENDING: &str = "devbox-limits.pending";
/// devbox-limits.service's StateDirectory=: root's.
const KEPT: &str = "/var/lib/devbox-limits";
const KEPT_FILE: &str = "settings.json";

/// Writes what the settings say, takes away what they no longer say, and has systemd apply it. Says which units changed.
pub fn apply(settings: &Settings) -> Result<Vec<String>, HostError> {
    // A user database that does not answer is not one without the user: their limit stays.
    let uid = |name: &str| User::from_name(name).map(|user| user.map(|user| user.uid.as_raw()));
    let wanted =
        slices::drop_ins(settings, uid).map_err(|e| HostError::io("reading", "the user database")(e.into()))?;
    let there = there()?;
    let pending = Path::new(FOLDER).join(PENDING);
    if there != wanted {
        // Until systemd has read what is written now: a run that is ended in between leaves it for the next one.
        fs::write(&pending, "").map_err(HostError::io("making", &pending))?;
    }
    let mut changed = Vec::new();
    for (unit, text) in &wanted {
        if there.get(unit) != Some(text) {
            let folder = folder(unit);
            fs::create_dir_all(&folder).map_err(HostError::io("making the folder", &folder))?;
            files::write(&folder, FILE, text)?;
            // files::write makes them private; units are everybody's to read.
            let path = folder.join(FILE);
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            fs::set_permissions(&path, open).map_err(HostError::io("opening", &path))?;
            changed.push(unit.clone());
        }
    }
    for unit in there.keys().filter(|unit| !wanted.contains_key(*unit)) {
        files::remove(&folder(unit).join(FILE))?;
        changed.push(unit.clone());
    }
    // Not at every run: one comes with each change of /etc/passwd, which any user makes with chsh(1).
    if pending.exists() {
        Systemd::system()?.reload()?;
        files::remove(&pending)?;
    }
    Ok(changed)
}

/// Keeps the settings' files for a boot at which they are broken.
pub fn keep(texts: &[(String, String)]) -> Result<(), HostError> {
    let folder = Path::new(KEPT);
    fs::create_dir_all(folder).map_err(HostError::io("making the folder", folder))?;
    files::write(folder, KEPT_FILE, &serde_json::to_string(texts).unwrap_or_default())
}

/// The settings that were good last; `None` where there were none.
pub fn last_good() -> Option<Settings> {
    let text = files::read(&Path::new(KEPT).join(KEPT_FILE)).ok().flatten()?;
    let texts: Vec<(String, String)> = serde_json::from_str(&text).ok()?;
    Settings::read(&texts).ok()
}

fn folder(unit: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{unit}.d"))
}

fn there() -> Result<DropIns, HostError> {
    let mut found = DropIns::new();
    for path in files::names_in(Path::new(FOLDER)).map_err(HostError::io("reading", FOLDER))? {
        let unit = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".d"));
        if let Some(unit) = unit.filter(|u| u.starts_with("user-") && u.strip_suffix(".slice").is_some())
            && let Ok(Some(text)) = files::read(&path.join(FILE))
        {
            found.insert(unit.to_owned(), text);
        }
    }
    Ok(found)
}
