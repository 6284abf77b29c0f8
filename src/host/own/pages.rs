//! `~/.local/state/devbox/tailnet/NAME.toml`: what is known of a box's device, and of devices of boxes that had its name.
//!
//! Opened from folder to folder, and none of ours through a link. A page is written beside its place and renamed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use crate::host::{Account, HostError, files};
use crate::spec::BoxName;
use crate::tailnet::book::{DeviceRow, TroubleRow};

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Held while a provider is asked for something.
const TURN: &str = "turn";
/// Held while a page is read and written again.
const WRITING: &str = "writing";
/// Longer than all that is asked of a provider in one turn.
const PATIENCE: Duration = Duration::from_mins(1);
const NEW: &str = ".new";
const LONGEST: u64 = 1 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Page {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<DeviceRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<TroubleRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) gone: Vec<Gone>,
}

/// A device whose box is gone, and which is to go too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gone {
    pub(super) provider: String,
    pub(super) device: Option<String>,
}

impl Page {
    pub(super) fn add_gone(&mut self, row: &DeviceRow) {
        let gone = Gone { provider: row.provider.clone(), device: row.device.clone() };
        if !self.gone.contains(&gone) {
            self.gone.push(gone);
        }
    }
}

#[derive(Debug)]
pub(super) struct Pages {
    folder: OwnedFd,
    path: PathBuf,
}

impl Pages {
    /// `None` where nothing was ever written.
    pub(super) fn open(account: &Account) -> Result<Option<Self>, HostError> {
        Self::at(&account.state(), account.uid, false)
    }

    pub(super) fn make(account: &Account) -> Result<Self, HostError> {
        files::private_folder(&account.state())?;
        let gone = || HostError::Gone { what: account.state().display().to_string() };
        Self::at(&account.state(), account.uid, true)?.ok_or_else(gone)
    }

    /// Above it, a link is its owner's wish.
    fn at(state: &Path, uid: u32, make: bool) -> Result<Option<Self>, HostError> {
        let path = state.join("devbox/tailnet");
        let doing = |e: Errno| HostError::io("opening", &path)(e.into());
        let mut folder = match open(state, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other.map_err(doing)?,
        };
        for part in ["devbox", "tailnet"] {
            if make {
                match mkdirat(&folder, part, Mode::S_IRWXU) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(e) => return Err(doing(e)),
                }
            }
            folder = match openat(&folder, part, FOLDER, Mode::empty()) {
                Err(Errno::ENOENT) => return Ok(None),
                other => other.map_err(doing)?,
            };
        }
        let folder = File::from(folder);
        let meta = folder.metadata().map_err(HostError::io("opening", &path))?;
        if meta.uid() != uid || meta.mode() & 0o022 != 0 {
            let why = "it can be written by others: `chmod 700` mends it";
            return Err(HostError::io("opening", &path)(io::Error::other(why)));
        }
        Ok(Some(Self { folder: folder.into(), path }))
    }

    /// Held by one at a time until it is dropped. A lock that cannot be had for a minute is given up.
    pub(super) fn turn(&self) -> Result<File, HostError> {
        self.lock(TURN)
    }

    fn lock(&self, name: &str) -> Result<File, HostError> {
        let doing = || HostError::io("locking", self.path.join(name));
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(
            openat(&self.folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|e| doing()(e.into()))?,
        );
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::Error(e)) => return Err(doing()(e)),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < until => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    return Err(HostError::Busy { what: "the tailnet".to_owned(), seconds: PATIENCE.as_secs() });
                }
            }
        }
    }

    pub(super) fn page(&self, name: &BoxName) -> Result<Page, HostError> {
        let file = file_of(name);
        let failed = |e| HostError::io("reading", self.path.join(&file))(e);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let open = match openat(&self.folder, file.as_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(Page::default()),
            other => File::from(other.map_err(|e| failed(e.into()))?),
        };
        if !open.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        let mut text = String::new();
        open.take(LONGEST).read_to_string(&mut text).map_err(failed)?;
        toml::from_str(&text).map_err(|e| failed(io::Error::other(e.message().to_owned())))
    }

    /// All that can be read, by name. One that cannot is said where its box is asked about.
    pub(super) fn all(&self) -> Result<Vec<(BoxName, Page)>, HostError> {
        let doing = |e: Errno| HostError::io("reading", &self.path)(e.into());
        let mut listed = Dir::openat(&self.folder, ".", FOLDER, Mode::empty()).map_err(doing)?;
        let mut names: Vec<BoxName> = Vec::new();
        for entry in listed.iter() {
            let entry = entry.map_err(doing)?;
            let name = entry.file_name().to_str().ok().and_then(|n| n.strip_suffix(".toml"));
            names.extend(name.and_then(|n| n.parse::<BoxName>().ok()));
        }
        names.sort();
        Ok(names.into_iter().filter_map(|name| Some((name.clone(), self.page(&name).ok()?))).collect())
    }

    /// Reads a page and writes it again, where it has changed.
    pub(super) fn change(&self, name: &BoxName, change: impl FnOnce(&mut Page)) -> Result<(), HostError> {
        let _writing = self.lock(WRITING)?;
        let before = self.page(name)?;
        let mut page = before.clone();
        change(&mut page);
        if page == before { Ok(()) } else { self.write(name, &page) }
    }

    /// The box is gone. What cannot be read must not keep it from going: it is put aside.
    pub(super) fn depart(&self, name: &BoxName) -> Result<(), HostError> {
        let _writing = self.lock(WRITING)?;
        let file = file_of(name);
        let Ok(mut page) = self.page(name) else {
            let aside = format!("{name}--damaged");
            return renameat(&self.folder, file.as_str(), &self.folder, aside.as_str())
                .map_err(|e| HostError::io("writing", self.path.join(aside))(e.into()));
        };
        let before = page.clone();
        page.trouble = None;
        if let Some(row) = page.device.take() {
            page.add_gone(&row);
        }
        if page == before { Ok(()) } else { self.write(name, &page) }
    }

    fn write(&self, name: &BoxName, page: &Page) -> Result<(), HostError> {
        let file = file_of(name);
        let doing = || HostError::io("writing", self.path.join(&file));
        if *page == Page::default() {
            match unlinkat(&self.folder, file.as_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(e) => return Err(doing()(e.into())),
            }
        } else {
            let text = toml::to_string(page).map_err(|e| doing()(io::Error::other(e)))?;
            // One name is enough: it is written under the lock, and what is there is a dead writer's.
            let _ = unlinkat(&self.folder, NEW, UnlinkatFlags::NoRemoveDir);
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            let beside = openat(&self.folder, NEW, flags, mode).map_err(|e| doing()(e.into()))?;
            let mut beside = File::from(beside);
            beside.write_all(text.as_bytes()).map_err(doing())?;
            beside.sync_all().map_err(doing())?;
            renameat(&self.folder, NEW, &self.folder, file.as_str()).map_err(|e| doing()(e.into()))?;
        }
        nix::unistd::fsync(self.folder.as_fd()).map_err(|e| doing()(e.into()))
    }
}

fn file_of(name: &BoxName) -> String {
    format!("{name}.toml")
}
