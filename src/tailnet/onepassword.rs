//! 1Password through its CLI: `op read op://VAULT/USER-tailscale-authkey/password`, with a service account's token.
//!
//! Tried against a stand-in that speaks op's documented behaviour only; the real one cannot be had where this is tested.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};

use super::command::run;
use super::trouble::{Doing, Mend, Trouble};
use super::{AuthKey, Device, PATIENCE, Provider, Wanted};

#[derive(Debug)]
pub(super) struct OnePassword {
    vault: String,
    token: SecretString,
    url: Option<String>,
}

/// Between tries where 1Password says that it is asked too often.
const BACKOFF: Duration = Duration::from_secs(1);

impl OnePassword {
    pub(super) fn new(vault: &str, token: SecretString, url: Option<&str>) -> Self {
        Self { vault: vault.to_owned(), token, url: url.map(str::to_owned) }
    }
}

impl Provider for OnePassword {
    fn key(&self, wanted: &Wanted<'_>) -> Result<AuthKey, Trouble> {
        let reference = format!("op://{}/{}-tailscale-authkey/password", self.vault, wanted.user);
        let until = Instant::now() + PATIENCE;
        // op takes its token from nowhere else; its environment is readable by its own user and root only. Its cache
        // would be on disk.
        let variables =
            [("OP_SERVICE_ACCOUNT_TOKEN", self.token.expose_secret()), ("OP_CACHE", "false"), ("HOME", "/nonexistent")];
        loop {
            let ran = run(&["op", "read", "--no-newline", &reference], &variables, until)?;
            if ran.good {
                return AuthKey::parse(&ran.out);
            }
            let trouble = trouble(&reference, &ran.err);
            if trouble.mend != Mend::Wait || Instant::now() + BACKOFF * 2 > until {
                return Err(trouble);
            }
            std::thread::sleep(BACKOFF);
        }
    }

    fn devices(&self) -> Result<Option<Vec<Device>>, Trouble> {
        Ok(None)
    }

    fn remove(&self, _: &str) -> Result<(), Trouble> {
        Ok(())
    }

    fn login_server(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

/// op's exit status is 1 whatever it is; its words tell.
fn trouble(reference: &str, err: &str) -> Trouble {
    let says = |words: &[&str]| words.iter().any(|word| err.to_ascii_lowercase().contains(word));
    let why = format!("op: {err}");
    let administrator = |what: String| Mend::Administrator(what);
    if says(&["too many requests", "rate limit", "rate-limit", "(429)"]) {
        Trouble::new(Doing::ReadingKey, "1Password says that it is asked too often".to_owned())
    } else if says(&["isn't an item", "isn't a vault", "item not found", "no item found"]) {
        let what = format!("make the item: `{reference}` is what is read");
        Trouble::new(Doing::ReadingKey, why).mend(administrator(what))
    } else if says(&["isn't a field", "does not have a field", "field not found"]) {
        let what = format!("give that item a password: `{reference}` is what is read");
        Trouble::new(Doing::ReadingKey, why).mend(administrator(what))
    } else if says(&[
        "unauthorized",
        "(401)",
        "(403)",
        "forbidden",
        "authentication",
        "invalid token",
        "service account",
    ]) {
        let what = "look whether the service account's token still holds and may read that vault".to_owned();
        Trouble::new(Doing::LoggingIn, why).mend(administrator(what))
    } else {
        Trouble::new(Doing::Reaching, why)
    }
}
