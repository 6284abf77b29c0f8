//! headscale's REST API (0.28): the same operations, with an API key.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::http::{Client, Sent};
use super::trouble::{Doing, Trouble};
use super::{AuthKey, Device, KEY_LIVES, Provider, Wanted};

#[derive(Debug)]
pub(super) struct Headscale {
    client: Client,
    url: String,
    key: SecretString,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    pre_auth_key: Key,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: String,
    given_name: String,
    #[serde(default)]
    ip_addresses: Vec<std::net::IpAddr>,
    #[serde(default)]
    tags: Vec<String>,
    expiry: Option<jiff::Timestamp>,
    #[serde(default)]
    online: bool,
}

impl Headscale {
    pub(super) fn new(client: Client, url: &str, key: SecretString) -> Self {
        Self { client, url: url.to_owned(), key }
    }
}

impl Provider for Headscale {
    fn key(&self, wanted: &Wanted<'_>) -> Result<AuthKey, Trouble> {
        let tags: Vec<&str> = wanted.tags.iter().map(super::Tag::as_str).collect();
        let until = jiff::Timestamp::now() + KEY_LIVES;
        let asked = json!({ "reusable": false, "ephemeral": false, "expiration": until.to_string(), "aclTags": tags });
        let path = "/api/v1/preauthkey";
        let made: Option<Made> = self.client.ask(Doing::Making, "POST", path, Some(&self.key), &Sent::Json(&asked))?;
        AuthKey::parse(&made.map(|m| m.pre_auth_key.key).unwrap_or_default())
    }

    fn devices(&self) -> Result<Option<Vec<Device>>, Trouble> {
        let listed: Option<Nodes> =
            self.client.ask(Doing::Listing, "GET", "/api/v1/node", Some(&self.key), &Sent::Nothing)?;
        let now = jiff::Timestamp::now();
        let device = |n: Node| Device {
            // The year 1 stands for never.
            expired: n.expiry.is_some_and(|at| at <= now && at > jiff::Timestamp::UNIX_EPOCH),
            id: n.id,
            hostname: n.given_name,
            addresses: n.ip_addresses,
            tags: n.tags,
            online: Some(n.online),
        };
        Ok(listed.map(|l| l.nodes.into_iter().map(device).collect()))
    }

    fn remove(&self, id: &str) -> Result<(), Trouble> {
        let path = format!("/api/v1/node/{id}");
        let _: Option<serde_json::Value> =
            self.client.ask(Doing::Removing, "DELETE", &path, Some(&self.key), &Sent::Nothing)?;
        Ok(())
    }

    fn login_server(&self) -> Option<&str> {
        Some(&self.url)
    }
}
