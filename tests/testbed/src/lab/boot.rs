//! From a root to a running host, and back.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::dir::HostDir;
use super::process::{self, Running};
use super::{enter, net};
use crate::artifacts::recipe;
use crate::{interrupt, nspawn, paths, progress, run};

const BOOT_DEADLINE: Duration = Duration::from_secs(90);
/// Boxes have ten seconds each to stop; they stop side by side, and on a busy machine many hosts may do so at once.
const POWER_OFF_DEADLINE: Duration = Duration::from_mins(2);

/// Boots the root and waits until its users can work. Leaves nothing behind when that fails.
pub(crate) fn boot(dir: &HostDir) -> Result<(Running, Child)> {
    progress::step(&format!("booting {}", dir.name));
    sweep(dir)?;
    let outside = net::prepare(dir)?;
    let inbox = tempfile::tempdir().context("cannot make a directory for the boot messages")?;
    let socket = UnixDatagram::bind(inbox.path().join("notify")).context("cannot listen for the boot messages")?;
    let child = spawn(dir, &outside, &inbox.path().join("notify"))?;
    let up = paths::write(&dir.pid_file(), child.id().to_string())
        .and_then(|()| await_boot(dir, &socket))
        .and_then(|()| process::find(dir).context("the host ended right after its boot"))
        .and_then(|running| await_users(dir, running.leader).map(|()| running));
    match up {
        Ok(running) => {
            progress::step(&format!("{} is up", dir.name));
            Ok((running, child))
        }
        Err(e) => {
            let log = std::fs::read_to_string(dir.log()).unwrap_or_default();
            end(dir, Some(child))?;
            Err(e.context(format!("{} did not come up; the end of its log:\n{}", dir.name, run::tail(&log))))
        }
    }
}

fn spawn(dir: &HostDir, outside: &net::Netns, notify: &Path) -> Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(dir.log());
    let log = log.with_context(|| format!("cannot write {}", dir.log().display()))?;
    let errors = log.try_clone().context("cannot share the log")?;
    let mut command = nspawn::command(&dir.machine(), &dir.root(), Some(outside.path()))?;
    command.arg(format!("--hostname={}", dir.name));
    command.args(["--boot", "--notify-ready=yes", "--resolv-conf=off", "--timezone=off"]);
    command.arg(net::nspawn_option()).args(["--link-journal=no"]).env("NOTIFY_SOCKET", notify);
    // A process group of its own: it outlives this process and does not hear its Ctrl-C.
    command.process_group(0).current_dir("/").stdin(Stdio::null()).stdout(log).stderr(errors);
    command.spawn().context("cannot run systemd-nspawn")
}

/// Reads what nspawn and then the host's systemd say, until the latter has started all of its jobs.
fn await_boot(dir: &HostDir, socket: &UnixDatagram) -> Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(200))).context("cannot set a timeout")?;
    let deadline = Instant::now() + BOOT_DEADLINE;
    let mut buffer = [0; 4096];
    loop {
        interrupt::check()?;
        let Ok(length) = socket.recv(&mut buffer) else {
            let nspawn = std::fs::read_to_string(dir.pid_file()).unwrap_or_default();
            let state = std::fs::read_to_string(format!("/proc/{}/stat", nspawn.trim())).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                bail!("systemd-nspawn ended");
            }
            if Instant::now() > deadline {
                bail!("not booted after {} s", BOOT_DEADLINE.as_secs());
            }
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if let Some(leader) = text.lines().find_map(|l| l.strip_prefix("X_NSPAWN_LEADER_PID=")) {
            paths::write(&dir.leader_file(), leader)?;
            net::connect(dir)?;
        }
        if text.lines().any(|l| l == "READY=1") {
            return Ok(());
        }
    }
}

/// Waits for the managers of the lingering users, and gives all users a session. Starting a manager that is on its way
/// waits for that.
fn await_users(dir: &HostDir, leader: u32) -> Result<()> {
    let units = recipe::lingering().map(|u| format!("user@{}.service", u.uid));
    run::output(enter::as_root(leader).arg("systemctl").arg("start").args(units))?;
    let users: Vec<&str> = recipe::USERS.iter().map(|user| user.name).chain(["root"]).collect();
    run::output(&mut enter::begin_sessions(&dir.root(), leader, &users)).map(drop)
}

/// Powers the host off in an orderly way; kills it when that takes too long.
pub(crate) fn power_off(dir: &HostDir, running: &Running, child: Option<Child>) -> Result<()> {
    progress::step(&format!("powering off {}", dir.name));
    running.power_off()?;
    if !running.wait(POWER_OFF_DEADLINE)? {
        progress::step(&format!("{} is not off after {} s: killing it", dir.name, POWER_OFF_DEADLINE.as_secs()));
    }
    end(dir, child)
}

/// Kills what there is of the host.
pub(crate) fn end(dir: &HostDir, child: Option<Child>) -> Result<()> {
    if let Some(running) = process::find(dir) {
        running.kill()?;
        running.wait(Duration::from_secs(10))?;
    }
    if let Some(mut child) = child {
        let _ = child.kill();
        child.wait().context("cannot wait for systemd-nspawn")?;
    }
    sweep(dir)
}

/// Removes what is left of a host that is down, whether it was stopped, killed or cut off by a crash.
pub(crate) fn sweep(dir: &HostDir) -> Result<()> {
    nspawn::clear(&dir.machine())?;
    net::disconnect(dir);
    if let Ok(root) = dir.root().metadata() {
        // nspawn's lock on the root; one that was killed leaves the file.
        let name = format!("inode-{}:{}", root.dev(), root.ino());
        let _ = std::fs::remove_file(Path::new("/run/systemd/nspawn/locks").join(name));
        let _ = std::fs::remove_file(dir.path().join(".#root.lck"));
    }
    for file in [dir.pid_file(), dir.leader_file()] {
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("cannot remove {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes the host's network namespace; it stays over a reboot.
pub(crate) fn remove_network(dir: &HostDir) -> Result<()> {
    net::remove(dir)
}
