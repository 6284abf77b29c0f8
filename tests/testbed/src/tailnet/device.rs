//! A second machine of a user's: a tailscaled outside of the lab host.

use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Tailnet, build, folder};
use crate::daemon::{Daemon, Life};
use crate::lab::Netns;
use crate::{interrupt, paths, run};

/// A device on the tailnet; gone with this value, though the server remembers it.
#[derive(Debug)]
pub struct Device {
    daemon: Daemon,
    netns: Netns,
    tailscale: PathBuf,
    proxy: String,
    life: Life,
}

impl Device {
    /// Starts one and joins it with that key.
    pub(super) fn join(tailnet: &Tailnet, key: &str, name: &str, life: Life) -> Result<Self> {
        let built = build::tailscale()?;
        let path = tailnet.device_folder(name);
        let netns = tailnet.netns.clone();
        let daemon = Daemon::within(path.clone(), &netns);
        daemon.end()?;
        paths::remove_tree(&path)?;
        folder::guarded(&path)?;
        // Freed and taken again: nothing else on this machine asks for just that one in between.
        let port = netns.run(free_port)?.context("no free port")?;
        let tailscale = built.join("usr/bin/tailscale");
        let device = Self { daemon, netns, tailscale, proxy: format!("127.0.0.1:{port}"), life };
        paths::write(&device.daemon.file("proxy"), &device.proxy)?;
        device.start(&built.join("usr/sbin/tailscaled"), tailnet.ca())?;
        let key_file = device.daemon.file("key");
        paths::write(&key_file, key)?;
        let mut up = device.command(&["up", "--timeout=60s", "--accept-dns=false"]);
        up.arg(format!("--login-server={}", tailnet.url())).arg(format!("--hostname={name}"));
        let joined = run::output(up.arg(format!("--auth-key=file:{}", key_file.display())));
        let _ = std::fs::remove_file(&key_file);
        joined.with_context(|| format!("{name} did not join; its log:\n{}", run::tail(&device.log())))?;
        Ok(device)
    }

    /// One that is up; dropping this leaves it so.
    pub(super) fn attach(tailnet: &Tailnet, name: &str) -> Result<Self> {
        let netns = tailnet.netns.clone();
        let daemon = Daemon::within(tailnet.device_folder(name), &netns);
        if !daemon.runs() {
            bail!("the tailnet has no device {name}");
        }
        let proxy = std::fs::read_to_string(daemon.file("proxy")).context("cannot read where its proxy is")?;
        Ok(Self { daemon, netns, tailscale: build::tailscale()?.join("usr/bin/tailscale"), proxy, life: Life::Kept })
    }

    fn start(&self, tailscaled: &Path, ca: PathBuf) -> Result<()> {
        let socket = self.socket();
        folder::check_socket(&socket)?;
        let option = |name: &str, value: &OsStr| {
            let mut word = OsString::from(name);
            word.push(value);
            word
        };
        let arguments = [
            "--tun=userspace-networking".into(),
            "--port=0".into(),
            option("--statedir=", self.daemon.file("state").as_os_str()),
            option("--socket=", socket.as_os_str()),
            format!("--socks5-server={}", self.proxy).into(),
            format!("--outbound-http-proxy-listen={}", self.proxy).into(),
        ];
        let environment = [
            ("SSL_CERT_FILE", ca.into_os_string()),
            ("TS_NO_LOGS_NO_SUPPORT", "true".into()),
            // It would ask the router of this machine's own network.
            ("TS_DISABLE_PORTMAPPER", "true".into()),
            // Else it makes a folder of its own on this machine, whatever its state folder.
            ("TS_LOGS_DIR", self.daemon.file("state").into_os_string()),
        ];
        paths::create(&self.daemon.file("state"))?;
        self.daemon.start(tailscaled, &arguments, &environment, self.life)?;
        self.daemon.await_ready(Duration::from_secs(90), || UnixStream::connect(&socket).is_ok())
    }

    fn socket(&self) -> PathBuf {
        self.daemon.file("socket")
    }

    /// `tailscale` for this device: `status`, `ping`, `nc`, `ssh`.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.tailscale);
        // What it keeps, such as host keys, is the device's and not this machine's.
        command.env("HOME", self.daemon.file("")).env_remove("XDG_CACHE_HOME").env_remove("XDG_CONFIG_HOME");
        command.arg("--socket").arg(self.socket()).args(arguments);
        command
    }

    /// What `tailscale status --json` says.
    pub fn status(&self) -> Result<Value> {
        let text = run::output(&mut self.command(&["status", "--json"]))?;
        serde_json::from_str(&text).context("tailscale says something else than JSON")
    }

    /// Whether a node of that name is one of its peers. Keys and ids are random, and contain any short name some day.
    pub fn sees(&self, name: &str) -> Result<bool> {
        let status = self.status()?;
        let peers = status["Peer"].as_object();
        Ok(peers.is_some_and(|peers| peers.values().any(|peer| peer["HostName"] == name)))
    }

    /// Waits until the node of that name answers this device: until each has heard of the other.
    pub fn await_peer(&self, name: &str, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            // Answered by the other's tailscaled itself, whatever the policy opens.
            let pinged =
                run::output(&mut self.command(&["ping", "-c=1", "--timeout=1s", "--until-direct=false", name]));
            let Err(e) = pinged else { return Ok(()) };
            interrupt::check()?;
            if begun.elapsed() > patience {
                return Err(e).with_context(|| format!("{name} does not answer"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// ssh to a node as that user of it, its host key checked against what the control server knows.
    pub fn ssh<S: AsRef<OsStr>>(&self, user: &str, node: &str, argv: &[S]) -> Command {
        let mut command = self.command(&["ssh", &format!("{user}@{node}")]);
        command.args(argv);
        command
    }

    /// The same by the machine's own ssh with further options, through `tailscale nc`: what an editor would do.
    ///
    /// The host key is not checked: in a lab it is enough that the address is the node's.
    pub fn plain_ssh(&self, options: &[&str], user: &str, node: &str) -> Command {
        let mut command = self.openssh("ssh");
        command.args(options).arg(format!("{user}@{node}"));
        command
    }

    /// `ssh`, `scp` or `sftp` of this machine, by the names of the tailnet. Append options and arguments.
    pub fn openssh(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let proxy =
            format!("ProxyCommand='{}' --socket='{}' nc %h %p", self.tailscale.display(), self.socket().display());
        command.args(["-F", "none", "-o", &proxy, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
        command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
        command
    }

    /// curl through the device's proxy, by the names of the tailnet. Append options and a URL.
    pub fn curl(&self) -> Command {
        let mut command = self.netns.command("curl");
        command.args(["--disable", "--silent", "--show-error", "--noproxy", "", "--proxy"]);
        command.arg(format!("socks5h://{}", self.proxy)).args(["--connect-timeout", "30"]);
        command
    }

    /// The network namespace that it is in.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Where its SOCKS5 and HTTP proxy listens, in its network namespace.
    pub fn proxy(&self) -> &str {
        &self.proxy
    }

    /// What its tailscaled has said.
    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

/// A port of the loopback that no program uses. Another program could take it before the caller does: the namespace
/// has few of them.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.life == Life::Ours
            && let Err(e) = self.daemon.end()
        {
            eprintln!("warning: {e:#}");
        }
    }
}
