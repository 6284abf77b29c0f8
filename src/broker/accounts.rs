//! Which user ids are of accounts. Each owner has thousands of subordinate ids beside their own (subuid(5)), and the
//! kernel gives them as those of callers of their own: with them one owner would have the lines, the places and the part
//! of the audit trail of thousands. They own nothing here, so they are not served.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, User};

/// A new account need not wait for long, and the directory behind getpwuid(3) may be far away.
const KEPT_FOR: Duration = Duration::from_mins(1);
/// Ids that are remembered at once.
const MOST_KNOWN: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<HashMap<u32, (bool, Instant)>>);

impl Accounts {
    /// Who is at the other end, by the kernel's word, if that is an account.
    pub(super) fn peer(&self, connection: &UnixStream) -> Option<UnixCredentials> {
        getsockopt(connection, PeerCredentials).ok().filter(|peer| self.has(peer.uid()))
    }

    /// May wait for the user database. One that does not answer knows nobody but root.
    pub(super) fn has(&self, uid: u32) -> bool {
        uid == 0 || self.ask(uid, |uid| User::from_uid(Uid::from_raw(uid)).is_ok_and(|user| user.is_some()))
    }

    fn ask(&self, uid: u32, look_up: impl FnOnce(u32) -> bool) -> bool {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known().get(&uid).copied();
        if let Some((has, _)) = before.filter(|(_, at)| at.elapsed() < KEPT_FOR) {
            return has;
        }
        // Unlocked, for as long as that takes.
        let has = look_up(uid);
        let mut known = known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(uid, (has, Instant::now()));
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subordinate_id_is_no_account() {
        let accounts = Accounts::default();
        assert!(accounts.has(0));
        assert!(!accounts.has(1_999_999_999));
        // What was found out is not asked for each of a thousand connections.
        assert!(!accounts.ask(1_999_999_999, |_| true));
        for uid in 0..MOST_KNOWN {
            accounts.ask(u32::try_from(uid).unwrap(), |_| false);
        }
        assert!(accounts.0.lock().unwrap().len() <= MOST_KNOWN);
    }
}
