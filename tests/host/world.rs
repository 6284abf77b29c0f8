//! The lab host as the tests see it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use libtest_mimic::Failed;
use rusqlite::{Connection, OpenFlags};
use testbed::artifacts::Debian;
use testbed::daemon::Life;
use testbed::lab::Host;
use testbed::lock::Lock;
use testbed::tailnet::Tailnet;

use crate::prelude::*;

/// A booted host with the box image and the program under test.
#[derive(Debug)]
pub(crate) struct World {
    host: Mutex<Host>,
    root: PathBuf,
    debian: Debian,
}

impl Place for World {
    fn command(&self, user: &str, argv: &[&str]) -> Command {
        let mut command = self.host.lock().expect("the host").command(user);
        command.args(argv);
        command
    }
}

/// Takes down what an earlier run left, and holds off a second run in this checkout until this one ends.
pub(crate) fn begin() -> anyhow::Result<Lock> {
    let lab = testbed::paths::lab()?;
    let lock = testbed::lock::take(&lab.join("test.lock"))?;
    testbed::paths::remove_tree(&lab.join(INSTALLED))?;
    for name in testbed::lab::names()?.iter().filter(|name| name.starts_with("test-")) {
        testbed::tailnet::down(name)?;
        testbed::lab::down(name, true)?;
    }
    testbed::vm::down(crate::machine::NAME)?;
    Ok(lock)
}

const INSTALLED: &str = "installed";

/// The folder of the programs under test.
fn programs() -> Result<PathBuf, String> {
    let program = PathBuf::from(std::env::var_os("DEVBOX_BIN").ok_or("DEVBOX_BIN is not set")?);
    Ok(program.parent().ok_or("DEVBOX_BIN names no program")?.to_owned())
}

/// All that an administrator installs, under a root of its own: what is made by running the program is made once.
fn installed() -> Result<&'static Path, Failed> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let make = || {
        let root = testbed::paths::lab().map_err(|e| format!("{e:#}"))?.join(INSTALLED);
        testbed::install::into(&root, &programs()?).map_err(|e| format!("{e:#}"))?;
        Ok(root)
    };
    Ok(MADE.get_or_init(make).as_ref()?)
}

impl World {
    /// Boots a new host. Nothing of it is left when that fails.
    pub(crate) fn boot(name: &str, debian: Debian) -> Result<Self, String> {
        let boot = || {
            testbed::lab::down(name, true)?;
            let host = testbed::up_with_image(name, debian)?;
            let binary = std::env::var_os("DEVBOX_BIN").context("DEVBOX_BIN names the program under test")?;
            host.install(Path::new(&binary))?;
            Ok(Self { root: host.root().to_owned(), host: Mutex::new(host), debian })
        };
        boot().map_err(|e: anyhow::Error| {
            let _ = testbed::lab::down(name, true);
            format!("{e:#}")
        })
    }

    /// The Debian release of the host.
    pub(crate) fn debian(&self) -> Debian {
        self.debian
    }

    pub(crate) fn down(self) {
        self.host.into_inner().expect("the host").purge().expect("the host gone");
    }

    pub(crate) fn reboot(&self) -> Outcome {
        Ok(self.host.lock().map_err(|e| e.to_string())?.reboot().map_err(|e| format!("{e:#}"))?)
    }

    /// A tailnet that the host's boxes can reach; gone with the value.
    pub(crate) fn tailnet(&self) -> Result<Tailnet, Failed> {
        Ok(Tailnet::up(&self.host.lock().expect("the host"), Life::Ours).map_err(|e| format!("{e:#}"))?)
    }

