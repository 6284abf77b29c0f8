//! Lab hosts: real Debian systems, booted by systemd-nspawn, that devbox-ctl can be tried on.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

use crate::artifacts::Artifact;
use crate::{interrupt, lock, paths, tools};

pub(crate) mod boot;
pub(crate) mod dir;
pub(crate) mod enter;
mod net;
mod process;
pub(crate) mod root;

pub(crate) use dir::check_name;
pub use dir::names;
pub use net::Netns;

use dir::HostDir;

/// A booted host.
#[derive(Debug)]
pub struct Host {
    dir: HostDir,
    root: PathBuf,
    leader: u32,
    /// nspawn, when it was this process that started it: then it is ours to reap.
    child: Option<Child>,
}

impl Host {
    /// Boots the host of that name, or attaches to it when it is up.
    ///
    /// `fit` names the artifacts that a root which is there already may be a copy of; else `artifact` is copied.
    pub(crate) fn up_from(name: &str, fit: &[String], artifact: impl Fn() -> Result<Artifact>) -> Result<Self> {
        tools::ensure()?;
        let dir = HostDir::named(name)?;
        let _lock = lock::take(&dir.lock_file())?;
        let fits = dir.recipe().is_some_and(|made_from| fit.contains(&made_from));
        if let Some(running) = process::find(&dir) {
            if !fits {
                let made_from = dir.recipe().unwrap_or_default();
                bail!("{name} is up, but made from {made_from}; `cargo xtask lab down {name} --purge` makes room");
            }
            return Ok(Self::of(dir, running.leader, None));
        }
        let _guard = interrupt::guard()?;
        boot::sweep(&dir)?;
        if !fits {
            root::make(&dir, &artifact()?)?;
        }
        Self::boot(dir)
    }

    fn boot(dir: HostDir) -> Result<Self> {
        let (running, child) = boot::boot(&dir)?;
        Ok(Self::of(dir, running.leader, Some(child)))
    }

    fn of(dir: HostDir, leader: u32, child: Option<Child>) -> Self {
        Self { root: dir.root(), dir, leader, child }
    }

    /// The host of that name, which must be up.
    pub fn attach(name: &str) -> Result<Self> {
        let dir = HostDir::named(name)?;
        let Some(running) = process::find(&dir) else {
            bail!("{name} is not up; `cargo xtask lab up {name}` boots it");
        };
        Ok(Self::of(dir, running.leader, None))
    }

    /// A command that runs in the host as that user. What the caller appends is run as it is, without a shell.
    ///
    /// Its environment is that of a login; give it more with `env K=V` before the program. Needs root.
    pub fn command(&self, user: &str) -> Command {
        enter::as_user(&self.root, self.leader, user)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.dir.name
    }

    /// The network namespace outside of the host: where another machine would be.
    pub fn outside(&self) -> Netns {
        net::outside(&self.dir)
    }

    /// The address of servers outside that boxes are to reach.
    pub fn server_address(&self) -> Ipv4Addr {
        net::SERVER
    }

    /// The host's first process, as seen from outside.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// The host's root directory as seen from outside.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Puts a program into /usr/local/bin, whole at any moment, also while the old one runs.
    pub fn install(&self, binary: &Path) -> Result<()> {
        let name = binary.file_name().with_context(|| format!("{} names no file", binary.display()))?;
        let bin = self.root.join("usr/local/bin");
        let mut new = tempfile::Builder::new().tempfile_in(&bin).context("cannot write to the host")?;
        let mut old = std::fs::File::open(binary).with_context(|| format!("cannot read {}", binary.display()))?;
        std::io::copy(&mut old, new.as_file_mut()).context("cannot copy into the host")?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(new.path(), mode).context("cannot make it executable")?;
        new.persist(bin.join(name)).context("cannot put it in place")?;
        Ok(())
    }

    /// Powers the host off and boots it again.
    pub fn reboot(&mut self) -> Result<()> {
        let _lock = lock::take(&self.dir.lock_file())?;
        let _guard = interrupt::guard()?;
        self.power_off()?;
        let (running, child) = boot::boot(&self.dir)?;
        self.leader = running.leader;
        self.child = Some(child);
        Ok(())
    }

    /// Powers the host off and keeps its root for the next `up`.
    pub fn down(mut self) -> Result<()> {
        let _lock = lock::take(&self.dir.lock_file())?;
        self.power_off()?;
        net::remove(&self.dir)
    }

    /// Ends the host at once and removes it with all that is in it.
    pub fn purge(mut self) -> Result<()> {
        let _lock = lock::take(&self.dir.lock_file())?;
        boot::end(&self.dir, self.child.take())?;
        net::remove(&self.dir)?;
        paths::remove_tree(self.dir.path())
    }

    fn power_off(&mut self) -> Result<()> {
        match process::find(&self.dir) {
            Some(running) => boot::power_off(&self.dir, &running, self.child.take()),
            None => boot::end(&self.dir, self.child.take()),
        }
    }
}

/// Takes down the host of that name, in whatever state it is; removes its root too when `purge` is set.
pub fn down(name: &str, purge: bool) -> Result<()> {
    let dir = HostDir::named(name)?;
    let _lock = lock::take(&dir.lock_file())?;
    match process::find(&dir) {
        Some(running) if !purge => boot::power_off(&dir, &running, None)?,
        _ => boot::end(&dir, None)?,
    }
    net::remove(&dir)?;
    if purge {
        paths::remove_tree(dir.path())?;
    }
    Ok(())
}
