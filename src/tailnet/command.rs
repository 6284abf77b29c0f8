//! Programs that print a key: 1Password's `op`, and whatever an administrator put under /etc.

use std::path::{Component, Path};
use std::time::Instant;

use duct::cmd;

use super::authkey::shown;
use super::trouble::{Doing, Mend, Trouble};
use super::{AuthKey, Device, PATIENCE, Provider, Wanted};

/// More than any key is long, and little enough to be read into memory.
const LONGEST: usize = 4096;

#[derive(Debug)]
pub(super) struct Command {
    argv: Vec<String>,
    url: Option<String>,
}

/// How a program ended.
pub(super) struct Ran {
    pub(super) good: bool,
    pub(super) out: String,
    /// Fit to be shown.
    pub(super) err: String,
}

/// Runs a program with nothing of our environment but what is given, and ends it when it takes too long.
pub(super) fn run(argv: &[&str], variables: &[(&str, &str)], until: Instant) -> Result<Ran, Trouble> {
    let program = argv.first().copied().unwrap_or_default();
    let trouble = |why: String| {
        Trouble::new(Doing::ReadingKey, why)
            .mend(Mend::Administrator(format!("run {program} by hand as devboxd's user")))
    };
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let environment = [("PATH", path), ("LC_ALL", "C.UTF-8")].into_iter().chain(variables.iter().copied());
    let child = cmd(program, &argv[1..])
        .full_env(environment)
        .dir("/")
        .stdin_null()
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .start()
        .map_err(|e| trouble(format!("{program} cannot be run: {e}")))?;
    match child.wait_deadline(until) {
        Ok(Some(output)) => {
            let out = &output.stdout[..output.stdout.len().min(LONGEST)];
            Ok(Ran {
                good: output.status.success(),
                out: String::from_utf8_lossy(out).into_owned(),
                err: shown(&String::from_utf8_lossy(&output.stderr)),
            })
        }
        Ok(None) => {
            let _ = child.kill();
            // Killed, it is still there until it is waited for.
            let _ = child.wait();
            Err(trouble(format!("{program} has not answered in {} seconds", PATIENCE.as_secs())))
        }
        Err(e) => Err(trouble(format!("{program}: {e}"))),
    }
}

impl Command {
    pub(super) fn new(argv: &[String], url: Option<&str>) -> Result<Self, Trouble> {
        let program = argv.first().ok_or_else(|| Trouble::settings("[tailnet] command is not set"))?;
        // The settings are checked for this too: what a tenant could write must not run as the broker.
        let path = Path::new(program);
        if !path.starts_with("/etc") || path.components().any(|c| matches!(c, Component::ParentDir)) {
            return Err(Trouble::settings("[tailnet] command: only a program below /etc is run"));
        }
        Ok(Self { argv: argv.to_vec(), url: url.map(str::to_owned) })
    }
}

impl Provider for Command {
    fn key(&self, wanted: &Wanted<'_>) -> Result<AuthKey, Trouble> {
        let mut argv: Vec<&str> = self.argv.iter().map(String::as_str).collect();
        argv.extend([wanted.user, wanted.name.as_str()]);
        let ran = run(&argv, &[], Instant::now() + PATIENCE)?;
        if ran.good {
            return AuthKey::parse(&ran.out);
        }
        Err(Trouble::new(Doing::ReadingKey, format!("{} failed: {}", argv[0], ran.err))
            .mend(Mend::Administrator(format!("run `{}` as devboxd's user", self.argv.join(" ")))))
    }

    fn devices(&self) -> Result<Option<Vec<Device>>, Trouble> {
        Ok(None)
    }

    fn remove(&self, _: &str) -> Result<(), Trouble> {
        Ok(())
    }

    fn login_server(&self) -> Option<&str> {
        self.url.as_deref()
    }
}
