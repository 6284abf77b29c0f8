//! A tailnet for tests: a real control server beside a lab host, and devices of its users.
//!
//! Server and devices are in the network namespace outside of the host, as other machines would be: a box cannot reach
//! its own host, since pasta gives it the host's address.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::artifacts::tailnet as build;
use crate::daemon::{Daemon, Life};
use crate::lab::{Host, Netns};
use crate::{interrupt, lock, paths, progress, run, tools};

mod certificate;
mod device;
mod folder;
mod policy;
mod rest;

use folder::{check_socket, end, folder, guarded};

pub use device::Device;
pub use policy::{TAG, own_boxes, tag_of};

const PORT: u16 = 8443;

/// Who have an account from the start.
pub const USERS: [&str; 2] = ["alice", "bob"];

/// A tailnet, ended with its devices when this is dropped unless it was kept.
#[derive(Debug)]
pub struct Tailnet {
    folder: PathBuf,
    server: Daemon,
    program: PathBuf,
    address: Ipv4Addr,
    netns: Netns,
    api_key: String,
    life: Life,
}

/// A key to ask for: a device's of a user, or a tagged node's, which is nobody's. Good once and for an hour.
#[derive(Debug, Clone)]
pub struct KeyRequest<'a> {
    /// Whose device joins with it.
    pub user: Option<&'a str>,
    /// What joins with it is tagged so.
    pub tags: &'a [&'a str],
    /// More than once.
    pub reusable: bool,
    /// What joins with it is forgotten some time after it was last seen.
    pub ephemeral: bool,
    /// How long it is good for.
    pub valid: Duration,
}

impl Default for KeyRequest<'_> {
    fn default() -> Self {
        Self { user: None, tags: &[], reusable: false, ephemeral: false, valid: Duration::from_hours(1) }
    }
}

impl Tailnet {
    /// Starts a new one beside that host, in place of one that may be there. Alice and bob have an account, and the
    /// policy is [`own_boxes`].
    pub fn up(host: &Host, life: Life) -> Result<Self> {
        tools::ensure_tailnet()?;
        let folder = folder(host.name())?;
        let _lock = lock::take(&folder.with_extension("lock"))?;
        let _guard = interrupt::guard()?;
        end(&folder)?;
        let program = build::headscale()?;
        build::tailscale()?;
        progress::step(&format!("starting a tailnet beside {}", host.name()));
        let (address, netns) = (host.server_address(), host.outside());
        let server = Daemon::within(folder.join("headscale"), &netns);
        // From here on dropping it takes it all away again.
        let mut tailnet = Self { folder, server, program, address, netns, api_key: String::new(), life: Life::Ours };
        tailnet.configure()?;
        tailnet.start_as(life)?;
        let made = run::output(&mut tailnet.headscale(&["apikeys", "create", "--expiration", "90d"]))?;
        tailnet.api_key = made.trim().into();
        paths::write(&tailnet.api_key_file(), &tailnet.api_key)?;
        USERS.iter().try_for_each(|user| tailnet.add_user(user))?;
        tailnet.set_policy(&own_boxes(&USERS))?;
        tailnet.life = life;
        Ok(tailnet)
    }

    /// The one beside that host, which must be up. Dropping this leaves it so.
    pub fn attach(host: &Host) -> Result<Self> {
        let folder = folder(host.name())?;
        let (address, netns) = (host.server_address(), host.outside());
        let server = Daemon::within(folder.join("headscale"), &netns);
        if !server.runs() {
            bail!("{0} has no tailnet; `cargo xtask lab tailnet up {0}` starts one", host.name());
        }
        let api_key = fs::read_to_string(server.file("api-key")).context("cannot read the API's key")?;
        let program = build::headscale()?;
        Ok(Self { folder, server, program, address, netns, api_key, life: Life::Kept })
    }

    fn configure(&self) -> Result<()> {
        let folder = self.folder.join("headscale");
        // Keys and the database are nobody else's on this machine.
        guarded(&folder)?;
        check_socket(&self.socket())?;
        certificate::make(&folder, self.address)?;
        fs::copy(self.server.file("ca.pem"), self.ca()).context("cannot give the certificate away")?;
        let text = include_str!("files/headscale.yaml").replace("{folder}", &folder.display().to_string());
        let text = text.replace("{address}", &self.address.to_string()).replace("{port}", &PORT.to_string());
        paths::write(&self.server.file("config.yaml"), text)
    }

    /// Starts the server again after [`Tailnet::stop`].
    pub fn start(&self) -> Result<()> {
        self.start_as(self.life)
    }

