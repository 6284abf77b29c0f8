//! The lab itself, and the README's own commands.

use std::path::Path;
use std::process::{Command, Stdio};


use super::prelude::*;

tests! { Host:
    hosts_side_by_side_leave_nothing,
    try_here,
}

/// What a host could leave on this machine.
fn traces(name: &str) -> Result<Vec<String>, libtest_mimic::Failed> {
    let mut found = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    found.extend(mounts.lines().filter(|l| l.contains(&format!("/hosts/{name}/"))).map(str::to_owned));
    for process in std::fs::read_dir("/proc")? {
        let line = std::fs::read(process?.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        found.extend(line.contains(&format!("/hosts/{name}/")).then_some(line));
    }
    let spaces = Command::new("ip").args(["netns", "list"]).stdin(Stdio::null()).output()?;
    let spaces = String::from_utf8_lossy(&spaces.stdout).into_owned();
    found.extend(spaces.lines().filter(|l| l.contains(&format!("devbox-{name}-"))).map(str::to_owned));
    Ok(found)
}

fn hosts_side_by_side_leave_nothing(world: &World) -> Outcome {
    let text = |e: anyhow::Error| format!("{e:#}");
    let names = ["left", "right"].map(|name| format!("{name}-{}", world.debian()));
    // An earlier run may have failed in the middle.
    names.iter().try_for_each(|name| testbed::lab::down(name, true)).map_err(text)?;
    let mut hosts = Vec::new();
    for name in &names {
        hosts.push(testbed::up(name, world.debian()).map_err(text)?);
        ensure(!traces(name)?.is_empty(), "a host that is up can be seen")?;
    }
    for (host, name) in hosts.iter().zip(&names) {
        let said = host.command("bob").arg("hostname").output()?;
        same(&String::from_utf8_lossy(&said.stdout).trim(), &name, "each is its own")?;
    }
    for (host, name) in hosts.into_iter().zip(&names) {
        host.purge().map_err(text)?;
        let left = traces(name)?;
        ensure(left.is_empty(), &format!("left behind: {left:?}"))?;
    }
    Ok(())
}

/// `cargo xtask try --here` on a machine that has a user manager and podman, as the README says.
fn try_here(world: &World) -> Outcome {
    let copied = world.path("/opt/target/release/devbox-ctl");
    std::fs::create_dir_all(copied.parent().unwrap_or(Path::new("/")))?;
    std::fs::copy(world.path("/usr/local/bin/devbox-ctl"), &copied)?;
    let xtask = std::env::var_os("DEVBOX_XTASK").ok_or("DEVBOX_XTASK names the xtask program")?;
    std::fs::copy(xtask, world.path("/opt/target/xtask"))?;
    // Cargo's part is done: there is no Rust on this host.
    let argv = ["env", "DEVBOX_BUILT=1", "DEVBOX_TARGET=/home/alice/target", "/opt/target/xtask", "try", "--here"];
    world.ok("alice", &["sh", "-c", "mkdir -p target/release && cp /opt/target/release/devbox-ctl target/release/"])?;
    let first = world.run("alice", &argv).expect(0)?;
    first.says("my-project is ready")?;
    first.says("ssh my-project")?;
    world.run("alice", &argv).expect(0)?.says("running")?;
    world.ok("alice", &["rm", "-rf", "target"])?;
    Ok(())
}
