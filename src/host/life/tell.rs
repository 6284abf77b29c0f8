//! A warning on its way to people: into the box, where whoever logs in reads it, and to the command that is set for it.

use serde::Serialize;
use tracing::debug;

use super::Outlook;
use crate::host::Host;
use crate::policy::life::{Act, Phase, Work};

/// What the command of `[warnings]` has on its standard input, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning<'a> {
    pub name: &'a str,
    pub act: Act,
    pub in_seconds: u64,
    pub text: &'a str,
    /// Whether there is git work in it that is nowhere else.
    pub work: Work,
}

/// Best effort: what could not be told here is told at the next login on the host and in `list`.
pub fn tell(host: &Host, outlook: &Outlook, text: &str) -> Vec<String> {
    let mut troubles = Vec::new();
    if outlook.phase == Phase::Running
        && let Err(why) = host.podman.hand_in_notice(&outlook.name, text)
    {
        troubles.push(why.to_string());
    }
    debug!("warned: {text}");
    troubles
}
