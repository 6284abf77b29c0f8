//! The cgroup that holds all of a host's processes: what makes ending them certain.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The cgroup of a machine, under wherever cgroup2 is mounted.
pub(super) fn of(machine: &str) -> Result<PathBuf> {
    let Some(tree) = trees("cgroup2", machine)?.pop() else { bail!("no cgroup2 is mounted here") };
    Ok(tree)
}

/// Ends every process of the machine and removes its cgroups. Does nothing when there are none.
pub(super) fn kill(machine: &str) -> Result<()> {
    let tree = of(machine)?;
    if tree.is_dir() {
        fs::write(tree.join("cgroup.kill"), "1").with_context(|| format!("cannot kill {}", tree.display()))?;
        let deadline = Instant::now() + Duration::from_mins(1);
        while populated(&tree) {
            if Instant::now() > deadline {
                bail!("processes in {} survive SIGKILL", tree.display());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    // Where the machine has the old hierarchies too, nspawn makes the same path in one of them.
    for tree in trees("cgroup", machine)?.into_iter().chain([tree]).filter(|t| t.is_dir()) {
        remove(&tree)?;
        if let Some(parent) = tree.parent() {
            // Holds the other hosts as well: it goes with the last one.
            let _ = fs::remove_dir(parent);
        }
    }
    Ok(())
}

/// Where a machine's tree is, or would be, in each mounted hierarchy of that kind.
fn trees(kind: &str, machine: &str) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mount table")?;
    let fields = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    let of_kind = fields.filter(|f| f.get(2) == Some(&kind)).filter_map(|f| f.get(1).copied());
    Ok(of_kind.map(|mount| Path::new(mount).join("devbox-lab").join(machine)).collect())
}

fn populated(tree: &Path) -> bool {
    fs::read_to_string(tree.join("cgroup.events")).is_ok_and(|text| text.contains("populated 1"))
}

/// Removes the tree from its leaves up; cgroupfs knows no recursive removal.
fn remove(tree: &Path) -> Result<()> {
    let entries = fs::read_dir(tree).with_context(|| format!("cannot read {}", tree.display()))?;
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(tree).with_context(|| format!("cannot remove {}", tree.display()))
}
