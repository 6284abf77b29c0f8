//! The administrator's command that is told of warnings, in the unit that runs it (systemd/devbox-warn@.service): the
//! connection of devboxd's is our standard input, what the command prints goes to the unit's journal.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{Read, Write, stdin};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use duct::cmd;

use super::settings;
use crate::wire::TAKEN;

/// A command that takes longer has not taken it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whoever connects sends at once.
const READ: Duration = Duration::from_secs(10);
/// Larger is no document of devboxd's.
const LONGEST: u64 = 64 << 10;
/// Links on the way to a program.
const MOST_LINKS: u32 = 16;
/// Where a command finds its programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// The command's program, if nobody but root could have put it there; else what has to be mended.
pub fn check(command: &[String]) -> Result<PathBuf, String> {
    let program = Path::new(command.first().map(String::as_str).unwrap_or_default());
    let found = resolve(program)?;
    let meta = found.metadata().map_err(|e| format!("{}: {e}", found.display()))?;
    if !meta.is_file() {
        return Err(format!("{} is no file", found.display()));
    }
    if meta.mode() & 0o111 == 0 {
        return Err(format!("{} cannot be run: `chmod 755 {}`", found.display(), found.display()));
    }
    Ok(found)
}

/// Without links; each folder and each link on the way is root's own, and writable by nobody else.
fn resolve(path: &Path) -> Result<PathBuf, String> {
    let mut todo: VecDeque<OsString> = path.components().map(|part| part.as_os_str().to_owned()).collect();
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = todo.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::RootDir) => at = PathBuf::from("/"),
            _ => at.push(part),
        }
        let meta = at.symlink_metadata().map_err(|e| format!("{}: {e}", at.display()))?;
        if meta.uid() != 0 {
            return Err(format!("{} is not root's: `chown root {}`", at.display(), at.display()));
        }
        if meta.is_symlink() {
            links += 1;
            let target = at.read_link().map_err(|e| format!("{}: {e}", at.display()))?;
            if links > MOST_LINKS {
                return Err(format!("{} is a link to too many links", path.display()));
            }
            at.pop();
            for part in target.components().rev() {
                todo.push_front(part.as_os_str().to_owned());
            }
        } else if meta.mode() & 0o022 != 0 {
            return Err(format!("{} can be written by others: `chmod go-w {}`", at.display(), at.display()));
        }
    }
    Ok(at)
}

/// Gives the command what devboxd handed over, and tells devboxd what came of it.
pub fn answer() -> Result<(), String> {
    let odd = |why: std::io::Error| format!("the connection: {why}");
    let mut connection = UnixStream::from(stdin().as_fd().try_clone_to_owned().map_err(odd)?);
    connection.set_read_timeout(Some(READ)).map_err(odd)?;
    let mut document = String::new();
    Read::by_ref(&mut connection).take(LONGEST).read_to_string(&mut document).map_err(odd)?;
    let is_document = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&document).is_ok();
    let told = if is_document { tell(&document) } else { Err("that is no document of devboxd's".to_owned()) };
    let answer = told.as_ref().map_or_else(String::as_str, |()| TAKEN);
    // Who is gone has noted that nothing came.
    let _ = connection.write_all(format!("{answer}\n").as_bytes());
    told
}

fn tell(document: &str) -> Result<(), String> {
    let command = settings().map_err(|why| why.to_string())?.warnings;
    if command.is_empty() {
        return Err("no command is set: [warnings] command in users.toml".to_owned());
    }
    let program = check(&command).map_err(|why| format!("[warnings] command: {why}"))?;
    run(&program, &command[1..], document, PATIENCE)
}

/// Its environment is a path, and where its credentials are.
fn run(program: &Path, arguments: &[String], document: &str, patience: Duration) -> Result<(), String> {
    let shown = program.display();
    let environment = [("PATH", PATH), ("LC_ALL", "C.UTF-8")].map(|(key, value)| (key.to_owned(), value.into()));
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(|at| ("CREDENTIALS_DIRECTORY".to_owned(), at));
    let environment: Vec<(String, OsString)> = environment.into_iter().chain(credentials).collect();
    let failed = |why: std::io::Error| format!("{shown} cannot be run: {why}");
    let line = format!("{document}\n");
    let expression = cmd(program, arguments).dir("/").full_env(environment).stdin_bytes(line).unchecked();
    let child = expression.start().map_err(failed)?;
    let Some(output) = child.wait_timeout(patience).map_err(failed)? else {
        // What it has started ends with the unit.
        let _ = child.kill();
        return Err(format!("{shown} has not ended in {} seconds", patience.as_secs()));
    };
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(format!("{shown} ended with exit status {code}: `journalctl -u 'devbox-warn@*'`")),
        (None, signal) => Err(format!("{shown} was ended by signal {}", signal.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argv: &[&str]) -> Vec<String> {
        argv.iter().map(|word| (*word).to_owned()).collect()
    }

    fn sh(script: &str, patience: Duration) -> Result<(), String> {
        run(Path::new("/bin/sh"), &command(&["-c", script]), "{\"a\":1}", patience)
    }

    #[test]
    fn only_what_is_roots_is_run() {
        // Links of root's are the administrator's wish.
        assert!(check(&command(&["/bin/sh"])).unwrap().is_absolute());
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        // /tmp is for everybody to write, wherever the link leads.
        assert!(check(&command(&[link.to_str().unwrap()])).is_err());
        for (program, why) in [
            ("/usr/bin/no-such-hook", "No such file"),
            ("/etc/passwd", "cannot be run"),
            ("/usr/bin", "is no file"),
            ("/tmp/x", "can be written by others"),
        ] {
            let said = check(&command(&[program])).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn how_it_ends_is_told() {
        let long = Duration::from_secs(20);
        assert_eq!(sh("read -r line; test \"$line\" = '{\"a\":1}'", long), Ok(()));
        // It need not read what it is told.
        assert_eq!(sh("true", long), Ok(()));
        assert!(sh("exit 3", long).unwrap_err().contains("exit status 3"));
        assert!(sh("kill -9 $$", long).unwrap_err().contains("signal 9"));
        let begun = std::time::Instant::now();
        assert!(sh("exec sleep 600", Duration::from_millis(100)).unwrap_err().contains("has not ended"));
        assert!(begun.elapsed() < long);
        // Nothing of ours is in its environment.
        assert_eq!(sh("test -z \"$HOME$USER$CARGO$TERM\"", long), Ok(()));
    }
}
