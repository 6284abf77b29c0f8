//! Who calls: the bus's word, and polkit's where it is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use zbus::message::Header;
use zbus::names::BusName;
use zbus::{Connection, OwnedFd, Variant, proxy};

use super::accounts::Accounts;
use super::desk::Caller;
use super::interface::aside;
use super::login::AtWork;
use crate::wire::{Refused, Why};

/// The polkit action of systemd/io.devbox.policy.
const ACTION: &str = "io.devbox.administer";

#[proxy(
    interface = "org.freedesktop.PolicyKit1.Authority",
    default_service = "org.freedesktop.PolicyKit1",
    default_path = "/org/freedesktop/PolicyKit1/Authority"
)]
trait Authority {
    #[allow(clippy::type_complexity)] // polkit's own shape
    fn check_authorization(
        &self,
        subject: &(&str, HashMap<&str, Variant<'_>>),
        action_id: &str,
        details: HashMap<&str, &str>,
        flags: u32,
        cancellation_id: &str,
    ) -> zbus::Result<(bool, bool, HashMap<String, String>)>;
}

#[derive(Debug)]
pub(super) struct Callers {
    accounts: Arc<Accounts>,
    asking: Arc<AtWork>,
    /// Connections whose credentials are known: a bus never gives a unique name twice, and they cannot change.
    known: Mutex<HashMap<String, Caller>>,
}

const MOST_KNOWN: usize = 1024;

impl Callers {
    pub(super) fn new(accounts: Arc<Accounts>) -> Self {
        Self { accounts, asking: Arc::default(), known: Mutex::default() }
    }

    pub(super) async fn of(&self, connection: &Connection, header: &Header<'_>) -> Result<Caller, Refused> {
        let unknown = || Refused::new(Why::NotAllowed, "the bus does not say who calls");
        let sender = header.sender().ok_or_else(unknown)?;
        if let Some(caller) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(sender.as_str()) {
            return Ok(caller.clone());
        }
        let bus = zbus::fdo::DBusProxy::new(connection).await.map_err(|_| unknown())?;
        let credentials = bus.get_connection_credentials(BusName::from(sender.clone())).await.map_err(|_| unknown())?;
        let uid = credentials.unix_user_id().ok_or_else(unknown)?;
        match self.is_account(uid).await? {
            Some(true) => {}
            Some(false) => {
                return Err(Refused::new(Why::NotAllowed, format!("uid {uid} is no account that this host knows of"))
                    .hint("a subordinate user id, as in a container, owns no boxes"));
            }
            None => {
                return Err(Refused::new(Why::Ledger, "the user database of this host does not answer")
                    .hint("nothing was changed; try again"));
            }
        }
        let pid = credentials.process_id().unwrap_or(0);
        let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
        // The pidfd is of the process that connected; if that is gone, the number may be another's by now.
        let alive = credentials.process_fd().is_none_or(|fd| !has_ended(fd));
        let program = if alive { program } else { String::new() };
        let caller = Caller { uid, pid, program, authorized: false };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(sender.to_string(), caller.clone());
        Ok(caller)
    }

    /// The directory of users may be far away: it is asked in a few threads, and the bus goes on.
    async fn is_account(&self, uid: u32) -> Result<Option<bool>, Refused> {
        if let Some(has) = self.accounts.remembered(uid) {
            return Ok(Some(has));
        }
        let too_many = || Refused::new(Why::TooMany, "too many calls wait for the user database");
        let place = self.asking.take_now(uid).ok_or_else(too_many)?;
        let accounts = Arc::clone(&self.accounts);
        aside(move || {
            let _place = place;
            accounts.has(uid)
        })
        .await
    }

    /// Whether polkit lets this connection administer. No polkit is a no.
    pub(super) async fn may_administer(connection: &Connection, header: &Header<'_>) -> bool {
        let Some(sender) = header.sender() else { return false };
        let interactive = header.primary().flags().contains(zbus::message::Flags::ALLOW_INTERACTIVE_AUTH);
        let Ok(authority) = AuthorityProxy::new(connection).await else { return false };
        let subject = ("system-bus-name", HashMap::from([("name", Variant::from(sender.as_str()))]));
        authority
            .check_authorization(&subject, ACTION, HashMap::new(), u32::from(interactive), "")
            .await
            .is_ok_and(|(authorized, _, _)| authorized)
    }
}

/// A pidfd can be read once its process has ended (pidfd_open(2)).
fn has_ended(fd: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
