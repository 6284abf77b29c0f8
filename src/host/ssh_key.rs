//! The keys with which an owner enters their own boxes.

use std::fs::File;
use std::path::Path;

use duct::{Expression, cmd};
use tracing::debug;

use super::{Account, HostError, files};
use crate::shown::printable;

/// The owner's public key for boxes, made at its first use.
pub fn public(account: &Account) -> Result<String, HostError> {
    let private = account.ssh_key();
    let public = private.with_extension("pub");
    if !(private.exists() && public.exists()) {
        make(&private, &public)?;
    }
    let text = files::read(&public).map_err(HostError::io("reading", &public))?.unwrap_or_default();
    Ok(text.trim().to_owned())
}

/// Makes what is missing of the pair. One command at a time, the private half last: what is there is one pair.
fn make(private: &Path, public: &Path) -> Result<(), HostError> {
    let folder = private.parent().unwrap_or(private);
    files::private_folder(folder)?;
    let lock = File::open(folder).map_err(HostError::io("locking", folder))?;
    lock.lock().map_err(HostError::io("locking", folder))?;
    if !private.exists() {
        let making = files::private_temporary(".making-", folder)?;
        let new = making.path().join("id_ed25519");
        keygen(private, &cmd!("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "devbox-ctl", "-f", &new))?;
        for (from, to) in [(new.with_extension("pub"), public), (new, private)] {
            std::fs::rename(&from, to).map_err(HostError::io("making", to))?;
        }
    }
    if !public.exists() {
        let text = keygen(private, &cmd!("ssh-keygen", "-y", "-f", private))?;
        files::write(folder, "id_ed25519.pub", &text)?;
    }
    Ok(())
}

fn keygen(key: &Path, call: &Expression) -> Result<String, HostError> {
    debug!("{call:?}");
    let output = call.stdin_null().stdout_capture().stderr_capture().unchecked().run();
    let output = output.map_err(HostError::io("running", "ssh-keygen"))?;
    if !output.status.success() {
        let said = printable(&String::from_utf8_lossy(&output.stderr));
        return Err(HostError::io("making", key)(std::io::Error::other(said)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every key that may enter: the one for boxes, and those that may enter the owner's account anyway.
pub fn accepted(account: &Account) -> Result<Vec<String>, HostError> {
    let mut keys = vec![public(account)?];
    // A client that reaches this account by `ssh` comes in through `ssh-config --for-client` with its own key.
    let authorized = account.ssh_config().with_file_name("authorized_keys");
    // sshd(8) follows a link here too, and people keep this file elsewhere.
    let authorized = authorized.canonicalize().unwrap_or(authorized);
    let text = files::read(&authorized).ok().flatten().unwrap_or_default();
    let plain = |line: &&str| {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        // What the box's sshd-stdio takes.
        let known = matches!(
            kind,
            "ssh-ed25519" | "ssh-rsa" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521"
        ) || kind.starts_with("sk-ssh-ed25519@")
            || kind.starts_with("sk-ecdsa-sha2-nistp256@");
        // A key with options in front is meant for less than a shell.
        known && words.next().is_some_and(|key| key.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)))
    };
    keys.extend(
        text.lines()
            .map(str::trim)
            .filter(plain)
            .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")),
    );
    Ok(keys)
}
