//! Which keys there are, so that a misspelt one is an error with a line and a suggestion, not a silent default.

use toml::de::{DeTable, DeValue};

use super::SettingsError;

const TOP: &[&str] = &[
    "host",
    "defaults",
    "tailnet",
    "warnings",
    "users",
    "maxPerUser",
    "maxGlobal",
    "opVault",
    "defaultCpu",
    "defaultMemory",
    "idleStopDays",
    "stoppedDestroyDays",
];
/// What an owner may decide without an administrator.
const OWN: &[&str] = &["tailnet"];
const HOST: &[&str] = &["max_boxes", "total_cpu", "total_memory", "max_starting", "maxGlobal"];
const OWNER: &[&str] = &[
    "max_boxes",
    "cpu",
    "memory",
    "max_cpu",
    "max_memory",
    "idle_stop_days",
    "stopped_destroy_days",
    "warn_days",
    "trash_days",
    "reclaim_days",
    "max_idle_stop_days",
    "max_stopped_destroy_days",
    "keep_awake_hours",
    "owner_cpu",
    "owner_memory",
    "owner_tasks",
    "maxPerUser",
    "defaultCpu",
    "defaultMemory",
    "idleStopDays",
    "stoppedDestroyDays",
];
const USER_ONLY: &[&str] = &["admin", "allowed"];
const WARNINGS: &[&str] = &["command"];
const TAILNET: &[&str] = &["provider", "op_vault", "tags", "url", "credential", "path", "command", "ca", "opVault"];

/// Refuses unknown keys and user names that no Unix user can have.
pub(super) fn check(file: &str, text: &str) -> Result<(), SettingsError> {
    check_with(file, text, TOP)
}

/// The same for an owner's own file.
pub(super) fn check_own(file: &str, text: &str) -> Result<(), SettingsError> {
    check_with(file, text, OWN)
}

fn check_with(file: &str, text: &str, top: &[&str]) -> Result<(), SettingsError> {
    let fail = |start: usize, message: String, nearest: Option<String>| SettingsError {
        file: file.to_owned(),
        line: Some(line_of(text, start)),
        message,
        nearest,
    };
    let table = DeTable::parse(text)
        .map_err(|e| fail(e.span().map_or(0, |s| s.start), e.message().replace('\n', ", "), None))?;
    let known = |table: &DeTable<'_>, title: &str, keys: &[&[&str]]| -> Result<(), SettingsError> {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !keys.iter().any(|list| list.contains(&name)) {
                let place = if title.is_empty() { String::new() } else { format!(" in [{title}]") };
                let nearest = nearest(name, keys.iter().copied().flatten());
                return Err(fail(key.span().start, format!("unknown key `{name}`{place}"), nearest));
            }
        }
        Ok(())
    };

    known(table.get_ref(), "", &[top])?;
    for (key, value) in table.get_ref() {
        let DeValue::Table(inner) = value.get_ref() else { continue };
        match &**key.get_ref() {
            "host" => known(inner, "host", &[HOST])?,
            "defaults" => known(inner, "defaults", &[OWNER])?,
            "tailnet" => known(inner, "tailnet", &[TAILNET])?,
            "warnings" => known(inner, "warnings", &[WARNINGS])?,
            "users" => {
                for (user, settings) in inner {
                    let name: &str = user.get_ref();
                    if !is_user_name(name) {
                        return Err(fail(user.span().start, format!("{name:?} is not a user's name"), None));
                    }
                    if let DeValue::Table(settings) = settings.get_ref() {
                        known(settings, &format!("users.{name}"), &[OWNER, USER_ONLY])?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// useradd(8): up to 32 characters; dots are common where accounts come from a directory.
fn is_user_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn nearest<'a>(name: &str, keys: impl Iterator<Item = &'a &'a str>) -> Option<String> {
    keys.map(|key| (strsim::jaro_winkler(name, key), key))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| (*key).to_owned())
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}
