//! The administrator's settings as devboxd holds them: read anew when a file changes, and the last good ones kept when
//! an edit is broken, also over the end of this process.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Uid, User};
use sd_notify::NotifyState;

use super::ledger::Ledger;
use crate::host::{SettingsProblem, settings_files};
use crate::settings::{Provider, Settings};
use crate::wire::{Refused, Why};

/// What the files looked like when they were read.
type Print = Vec<(String, i64, i64, u64, u64)>;

#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) settings: Settings,
    /// Why the files as they are do not hold.
    pub(super) trouble: Option<String>,
    print: Option<Print>,
}

impl Rules {
    #[cfg(test)]
    pub(super) fn hold(&mut self, settings: Settings) {
        *self = Self { settings, trouble: None, print: Some(print()) };
    }

    /// What was read may not be kept: it is read again.
    pub(super) fn doubt(&mut self) {
        self.print = None;
    }

    /// Reads the files again if they are not as they were.
    pub(super) fn refresh(&mut self, ledger: &Ledger<'_>) -> rusqlite::Result<()> {
        let print = print();
        if self.print.as_ref() == Some(&print) {
            return Ok(());
        }
        match settings_files() {
            Ok((files, settings)) => {
                if self.trouble.take().is_some() || self.print.is_some() {
                    eprintln!("the settings of /etc/devbox were read anew");
                }
                self.settings = settings;
                status("the settings of /etc/devbox are good");
                ledger.keep("settings", &serde_json::to_string(&files).unwrap_or_default())?;
            }
            Err(problem) => {
                let why = match problem {
                    SettingsProblem::Wrong(why) => why.to_string(),
                    SettingsProblem::Unreadable(why) => why.to_string(),
                };
                eprintln!("the settings of /etc/devbox are wrong, and the last good ones go on: {why}");
                status(&format!("the last good settings go on, for those of /etc/devbox are wrong: {why}"));
                self.trouble = Some(why);
                if self.print.is_none() {
                    self.settings = last_good(ledger)?;
                }
            }
        }
        self.print = Some(print);
        Ok(())
    }
}

/// What `systemctl status devboxd` shows.
fn status(text: &str) {
    // One line: the next would be another variable (sd_notify(3)).
    let line = text.split(char::is_control).filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join(" ");
    if let Err(why) = sd_notify::notify(&[NotifyState::Status(&line)]) {
        eprintln!("systemd does not take our status: {why}");
    }
}

fn last_good(ledger: &Ledger<'_>) -> rusqlite::Result<Settings> {
    let text = ledger.kept("settings")?.unwrap_or_default();
    let files: Vec<(String, String)> = serde_json::from_str(&text).unwrap_or_default();
    Ok(Settings::read(&files).unwrap_or_default())
}

fn print() -> Print {
    let folder = Path::new("/etc/devbox");
    let mut paths = vec![folder.join("users.toml"), folder.join("users.toml.d")];
    if let Ok(entries) = std::fs::read_dir(folder.join("users.toml.d")) {
        let mut more: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        more.sort();
        paths.extend(more);
    }
    let one = |path: &std::path::PathBuf| {
        let meta = path.metadata().ok()?;
        Some((path.display().to_string(), meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()))
    };
    paths.iter().filter_map(one).collect()
}

/// User names by id. Asked once each: the directory behind getpwuid(3) may be far away.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<u32, String>);

impl Names {
    pub(super) fn of(&mut self, uid: u32) -> String {
        if let Some(name) = self.0.get(&uid) {
            return name.clone();
        }
        match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => self.0.entry(uid).or_insert(user.name).clone(),
            _ => format!("uid {uid}"),
        }
    }

    #[cfg(test)]
    pub(super) fn set(&mut self, uid: u32, name: &str) {
        self.0.insert(uid, name.to_owned());
    }

    pub(super) fn uid(name: &str) -> Option<u32> {
        User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
    }
}

/// Refuses a user whose tailnet tag could not be made: a tag is letters, digits and hyphens, and begins with a letter
/// (Tailscale's policy syntax, tagOwners).
pub(super) fn taggable(user: &str, settings: &Settings) -> Result<(), Refused> {
    let tailnet = &settings.tailnet;
    if tailnet.provider == Provider::None || !tailnet.tags.iter().any(|t| t.contains("{username}")) {
        return Ok(());
    }
    let fits = user.starts_with(|c: char| c.is_ascii_lowercase())
        && user.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits {
        return Ok(());
    }
    Err(Refused::new(Why::NotAllowed, format!("the user name {user} cannot be part of a tailnet tag"))
        .fact("a tag has lowercase letters, digits and hyphens, and begins with a letter")
        .hint("an administrator can take {username} out of [tailnet] tags"))
}
