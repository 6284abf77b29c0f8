//! Whatever program an administrator put under /etc, or an owner without a broker anywhere: its arguments are the owner and the box, its output is the key.

use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use super::program::{Program, run};
use super::trouble::{Doing, Mend, Trouble};
use super::{AuthKey, Device, Places, Provider, Wanted, plain};

#[derive(Debug)]
pub(super) struct Command {
    argv: Vec<String>,
    url: Option<String>,
    places: Places,
}

impl Command {
    pub(super) fn new(argv: &[String], url: Option<&str>, places: &Places) -> Result<Self, Trouble> {
        let program = argv.first().ok_or_else(|| Trouble::settings("[tailnet] command is not set"))?;
        // The settings are checked for this too: what a tenant could write must not run as the broker.
        let path = Path::new(program);
        if !path.starts_with(&places.commands) || path.components().any(|c| matches!(c, Component::ParentDir)) {
            let below = places.commands.display();
            return Err(Trouble::settings(&format!("[tailnet] command: only a program below {below} is run")));
        }
        Ok(Self { argv: argv.to_vec(), url: url.map(str::to_owned), places: places.clone() })
    }

    /// The program without links, if nobody but those who may could have put it there.
    fn program(&self) -> Result<PathBuf, Trouble> {
        let name = self.argv.first().map(String::as_str).unwrap_or_default();
        let refused = |why: String| {
            let whose = if self.places.owners.len() > 1 { "root's or yours" } else { "root's" };
            let what = format!("make {name} a file, and it and its folders {whose}, writable by nobody else");
            Trouble::new(Doing::Settings, why).mend(Mend::Administrator(what))
        };
        let found = |path: &Path| path.canonicalize().map_err(|e| refused(format!("{}: {e}", path.display())));
        let (folder, program) = (found(&self.places.commands)?, found(Path::new(name))?);
        if !program.starts_with(&folder) {
            return Err(refused(format!(
                "{name} leads to {}, which is not below {}",
                program.display(),
                folder.display()
            )));
        }
        for path in program.ancestors().take_while(|path| path.starts_with(&folder)) {
            let meta = path.metadata().map_err(|e| refused(format!("{}: {e}", path.display())))?;
            if !self.places.owners.contains(&meta.uid()) || meta.mode() & 0o022 != 0 {
                return Err(refused(format!("{} can be written by others", path.display())));
            }
        }
        if !program.is_file() {
            return Err(refused(format!("{} is not a file", program.display())));
        }
        Ok(program)
    }
}

impl Provider for Command {
    fn key(&self, wanted: &Wanted<'_>) -> Result<AuthKey, Trouble> {
        let program = self.program()?.display().to_string();
        let mut argv = vec![program.as_str()];
        argv.extend(self.argv.iter().skip(1).map(String::as_str));
        argv.extend([plain(wanted.user)?, wanted.name.as_str()]);
        let called = Program { argv: &argv, path: &self.places.path, variables: &[], secrets: &[] };
        let ran = run(&called, self.places.patience, Instant::now() + self.places.patience)?;
        if ran.good {
            return AuthKey::parse(&ran.out);
        }
        Err(Trouble::new(Doing::ReadingKey, format!("{program} failed: {}", ran.err)).mend(Mend::Administrator(
            format!("run `{}` by hand, as devboxd's user where there is a broker", self.argv.join(" ")),
        )))
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
