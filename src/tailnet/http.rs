//! Requests to a provider's REST API: JSON, a deadline, and answers that are said in words when they are not 200.

use std::fs;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::authkey::shown;
use super::trouble::{Doing, Mend, Trouble};

/// Where distributions keep the authorities that they trust.
const TRUSTED: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// A tailnet of a thousand devices is about a megabyte.
const LONGEST: u64 = 8 << 20;
/// How long it may say that we come too often and still be asked again.
const BACKOFF: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    base: String,
}

/// What is sent along with a request.
pub(super) enum Sent<'a> {
    Nothing,
    Json(&'a Value),
    Form(&'a [(&'a str, &'a str)]),
}

impl Client {
    /// `ca`: a file of certificates that are trusted beside the system's.
    pub(super) fn new(base: &str, ca: Option<&str>, patience: Duration) -> Result<Self, Trouble> {
        if !is_url(base) {
            return Err(Trouble::settings("[tailnet] url is not https://HOST, with no user name in it"));
        }
        let mut roots = Vec::new();
        for file in TRUSTED.into_iter().filter(|f| std::path::Path::new(f).exists()).take(1).chain(ca) {
            let pem = fs::read(file).map_err(|e| Trouble::settings(&format!("{file}: {e}")))?;
            let before = roots.len();
            roots.extend(parse_pem(&pem).filter_map(Result::ok).filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None::<Certificate<'static>>,
            }));
            if roots.len() == before {
                return Err(Trouble::settings(&format!("{file} has no certificate in it")));
            }
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            // A redirect would take the token to wherever it points.
            .max_redirects(0)
            .user_agent(concat!("devbox-ctl/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: agent.into(), base: base.trim_end_matches('/').to_owned() })
    }

    /// Asks, and asks once more after an answer that says to wait a moment. `None`: there is no such thing.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        doing: Doing,
        method: &str,
        path: &str,
        token: Option<&SecretString>,
        sent: &Sent<'_>,
    ) -> Result<Option<T>, Trouble> {
        // Whatever the answer repeats of them.
        let mut secrets: Vec<&str> = token.iter().map(|token| token.expose_secret()).collect();
        if let Sent::Form(pairs) = sent {
            secrets.extend(pairs.iter().map(|(_, value)| *value));
        }
        let mut answer = self.send(method, path, token, sent);
        if let Ok(response) = &answer
            && response.status() == 429
        {
            let wait = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
            let wait = wait.map_or(BACKOFF / 4, Duration::from_secs);
            if wait <= BACKOFF {
                std::thread::sleep(wait);
                answer = self.send(method, path, token, sent);
            }
        }
        let mut response = answer.map_err(|e| self.unreachable(&e, &secrets))?;
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .with_config()
            .limit(LONGEST)
            .read_to_string()
            .map_err(|e| self.unreachable(&e, &secrets))?;
        match status {
            200..=299 => {
                let text = if text.trim().is_empty() { "null" } else { &text };
                serde_json::from_str(text).map(Some).map_err(|e| {
                    Trouble::new(
                        doing,
                        format!("{} gave an answer that is none: {}", self.base, shown(&e.to_string(), &secrets)),
                    )
                    .mend(Mend::Administrator("look whether [tailnet] url is the right one".to_owned()))
                })
            }
            300..=399 => Err(Trouble::new(doing, format!("{} says {status}: it is somewhere else", self.base))
                .mend(Mend::Administrator("look whether [tailnet] url is the right one".to_owned()))),
            404 if doing == Doing::Removing => Ok(None),
            401 | 403 => Err(Trouble::new(
                if doing == Doing::LoggingIn { doing } else { Doing::LoggingIn },
                format!("{} says {status} while {doing}: {}", self.base, said(&text, &secrets)),
            )
            .mend(Mend::Administrator(
                "look whether the token is the right one, still holds, and may do that".to_owned(),
            ))),
            429 => Err(Trouble::new(doing, format!("{} says that it is asked too often", self.base))),
            500..=599 => Err(Trouble::new(doing, format!("{} says {status}: {}", self.base, said(&text, &secrets)))),
            _ => Err(Trouble::new(doing, format!("{} says {status}: {}", self.base, said(&text, &secrets)))
                .mend(Mend::Administrator("look at the settings of [tailnet], its tags above all".to_owned()))),
        }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&SecretString>,
        sent: &Sent<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.expose_secret()));
        }
        let (kind, body) = match sent {
            Sent::Nothing => ("", String::new()),
            Sent::Json(value) => ("application/json", value.to_string()),
            Sent::Form(pairs) => ("application/x-www-form-urlencoded", form(pairs)),
        };
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        if body.is_empty() { self.agent.run(request.body(())?) } else { self.agent.run(request.body(body)?) }
    }

    fn unreachable(&self, error: &ureq::Error, secrets: &[&str]) -> Trouble {
        let why = error.to_string();
        let trouble = Trouble::new(Doing::Reaching, format!("{}: {}", self.base, shown(&why, secrets)));
        match why.to_ascii_lowercase() {
            why if why.contains("certificate") => trouble.mend(Mend::Administrator(
                "look at this host's clock (`timedatectl`), at the server's certificate and at [tailnet] ca".to_owned(),
            )),
            _ => trouble,
        }
    }
}

/// Whether that is a service's address. Boxes and their owners see it: a password in it would be everybody's.
fn is_url(text: &str) -> bool {
    let uri: Option<ureq::http::Uri> = text.parse().ok();
    let host = uri.as_ref().filter(|u| matches!(u.scheme_str(), Some("https" | "http")) && u.query().is_none());
    host.and_then(|u| u.authority()).is_some_and(|a| !a.host().is_empty() && !a.as_str().contains('@'))
}

/// An id of the provider's, if it can be a part of a path: it was said by somebody else.
pub(super) fn part(doing: Doing, id: &str) -> Result<&str, Trouble> {
    let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_id.then_some(id).ok_or_else(|| {
        Trouble::new(doing, format!("the provider's id {:?} is none", shown(id, &[])))
            .mend(Mend::Administrator("look whether [tailnet] url is the right one".to_owned()))
    })
}

/// A device's name, fit to be shown. What cannot be in a name is not left out: that could make it another's.
pub(super) fn hostname(name: &str) -> String {
    let shown = |(n, c): (usize, char)| {
        let is_part = c.is_ascii_alphanumeric() || c == '_' || (c == '-' && n > 0);
        if is_part { c } else { '?' }
    };
    name.chars().take(63).enumerate().map(shown).collect()
}

/// A field that is not as it should be is as if it were not there: one odd device is no reason to see none.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(from: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).unwrap_or_default())
}

/// The same for each element of a list.
pub(super) fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let Value::Array(list) = Value::deserialize(from)? else { return Ok(Vec::new()) };
    Ok(list.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
}

/// What an error's body says, in both APIs' forms, or its beginning.
fn said(text: &str, secrets: &[&str]) -> String {
    let message = serde_json::from_str::<Value>(text).ok();
    let message = message.as_ref().and_then(|m| m.get("message")).and_then(|m| m.as_str());
    shown(message.unwrap_or(text), secrets)
}

/// application/x-www-form-urlencoded (WHATWG URL, 5.2).
fn form(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |escaped, b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => escaped + &char::from(b).to_string(),
            b => escaped + &format!("%{b:02X}"),
        })
    };
    pairs.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect::<Vec<_>>().join("&")
}
