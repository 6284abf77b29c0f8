//! Which user ids are of accounts. Each owner has thousands of subordinate ids beside their own (subuid(5)), and the
//! kernel gives them as those of callers of their own: with them one owner would have the lines, the places and the part
//! of the audit trail of thousands. They own nothing here, so they are not served.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// Who is at the other end, by the kernel's word, if that is an account. A user database that does not answer knows
    /// nobody.
    pub(super) fn peer(&self, connection: &UnixStream) -> Option<UnixCredentials> {
        getsockopt(connection, PeerCredentials).ok().filter(|peer| self.has(peer.uid()) == Some(true))
    }

    /// May wait for the user database; none where that does not answer.
    pub(super) fn has(&self, uid: u32) -> Option<bool> {
        self.ask(uid, |uid| User::from_uid(Uid::from_raw(uid)).ok().map(|user| user.is_some()))
    }

    /// What needs no asking.
    pub(super) fn remembered(&self, uid: u32) -> Option<bool> {
        let known = self.known().get(&uid).copied();
        known.filter(|(_, at)| at.elapsed() < KEPT_FOR).map(|(has, _)| has).or((uid == 0).then_some(true))
    }

    fn ask(&self, uid: u32, look_up: impl FnOnce(u32) -> Option<bool>) -> Option<bool> {
        if let Some(has) = self.remembered(uid) {
            return Some(has);
        }
        // Unlocked, for as long as that takes.
        let has = look_up(uid)?;
        let mut known = self.known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(uid, (has, Instant::now()));
        Some(has)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u32, (bool, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subordinate_id_is_no_account() {
        let accounts = Accounts::default();
        assert_eq!((accounts.has(0), accounts.has(1_999_999_999)), (Some(true), Some(false)));
        // What was found out is not asked for each of a thousand connections; what was not, is.
        assert_eq!(accounts.ask(1_999_999_999, |_| Some(true)), Some(false));
        assert_eq!((accounts.ask(5000, |_| None), accounts.remembered(5000)), (None, None));
        assert_eq!(accounts.ask(5000, |_| Some(true)), Some(true));
        for uid in 0..MOST_KNOWN {
            accounts.ask(u32::try_from(uid).unwrap(), |_| Some(false));
        }
        assert!(accounts.0.lock().unwrap().len() <= MOST_KNOWN);
    }
}
