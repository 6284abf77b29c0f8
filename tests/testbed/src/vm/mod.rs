//! Machines: a lab host's root under a kernel of its own, in QEMU.
//!
//! A lab host shares this machine's kernel and is given no cpu, memory or pids controller. Here limits are enforced.

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{interrupt, lock, paths, progress, run, tools};

mod dir;
mod qemu;
mod recipe;
mod ssh;
mod template;

use dir::VmDir;

/// A booted machine, ended when this is dropped unless it was kept.
#[derive(Debug)]
pub struct Vm {
    dir: VmDir,
    template: PathBuf,
    port: u16,
    ours: bool,
}

impl Vm {
    /// Resumes a machine that has just booted, in place of one of that name that may be up.
    ///
    /// Alice, bob and carol have the box image; all is as a lab host's first boot leaves it.
    pub fn up(name: &str) -> Result<Self> {
        tools::ensure_vm()?;
        let dir = VmDir::named(name)?;
        let _lock = lock::take(&dir.lock_file())?;
        let _guard = interrupt::guard()?;
        end(&dir)?;
        let template = template::template()?.path;
        progress::step(&format!("resuming the machine {name}"));
        paths::create(dir.path())?;
        // Freed and taken again: nothing else on this machine asks for just that one in between.
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).context("no free port")?.port();
        paths::write(&dir.file("port"), port.to_string())?;
        paths::write(&dir.file("template"), template.as_os_str().as_encoded_bytes())?;
        let (running, mut child) = qemu::resume(&dir, &template, port)?;
        // From here on dropping it ends the machine.
        let vm = Self { dir, template, port, ours: true };
        // Reaps it whenever it ends, else it would be found long after.
        std::thread::spawn(move || child.wait());
        qemu::await_port(&vm.dir, &running, port)
            .and_then(|()| vm.set_clock())
            .with_context(|| format!("{name} did not come up"))?;
        progress::step(&format!("{name} is up"));
        Ok(vm)
    }

    /// Its clock still has the time at which its state was saved. ssh waits until the machine answers.
    fn set_clock(&self) -> Result<()> {
        let now = jiff::Timestamp::now().as_second();
        let mut date = self.command("root", &["date", "--set", &format!("@{now}")]);
        run::output(&mut date).map(drop)
    }

    /// The machine of that name, which must be up. Dropping this leaves it so.
    pub fn attach(name: &str) -> Result<Self> {
        let dir = VmDir::named(name)?;
        let up = qemu::find(&dir).and_then(|_| Some((dir.number("port")?, dir.read("template")?)));
        let Some((port, template)) = up else { bail!("{name} is not up; `cargo xtask vm up {name}` boots it") };
        Ok(Self { dir, template: template.into(), port, ours: false })
    }

    /// Lets the machine outlive this.
    pub fn keep(mut self) {
        self.ours = false;
    }

    /// A command that runs `argv` in the machine as that user, after a login of theirs: no shell sees its words.
    ///
    /// Exit status 255 is also ssh's own. Ending the command ends the connection, not always what runs there.
    pub fn command<S: AsRef<OsStr>>(&self, user: &str, argv: &[S]) -> Command {
        ssh::command(&self.template, self.port, user, false, argv)
    }

    /// The same on a terminal of its own.
    pub fn command_on_terminal<S: AsRef<OsStr>>(&self, user: &str, argv: &[S]) -> Command {
        ssh::command(&self.template, self.port, user, true, argv)
    }

    /// Puts a file into the machine as root's, whole at any moment, with that mode, such as `755`.
    pub fn copy_in(&self, file: &Path, to: &str, mode: &str) -> Result<()> {
        let script = "mkdir -p \"${1%/*}\" && cat >\"$1.new\" && chmod \"$2\" \"$1.new\" && mv \"$1.new\" \"$1\"";
        let from = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut copy = self.command("root", &["sh", "-c", script, "-", to, mode]);
        let copied = copy.stdin(from).output().context("cannot run ssh")?;
        if !copied.status.success() {
            bail!("cannot copy to {to} in {}: {}", self.dir.name, String::from_utf8_lossy(&copied.stderr));
        }
        Ok(())
    }

    /// Puts a program into /usr/local/bin.
    pub fn install(&self, binary: &Path) -> Result<()> {
        let name = binary.file_name().and_then(OsStr::to_str);
        let name = name.with_context(|| format!("{} names no program", binary.display()))?;
        self.copy_in(binary, &format!("/usr/local/bin/{name}"), "755")
    }

    /// Shuts the machine down in an orderly way and boots it again; its disk is kept.
    pub fn reboot(&self) -> Result<()> {
        progress::step(&format!("rebooting {}", self.dir.name));
        let running = qemu::find(&self.dir).with_context(|| format!("{} is not up", self.dir.name))?;
        let before = qemu::boots(&self.dir);
        let mut reboot = self.command("root", &["systemctl", "reboot"]);
        // Its connection may be cut before it can say that it went well: what counts is the next boot.
        reboot.stdin(Stdio::null()).stdout(Stdio::null()).status().context("cannot run ssh")?;
        qemu::await_boot(&self.dir, &running, before + 1)
            .with_context(|| format!("{} did not come up again", self.dir.name))
    }

    /// Ends the machine at once; nothing of it is left.
    pub fn halt(mut self) -> Result<()> {
        self.ours = false;
        let _lock = lock::take(&self.dir.lock_file())?;
        end(&self.dir)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if self.ours
            && let Err(e) = end(&self.dir)
        {
            eprintln!("warning: {e:#}");
        }
    }
}

/// Makes what machines boot from, unless it is there.
pub(crate) fn prepare() -> Result<()> {
    tools::ensure_vm()?;
    template::template().map(drop)
}

/// Ends the machine of that name if there is one.
pub fn down(name: &str) -> Result<()> {
    let dir = VmDir::named(name)?;
    let _lock = lock::take(&dir.lock_file())?;
    end(&dir)
}

/// Kills QEMU, and with it all that the machine wrote.
fn end(dir: &VmDir) -> Result<()> {
    if let Some(running) = qemu::find(dir) {
        running.kill()?;
    }
    paths::remove_tree(dir.path())
}
