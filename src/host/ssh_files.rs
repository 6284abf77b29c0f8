//! The two files that make `ssh NAME` work.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::{Account, HostError, files};

/// Writes our Include file.
pub fn write_include(account: &Account, text: &str) -> Result<(), HostError> {
    let path = account.ssh_include();
    let folder = path.parent().unwrap_or(&path);
    files::private_folder(folder)?;
    files::write(folder, "config", text)
}

/// With `~`, which ssh_config(5) takes there, so that a home may have any characters in its path.
pub fn include_line(account: &Account) -> String {
    let include = account.ssh_include();
    let shown = include.strip_prefix(account.home()).map_or(include.clone(), |rest| Path::new("~").join(rest));
    format!("Include {}", shown.display())
}

/// Adds one Include line at the top of the user's file: below a `Host` it would hold for that host only. Everything
/// else stays byte for byte, and so do the file's mode and the link it may be. Says whether it was needed.
pub fn add_include(account: &Account) -> Result<bool, HostError> {
    let path = account.ssh_config();
    let doing = || HostError::io("writing", &path);
    let line = include_line(account);
    // As earlier versions wrote it, which ssh reads as one path only without white space.
    let plain = Some(format!("Include {}", account.ssh_include().display()));
    let plain = plain.filter(|line| line.split_whitespace().count() == 2).unwrap_or_else(|| line.clone());
    let old = match fs::read(&path) {
        Ok(old) => old,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(HostError::io("reading", &path)(e)),
    };
    if old.split(|b| *b == b'\n').any(|l| [&line, &plain].iter().any(|ours| l.trim_ascii() == ours.as_bytes())) {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(&path).to_owned();
    files::private_folder(&folder)?;
    // A link (dotfiles in a repository) is written through, not replaced.
    let target = if old.is_empty() && !path.exists() { path.clone() } else { path.canonicalize().map_err(doing())? };
    let mode = fs::metadata(&target).ok().map(|m| m.permissions());
    if mode.as_ref().is_some_and(fs::Permissions::readonly) {
        return Err(doing()(io::Error::other("it is read-only")));
    }
    let beside = target.parent().unwrap_or(&folder);
    let mut new = tempfile::Builder::new().prefix(".config-").tempfile_in(beside).map_err(doing())?;
    new.write_all(line.as_bytes())
        .and_then(|()| new.write_all(b"\n"))
        .and_then(|()| new.write_all(&old))
        .map_err(doing())?;
    if let Some(mode) = mode {
        new.as_file().set_permissions(mode).map_err(doing())?;
    }
    new.as_file().sync_all().map_err(doing())?;
    new.persist(&target).map_err(|e| doing()(e.error))?;
    Ok(true)
}
