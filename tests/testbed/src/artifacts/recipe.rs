//! What a lab host is made of. A change of anything here makes a new base root.

use sha2::{Digest, Sha256};

/// Raised when the way of building changes without any of the lists below.
const VERSION: &str = "3";

/// A Debian release that hosts are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Debian {
    /// Debian 13: systemd 257, podman 5.4. The box image and its parts are made of it, whatever the host is.
    Trixie,
    /// Debian 14, testing: systemd 262, podman 5.8.
    Forky,
}

impl std::fmt::Display for Debian {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Trixie => "trixie",
            Self::Forky => "forky",
        })
    }
}

impl std::str::FromStr for Debian {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        [Self::Trixie, Self::Forky]
            .into_iter()
            .find(|debian| debian.to_string() == text)
            .ok_or_else(|| anyhow::anyhow!("{text:?} is neither trixie nor forky"))
    }
}

/// What a host of that release has beyond minbase.
pub fn packages(debian: Debian) -> Vec<&'static str> {
    // Forky has no hyperfine. Only `cargo xtask bench` uses it, on trixie.
    PACKAGES.iter().copied().filter(|package| debian == Debian::Trixie || *package != "hyperfine").collect()
}

const PACKAGES: &[&str] = &[
    "aardvark-dns",
    "ca-certificates",
    "catatonit",
    "cron",
    "crun",
    "curl",
    "dbus",
    "dbus-user-session",
    "distrobox",
    "fuse-overlayfs",
    "hyperfine",
    "libfaketime",
    "iproute2",
    "jq",
    "kmod",
    "less",
    "libpam-systemd",
    "netavark",
    "nftables",
    "openssh-client",
    "passt",
    "podman",
    "polkitd",
    "procps",
    "strace",
    "sudo",
    "systemd",
    "systemd-sysv",
    "time",
    "udev",
    "uidmap",
    "zstd",
];

/// Someone with an account on the host.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// Login name.
    pub name: &'static str,
    /// Numeric id, and that of the group of the same name.
    pub uid: u32,
    /// Whether their user manager runs from boot on.
    pub linger: bool,
}

/// The accounts of every host. Dave has no user manager: for the case that one is missing.
pub const USERS: &[User] = &[
    User { name: "alice", uid: 1000, linger: true },
    User { name: "bob", uid: 1001, linger: true },
    User { name: "carol", uid: 1002, linger: true },
    User { name: "dave", uid: 1003, linger: false },
];

/// The users whose manager must be there before a host counts as ready.
pub fn lingering() -> impl Iterator<Item = &'static User> {
    USERS.iter().filter(|u| u.linger)
}

/// Files laid over the Debian root.
pub const FILES: &[(&str, &str)] = &[
    ("etc/containers/containers.conf.d/50-lab.conf", include_str!("files/containers.conf")),
    ("etc/systemd/system/lab-network.service", include_str!("files/lab-network.service")),
    ("etc/tmpfiles.d/lab-devices.conf", include_str!("files/devices.conf")),
];

/// Symbolic links laid over it: (path, target).
pub const LINKS: &[(&str, &str)] = &[
    (
        "etc/systemd/system/multi-user.target.wants/network-online.target",
        "/usr/lib/systemd/system/network-online.target",
    ),
    ("etc/systemd/system/network-online.target.wants/lab-network.service", "/etc/systemd/system/lab-network.service"),
    // A lab host does not hand out addresses, and boots faster without it.
    ("etc/systemd/system/netavark-dhcp-proxy.service", "/dev/null"),
    ("etc/systemd/system/netavark-dhcp-proxy.socket", "/dev/null"),
];

/// A package that is there as a file: it takes the place of Debian's own bus where a test installs it.
pub const BUS: &str = "dbus-broker";

/// The folder of that file.
pub const KEPT_PACKAGES: &str = "/var/lib/lab";

/// Which base root this recipe makes.
pub fn base_key(debian: Debian) -> String {
    hash(&format!("{VERSION} {debian} {:?} {USERS:?} {FILES:?} {LINKS:?}", packages(debian)))
}

/// Which seeded root: the base with the image of that key loaded.
pub fn seeded_key(debian: Debian, image_key: &str) -> String {
    hash(&format!("{} {image_key}", base_key(debian)))
}

/// A short hash, fit for a file name.
pub fn hash(text: &str) -> String {
    hex(&Sha256::digest(text), 6)
}

/// The first `bytes` bytes in hexadecimal.
pub fn hex(digest: &[u8], bytes: usize) -> String {
    digest.iter().take(bytes).map(|b| format!("{b:02x}")).collect()
}
