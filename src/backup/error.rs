//! Why an archive is refused.

use std::io;

/// What is wrong with an archive, for the person who has it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("it is no backup of devbox-ctl")]
    NotABackup,
    #[error("it is a backup of format {0}, and this devbox-ctl knows format {known}", known = super::FORMAT)]
    Format(u32),
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Whole, and not to be unpacked all the same.
    #[error("it is not safe to unpack: {0}")]
    Unsafe(String),
    #[error("it unpacks to more than {most} bytes")]
    TooLarge { most: u64 },
    #[error("it unpacks to more than {most} files")]
    TooMany { most: u64 },
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    #[error("writing it failed")]
    Write(#[source] io::Error),
    /// Where the bytes go to or come from gave up.
    #[error("it was stopped")]
    Stopped(#[source] io::Error),
}

impl BackupError {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// The decoder's errors are damage; the file's own are not.
    pub(super) fn reading(error: io::Error) -> Self {
        if error.raw_os_error().is_some() {
            return Self::Read(error);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::damaged("it ends too early"),
            _ => Self::Damaged(format!("its compression is broken ({error})")),
        }
    }
}

/// Bytes of an archive, fit to be shown.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
