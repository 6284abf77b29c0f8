//! The lab host as the tests see it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use libtest_mimic::Failed;
use serde_json::Value;
use xtask::daemon::Life;
use xtask::lab::Host;
use xtask::tailnet::Tailnet;

pub(crate) type Outcome = Result<(), Failed>;

/// A room's tests and their names.
pub(crate) type Tests = &'static [(&'static str, fn(&World) -> Outcome)];

/// A booted host with the box image and the program under test.
#[derive(Debug)]
pub(crate) struct World {
    host: Mutex<Host>,
    root: PathBuf,
}

/// A command at work; ended with the test that began it.
pub(crate) struct Running(Option<std::process::Child>);

impl Running {
    /// Whether it has not ended yet.
    pub(crate) fn runs(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) fn finish(mut self) -> Ran {
        Ran::of(self.0.take().expect("a child").wait_with_output().expect("its end"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Fails with all that was said unless it ended so.
    pub(crate) fn expect(self, code: i32) -> Result<Self, Failed> {
        if self.code == code {
            Ok(self)
        } else {
            Err(format!("exit {} instead of {code}: {self:#?}", self.code).into())
        }
    }

    pub(crate) fn says(&self, text: &str) -> Outcome {
        let said = format!("{}{}", self.out, self.err);
        if said.contains(text) { Ok(()) } else { Err(format!("{text:?} is not in {said}").into()) }
    }

    pub(crate) fn json(&self) -> Result<Value, Failed> {
        serde_json::from_str(&self.out).map_err(|e| format!("{e}: {self:#?}").into())
    }
}

pub(crate) fn ensure(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

impl World {
    pub(crate) fn boot(name: &str) -> Self {
        // What an earlier run left, or made from an older recipe, is no place to test in.
        xtask::lab::down(name, true).expect("the last run's host gone");
        let host = Host::up_with_image(name).expect("a lab host");
        let binary = std::env::var_os("DEVBOX_BIN").expect("DEVBOX_BIN names the program under test");
        host.install(Path::new(&binary)).expect("the program installed");
        Self { root: host.root().to_owned(), host: Mutex::new(host) }
    }

    pub(crate) fn down(self) {
        self.host.into_inner().expect("the host").purge().expect("the host gone");
    }

    pub(crate) fn reboot(&self) -> Outcome {
        Ok(self.host.lock().map_err(|e| e.to_string())?.reboot().map_err(|e| format!("{e:#}"))?)
    }

    pub(crate) fn command(&self, user: &str, argv: &[&str]) -> Command {
        let mut command = self.host.lock().expect("the host").command(user);
        command.args(argv).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, user: &str, argv: &[&str]) -> Ran {
        Ran::of(self.command(user, argv).output().expect("a command in the host"))
    }

    /// The same with that on its standard input.
    pub(crate) fn run_with(&self, user: &str, argv: &[&str], input: &str) -> Ran {
        let mut command = self.command(user, argv);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a command in the host");
        // One that ends without reading it has its own reasons.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        Ran::of(child.wait_with_output().expect("its end"))
    }

    /// A tailnet that the host's boxes can reach; gone with the value.
    pub(crate) fn tailnet(&self) -> Result<Tailnet, Failed> {
        Ok(Tailnet::up(&self.host.lock().expect("the host"), Life::Ours).map_err(|e| format!("{e:#}"))?)
    }

    /// A command that has to go well; its output.
    pub(crate) fn ok(&self, user: &str, argv: &[&str]) -> Result<String, Failed> {
        Ok(self.run(user, argv).expect(0)?.out)
    }

    /// devbox-ctl as alice.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Ran {
        self.run("alice", &[&["devbox-ctl"], arguments].concat())
    }

    pub(crate) fn spawn(&self, user: &str, argv: &[&str]) -> Running {
        let mut command = self.command(user, argv);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a command in the host");
        Running(Some(child))
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
        let units =
            self.run("alice", &["systemctl", "--user", "--plain", "--no-legend", "list-units", "--all", "devbox-*"]);
        left.extend(units.out.lines().map(str::to_owned));
        let containers = self.run("alice", &["podman", "ps", "--all", "--quiet"]);
        left.extend(containers.out.lines().map(str::to_owned));
        left
    }

    pub(crate) fn expect_clean(&self) -> Outcome {
        let left = self.leftovers();
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}").into()) }
    }

    /// devboxd as an administrator installs it, with these settings. Gone again after the test.
    pub(crate) fn install_broker(&self, settings: &str) -> Outcome {
        let programs = PathBuf::from(std::env::var_os("DEVBOX_BIN").ok_or("DEVBOX_BIN")?);
        xtask::install::into(&self.root, programs.parent().ok_or("its folder")?).map_err(|e| format!("{e:#}"))?;
        self.write("/etc/devbox/users.toml", settings);
        for command in xtask::install::ACTIVATE {
            self.ok("root", command)?;
        }
        Ok(())
    }

    /// devbox-ctl and the units of owners, where nobody installs a broker; alice's login socket is there.
    pub(crate) fn install_without_broker(&self) -> Outcome {
        let programs = PathBuf::from(std::env::var_os("DEVBOX_BIN").ok_or("DEVBOX_BIN")?);
        let programs = programs.parent().ok_or("its folder")?;
        xtask::install::without_broker(&self.root, programs).map_err(|e| format!("{e:#}"))?;
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
            xtask::install::remove(&self.root).expect("the owners' units gone");
            self.ok("alice", &["systemctl", "--user", "daemon-reload"]).expect("a reload");
        }
    }

    /// Runs devboxd otherwise, from now on; an empty text is as it was.
    pub(crate) fn override_devboxd(&self, text: &str) -> Outcome {
        self.write("/run-override.conf", text);
        // Whoever connects meanwhile starts it again, which cancels the stop.
        let script = "mkdir -p /run/systemd/system/devboxd.service.d && mv /run-override.conf /run/systemd/system/devboxd.service.d/test.conf \
                      && systemctl daemon-reload && until systemctl stop devboxd; do :; done";
        self.ok("root", &["sh", "-c", script]).map(drop)
    }

    /// Kills devboxd, and waits until systemd has seen it: before, a call may still go to the one that was killed.
    pub(crate) fn kill_devboxd(&self) -> Outcome {
        let script = "old=$(systemctl show -P MainPID devboxd); systemctl kill -s KILL devboxd || exit; \
                      until [ $old = 0 ] || [ $(systemctl show -P MainPID devboxd) != $old ]; do :; done";
        self.ok("root", &["timeout", "120", "sh", "-c", script]).map(drop)
    }

    fn remove_broker(&self) {
        if !self.path("/usr/libexec/devbox/devboxd").exists() {
            return;
        }
        let script = "systemctl disable --now devbox-limits.service devbox-limits.path devboxd.socket devbox-warn.socket devbox-tidy.timer; systemctl stop devboxd; systemctl --global disable devboxes-report.timer devboxes-tend.timer devboxes-sample.timer devboxes-cleanup.timer devboxes-started.service; \
                      umount -q /var/lib/devboxd; rm -rf /var/lib/devboxd /var/lib/devbox-limits /run/systemd/system/devboxd.service.d /etc/systemd/system/devbox-warn@.service.d /etc/credstore/devbox-warn.url /usr/local/libexec/hook /run/systemd/system/user-*.slice.d";
        self.run("root", &["sh", "-c", script]);
        xtask::install::remove(&self.root).expect("the broker gone");
        for command in &xtask::install::ACTIVATE[1..3] {
            self.ok("root", command).expect("a reload");
        }
    }

    /// Takes everything away that a test before may have left.
    pub(crate) fn clean(&self) {
        self.remove_own();
        self.remove_broker();
        for user in ["bob", "carol"] {
            for folder in ["systemd/devbox", "devbox-trash"] {
                for name in self.listing(&format!("/home/{user}/.config/containers/{folder}")) {
                    self.run(user, &["devbox-ctl", "destroy", "--now", "--yes", &name]);
                }
            }
        }
        let _ = fs::remove_dir_all(self.path("/etc/devbox"));
        let _ = fs::remove_file(self.path("/home/alice/.local/state/devbox/life.json"));
        let _ = fs::remove_file(self.path("/etc/credstore/devbox.tailnet"));
        self.run("root", &["umount", "--quiet", "/home/alice/.config/containers"]);
        if self.leftovers().is_empty() {
            return;
        }
        for name in self.listing("/home/alice/.config/containers/systemd/devbox") {
            self.ctl(&["destroy", "--now", "--yes", &name]);
        }
        let script = "systemctl --user stop 'devbox-*'; podman rm -fa -t 0; podman volume rm -fa; podman unshare sh -c 'rm -rf .local/share/containers/storage/volumes/*'; rm -rf .config/containers; \
                      systemctl --user daemon-reload; systemctl --user reset-failed";
        self.run("alice", &["sh", "-c", script]);
        self.expect_clean().expect("a clean host");
    }
}