    /// A path of the host, from outside.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.path("/home/alice/.config/containers/systemd/devbox").join(name)
    }

    /// Where the folder is of one that is in the trash.
    pub(crate) fn trashed(&self, name: &str) -> PathBuf {
        self.path("/home/alice/.config/containers/devbox-trash").join(name)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        fs::write(path, text).expect("the file");
    }

    fn listing(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else { return Vec::new() };
        entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
    }

    /// Everything of alice's that a box could leave behind.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let home = "/home/alice";
        let mut left = self.listing(&format!("{home}/.config/containers/systemd/devbox"));
        left.extend(self.listing(&format!("{home}/.config/containers/devbox-stage")));
        left.extend(self.listing(&format!("{home}/.config/containers/devbox-trash")));
        left.extend(self.listing(&format!("{home}/.local/share/containers/storage/volumes")));
        left.extend(self.containers("alice"));
        let units =
            self.run("alice", &["systemctl", "--user", "--plain", "--no-legend", "list-units", "--all", "devbox-*"]);
        left.extend(units.out.lines().map(str::to_owned));
        left
    }

    /// The containers that podman has of a user, running or not: from its database, which takes a hundredth of the time
    /// that `podman ps` does.
    fn containers(&self, user: &str) -> Vec<String> {
        let file = self.path(&format!("/home/{user}/.local/share/containers/storage/db.sql"));
        if !file.exists() {
            return Vec::new();
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = Connection::open_with_flags(&file, flags).expect("podman's database");
        database.busy_timeout(Duration::from_mins(1)).expect("patience");
        let mut query = database.prepare("SELECT ID FROM ContainerConfig").expect("podman's table of containers");
        let rows = query.query_map([], |row| row.get(0)).expect("its rows");
        rows.collect::<Result<_, _>>().expect("container ids")
    }

    /// Waits until podman has no container of alice's. conmon(8) removes the container of a box that failed or was killed,
    /// a moment after systemd has seen the end of the unit.
    pub(crate) fn await_no_container(&self) -> Outcome {
        let begun = Instant::now();
        loop {
            let left = self.containers("alice");
            if left.is_empty() {
                return Ok(());
            }
            ensure(begun.elapsed() < Duration::from_secs(20), &format!("containers stay: {left:?}"))?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn expect_clean(&self) -> Outcome {
        self.await_no_container()?;
        let left = self.leftovers();
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}").into()) }
    }

    /// devboxd as an administrator installs it, with these settings. Gone again after the test.
    pub(crate) fn install_broker(&self, settings: &str) -> Outcome {
        let mut copy = Command::new("cp");
        copy.args(["--archive", "--remove-destination", "--no-target-directory", "--"]);
        let copied = copy.arg(installed()?).arg(&self.root).output()?;
        ensure(copied.status.success(), &String::from_utf8_lossy(&copied.stderr))?;
        self.write("/etc/devbox/users.toml", settings);
        let commands: Vec<String> = testbed::install::ACTIVATE.iter().map(|command| command.join(" ")).collect();
        self.ok("root", &["sh", "-ec", &commands.join("\n")]).map(drop)
    }

    /// devbox-ctl and the units of owners, where nobody installs a broker; alice's login socket is there.
    pub(crate) fn install_without_broker(&self) -> Outcome {
        testbed::install::without_broker(&self.root, &programs()?).map_err(|e| format!("{e:#}"))?;
        self.ok("alice", &["systemctl", "--user", "daemon-reload"])?;
        self.ok("alice", &["systemctl", "--user", "enable", "--now", "devboxes-login.socket"]).map(drop)
    }

    /// Takes away what owners have without a broker.
    fn remove_own(&self) {
        if !self.path("/usr/lib/systemd/user/devboxes-login.socket").exists() {
            return;
        }
        let script = "systemctl --user disable --now devboxes-login.socket devboxes-tend.timer; rm -rf .config/devbox .local/state/devbox";
        self.run("alice", &["sh", "-c", script]);
        if !self.path("/usr/libexec/devbox/devboxd").exists() {
            testbed::install::remove(&self.root).expect("the owners' units gone");
            self.ok("alice", &["systemctl", "--user", "daemon-reload"]).expect("a reload");
        }
    }

    /// Runs devboxd otherwise, from now on; an empty text is as it was.
    pub(crate) fn override_devboxd(&self, text: &str) -> Outcome {
        self.write("/run-override.conf", text);
        // Whoever connects meanwhile starts it again, which cancels the stop.
        let script = "mkdir -p /run/systemd/system/devboxd.service.d && mv /run-override.conf /run/systemd/system/devboxd.service.d/test.conf \
                      && systemctl daemon-reload && until systemctl stop devboxd; do sleep 0.01; done";
        self.ok("root", &["sh", "-c", script]).map(drop)
    }

    /// Kills devboxd, and waits until systemd has seen it: before, a call may still go to the one that was killed.
    pub(crate) fn kill_devboxd(&self) -> Outcome {
        let script = "old=$(systemctl show -P MainPID devboxd); systemctl kill -s KILL devboxd || exit; \
                      until [ $old = 0 ] || [ $(systemctl show -P MainPID devboxd) != $old ]; do sleep 0.01; done";
        self.ok("root", &["timeout", "120", "sh", "-c", script]).map(drop)
    }

    fn remove_broker(&self) {
        if !self.path("/usr/libexec/devbox/devboxd").exists() {
            return;
        }
        // Once the bus does not know it any more, no timer of an owner's starts devboxd again after its stop: that one
        // would go on with a ledger that is deleted.
        let script = "systemctl disable --now devbox-limits.service devbox-limits.path devboxd.socket devbox-warn.socket devbox-tidy.timer; systemctl --global disable devboxes-report.timer devboxes-tend.timer devboxes-sample.timer devboxes-cleanup.timer devboxes-started.service; \
                      rm -f \"$@\"; busctl call org.freedesktop.DBus / org.freedesktop.DBus ReloadConfig; systemctl stop devboxd; \
                      umount -q /var/lib/devboxd; rm -rf /var/lib/devboxd /var/lib/devbox-limits /run/systemd/system/devboxd.service.d /etc/systemd/system/devbox-warn@.service.d /etc/credstore/devbox-warn.url /usr/local/libexec/hook /run/systemd/system/user-*.slice.d; \
                      systemctl daemon-reload";
        let files = testbed::install::files();
        let argv: Vec<&str> = ["sh", "-c", script, "sh"].into_iter().chain(files.iter().map(String::as_str)).collect();
        self.ok("root", &argv).expect("the broker gone");
    }

    /// Removes what a test before may have left, with devbox-ctl where it can: a box costs podman a second.
    pub(crate) fn clean(&self) {
        self.remove_own();
        self.remove_broker();
        let _ = fs::remove_dir_all(self.path("/etc/devbox"));
        for user in ["bob", "carol"] {
            self.destroy_all(user);
        }
        let _ = fs::remove_file(self.path("/etc/credstore/devbox.tailnet"));
        self.run("root", &["umount", "--quiet", "/home/alice/.config/containers"]);
        self.remove_files();
        if self.leftovers().is_empty() {
            return;
        }
        self.destroy_all("alice");
        if self.leftovers().is_empty() {
            return;
        }
        let script = "systemctl --user stop 'devbox-*'; podman rm -fa -t 0; podman volume rm -fa; podman unshare sh -c 'rm -rf .local/share/containers/storage/volumes/*'; rm -rf .config/containers; \
                      systemctl --user daemon-reload; systemctl --user reset-failed";
        self.run("alice", &["sh", "-c", script]);
        self.expect_clean().expect("a clean host");
    }

    /// Removes what is in no new host: in homes, and in the folders that tests put their own things into.
    fn remove_files(&self) {
        let all_but = |folder: PathBuf, kept: &[&str]| {
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            for entry in entries.filter(|entry| !kept.iter().any(|name| entry.file_name() == *name)) {
                let path = entry.path();
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                // What is mounted there stays, and so does what cannot be removed: the next test finds out.
                let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
        };
        for user in ["alice", "bob", "carol", "dave"] {
            let home = self.path(&format!("/home/{user}"));
            let skeleton = [".bashrc", ".profile", ".bash_logout", ".bash_history", ".cache", ".config", ".local"];
            // Alice's boxes may not be destroyed yet.
            let in_config: &[&str] = if user == "alice" { &["containers", "systemd"] } else { &["systemd"] };
            all_but(home.join(".config"), in_config);
            all_but(home.join(".local/share"), &["containers"]);
            all_but(home.join(".local/state"), &[]);
            all_but(home, &skeleton);
        }
        all_but(self.path("/srv"), &[]);
    }

    /// Deletes all boxes of that user, those in the trash too.
    fn destroy_all(&self, user: &str) {
        let folders = ["systemd/devbox", "devbox-trash"];
        let names = folders.map(|folder| self.listing(&format!("/home/{user}/.config/containers/{folder}"))).concat();
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let script = "for name; do devbox-ctl destroy --now --yes \"$name\"; done";
            self.run(user, &[&["sh", "-c", script, "sh"], &names[..]].concat());
        }
    }
}
