//! The plan of `create`.

use super::{Plan, Step, Verb, destroy};
use crate::quadlet::{UnitFile, names};
use crate::spec::BoxName;

/// What `create` is decided from.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    pub name: &'a BoxName,
    pub files: Vec<UnitFile>,
    pub start: bool,
    /// Volumes of this box that were there before (kept by an earlier `destroy --keep-volume`): undo leaves them.
    pub volumes_there: &'a [String],
}

/// Publish, reload, start. The folder is published with its `pending` mark in it.
pub fn create(request: CreateRequest<'_>) -> Plan {
    let CreateRequest { name, mut files, start, volumes_there } = request;
    let unit = names::service(name);
    files.push(UnitFile { name: names::PENDING_FILE.to_owned(), text: "operation = \"create\"\n".to_owned() });
    let mut steps = vec![Step::Publish];
    if start {
        steps.push(Step::Reload);
        steps.push(Step::Start { unit });
    } else {
        // Stopped by its owner's word, so a reboot does not start it. The mark is in the folder from its first moment.
        files.push(UnitFile {
            name: names::STOPPED_FILE.to_owned(),
            text: "why = \"created with --no-start\"\n".to_owned(),
        });
        steps.push(Step::Reload);
    }
    steps.push(Step::Settle);
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let undo = destroy::steps(name, volumes_there);
    Plan { verb: Verb::Create, name: name.clone(), files, steps, undo }
}
