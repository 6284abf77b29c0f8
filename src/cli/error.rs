//! One kind and one hint decide exit code, text and JSON of every failure.

use std::error::Error;

use clap::ValueEnum;
use serde::Serialize;

use crate::backup::{BackupError, PriorityError};
use crate::host::{Account, Applied, HostError, SettingsProblem, trashed_entry};
use crate::plan::Broken;
use crate::policy::limits::Refusal;
use crate::quadlet::RenderError;
use crate::settings::SettingsError;
use crate::spec::{BoxName, EnvError, ImageError, MountError, NameError, SizeError};
use crate::wire::{Refused, TRASH_ROOM, Why, in_trash};

/// What happened, with the contract's exit code; in JSON by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub(super) enum Kind {
    InvalidInput = 1,
    Exists = 2,
    OwnerLimit = 3,
    HostLimit = 4,
    NoResources = 5,
    /// What gives tailnet keys.
    Provider = 6,
    /// Podman or systemd.
    Backend = 7,
    Tailnet = 8,
    /// Done, but for a device that is still on the tailnet.
    TailnetLeft = 9,
    NoSuchBox = 10,
    NotAllowed = 11,
    AlreadySo = 12,
    TimedOut = 13,
    Bug = 70,
    Interrupted = 130,
}

impl Kind {
    /// The process's exit status.
    pub(super) fn code(self) -> u8 {
        self as u8
    }

    /// Of a process of ours by its exit status.
    fn of_code(code: i32) -> Option<Self> {
        Self::value_variants().iter().copied().find(|kind| i32::from(kind.code()) == code)
    }
}

/// What a person is told: what happened, what helps, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) message: String,
    pub(super) facts: Vec<String>,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), facts: Vec::new(), hint: None }
    }

    /// What another devbox-ctl ended with, after it had said why.
    pub(super) fn of_another(code: i32) -> Self {
        Self::silent(Kind::of_code(code).unwrap_or(Kind::Backend))
    }

    /// Nothing to say beside the status: what was printed says it.
    pub(super) fn silent(kind: Kind) -> Self {
        Self::new(kind, String::new())
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(super) fn fact(mut self, fact: impl Into<String>) -> Self {
        self.facts.push(fact.into());
        self
    }

    pub(super) fn no_such_box(name: &BoxName) -> Self {
        let failure = Self::new(Kind::NoSuchBox, format!("you have no box called {name}"));
        let in_the_trash = Account::current().is_ok_and(|account| trashed_entry(&account, name).is_some());
        if in_the_trash {
            return Self { message: format!("{name} is in the trash"), ..failure }.hint(in_trash(name));
        }
        failure.hint("`devbox-ctl list` shows yours")
    }

    /// As it is written to a terminal.
    pub(super) fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for fact in &self.facts {
            text += &format!("  {fact}\n");
        }
        if let Some(hint) = &self.hint {
            text += &format!("  hint: {hint}\n");
        }
        text
    }

    /// `{"error":{…}}`, as the contract has it; `facts` where there are any.
    pub(super) fn json(&self) -> serde_json::Value {
        let mut error = serde_json::json!({
            "code": self.kind.code(), "kind": self.kind, "message": self.message, "hint": self.hint,
        });
        if !self.facts.is_empty() {
            error["facts"] = self.facts.clone().into();
        }
        serde_json::json!({ "error": error })
    }
}

/// An error with the causes it does not name itself.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}

macro_rules! invalid_input {
    ($($error:ty => $hint:expr),+ $(,)?) => { $(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(Kind::InvalidInput, error.to_string()).hint($hint)
            }
        }
    )+ };
}

invalid_input! {
    NameError => "names look like my-project: 3-63 lowercase letters, digits and single hyphens",
    SizeError => "for example `--cpu 2 --memory 4G`",
    ImageError => "for example localhost/devbox:latest",
    EnvError => "for example `--env EDITOR=nvim`; what has line breaks goes into a file in the box",
    PriorityError => "for example `--priority 1`: the home alone",
    MountError => "for example `--mount /home/you/src:/src:ro`",
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (kind, hint) = match &refusal {
            Refusal::NotAllowed(_) => (Kind::NotAllowed, "ask an administrator of this host".to_owned()),
            Refusal::Exists(name) => {
                (Kind::Exists, format!("`devbox-ctl start {name}` starts it; choose another name for a new one"))
            }
            Refusal::Trashed(name) => (Kind::Exists, in_trash(name)),
            Refusal::TrashLimit { .. } => (Kind::OwnerLimit, TRASH_ROOM.to_owned()),
            Refusal::OwnerLimit { .. } => (Kind::OwnerLimit, "`devbox-ctl destroy NAME` makes room".to_owned()),
            Refusal::Cpu { limit, .. } => (Kind::InvalidInput, format!("ask for `--cpu {limit}` or less")),
            Refusal::Memory { limit, .. } => (Kind::InvalidInput, format!("ask for `--memory {limit}` or less")),
        };
        Self::new(kind, refusal.to_string()).hint(hint)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let hint = match &error.nearest {
            Some(key) => format!("did you mean `{key}`?"),
            None => "an administrator can mend this file; nothing was changed".to_owned(),
        };
        Self::new(Kind::InvalidInput, error.to_string()).hint(hint)
    }
}

