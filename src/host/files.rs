//! Files in the owner's folders: written whole or not at all, and on disk before they count.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::HostError;
use crate::quadlet::UnitFile;

/// Makes a folder and those above it, for its owner only.
pub(super) fn private_folder(path: &Path) -> Result<(), HostError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(HostError::io("making the folder", path))
}

/// A new folder of a name of its own, for its owner only: by itself tempfile leaves the mode to the umask.
pub(super) fn private_temporary(prefix: &str, within: &Path) -> Result<tempfile::TempDir, HostError> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(within)
        .map_err(HostError::io("making a folder in", within))
}

/// Replaces `folder/name` in one step.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> Result<(), HostError> {
    let path = folder.join(name);
    let doing = || HostError::io("writing", &path);
    let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder).map_err(doing())?;
    file.write_all(text.as_bytes()).map_err(doing())?;
    file.as_file().sync_all().map_err(doing())?;
    file.persist(&path).map_err(|e| doing()(e.error))?;
    sync(folder)
}

/// Makes empty files, or leaves them: they count by their names.
pub(super) fn mark(folder: &Path, names: &[String]) -> Result<(), HostError> {
    for name in names {
        let path = folder.join(name);
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        match options.open(&path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(HostError::io("making", &path)(e)),
            _ => {}
        }
    }
    sync(folder)
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), HostError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(HostError::io("removing", path)(e)),
        _ => Ok(()),
    }
}

/// Fills an empty folder with a box's files.
pub(super) fn fill(folder: &Path, files: &[UnitFile]) -> Result<(), HostError> {
    let mut written = Vec::with_capacity(files.len());
    for file in files {
        let path = folder.join(&file.name);
        let doing = || HostError::io("writing", &path);
        let mut open = File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(doing())?;
        open.write_all(file.text.as_bytes()).map_err(doing())?;
        written.push((path, open));
    }
    // All at once: the file system commits them together, and one wait is enough for all.
    for (path, file) in written {
        file.sync_all().map_err(HostError::io("writing", path))?;
    }
    sync(folder)
}

/// Moves a whole folder to where none is yet.
///
/// rename(2) without flags, since NFS and many FUSE file systems take none. It replaces an empty folder and nothing else,
/// and no folder of a box is empty.
pub(super) fn publish(from: &Path, to: &Path) -> Result<(), HostError> {
    fs::rename(from, to).map_err(|e| match e.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            HostError::Taken(to.display().to_string())
        }
        _ => HostError::io("making the folder", to)(e),
    })?;
    to.parent().map_or(Ok(()), sync)
}

/// Moves a whole folder from one parent to another where none of the name is yet; one that is not there has moved.
pub(super) fn move_over(from: &Path, to: &Path) -> Result<(), HostError> {
    if from.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) && to.exists() {
        return Ok(());
    }
    publish(from, to)?;
    from.parent().map_or(Ok(()), sync)
}

/// Moves a folder to where nobody looks for boxes. Its lock goes with it, so that nobody sweeps it meanwhile.
pub(super) fn withdraw(folder: &Path, aside: &Path) -> Result<(), HostError> {
    match fs::rename(folder, aside) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(HostError::io("removing", folder)(e)),
        Ok(()) => folder.parent().map_or(Ok(()), sync),
    }
}

/// Removes a folder that may be gone already.
pub(super) fn remove_all(folder: &Path) -> Result<(), HostError> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(HostError::io("removing", folder)(e)),
        _ => Ok(()),
    }
}

pub(super) fn sync(folder: &Path) -> Result<(), HostError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(HostError::io("writing", folder))
}

/// The text of a file that may not be there. Larger than a mebibyte is none of ours.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    use std::io::Read as _;
    let file = match File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    file.take(1 << 20).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Names in a folder, sorted; none where the folder is not there.
pub(super) fn names_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names = listing.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
