//! The sources of a box's mounts, held where no box can put something else in their places.
//!
//! Root in a box that may write to a folder of its owner's can replace whatever is in it by a link. Were another mount's
//! source in there, podman would follow the link at the next start and show any folder of the owner's. So before each start
//! every source is opened without following links, in podman's mount namespace, and what was opened is mounted in a folder
//! that only the owner can reach. The unit's `Volume=` names that folder.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use duct::cmd;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::{Account, HostError, files};
use crate::spec::{BoxName, Mount};

/// What a process within podman's namespaces does: it mounts these sources. Without sources it unmounts what an earlier
/// start mounted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Within {
    folder: PathBuf,
    sources: Vec<PathBuf>,
}

impl Within {
    /// For a box that is about to start.
    pub fn holding(account: &Account, name: &BoxName, mounts: &[Mount]) -> Self {
        let sources = mounts.iter().map(|mount| mount.source().to_owned()).collect();
        Self { folder: account.mounts(name), sources }
    }

    /// For a box that has stopped.
    pub fn dropping(account: &Account, name: &BoxName) -> Self {
        Self { folder: account.mounts(name), sources: Vec::new() }
    }

    /// Has `program`, which is this program, do it within podman's user and mount namespaces, where the box is made.
    ///
    /// # Errors
    /// [`HostError::PodmanMissing`]. What went wrong within is `Ok(Err(…))`, with what was said of it.
    pub fn send(&self, program: &Path, verb: &str) -> Result<Result<(), String>, HostError> {
        debug!("podman unshare {} {verb}", program.display());
        let job = serde_json::to_vec(self).map_err(|e| HostError::io("running", program)(e.into()))?;
        match cmd!("podman", "unshare", program, verb).stdin_bytes(job).stderr_capture().unchecked().run() {
            Ok(output) if output.status.success() => Ok(Ok(())),
            Ok(output) => Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(HostError::PodmanMissing),
            Err(e) => Err(HostError::io("running", "podman")(e)),
        }
    }

    /// Does it, within.
    ///
    /// # Errors
    /// [`HostError::Mount`] for a source that is not there any more, or is behind a link. Then nothing is mounted.
    pub fn carry_out(&self) -> Result<(), HostError> {
        let folder = &self.folder;
        clear(folder)?;
        if self.sources.is_empty() {
            return match std::fs::remove_dir(folder) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(HostError::io("removing", folder)(e)),
                _ => Ok(()),
            };
        }
        // All of them first, so that a failure leaves nothing behind.
        let sources: Vec<Source> = self.sources.iter().map(|path| Source::clone(path)).collect::<Result<_, _>>()?;
        files::private_folder(folder)?;
        cover(folder).map_err(|e| HostError::io("mounting a tmpfs at", folder)(e.into()))?;
        for (number, source) in sources.iter().enumerate() {
            source.show(&folder.join(number.to_string()))?;
        }
        Ok(())
    }
}

/// Whether every source is where it was at `create`, so that a start can be refused before anything is done.
///
/// # Errors
/// [`HostError::Mount`] for the first that is not.
pub fn look(mounts: &[Mount]) -> Result<(), HostError> {
    mounts.iter().map(Mount::source).try_for_each(|path| match open(path) {
        // A folder above it may be a subordinate id's by now, which within podman's namespaces is the owner's.
        Ok(_) | Err(Errno::ACCESS) => Ok(()),
        Err(e) => Err(trouble(path, e)),
    })
}

/// What an id is that a user namespace has not (user_namespaces(7), /proc/sys/kernel/overflowuid).
const NOBODYS: u32 = 65534;

/// An opened source.
struct Source<'a> {
    path: &'a Path,
    tree: OwnedFd,
    is_folder: bool,
}

impl<'a> Source<'a> {
    fn clone(path: &'a Path) -> Result<Self, HostError> {
        let clone = || -> Result<Self, Errno> {
            let opened = open(path)?;
            let stat = fstat(&opened)?;
            // Of no id that the owner has here: somebody else put it in its place.
            if stat.st_uid == NOBODYS {
                return Err(Errno::PERM);
            }
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let flags = flags | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE;
            Ok(Self { path, tree: open_tree(opened, "", flags)?, is_folder })
        };
        clone().map_err(|e| trouble(path, e))
    }

    /// Mounts it at `place`, which is made.
    fn show(&self, place: &Path) -> Result<(), HostError> {
        if self.is_folder {
            files::private_folder(place)?;
        } else {
            std::fs::File::create_new(place).map_err(HostError::io("making the file", place))?;
        }
        move_mount(&self.tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|e| trouble(self.path, e))
    }
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), links)
}

fn trouble(path: &Path, error: Errno) -> HostError {
    let why = match error {
        Errno::NOENT => "it is not there any more".to_owned(),
        Errno::LOOP => match first_link(path) {
            Some(link) if link == path => "it is a link now, and links are not followed".to_owned(),
            Some(link) => format!("{} is a link now, and links are not followed", link.display()),
            None => "there was a link on the way to it, and links are not followed".to_owned(),
        },
        Errno::PERM => "it is somebody else's now".to_owned(),
        Errno::NOTDIR => "what should be a folder on the way to it is none".to_owned(),
        other => io::Error::from(other).to_string(),
    };
    HostError::Mount { source_path: path.to_owned(), why }
}

/// Only for words: it may have changed again.
fn first_link(path: &Path) -> Option<&Path> {
    let ways: Vec<&Path> = path.ancestors().collect();
    ways.into_iter().rev().find(|way| way.is_symlink())
}

/// A file system of its own over the folder: without podman's mount namespace, which may end at any time, the places are
/// not there and the box does not start. It would start with empty folders otherwise.
fn cover(folder: &Path) -> Result<(), Errno> {
    let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&tmpfs, "mode", "0700")?;
    fsconfig_create(&tmpfs)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(&tmpfs, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    move_mount(&mount, "", CWD, folder, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Takes away what is mounted at the folder, and all that is mounted in it.
fn clear(folder: &Path) -> Result<(), HostError> {
    loop {
        match unmount(folder, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted there, or there is no such folder.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(e) => return Err(HostError::io("unmounting", folder)(e.into())),
        }
    }
}
