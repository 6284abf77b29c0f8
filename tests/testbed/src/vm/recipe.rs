//! What a machine is made of beyond a lab host's seeded root. A change of anything here makes a new disk.

use anyhow::Result;

use crate::artifacts::image::Kind;
use crate::artifacts::{Debian, recipe};
use crate::seeded;

/// Raised when the way of building changes without any of the lists below.
const VERSION: &str = "2";

/// Unpacked beside the root, not installed: a kernel and its modules, and the first program's tools. The cloud kernel
/// has virtio's bus and ext4 built in; of the modules only the disk's is needed before the root is there.
pub(super) const KIT: &[&str] = &["linux-image-cloud-amd64", "busybox-static"];

/// Installed into the root.
pub(super) const PACKAGES: &[&str] = &["openssh-server"];

/// Its two addresses: the outer end is QEMU's, which lets nothing further out.
pub(super) const OUTER: &str = "198.18.0.1";
pub(super) const INNER: &str = "198.18.0.2";
pub(super) const NETWORK: &str = "198.18.0.0/30";

/// The first program.
pub(super) const INIT: &str = include_str!("files/init");

/// Files laid over the root.
pub(super) const FILES: &[(&str, &str)] = &[
    ("etc/ssh/sshd_config.d/10-vm.conf", include_str!("files/sshd.conf")),
    ("etc/systemd/network/10-host0.link", include_str!("files/host0.link")),
    ("etc/systemd/system/lab-network.service.d/10-vm.conf", include_str!("files/network.conf")),
    ("etc/hostname", "vm\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 vm\n"),
];

/// Files of the lab's that do not hold here: a machine has the pids controller that a lab host lacks.
pub(super) const NOT_HERE: &[&str] = &["etc/containers/containers.conf.d/50-lab.conf"];

/// What would only take a slow machine's time.
pub(super) const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "systemd-pstore.service",
];

/// The unit that says when the machine is ready: once the managers of the lingering users are.
pub(super) fn ready_service() -> String {
    let users: Vec<String> = recipe::lingering().map(|u| format!("user@{}.service", u.uid)).collect();
    include_str!("files/ready.service").replace("{users}", &users.join(" "))
}

/// The name of the template that this recipe makes of the seeded root.
pub(super) fn name() -> Result<String> {
    let ours = format!("{KIT:?} {PACKAGES:?} {OUTER} {INNER} {INIT} {FILES:?} {NOT_HERE:?} {MASKED:?}");
    Ok(format!(
        "vm-{}",
        recipe::hash(&format!(
            "{VERSION} {} {ours} {} {}",
            seeded::seeded_name(Kind::Full, Debian::Trixie)?,
            ready_service(),
            super::qemu::version()?
        ))
    ))
}
