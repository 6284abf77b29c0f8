//! What the administrator wrote in /etc/devbox.

use std::path::Path;

use super::{HostError, files};
use crate::quadlet::Templates;
use crate::settings::{Settings, SettingsError};

const FOLDER: &str = "/etc/devbox";

/// Why there are no settings: unreadable, or wrong.
#[derive(Debug, thiserror::Error)]
pub enum SettingsProblem {
    #[error(transparent)]
    Wrong(#[from] SettingsError),
    #[error(transparent)]
    Unreadable(#[from] HostError),
}

/// users.toml and its fragments in the order of their names; the defaults where there is none.
pub fn settings() -> Result<Settings, SettingsProblem> {
    Ok(settings_files()?.1)
}

/// The settings as they were with another file in the place of users.toml.
pub fn settings_with(file: &Path) -> Result<Settings, SettingsProblem> {
    Ok(read(file)?.1)
}

/// The same, with the names and texts of the files.
pub fn settings_files() -> Result<(Vec<(String, String)>, Settings), SettingsProblem> {
    read(&Path::new(FOLDER).join("users.toml"))
}

fn read(users: &Path) -> Result<(Vec<(String, String)>, Settings), SettingsProblem> {
    let folder = Path::new(FOLDER);
    let fragments = folder.join("users.toml.d");
    let mut paths = vec![users.to_owned()];
    let more = files::names_in(&fragments).map_err(HostError::io("reading", &fragments))?;
    paths.extend(more.into_iter().filter(|p| p.extension().is_some_and(|e| e == "toml")));
    let mut texts = Vec::new();
    for path in paths {
        // Root's own folder: a link there is the administrator's wish.
        match std::fs::read_to_string(&path) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            // There need not be a users.toml; a file that was named has to be there.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && path.starts_with(folder) => {}
            Err(e) => return Err(HostError::io("reading", path)(e).into()),
        }
    }
    let settings = Settings::read(&texts)?;
    Ok((texts, settings))
}

/// The built-in templates, each replaced by the administrator's copy where there is one.
pub fn templates() -> Result<Templates, HostError> {
    let mut templates = Templates::default();
    let folder = Path::new(FOLDER).join("quadlet-templates");
    for (file, text) in [
        ("box.container", &mut templates.container),
        ("home.volume", &mut templates.home),
        ("state.volume", &mut templates.state),
        ("containers.conf", &mut templates.containers_conf),
    ] {
        let path = folder.join(file);
        match std::fs::read_to_string(&path) {
            Ok(own) => *text = own,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(HostError::io("reading", path)(e)),
        }
    }
    Ok(templates)
}
