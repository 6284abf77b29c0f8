//! A key in a file for each user, put there by an administrator. What it can do is what its maker gave it.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::trouble::{Doing, Mend, Trouble};
use super::{AuthKey, Device, Provider, Wanted, plain};

#[derive(Debug)]
pub(super) struct File {
    path: String,
    url: Option<String>,
}

impl File {
    pub(super) fn new(path: &str, url: Option<&str>) -> Self {
        Self { path: path.to_owned(), url: url.map(str::to_owned) }
    }
}

impl Provider for File {
    fn key(&self, wanted: &Wanted<'_>) -> Result<AuthKey, Trouble> {
        let path = self.path.replace("{username}", plain(wanted.user)?);
        let trouble = |why: String| {
            Trouble::new(Doing::ReadingKey, format!("{path}: {why}")).mend(Mend::Administrator(format!(
                "put the key into {path}, where devboxd (or you, where there is no broker) can read it"
            )))
        };
        let mut options = OpenOptions::new();
        // A pipe put there would be waited for.
        options.read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
        let file = options.open(&path).map_err(|e| match e.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ELOOP) => trouble("it is a link, and only a file is read".to_owned()),
            _ => trouble(e.to_string()),
        })?;
        if !file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Err(trouble("it is not a file".to_owned()));
        }
        let mut text = String::new();
        file.take(4096).read_to_string(&mut text).map_err(|e| trouble(e.to_string()))?;
        AuthKey::parse(&text)
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
