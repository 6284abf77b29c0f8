//! systemd-nspawn: a Debian root in namespaces and a cgroup of its own.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::paths;

mod builder;
mod cgroup;

pub(crate) use builder::Builder;

/// systemd-nspawn on a root, with what rootless podman needs in there.
///
/// `netns` is a network namespace of this machine in which it runs: the outer end of its link is there.
pub(crate) fn command(machine: &str, root: &Path, netns: Option<&Path>) -> Result<Command> {
    let by_systemd = Path::new("/run/systemd/system").is_dir();
    let mut words = Vec::new();
    if let Some(netns) = netns {
        words.extend(["nsenter".into(), format!("--net={}", netns.display()), "--".into()]);
    }
    if !by_systemd {
        let launch = paths::lab()?.join("launch.sh");
        paths::write(&launch, include_str!("launch.sh"))?;
        let cgroup = cgroup::of(machine)?;
        words.extend(["sh".into(), launch.display().to_string(), cgroup.display().to_string()]);
    }
    words.push("systemd-nspawn".into());
    let mut command = Command::new(words.remove(0));
    command.args(words);
    command.arg(format!("--directory={}", root.display())).arg(format!("--machine={machine}"));
    command.args(["--quiet", "--console=pipe", "--register=no"]);
    // Rootless podman in the host needs what a host has: keyrings, bpf, and all capabilities to hand on.
    command.args(["--capability=all", "--system-call-filter=@keyring bpf"]);
    if by_systemd {
        command.args(["--property=DeviceAllow=/dev/fuse rwm", "--property=DeviceAllow=/dev/net/tun rwm"]);
    } else {
        command.arg("--keep-unit");
    }
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    Ok(command)
}

/// Ends what is left of a machine's processes, and removes what nspawn leaves of it.
pub(crate) fn clear(machine: &str) -> Result<()> {
    cgroup::kill(machine)?;
    // Empty, and not there at all on some versions: nothing depends on it.
    let _ = std::fs::remove_dir(Path::new("/run/systemd/nspawn/propagate").join(machine));
    Ok(())
}
