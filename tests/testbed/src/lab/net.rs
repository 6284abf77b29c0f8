//! The network of a host, and the network namespace outside of it.
//!
//! Each host's link ends in a namespace of its own. The tailnet's server, its devices and browsers are there too: they
//! do not notice when another host's link comes or goes, and two hosts can have the same addresses.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::dir::HostDir;
use crate::{paths, run};

/// The link between a host and its outside, a /30 of 198.18.0.0/15, which RFC 2544 sets aside for tests. No address is
/// translated: a host reaches its outside and nothing beyond.
const OUTER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const INNER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const LINK: &str = "outer0";

/// The address of servers outside. Its interface stays while the link goes with a reboot of the host.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
const SERVER_INTERFACE: &str = "server0";

/// A network namespace of this machine.
#[derive(Debug, Clone)]
pub struct Netns(PathBuf);

impl Netns {
    /// Where `nsenter --net` finds it.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A command whose sockets are in this namespace. Append arguments.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.0.display())).arg("--").arg(program);
        command
    }

    /// Runs `work` on a thread of this namespace. Sockets that it makes stay in the namespace wherever they are used.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file = std::fs::File::open(&self.0).with_context(|| format!("no namespace {}", self.0.display()))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
                    .context("cannot enter the network namespace")?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread in a network namespace panicked")))
        })
    }
}

/// The namespace outside of that host, made or not.
pub(crate) fn outside(dir: &HostDir) -> Netns {
    Netns(Path::new("/run/netns").join(name(dir)))
}

fn name(dir: &HostDir) -> String {
    format!("devbox-{}", dir.machine())
}

/// Makes the namespace if it is not there, and tells the host's root its addresses.
pub(crate) fn prepare(dir: &HostDir) -> Result<Netns> {
    let outside = outside(dir);
    let name = name(dir);
    // Made last: a namespace without it was cut off.
    if ip(&["-netns", &name, "link", "show", "server1"]).is_err() {
        remove(dir)?;
        ip(&["netns", "add", &name])?;
        let server = format!("{SERVER}/24");
        for command in [
            &["link", "set", "lo", "up"][..],
            // tailscaled takes a machine without an interface that is up for one that is offline. A link to itself: not
            // every kernel has dummy interfaces.
            &["link", "add", SERVER_INTERFACE, "type", "veth", "peer", "name", "making"],
            &["address", "add", &server, "dev", SERVER_INTERFACE],
            &["link", "set", SERVER_INTERFACE, "up"],
            &["link", "set", "making", "name", "server1", "up"],
        ] {
            ip(&[&["-netns", &name], command].concat())?;
        }
    }
    paths::write(&dir.root().join("etc/lab-network"), format!("INNER={INNER}\nOUTER={OUTER}\n"))?;
    // Nothing listens there unless a test puts a server there: a name is refused at once, not waited for.
    let resolver = format!("nameserver {OUTER}\noptions timeout:1 attempts:1\n");
    paths::write(&dir.root().join("etc/resolv.conf"), resolver)?;
    Ok(outside)
}

fn ip(arguments: &[&str]) -> Result<()> {
    run::output(Command::new("ip").args(arguments)).map(drop)
}

/// The option with which nspawn makes the link; it runs in the outside namespace.
pub(crate) fn nspawn_option() -> String {
    format!("--network-veth-extra={LINK}:host0")
}

/// Sets the outer end up. The inner end is set up by the host itself, before a unit there needs it.
pub(crate) fn connect(dir: &HostDir) -> Result<()> {
    let name = name(dir);
    ip(&["-netns", &name, "address", "replace", &format!("{OUTER}/30"), "dev", LINK])?;
    ip(&["-netns", &name, "link", "set", LINK, "up"])
}

/// Removes the link. The kernel would do so too, but only some time after the host's last process.
pub(crate) fn disconnect(dir: &HostDir) {
    if outside(dir).path().exists() {
        let _ = ip(&["-netns", &name(dir), "link", "delete", LINK]);
    }
}

/// Removes the namespace, of a host that is down.
pub(crate) fn remove(dir: &HostDir) -> Result<()> {
    if outside(dir).path().exists() { ip(&["netns", "delete", &name(dir)]) } else { Ok(()) }
}
