//! The administrator's settings as devboxd holds them: read anew when a file changes, and the last good ones kept when
//! an edit is broken, also over the end of this process.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};
use sd_notify::NotifyState;

use super::ledger::Ledger;
use crate::host::{SettingsProblem, settings_files};
use crate::settings::{Provider, Settings};
use crate::tailnet::tags_of;
use crate::wire::{Refused, Why};

/// What the files looked like when they were read.
type Print = Vec<(String, [i64; 4], u64, u64)>;

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
                // For the next start with broken settings; no disk for it is no reason to refuse anybody.
                let text = serde_json::to_string(&files).unwrap_or_default();
                if ledger.kept("settings")?.as_ref() != Some(&text)
                    && let Err(why) = ledger.keep("settings", &text)
                {
                    eprintln!("the settings cannot be kept for later: {why}");
                }
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
        // The change time too: a mode is no change of the text, and decides whether it can be read.
        let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
        Some((path.display().to_string(), times, meta.size(), meta.ino()))
    };
    paths.iter().filter_map(one).collect()
}

/// User names by id. Kept for a while: the directory behind getpwuid(3) may be far away.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<u32, (String, Instant)>,
    #[cfg(test)]
    made_up: HashMap<u32, String>,
}

const KEPT_FOR: Duration = Duration::from_mins(1);

impl Names {
    pub(super) fn of(&mut self, uid: u32) -> String {
        if let Some((name, at)) = self.known.get(&uid)
            && at.elapsed() < KEPT_FOR
        {
            return name.clone();
        }
        self.fresh(uid).unwrap_or_else(|| format!("uid {uid}"))
    }

    /// The name of an account that there is now.
    pub(super) fn fresh(&mut self, uid: u32) -> Option<String> {
        let name = self.look_up(uid).ok().flatten();
        match &name {
            Some(name) => drop(self.known.insert(uid, (name.clone(), Instant::now()))),
            None => drop(self.known.remove(&uid)),
        }
        name
    }

    /// Only by the word of a user database that answers.
    pub(super) fn is_gone(&self, uid: u32) -> bool {
        matches!(self.look_up(uid), Ok(None))
    }

    #[cfg_attr(not(test), allow(clippy::unused_self))]
    fn look_up(&self, uid: u32) -> nix::Result<Option<String>> {
        #[cfg(test)]
        if let Some(name) = self.made_up.get(&uid) {
            return Ok(Some(name.clone()));
        }
        Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| user.name))
    }

    #[cfg(test)]
    pub(super) fn set(&mut self, uid: u32, name: &str) {
        self.made_up.insert(uid, name.to_owned());
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
    let why = match tags_of(&tailnet.tags, user) {
        Ok(_) => return Ok(()),
        Err(why) => why.to_string(),
    };
    Err(Refused::new(Why::NotAllowed, format!("the user name {user} cannot be part of a tailnet tag"))
        .fact(why)
        .hint("an administrator can take {username} out of [tailnet] tags"))
}
