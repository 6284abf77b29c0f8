//! A key for a box that runs already: fetched as systemd fetches it, and handed in by standard input.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};
use secrecy::SecretString;

use super::HostError;
use crate::quadlet::names;
use crate::spec::BoxName;
use crate::wire;

/// Longer than the broker waits for the provider.
const PATIENCE: Duration = Duration::from_secs(15);
const LONGEST: u64 = 4096;

/// A key for a box of the caller's; `id`: [`wire::KEY_ANEW`] or [`wire::KEY_ROTATED`]. `None`: the broker gives none, and
/// knows why.
pub fn key(name: &BoxName, id: &str) -> Result<Option<SecretString>, HostError> {
    // From here on there is a key in this process, and a core would keep it.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let failed = |why: std::io::Error| HostError::Broker(format!("{}: {why}", wire::LOGIN_SOCKET));
    let mut stream = ask(name, id).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut key = String::new();
    stream.by_ref().take(LONGEST).read_to_string(&mut key).map_err(failed)?;
    Ok((!key.is_empty()).then(|| key.into()))
}

/// The name of the box and what is asked for are in the address of our end (systemd.exec(5), LoadCredential=).
fn ask(name: &BoxName, id: &str) -> std::io::Result<UnixStream> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // The process's own number keeps two of them apart.
    let ours = format!("{}/unit/{}/{}", std::process::id(), names::service(name), id);
    bind(socket.as_raw_fd(), &UnixAddr::new_abstract(ours.as_bytes())?)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(wire::LOGIN_SOCKET)?)?;
    Ok(socket.into())
}