impl From<SettingsProblem> for Failure {
    fn from(problem: SettingsProblem) -> Self {
        match problem {
            SettingsProblem::Wrong(error) => error.into(),
            SettingsProblem::Unreadable(error) => error.into(),
        }
    }
}

impl From<RenderError> for Failure {
    fn from(error: RenderError) -> Self {
        Self::new(Kind::InvalidInput, chain(&error))
            .hint("an administrator's templates are in /etc/devbox/quadlet-templates")
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self::new(Kind::Bug, broken.to_string()).hint("nothing was done; please report this")
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let failure = |kind| Self::new(kind, chain(&error));
        match &error {
            HostError::NoUserManager { user } => {
                failure(Kind::Backend).hint(format!("an administrator can run `loginctl enable-linger {user}`"))
            }
            HostError::BusLost => failure(Kind::Backend).hint("`systemctl --user status` says how it is"),
            HostError::Systemd(_) => failure(Kind::Backend).hint("`journalctl --user -n 20` may say more"),
            HostError::UnitUnknown { why, .. } => {
                let hint =
                    "its units were edited or damaged; `devbox-ctl destroy --keep-volume NAME` and create it again";
                Self { facts: why.clone(), ..failure(Kind::Backend) }.hint(hint)
            }
            HostError::Job { unit, journal, result, .. } => {
                let kind = if result == "timeout" { Kind::TimedOut } else { Kind::Backend };
                Self { facts: journal.clone(), ..failure(kind) }
                    .hint(format!("`journalctl --user -u {unit}` has the whole story"))
            }
            HostError::Timeout { unit, .. } => {
                failure(Kind::TimedOut).hint(format!("`journalctl --user -u {unit}` shows what it waits for"))
            }
            HostError::Busy { .. } => {
                failure(Kind::TimedOut).hint("wait for it, or look for it with `pgrep -u $USER -a devbox-ctl`")
            }
            HostError::Gone { .. } => failure(Kind::NoSuchBox).hint("`devbox-ctl list` shows yours"),
            HostError::Interrupted => failure(Kind::Interrupted),
            HostError::ConfigHome(_) => failure(Kind::Backend).hint(
                "boxes are in ~/.config/containers/systemd; `systemctl --user unset-environment XDG_CONFIG_HOME`, and take it out of ~/.config/environment.d",
            ),
            HostError::LocksTaken { path, .. } => {
                failure(Kind::Backend).hint(format!("nothing was changed; an administrator can delete it: `sudo rm {}`", path.display()))
            }
            HostError::PodmanMissing => failure(Kind::Backend).hint("an administrator can install podman 5.4 or newer"),
            HostError::PodmanOld { .. } => failure(Kind::Backend).hint("an administrator can install a newer podman"),
            HostError::Podman { .. } => failure(Kind::Backend).hint("`-v` shows the call"),
            HostError::Copy { said, .. } if said.contains("No space left") => {
                failure(Kind::Backend).hint("make room where your volumes are: `podman system df` shows what takes it")
            }
            HostError::Copy { .. } => failure(Kind::Backend)
                .hint("it is done by GNU tar of the box's image, in a container; `-v` shows the call"),
            HostError::StartedMeanwhile(name) => failure(Kind::Backend).hint(format!(
                "nothing is kept; `devbox-ctl backup {name}` again, while it runs or while it is stopped"
            )),
            HostError::Unsteady { name, .. } => {
                failure(Kind::Backend).hint(format!("nothing is kept; again, or `devbox-ctl stop {name}` before"))
            }
            HostError::VolumesGone { name, .. } => failure(Kind::Backend).hint(format!(
                "`podman volume prune` deletes the volumes of boxes that do not run, and `podman system reset` all of them; `devbox-ctl destroy --now --keep-volume {name}` keeps what is left, and `devbox-ctl create {name}` makes it anew, `--from-backup` with your files"
            )),
            HostError::Mount { .. } => failure(Kind::Backend)
                .hint("put the folder or file back where it was; what is now in its place is not shown in the box"),
            HostError::ForeignVolume(_) => {
                failure(Kind::Backend).hint("it lost its labels, or another program made it; `podman volume inspect`")
            }
            HostError::BadPriority { .. } => {
                failure(Kind::InvalidInput).hint("an administrator's template says so (/etc/devbox/quadlet-templates)")
            }
            HostError::FileThere(_) => failure(Kind::Exists).hint("nothing was written; choose another name with `-o`"),
            HostError::Backup { cause: BackupError::Read(_) | BackupError::NotABackup, .. } => {
                failure(Kind::InvalidInput).hint("nothing was changed; `devbox-ctl backup NAME` writes such a file")
            }
            HostError::Backup { cause: BackupError::Unsafe(_), .. } => failure(Kind::InvalidInput).hint(
                "nothing was changed; devbox-ctl writes no such file: ask who gave it to you, and do not unpack it",
            ),
            HostError::Backup { .. } => {
                failure(Kind::InvalidInput).hint("nothing was changed; copy it again, or make another")
            }
            HostError::GeneratorMissing => failure(Kind::Backend).hint("it comes with podman: podman-system-generator"),
            HostError::GeneratorRefused(why) => Self { facts: why.clone(), ..failure(Kind::Backend) }
                .hint("nothing was changed; an administrator's template may be wrong (/etc/devbox/quadlet-templates)"),
            HostError::Taken(name) => Self::new(Kind::Exists, format!("there is already a box called {name}"))
                .hint(format!("`devbox-ctl status {name}` shows it")),
            HostError::Refused(refused) => Self::from(refused),
            HostError::BusFull(_) => failure(Kind::Backend)
                .hint("somebody may be flooding it: `sudo devbox-ctl doctor` says what keeps that from happening"),
            HostError::Broker(_) => {
                failure(Kind::Backend).hint("`systemctl status devboxd` says more; nothing is done without it")
            }
            HostError::OwnSettings(wrong) => match &wrong.nearest {
                Some(key) => failure(Kind::InvalidInput).hint(format!("did you mean `{key}`?")),
                None => failure(Kind::InvalidInput).hint("mend that file of yours, or remove it to have no tailnet"),
            },
            HostError::UnknownImage { .. } => {
                failure(Kind::Backend).hint("nothing was removed; mend its box.toml, or destroy that box first")
            }
            HostError::Root => failure(Kind::NotAllowed).hint("run it as the box's owner"),
            HostError::NoAccount(_) => failure(Kind::Backend).hint("getent passwd does not know you"),
            HostError::Io { doing: "writing", source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                failure(Kind::Backend).hint("make room there; nothing was left of it")
            }
            HostError::Io { .. } => failure(Kind::Backend),
        }
    }
}

