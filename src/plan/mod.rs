//! What will be done, decided before anything is: (box, settings, observed) → [`Plan`].
//!
//! A plan leaves no choices to the room that executes it, and `--dry-run` prints that same plan. Its undo is made
//! together with it.

mod check;
mod create;
mod destroy;
mod run;
mod trash;

use serde::{Deserialize, Serialize};

use crate::backup::Part;
use crate::quadlet::UnitFile;
use crate::spec::{BoxName, Cpu, DevIs, ImageRef, Memory};

pub use check::{Broken, check};
pub use create::{CreateRequest, create, dev_is};
pub use destroy::destroy;
pub use run::{StartRequest, restart, run_on, settle, start, stop};
pub use trash::{RestoreRequest, put_back, restore, trash, trash_further};

/// One thing to do. Every step may be repeated: done twice, it leaves what it left the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Step {
    /// The box's folder appears, whole, with these files; fails when there is one.
    Publish,
    /// The manager runs its generators and reads units anew.
    Reload,
    /// Forgets earlier failures and the start limit, so that a person's start is never refused for them.
    ResetFailed {
        unit: String,
    },
    Start {
        unit: String,
    },
    Stop {
        unit: String,
    },
    Restart {
        unit: String,
    },
    /// Written before the stop: what is stopped halfway stays stopped.
    MarkStopped {
        why: String,
    },
    UnmarkStopped,
    /// From here on the next command finishes the destruction, should this one be cut short.
    MarkDestroying {
        keep_volumes: Vec<String>,
    },
    /// A volume is made, and what the backup has of it is unpacked into it.
    FillVolume(Fill),
    /// All volumes are whole: from here on the box is one that was created.
    MarkFilled,
    /// The operation is through.
    Settle,
    /// When and by whom it was destroyed, for as long as it is in the trash. By itself it decides nothing.
    NoteTrashed {
        by: TrashedBy,
        why: Option<String>,
        /// How long its owner was told that it stays; nobody makes it shorter after that.
        days: Option<u32>,
    },
    /// From here on the next command finishes its way into the trash, should this one be cut short.
    MarkTrashing,
    /// Takes back both: it stays a box.
    UnmarkTrashing,
    /// From here on it is on its way back out of the trash, as a box that is being created.
    MarkRestoring,
    /// The folder leaves the boxes for the trash in one step, and nothing of it is lost.
    ToTrash,
    /// And back; fails when there is a box of the name.
    FromTrash,
    /// The broker holds the name as one in the trash, if there is room in it; its device is to go.
    Trash,
    /// The broker makes it a box again, admitted anew; with `start`, if the host has room now.
    Restore {
        cpu: Cpu,
        memory: Memory,
        start: bool,
    },
    RemoveVolume {
        volume: String,
    },
    /// The broker holds the name for this owner, if limits allow it; with `start`, if the host has room now.
    Reserve {
        cpu: Cpu,
        memory: Memory,
        start: bool,
    },
    /// The name is a box's from now on.
    Commit,
    /// The name is given back.
    Release,
    /// Its device on the owner's own tailnet is to go.
    Depart,
    /// The broker says whether the host has room now.
    AskRoom {
        memory: Memory,
    },
    /// The folder leaves the registry in one step, and is kept aside until systemd has forgotten its units: should this
    /// be cut short, what is aside tells the next command.
    Withdraw,
    /// Deletes what was withdrawn.
    Discard,
}

/// A volume of a new box, and what is unpacked into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fill {
    pub volume: String,
    pub part: Part,
    /// What it is unpacked with.
    pub image: ImageRef,
    pub dev: DevIs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    Create,
    Start,
    Stop,
    Restart,
    Destroy,
    Trash,
    Restore,
}

/// Where the folder is that a plan acts on. Some steps move it, and what follows acts on it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    #[default]
    Boxes,
    Trash,
}

impl Place {
    // Serde asks by reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_boxes(&self) -> bool {
        *self == Self::Boxes
    }
}

/// Who put a box into the trash: what its owner put there has a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrashedBy {
    Owner,
    Timer,
    Administrator,
}

impl TrashedBy {
    /// The word of the `trashed` file and of JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Timer => "timer",
            Self::Administrator => "administrator",
        }
    }
}

/// Ordered steps for one box, and what takes them back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub verb: Verb,
    pub name: BoxName,
    #[serde(skip_serializing_if = "Place::is_boxes")]
    pub place: Place,
    /// What [`Step::Publish`] puts in the folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<UnitFile>,
    pub steps: Vec<Step>,
    /// Done in this order when a step fails or is interrupted, from the whole list whatever step it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Step>,
    /// Done in its place when nothing but marks was made before the broker said no, or its caller Ctrl-C.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Step>,
}

impl Plan {
    /// For the box's live folder; no undo.
    fn new(verb: Verb, name: &BoxName, steps: Vec<Step>) -> Self {
        let (place, name) = (Place::Boxes, name.clone());
        Self { verb, name, place, files: Vec::new(), steps, undo: Vec::new(), refused: Vec::new() }
    }
}

impl Step {
    /// Whether it only writes down what is about to be done.
    pub fn is_mark(&self) -> bool {
        matches!(self, Self::NoteTrashed { .. } | Self::MarkTrashing | Self::MarkRestoring)
    }

    /// What it does, as `--dry-run` and the progress line say it.
    pub fn describe(&self, name: &BoxName) -> String {
        match self {
            Self::Publish => format!("write the units of {name}"),
            Self::Reload => "have systemd read units anew".to_owned(),
            Self::ResetFailed { unit } => format!("forget earlier failures of {unit}"),
            Self::Start { unit } => format!("start {unit} and wait until it is ready"),
            Self::Stop { unit } => format!("stop {unit}"),
            Self::Restart { unit } => format!("restart {unit} and wait until it is ready"),
            Self::MarkStopped { .. } => "note that it is to stay stopped".to_owned(),
            Self::UnmarkStopped => "note that it is to run".to_owned(),
            Self::MarkDestroying { .. } => "note that it is being destroyed".to_owned(),
            Self::FillVolume(fill) => format!("unpack {} into the new volume {}", fill.part.word(), fill.volume),
            Self::MarkFilled => "note that its volumes are whole".to_owned(),
            Self::Settle => "note that this is through".to_owned(),
            Self::NoteTrashed { .. } => "note when and by whom it is destroyed".to_owned(),
            Self::MarkTrashing => "note that it is on its way into the trash".to_owned(),
            Self::UnmarkTrashing => "note that it stays".to_owned(),
            Self::MarkRestoring => "note that it is being restored".to_owned(),
            Self::ToTrash => format!("move {name} into the trash"),
            Self::FromTrash => format!("move {name} out of the trash"),
            Self::Trash => format!("tell the broker that {name} is in the trash"),
            Self::Restore { cpu, memory, .. } => {
                format!("ask the broker for {name} again, with {cpu} cpu and {memory}")
            }
            Self::RemoveVolume { volume } => format!("delete the volume {volume}"),
            Self::Reserve { cpu, memory, .. } => format!("reserve {name} with {cpu} cpu and {memory} at the broker"),
            Self::Commit => format!("make {name} a box of the broker's ledger"),
            Self::Release => format!("give {name} back to the broker"),
            Self::Depart => format!("note that the device of {name} is to go, if it had one"),
            Self::AskRoom { memory } => format!("ask the broker whether there is room for {memory}"),
            Self::Withdraw => format!("remove the units of {name}"),
            Self::Discard => "delete what was removed".to_owned(),
        }
    }
}
