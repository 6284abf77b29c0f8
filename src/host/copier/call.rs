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
    "--file=-",
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
const LOGIN: &str = "tailscale";
/// A locale that takes names as they are, which C does not (src/backup/entry.rs); and nothing of the image's for tar.
const ENVIRONMENT: &[&str] = &["LC_ALL=C.UTF-8", "TAR_OPTIONS=", "TAPE="];
/// KiB that tar may have: it keeps folders and links in mind until its end, a few hundred bytes for each.
const MOST_MEMORY: u32 = 1 << 20;

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
    let mapping = if copy.dev == DevIs::Owner { names::OWNER_MAPPING } else { names::DEFAULT_MAPPING };
    list.push(format!("--userns={mapping}"));
    list.push(format!("--name={}", names::copier(copy.name)));
    list.push(format!("--label={}={}", names::LABEL, copy.name));
    let mode = if way == Way::Out { "ro,nocopy" } else { "nocopy" };
    list.push(format!("--volume={}:/volume:{mode}", copy.volume));
    list.extend(ENVIRONMENT.iter().map(|variable| format!("--env={variable}")));
    list.extend(["--preserve-fds=1", "--entrypoint=/bin/sh"].map(str::to_owned));
    list.push(copy.image.to_string());
    let (script, own) = match way {
        Way::Out => ("exec tar \"$@\" >&3 3>&-".to_owned(), OUT),
        // On disk before it is said to be through; and whatever tar made of it, a login would be found.
        Way::Into => {
            let no_login = format!("test ! -e /volume/{LOGIN} -a ! -L /volume/{LOGIN}");
            let no_login = if copy.part == Part::State { &no_login } else { "true" };
            (format!("tar \"$@\" <&3 3<&- && {no_login} && exec sync -f /volume"), INTO)
        }
    };
    list.extend(["-c".to_owned(), format!("ulimit -v {MOST_MEMORY}; {script}"), "tar".to_owned()]);
    list.extend(own.iter().chain(BOTH).map(|&s| s.to_owned()));
    if copy.part == Part::State {
        list.push(format!("--exclude=./{LOGIN}"));
    }
    if way == Way::Out {
        list.push(".".to_owned());
    }
    list
}