    fn start_as(&self, life: Life) -> Result<()> {
        // One that was killed leaves it, and would be taken for ready.
        let _ = fs::remove_file(self.socket());
        let arguments = ["serve".into(), "--config".into(), OsString::from(self.server.file("config.yaml"))];
        self.server.start(&self.program, &arguments, &[], life)?;
        self.server.await_ready(Duration::from_secs(90), || {
            let listens = || TcpStream::connect((self.address, PORT)).is_ok();
            UnixStream::connect(self.socket()).is_ok() && self.netns.run(listens).unwrap_or(false)
        })
    }

    /// Ends the server at once, as a crash would; what it knows is kept, and so are the devices.
    pub fn stop(&self) -> Result<()> {
        self.server.end()
    }

    fn socket(&self) -> PathBuf {
        self.server.file("socket")
    }

    /// What `--login-server` takes, and what the REST API is under.
    pub fn url(&self) -> String {
        format!("https://{}:{PORT}", self.address)
    }

    /// The certificate to trust (`SSL_CERT_FILE`), for devices and boxes.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The REST API's key.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// The file that holds it, for root alone.
    pub fn api_key_file(&self) -> PathBuf {
        self.server.file("api-key")
    }

    /// headscale's own command line.
    pub fn headscale(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.server.file("config.yaml")).args(arguments);
        command
    }

    /// Asks the REST API, such as `GET /api/v1/node`.
    pub fn rest(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        rest::ask(self.netns.command("curl"), &self.ca(), &self.api_key, method, &format!("{}{path}", self.url()), body)
    }

    /// Adds a user.
    pub fn add_user(&self, name: &str) -> Result<()> {
        self.rest("POST", "/api/v1/user", Some(&json!({ "name": name }))).map(drop)
    }

    /// Puts this policy in place of the one before; in force when this returns.
    pub fn set_policy(&self, policy: &Value) -> Result<()> {
        self.rest("PUT", "/api/v1/policy", Some(&json!({ "policy": policy.to_string() }))).map(drop)
    }

    /// A new key.
    pub fn preauth_key(&self, request: &KeyRequest<'_>) -> Result<String> {
        let expiry = jiff::Timestamp::now().checked_add(request.valid).context("too long a time")?;
        let mut body = json!({
            "reusable": request.reusable,
            "ephemeral": request.ephemeral,
            "expiration": expiry.to_string(),
            "aclTags": request.tags,
        });
        if let Some(user) = request.user {
            body["user"] = self.user(user)?;
        }
        let made = self.rest("POST", "/api/v1/preauthkey", Some(&body))?;
        let key = made["preAuthKey"]["key"].as_str();
        Ok(key.with_context(|| format!("no key in {made}"))?.to_owned())
    }

    fn user(&self, name: &str) -> Result<Value> {
        let users = self.rest("GET", &format!("/api/v1/user?name={name}"), None)?;
        match &users["users"][0]["id"] {
            Value::Null => bail!("the tailnet has no user {name}"),
            id => Ok(id.clone()),
        }
    }

    /// All nodes, devices and boxes, as the REST API gives them.
    pub fn nodes(&self) -> Result<Vec<Value>> {
        let mut answer = self.rest("GET", "/api/v1/node", None)?;
        serde_json::from_value(answer["nodes"].take()).context("no list of nodes")
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Result<Option<Value>> {
        Ok(self.nodes()?.into_iter().find(|node| node["givenName"] == name))
    }

    /// Forgets a node by its id.
    pub fn delete_node(&self, id: &str) -> Result<()> {
        self.rest("DELETE", &format!("/api/v1/node/{id}"), None).map(drop)
    }

    /// Makes a node's key expire now.
    pub fn expire_node(&self, id: &str) -> Result<()> {
        self.rest("POST", &format!("/api/v1/node/{id}/expire"), Some(&json!({}))).map(drop)
    }

    /// A second machine of that user's, on the tailnet.
    pub fn device(&self, user: &str, name: &str) -> Result<Device> {
        let key = self.preauth_key(&KeyRequest { user: Some(user), ..KeyRequest::default() })?;
        self.device_with_key(name, &key)
    }

    /// The same with a key that is there.
    pub fn device_with_key(&self, name: &str, key: &str) -> Result<Device> {
        Device::join(self, key, name, self.life)
    }

    /// The device of that name, which must be up. Dropping this leaves it so.
    pub fn attach_device(&self, name: &str) -> Result<Device> {
        Device::attach(self, name)
    }

    fn device_folder(&self, name: &str) -> PathBuf {
        self.folder.join("devices").join(name)
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

impl Drop for Tailnet {
    fn drop(&mut self) {
        if self.life == Life::Ours
            && let Err(e) = end(&self.folder)
        {
            eprintln!("warning: {e:#}");
        }
    }
}

/// Ends the tailnet of the host of that name, whoever began it; nothing of it is left.
pub fn down(name: &str) -> Result<()> {
    let folder = folder(name)?;
    let _lock = lock::take(&folder.with_extension("lock"))?;
    end(&folder)
}
