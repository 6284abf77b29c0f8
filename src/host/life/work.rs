//! A box's home looked through for git work that is nowhere else.
//!
//! Git runs what a repository's own settings say, so it does so where that harms nobody: in a container that goes at
//! once, with the home read-only, no network, and none of the capabilities but to read.

use std::time::Duration;

use crate::host::{Entry, Host, HostError, now};
use crate::policy::life::book::Found;
use crate::policy::life::work::{SCRIPT, found};
use crate::quadlet::names;
use crate::spec::ImageRef;

/// A home of many repositories takes its time; a box that wants it to take for ever is not waited for.
const PATIENCE: Duration = Duration::from_mins(5);

/// What there is; not known where nobody could look. The box's own image is used, as it is there: it has git or not.
pub fn look_through(host: &Host, entry: &Entry) -> Result<Found, HostError> {
    let image = entry.spec.as_ref().map_or_else(|_| ImageRef::default(), |spec| spec.image.clone()).to_string();
    let home = format!("--volume={}:/home/dev:ro", names::home_volume(&entry.name));
    let label = format!("--label=io.devbox.look={}", entry.name);
    let arguments = [
        "run",
        "--rm",
        "--interactive",
        "--pull=never",
        "--network=none",
        "--read-only",
        "--cap-drop=all",
        "--cap-add=DAC_READ_SEARCH",
        "--security-opt=no-new-privileges",
        "--log-driver=none",
        // Should devbox-ctl not be there any more to end it.
        "--timeout=330",
        "--user=root",
        "--entrypoint=/bin/bash",
        &label,
        &home,
        &image,
        "-s",
    ];
    let output = host.podman.run_with(&arguments, SCRIPT.as_bytes(), PATIENCE)?;
    Ok(Found { when: Some(now()), ..found(&output) })
}
