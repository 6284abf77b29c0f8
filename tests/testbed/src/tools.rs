//! What the lab needs of the machine it runs on: root, and a few Debian packages.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{paths, progress, run};

/// A program and the Debian package it comes in.
const NEEDED: &[(&str, &str)] =
    &[("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container"), ("ip", "iproute2")];

/// What a machine needs beyond that.
const NEEDED_FOR_VM: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("mke2fs", "e2fsprogs"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
];

/// What a tailnet's server and its devices need.
const NEEDED_FOR_TAILNET: &[(&str, &str)] = &[("curl", "curl"), ("openssl", "openssl"), ("ssh", "openssh-client")];

/// What uses a box over a tailnet as a person would.
const NEEDED_FOR_USERS: &[(&str, &str)] =
    &[("chromium-headless-shell", "chromium-headless-shell"), ("syncthing", "syncthing"), ("scp", "openssh-client")];

/// The first Go that fetches a newer one where it has to; its second number.
const OLDEST_GO: u32 = 21;

/// Whether we are root already.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs this same command again through sudo when we are not root. Booting a host needs it.
pub fn become_root() -> Result<()> {
    if is_root() {
        return Ok(());
    }
    eprintln!("The lab boots real hosts with systemd-nspawn, which needs root: running again through sudo.");
    let me = std::env::current_exe().context("cannot find this program")?;
    let mut sudo = Command::new("sudo");
    // What cargo had to do, it did as the user.
    sudo.env("DEVBOX_BUILT", "1")
        // Root's cache is another one.
        .env("DEVBOX_CACHE", paths::cache()?)
        .arg("--preserve-env=DEVBOX_TARGET,DEVBOX_CACHE,DEVBOX_BUILT,CARGO_TARGET_DIR,PATH")
        .arg("--")
        .arg(me)
        .args(std::env::args_os().skip(1));
    Err(sudo.exec()).context("cannot run sudo; run this as root")
}

/// Installs the Debian packages that are missing, after naming them.
pub fn ensure() -> Result<()> {
    if !is_root() {
        bail!("booting a lab host needs root; run this as root or through `cargo xtask`");
    }
    install(NEEDED)
}

/// The same for machines. They are made of a lab host's root.
pub fn ensure_vm() -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("a machine is an amd64 one on amd64");
    }
    ensure()?;
    install(NEEDED_FOR_VM)
}

/// The same for a tailnet beside a lab host.
pub fn ensure_tailnet() -> Result<()> {
    ensure()?;
    install(NEEDED_FOR_TAILNET)
}

/// The same for a browser and a Syncthing on a tailnet's devices.
pub fn ensure_users() -> Result<()> {
    ensure()?;
    install(NEEDED_FOR_USERS)
}

/// A Go that can build what is built from source.
#[derive(Debug)]
pub struct Go {
    /// The `go` command.
    pub program: PathBuf,
}

impl Go {
    /// A PATH on which it comes first.
    pub fn path(&self) -> OsString {
        let mut path = self.program.parent().unwrap_or(Path::new("/")).as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        path
    }
}

/// The Go of this machine; Debian's is installed when there is none, or one that is too old.
pub fn go() -> Result<Go> {
    if let Some(go) = find_go() {
        return Ok(go);
    }
    apt_install(&["golang-go"])?;
    find_go().with_context(|| {
        format!(
            "go 1.{OLDEST_GO} or newer is needed to build tailscaled and headscale, and Debian's golang-go here is older; \
             https://go.dev/doc/install puts a newer one into /usr/local/go, where it is looked for too"
        )
    })
}

fn find_go() -> Option<Go> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // sudo may have another PATH than who called it.
    let usual = ["/usr/local/go/bin", "/usr/bin"].map(PathBuf::from);
    let programs = std::env::split_paths(&path).chain(usual).map(|d| d.join("go")).filter(|p| p.is_file());
    programs.map(|program| Go { program }).find(|go| {
        let said = run::output(Command::new(&go.program).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local"));
        said.is_ok_and(|version| minor(&version).is_some_and(|minor| minor >= OLDEST_GO))
    })
}

/// 26 of `go1.26.8`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.trim().strip_prefix("go1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn install(needed: &[(&str, &'static str)]) -> Result<()> {
    let mut missing: Vec<&str> = needed.iter().filter(|(program, _)| !on_path(program)).map(|(_, p)| *p).collect();
    missing.dedup();
    if missing.is_empty() { Ok(()) } else { apt_install(&missing) }
}

fn apt_install(missing: &[&str]) -> Result<()> {
    progress::step(&format!("installing Debian packages on this machine: {}", missing.join(", ")));
    // Of two of ours at once the second would be refused dpkg's own lock.
    let _lock = crate::lock::take(&paths::cache()?.join("apt.lock"))?;
    let log = paths::lab()?.join("apt.log");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        // A machine that has just booted may be upgrading itself.
        command.args(["-o", "DPkg::Lock::Timeout=600"]).args(args);
        command
    };
    run::logged(&mut apt(&["update"]), &log)?;
    run::logged(apt(&["install", "--yes", "--no-install-recommends"]).args(missing), &log)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let standard = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(Path::new);
    std::env::split_paths(&path).any(|d| d.join(program).is_file())
        || standard.iter().any(|d| d.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn versions_of_go() {
        assert_eq!(minor("go1.26.8\n"), Some(26));
        assert_eq!(minor("go1.27rc1"), Some(27));
        assert_eq!(minor("devel +abc"), None);
    }
}
