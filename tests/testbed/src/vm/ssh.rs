//! Running a command in a machine: through ssh, so that it is a login like any other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

/// ssh to a machine as that user, with a terminal or without. Runs `argv` as it is.
pub(super) fn command<S: AsRef<OsStr>>(template: &Path, port: u16, user: &str, tty: bool, argv: &[S]) -> Command {
    let mut ssh = Command::new("ssh");
    // Nothing of what the person who runs this has set up.
    ssh.args(["-F", "none", if tty { "-t" } else { "-T" }]).arg("-i").arg(template.join("key"));
    let mut known = OsString::from("UserKnownHostsFile=");
    known.push(quoted_path(&template.join("known_hosts")));
    ssh.arg("-o").arg(known);
    for option in [
        "GlobalKnownHostsFile=none",
        "HostKeyAlias=vm",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "BatchMode=yes",
        "LogLevel=ERROR",
        "ConnectTimeout=60",
        // A machine that is gone ends its commands; one that is busy may be silent for long.
        "ServerAliveInterval=20",
        "ServerAliveCountMax=9",
    ] {
        ssh.args(["-o", option]);
    }
    ssh.arg("-p").arg(port.to_string()).arg("-l").arg(user).args(["--", "127.0.0.1"]);
    if !argv.is_empty() {
        ssh.arg(line(argv));
    }
    ssh
}

/// ssh splits such a value at blanks unless it is quoted.
fn quoted_path(path: &Path) -> OsString {
    let mut word = OsString::from("\"");
    word.push(path);
    word.push("\"");
    word
}

/// One line that the user's shell splits into just these words: ssh knows no others.
///
/// The shell stays until the program ends: of one that a signal ended it says 128 and the signal, where ssh says 255.
fn line<S: AsRef<OsStr>>(argv: &[S]) -> OsString {
    let words: Vec<Vec<u8>> = argv.iter().map(|w| quoted(w.as_ref().as_bytes())).collect();
    OsString::from_vec([words.join(&b' '), b"; exit".to_vec()].concat())
}

/// Between single quotes a shell reads everything as it is but the single quote.
fn quoted(word: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = word.split(|b| *b == b'\'').collect();
    [b"'", parts.join(&b"'\\''"[..]).as_slice(), b"'"].concat()
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_shell_splits_the_line_into_the_same_words() {
        let words = ["", "a b", "it's", "''", "$HOME `id` $(id)", "a\nb", "\\", "*", "-n", "~", "!x", "ü;&|<>#"];
        let mut argv = vec!["printf", "%s\\0"];
        argv.extend(words);
        for shell in ["sh", "bash"] {
            let output = Command::new(shell).arg("-c").arg(line(&argv)).stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said.split_terminator('\0').collect::<Vec<_>>(), words, "{shell}");
        }
    }

    #[test]
    fn an_end_by_a_signal_is_told_as_a_number() {
        let line = line(&["sh", "-c", "kill -KILL $$"]);
        let status = Command::new("bash").arg("-c").arg(line).stdin(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(137));
    }
}
