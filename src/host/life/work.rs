//! A box's home looked through for git work that is nowhere else.
//!
//! Git runs what a repository's own settings say, so it does so where that harms nobody: in a container that goes at
//! once, with the home read-only, no network, none of the capabilities but to read; and in a unit of its own, which
//! bounds what it takes and ends it in time, whatever becomes of devbox-ctl.

use std::time::Duration;

use crate::host::podman::{CONF_OVERRIDE, NOT_OURS, VolumeState, own_conf};
use crate::host::{Entry, Host, HostError, now};
use crate::policy::life::Work;
use crate::policy::life::book::Found;
use crate::policy::life::work::{SCRIPT, found};
use crate::quadlet::names;
use crate::spec::{DevIs, ImageRef};

/// A little longer than the unit may run: a home of many repositories takes its time.
const PATIENCE: Duration = Duration::from_secs(310);
const UNIT: [&str; 8] = [
    "--quiet",
    "--collect",
    "--pipe",
    "--wait",
    "--property=RuntimeMaxSec=300",
    "--property=MemoryMax=512M",
    "--property=CPUQuota=100%",
    "--property=TasksMax=256",
];

/// What there is; not known where nobody could look. The box's own image is used, as it is there: it has git or not.
pub fn look_through(host: &Host, entry: &Entry) -> Result<Found, HostError> {
    let volume = names::home_volume(&entry.name);
    let mapping = match host.podman.volume(&entry.name, &volume)? {
        VolumeState::Ours(DevIs::Owner) => names::OWNER_MAPPING,
        VolumeState::Ours(DevIs::Subordinate) => names::DEFAULT_MAPPING,
        // A box that never ran has none; podman would make it.
        VolumeState::Absent => return Ok(Found { work: Work::None, text: String::new(), when: Some(now()) }),
        VolumeState::Foreign => return Ok(Found::default()),
    };
    let image = entry.spec.as_ref().map_or_else(|_| ImageRef::default(), |spec| spec.image.clone()).to_string();
    let (unit, name) = (format!("--unit={}", names::look_unit(&entry.name)), names::looker(&entry.name));
    let (name, home) = (format!("--name={name}"), format!("--volume={volume}:/home/dev:ro,nocopy"));
    let label = format!("--label={}={}", names::LABEL, entry.name);
    let mapping = format!("--userns={mapping}");
    let conf = own_conf(&entry.folder).map(|conf| format!("--setenv={CONF_OVERRIDE}={conf}"));
    let not_ours = format!("--property=UnsetEnvironment={}", NOT_OURS.join(" "));
    let container = [
        "podman",
        "run",
        "--rm",
        "--replace",
        &name,
        &label,
        &mapping,
        "--interactive",
        "--pull=never",
        "--cgroups=disabled",
        "--network=none",
        "--read-only",
        "--read-only-tmpfs=false",
        "--tmpfs=/tmp:size=64m",
        "--cap-drop=all",
        "--cap-add=DAC_READ_SEARCH",
        "--security-opt=no-new-privileges",
        "--log-driver=none",
        "--user=root",
        "--entrypoint=/bin/bash",
        &home,
        &image,
        "-s",
    ];
    let mut arguments = [&["--user", &unit, &not_ours][..], &UNIT[..]].concat();
    arguments.extend(conf.as_deref());
    let arguments = [&arguments[..], &["--"], &container[..]].concat();
    let output = host.podman.run_with("systemd-run", &arguments, SCRIPT.as_bytes(), PATIENCE)?;
    Ok(Found { when: Some(now()), ..found(&output) })
}
