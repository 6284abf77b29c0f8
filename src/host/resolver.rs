//! The name servers that a box has: those that its host had when it started.
//!
//! pasta(1) reads the host's resolv.conf once, at its start, and podman writes the box's then (measured on podman 5.4.2). Where
//! that file names a resolver on the host itself, such as systemd-resolved's, what lies behind may change at any time.

use std::path::Path;

use super::{Account, HostError, files};
use crate::shown::printable;
use crate::spec::BoxName;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const MOST: usize = 8;
/// Of the mark's text. A mark without it says nothing of name servers.
const BEGINNING: &str = "name servers: ";

/// Of a resolv.conf(5), in its order, as one line.
fn servers(text: &str) -> String {
    let address = |line: &str| line.trim().strip_prefix("nameserver")?.split_whitespace().next().map(printable);
    text.lines().filter_map(address).take(MOST).collect::<Vec<_>>().join(" ")
}

/// `None` where the file cannot be read: nothing is known of them then.
fn of_host() -> Option<String> {
    // The administrator's, and often a link.
    std::fs::read_to_string(RESOLV_CONF).ok().map(|text| servers(&text))
}

/// What the box's unit looks for before it starts (AssertPathExists=), with the name servers of this moment in it.
///
/// # Errors
/// Where the file cannot be written.
pub fn mark(mark: &Path) -> Result<(), HostError> {
    let folder = mark.parent().unwrap_or(mark);
    files::private_folder(folder)?;
    std::fs::write(mark, of_host().map(|servers| format!("{BEGINNING}{servers}")).unwrap_or_default())
        .map_err(HostError::io("making", mark))
}

/// Removes the mark of an earlier start.
///
/// # Errors
/// Where the file cannot be removed.
pub fn unmark(mark: &Path) -> Result<(), HostError> {
    files::remove(mark)
}

/// What a mark says; nothing where it was made without a look.
fn noted(text: &str) -> Option<&str> {
    text.strip_prefix(BEGINNING)
}

/// Those that a running box started with and those of now, in words, where they are others.
pub(super) fn changed(account: &Account, name: &BoxName) -> Option<(String, String)> {
    let had = files::read(&account.looked_at(name)).ok()??;
    let (had, has) = (noted(&had)?.to_owned(), of_host()?);
    let said = |servers: String| if servers.is_empty() { "none".to_owned() } else { servers };
    (had != has).then(|| (said(had), said(has)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_of_a_file() {
        let text = "# by hand\nsearch example.com\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 # two\nnameserver\noptions x\n";
        assert_eq!(servers(text), "192.0.2.1 2001:db8::1");
        assert_eq!(servers(""), "");
        assert_eq!([noted(""), noted("name servers: "), noted("name servers: ::1")], [None, Some(""), Some("::1")]);
    }
}
