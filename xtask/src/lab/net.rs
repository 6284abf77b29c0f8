//! The two-address network between a host and the machine it runs on.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::dir::HostDir;
use crate::{paths, run};

/// The two ends. No address is translated: a host reaches its outer end and nothing beyond.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network {
    pub(super) outer: Ipv4Addr,
    pub(super) inner: Ipv4Addr,
}

const FILE: &str = "etc/lab-network";

/// Picks a network no interface uses and tells the root about it.
pub(super) fn prepare(dir: &HostDir) -> Result<Network> {
    let taken = run::output(Command::new("ip").args(["-oneline", "-4", "address"]))?;
    let seed = dir.network_seed();
    let all = (0..=u16::MAX >> 2).map(|step| network((seed >> 2).wrapping_add(step)));
    let free = all.into_iter().find(|n| !taken.contains(&format!(" {}/", n.outer)));
    let Some(network) = free else { anyhow::bail!("no lab network is free") };
    let text = format!("INNER={}\nOUTER={}\n", network.inner, network.outer);
    paths::write(&dir.root().join(FILE), text)?;
    // Where nothing listens unless a test puts a server there: a name is refused at once, not waited for.
    let resolver = format!("nameserver {}\noptions timeout:1 attempts:1\n", network.outer);
    paths::write(&dir.root().join("etc/resolv.conf"), resolver)?;
    Ok(network)
}

/// The outer end of a root's network, as its last boot was told.
pub(super) fn outer(root: &Path) -> Result<Ipv4Addr> {
    let text = std::fs::read_to_string(root.join(FILE)).context("cannot read the host's network")?;
    let outer = text.lines().find_map(|l| l.strip_prefix("OUTER=")).context("the host has no network")?;
    outer.parse().context("not an address")
}

/// The nth /30 of 198.18.0.0/16, which is set aside for benchmarks: nobody's own network clashes with it.
fn network(n: u16) -> Network {
    let [high, low] = (n << 2).to_be_bytes();
    let end = |last: u8| Ipv4Addr::new(198, 18, high, low | last);
    Network { outer: end(1), inner: end(2) }
}

/// Gives our end its address. The other end is set by the host itself, before anything there needs it.
pub(super) fn connect(dir: &HostDir, network: Network) -> Result<()> {
    let interface = dir.interface();
    let address = format!("{}/30", network.outer);
    run::output(Command::new("ip").args(["address", "replace", &address, "dev", &interface]))?;
    run::output(Command::new("ip").args(["link", "set", &interface, "up"]))?;
    Ok(())
}

/// Removes our end; it also goes by itself, but only some time after the host's last process.
pub(super) fn disconnect(dir: &HostDir) {
    let _ = run::output(Command::new("ip").args(["link", "delete", &dir.interface()]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_ends_share_a_slash_thirty() {
        let n = network(16383);
        assert_eq!(n.outer, Ipv4Addr::new(198, 18, 255, 253));
        assert_eq!(n.inner, Ipv4Addr::new(198, 18, 255, 254));
    }
}
