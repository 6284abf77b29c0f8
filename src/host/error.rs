//! What can go wrong with the machine. `cli/error.rs` gives each its exit code and hint.

use std::io;
use std::path::PathBuf;

use super::systemd::Job;
use crate::backup::BackupError;
use crate::settings::SettingsError;
use crate::spec::BoxName;
use crate::wire::Refused;

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("{user} has no systemd user manager running")]
    NoUserManager { user: String },
    #[error("the connection to your systemd user manager was lost")]
    BusLost,
    #[error("systemd did not do it: {0}")]
    Systemd(String),
    #[error("systemd knows no {unit} after reading the units anew")]
    UnitUnknown { unit: String, why: Vec<String> },
    #[error("{unit} did not {} ({result})", job.word())]
    Job { job: Job, unit: String, result: String, journal: Vec<String> },
    #[error("{unit} did not {} within {seconds} s", job.word())]
    Timeout { job: Job, unit: String, seconds: u64 },
    #[error("another devbox-ctl of yours has been at work on {what} for {seconds} s")]
    Busy { what: String, seconds: u64 },
    #[error("{what} is not there, or not any more")]
    Gone { what: String },
    #[error("interrupted")]
    Interrupted,
    #[error("your systemd user manager has XDG_CONFIG_HOME={0}, so that Quadlet looks for units there")]
    ConfigHome(String),
    #[error("{by} has made {}, which your podman needs for its locks", path.display())]
    LocksTaken { path: PathBuf, by: String },
    #[error("podman is not installed, or not on your PATH")]
    PodmanMissing,
    #[error("podman {found} is too old: 5.4 is the least")]
    PodmanOld { found: String },
    #[error("podman {what} failed: {stderr}")]
    Podman { what: &'static str, stderr: String },
    #[error("{way} the volume failed: {said}")]
    Copy { way: &'static str, said: String },
    #[error("{} cannot be mounted: {why}", source_path.display())]
    Mount { source_path: PathBuf, why: String },
    #[error("{} of {name} {} gone: podman has no such volume any more", lost.join(" and "), if lost.len() == 1 { "is" } else { "are" })]
    VolumesGone { name: BoxName, lost: Vec<String> },
    #[error("the volume {0} is not one of devbox-ctl's")]
    ForeignVolume(String),
    #[error("the label of {volume} says {text:?}, which is no backup priority: 1 (the most important) to 9")]
    BadPriority { volume: String, text: String },
    #[error("there is already a file {}", .0.display())]
    FileThere(PathBuf),
    #[error("{0} was started while it was read, and is not of one moment any more")]
    StartedMeanwhile(String),
    #[error("a file of {name} changed while it was read so that tar cannot write it down: {what}")]
    Unsteady { name: String, what: String },
    /// What is wrong with a backup, and which file it is.
    #[error("{}: {cause}", file.display())]
    Backup { file: PathBuf, cause: BackupError },
    #[error("Quadlet's generator is not installed")]
    GeneratorMissing,
    #[error("Quadlet refuses the units")]
    GeneratorRefused(Vec<String>),
    #[error("{0} is there already")]
    Taken(String),
    #[error("{0}")]
    Refused(Refused),
    #[error("the system's bus takes no connection within {} s", _0.as_secs())]
    BusFull(std::time::Duration),
    #[error("the broker of this host does not answer: {0}")]
    Broker(String),
    #[error(transparent)]
    OwnSettings(#[from] SettingsError),
    #[error("which image the box in {} needs is not known: {why}", folder.display())]
    UnknownImage { folder: PathBuf, why: String },
    #[error("root has no boxes: its containers would not be rootless")]
    Root,
    #[error("the user id {0} has no account")]
    NoAccount(u32),
    #[error("{doing} {} failed", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

impl HostError {
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

/// The bus itself failing and a call being refused are different things to a person.
impl From<zbus::Error> for HostError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, message, _) => Self::Systemd(message.unwrap_or_else(|| name.to_string())),
            zbus::Error::FDO(error) => match *error {
                zbus::fdo::Error::Disconnected(_) | zbus::fdo::Error::NoReply(_) => Self::BusLost,
                other => Self::Systemd(other.to_string()),
            },
            zbus::Error::InputOutput(_) | zbus::Error::Handshake(_) => Self::BusLost,
            other => Self::Systemd(other.to_string()),
        }
    }
}
