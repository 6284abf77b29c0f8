//! A warning on its way to people: into the box, where whoever logs in reads it.

use tracing::debug;

use super::Outlook;
use crate::host::{Host, HostError};
use crate::policy::life::Phase;

/// Best effort: what could not be told here is told at the next login on the host and in `list`.
pub fn tell(host: &Host, outlook: &Outlook, text: &str) -> Result<(), HostError> {
    debug!("warned: {text}");
    match outlook.phase {
        Phase::Running | Phase::RunsOn => host.podman.hand_in_notice(&outlook.name, text),
        _ => Ok(()),
    }
}
