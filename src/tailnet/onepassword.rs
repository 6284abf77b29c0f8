//! 1Password through its CLI: `op read op://VAULT/USER-tailscale-authkey/password`, with a service account's token.
//!
//! Tried against a stand-in that speaks op's documented behaviour only; the real one cannot be had where this is tested.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};

use super::program::{Program, run};
use super::trouble::{Doing, Mend, Trouble};
use super::{AuthKey, Device, Places, Provider, Wanted, plain};

#[derive(Debug)]
pub(super) struct OnePassword {
    vault: String,
    token: SecretString,
    url: Option<String>,
    places: Places,
}

/// Between tries where 1Password says that it is asked too often.
const BACKOFF: Duration = Duration::from_secs(1);

impl OnePassword {
    pub(super) fn new(vault: &str, token: SecretString, url: Option<&str>, places: &Places) -> Self {
        Self { vault: vault.to_owned(), token, url: url.map(str::to_owned), places: places.clone() }
    }
}

impl Provider for OnePassword {
    fn key(&self, wanted: &Wanted<'_>) -> Result<AuthKey, Trouble> {
        let reference = format!("op://{}/{}-tailscale-authkey/password", self.vault, named(wanted.user)?);
        let until = Instant::now() + self.places.patience;
        // op wants a home that it can write; nothing that it leaves there is kept.
        let home = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|e| Trouble::new(Doing::ReadingKey, format!("no folder for op: {e}")))?;
        let home_path = home.path().display().to_string();
        // op takes its token from nowhere else; its environment is readable by its own user and root only. Its cache
        // would be on disk.
        let token = self.token.expose_secret();
        let program = Program {
            argv: &["op", "read", "--no-newline", &reference],
            path: &self.places.path,
            variables: &[("OP_SERVICE_ACCOUNT_TOKEN", token), ("OP_CACHE", "false"), ("HOME", &home_path)],
            secrets: &[token],
        };
        loop {
            let ran = run(&program, self.places.patience, until)?;
            if ran.good {
                return AuthKey::parse(&ran.out);
            }
            let (trouble, again) = trouble(&reference, &ran.err);
            if !again || Instant::now() + BACKOFF * 2 > until {
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

/// The user's part of a reference. op looks items up whatever their case is, so two users could mean one.
fn named(user: &str) -> Result<&str, Trouble> {
    let user = plain(user)?;
    if user.bytes().any(|b| b.is_ascii_uppercase() || b == b'@') {
        let why = format!("1Password's references tell no capitals and have no @: {user} cannot have an item");
        return Err(Trouble::new(Doing::ReadingKey, why)
            .mend(Mend::Administrator("give that account a name in lower case, or use another provider".to_owned())));
    }
    Ok(user)
}

/// op's exit status is 1 whatever it is; its words tell. Also whether it may be better in a moment.
fn trouble(reference: &str, err: &str) -> (Trouble, bool) {
    // The names in a reference are no words of op's.
    let words = err.replace(reference, "").to_ascii_lowercase();
    let says = |some: &[&str]| some.iter().any(|word| words.contains(word));
    let why = format!("op: {err}");
    let to_administrator =
        |doing, what: String| (Trouble::new(doing, why.clone()).mend(Mend::Administrator(what)), false);
    if says(&["too many requests", "rate limit", "rate-limit", "(429)"]) {
        let why = format!("1Password says that it is asked too often: {err}");
        // "Please retry in 58 minutes": each try counts.
        return (Trouble::new(Doing::ReadingKey, why), !says(&["minute", "hour"]));
    }
    if says(&["isn't an item", "isn't a vault", "item not found", "no item found", "could not find item"]) {
        return to_administrator(Doing::ReadingKey, format!("make the item: `{reference}` is what is read"));
    }
    if says(&["more than one item matches", "more than one vault matches"]) {
        let what = format!("rename all but one of them: `{reference}` is what is read");
        return to_administrator(Doing::ReadingKey, what);
    }
    if says(&["isn't a field", "does not have a field", "field not found"]) {
        return to_administrator(
            Doing::ReadingKey,
            format!("give that item a password: `{reference}` is what is read"),
        );
    }
    let token = ["unauthorized", "(401)", "(403)", "forbidden", "authentication", "invalid token", "service account"];
    // Of a token that is cut off, expired, or of another account.
    let account = ["sacredentials", "signin credentials", "signed in", "invalid credentials", "serviceaccount"];
    if says(&token) || says(&account) {
        let what = "look whether the service account's token still holds and may read that vault".to_owned();
        return to_administrator(Doing::LoggingIn, what);
    }
    (Trouble::new(Doing::Reaching, why), false)
}
