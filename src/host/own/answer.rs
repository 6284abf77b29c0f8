//! One box's question at the owner's login socket (systemd/devboxes-login.socket): the connection is our standard input.

use std::io::{Write, stdin};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::{Own, no_core};
use crate::host::{Account, Broker, HostError};
use crate::policy::asked::{Id, asked};
use crate::tailnet::Giver;

/// A peer that does not read is not waited for.
const WRITE: Duration = Duration::from_secs(1);

/// Answers it, and gives what is to be said of it to whoever looks after this. No answer is an empty one.
pub fn answer() -> Result<Vec<String>, HostError> {
    no_core();
    let account = Account::current()?;
    let failed = |why| HostError::Io { doing: "reading from", path: account.login_socket(), source: why };
    let mut connection = UnixStream::from(stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    // The socket is its owner's alone; this holds whatever becomes of its mode.
    let peer = getsockopt(&connection, PeerCredentials).map_err(|e| failed(e.into()))?;
    if peer.uid() != account.uid {
        return Ok(vec![format!("uid {} asked, who is somebody else", peer.uid())]);
    }
    let address = connection.peer_addr().map_err(failed)?;
    let Some(asked) = SocketAddr::as_abstract_name(&address).and_then(asked) else { return Ok(Vec::new()) };
    if Broker::connect()?.is_some() {
        return Ok(vec!["this host has a broker, which decides about tailnets".to_owned()]);
    }
    let Some(own) = Own::open(&account)? else { return Ok(Vec::new()) };
    connection.set_write_timeout(Some(WRITE)).map_err(failed)?;
    // Who has gone away meanwhile does without.
    match asked.id {
        Id::Login => drop(connection.write_all(Giver::login(&own.book, &asked.name).as_bytes())),
        Id::Key(need) => {
            let (working, done) = mpsc::channel::<()>();
            if let Some(key) = own.giver.key(&own.book, &asked.name, need, working) {
                let _ = connection.write_all(key.expose().as_bytes());
            }
            let _ = connection.shutdown(Shutdown::Both);
            // What is being asked of the provider is written down when it is through, whether somebody waits or not.
            let _ = done.recv();
        }
    }
    Ok(own.book.said())
}