/// The broker's own words, with the contract's codes.
impl From<&Refused> for Failure {
    fn from(refused: &Refused) -> Self {
        let kind = match refused.why {
            Why::InvalidInput => Kind::InvalidInput,
            Why::Exists => Kind::Exists,
            Why::OwnerLimit => Kind::OwnerLimit,
            Why::HostLimit => Kind::HostLimit,
            Why::NoResources => Kind::NoResources,
            Why::NoSuchBox => Kind::NoSuchBox,
            Why::NotAllowed => Kind::NotAllowed,
            Why::TooMany => Kind::TimedOut,
            Why::Ledger => Kind::Backend,
        };
        let hint = (!refused.hint.is_empty()).then(|| refused.hint.clone());
        Self { kind, message: refused.message.clone(), facts: refused.facts.clone(), hint }
    }
}

impl From<Applied> for Failure {
    fn from(applied: Applied) -> Self {
        let Applied { cause, undo_failed, undone } = applied;
        let failure = Self::from(*cause);
        match undo_failed {
            Some(why) => failure
                .fact(format!("and it could not be taken back: {}", chain(&*why)))
                .hint("the next devbox-ctl command that changes something finishes it"),
            None if undone => failure.fact("what had been done was taken back"),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_say_the_same() {
        let failure = Failure::new(Kind::OwnerLimit, "you already have 5 boxes, and 5 is your limit")
            .fact("running: api, docs, web · stopped: old-api, scratch")
            .hint("`devbox-ctl destroy scratch` makes room");
        insta::assert_snapshot!(failure.text(), @r"
        error: you already have 5 boxes, and 5 is your limit
          running: api, docs, web · stopped: old-api, scratch
          hint: `devbox-ctl destroy scratch` makes room
        ");
        assert_eq!(failure.json()["error"]["code"], 3);
        assert_eq!(failure.json()["error"]["kind"], "owner-limit");
    }

    #[test]
    fn a_cause_is_said_once() {
        let io = HostError::Io { doing: "writing", path: "/x".into(), source: std::io::Error::other("no space") };
        assert_eq!(Failure::from(io).message, "writing /x failed: no space");
    }
}
