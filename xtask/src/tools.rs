//! What the lab needs of the machine it runs on: root, and a few Debian packages.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{paths, progress, run};

/// A program and the Debian package it comes in.
const NEEDED: &[(&str, &str)] =
    &[("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container"), ("ip", "iproute2")];

/// What a machine needs beyond that.
const NEEDED_FOR_VM: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mke2fs", "e2fsprogs"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
];

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
        .arg("--preserve-env=DEVBOX_TARGET,DEVBOX_BUILT,PATH")
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

fn install(needed: &[(&str, &'static str)]) -> Result<()> {
    let mut missing: Vec<&str> = needed.iter().filter(|(program, _)| !on_path(program)).map(|(_, p)| *p).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    progress::step(&format!("installing Debian packages on this machine: {}", missing.join(", ")));
    let log = paths::lab()?.join("apt.log");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        command
    };
    run::logged(&mut apt(&["update"]), &log)?;
    run::logged(apt(&["install", "--yes", "--no-install-recommends"]).args(&missing), &log)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let standard = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(Path::new);
    std::env::split_paths(&path).any(|d| d.join(program).is_file())
        || standard.iter().any(|d| d.join(program).is_file())
}
