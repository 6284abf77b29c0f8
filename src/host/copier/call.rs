//! How tar is called, and in what: a container that can reach nothing but one volume and the stream.

use super::{Copy, Way};
use crate::backup::Part;
use crate::quadlet::names;
use crate::spec::DevIs;

/// GNU tar's own words for what survives; `GNU.sparse` and the like are read by src/backup too.
const OUT: &[&str] = &[
    "--create",
    "--directory=/volume",
    "--format=posix",
    // Else there is the time of the last reading in it, and the number of a process.
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "--sparse",
];
const INTO: &[&str] =
    &["--extract", "--directory=/volume", "--same-permissions", "--same-owner", "--delay-directory-restore"];
const BOTH: &[&str] = &[
    "--numeric-owner",
    "--acls",
    "--xattrs",
    "--xattrs-include=user.*",
    "--xattrs-include=security.capability",
    "--quoting-style=escape",
    "--no-wildcards",
    "--anchored",
];
/// The login of a device is one device's: a copy of it would be the same device twice.
const NOT_OF_STATE: &str = "--exclude=./tailscale";

pub(super) fn arguments(copy: Copy<'_>, way: Way) -> Vec<String> {
    let mut list: Vec<String> =
        ["run", "--rm", "--replace", "--pull=never", "--network=none", "--log-driver=none"].map(str::to_owned).to_vec();
    list.extend(
        ["--read-only", "--read-only-tmpfs=false", "--image-volume=ignore", "--no-healthcheck", "--http-proxy=false"]
            .map(str::to_owned),
    );
    list.extend(["--security-opt=no-new-privileges", "--cap-drop=all", "--user=0:0", "--workdir=/"].map(str::to_owned));
    let capabilities: &[&str] = match way {
        Way::Out => &["DAC_READ_SEARCH"],
        Way::Into => &["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP"],
    };
    list.extend(capabilities.iter().map(|c| format!("--cap-add={c}")));
    if copy.dev == DevIs::Owner {
        list.push(format!("--userns={}", names::OWNER_MAPPING));
    }
    list.push(format!("--name={}", names::copier(copy.name)));
    list.push(format!("--label={}={}", names::LABEL, copy.name));
    let mode = if way == Way::Out { "ro,nocopy" } else { "nocopy" };
    list.push(format!("--volume={}:/volume:{mode}", copy.volume));
    list.extend(["--env=LC_ALL=C", "--preserve-fds=1", "--entrypoint=/bin/sh"].map(str::to_owned));
    list.push(copy.image.to_string());
    let (script, own) = match way {
        Way::Out => ("exec tar \"$@\" >&3 3>&-", OUT),
        // On disk before it is said to be through.
        Way::Into => ("tar \"$@\" <&3 3<&- && exec sync -f /volume", INTO),
    };
    list.extend(["-c", script, "tar"].map(str::to_owned));
    list.extend(own.iter().chain(BOTH).map(|&s| s.to_owned()));
    if copy.part == Part::State {
        list.push(NOT_OF_STATE.to_owned());
    }
    if way == Way::Out {
        list.push(".".to_owned());
    }
    list
}
