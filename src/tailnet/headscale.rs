//! headscale's REST API (0.28): the same operations, with an API key.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::http::{Client, Sent, hostname, lenient, lenient_list, part};
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
struct Users {
    users: Vec<User>,
}

#[derive(Deserialize)]
struct MadeUser {
    user: User,
}

#[derive(Deserialize)]
struct User {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    given_name: String,
    #[serde(default, deserialize_with = "lenient_list")]
    ip_addresses: Vec<std::net::IpAddr>,
    #[serde(default, deserialize_with = "lenient_list")]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    expiry: Option<jiff::Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    online: bool,
}

/// Who made the boxes' keys. Without one, a box that logs in anew becomes a second device beside itself (0.28: a node is
/// found again by its machine key and its key's user); what it may do is its tags' matter all the same.
const USER: &str = "devbox";

impl Headscale {
    pub(super) fn new(client: Client, url: &str, key: SecretString) -> Self {
        Self { client, url: url.to_owned(), key }
    }

    /// The id of [`USER`], who is made where there is none.
    fn user(&self) -> Result<String, Trouble> {
        let path = format!("/api/v1/user?name={USER}");
        let listed: Option<Users> = self.client.ask(Doing::Making, "GET", &path, Some(&self.key), &Sent::Nothing)?;
        if let Some(user) = listed.into_iter().flat_map(|l| l.users).find(|u| u.name == USER) {
            return Ok(user.id);
        }
        let asked = json!({ "name": USER });
        let made: Option<MadeUser> =
            self.client.ask(Doing::Making, "POST", "/api/v1/user", Some(&self.key), &Sent::Json(&asked))?;
        Ok(made.map(|m| m.user.id).unwrap_or_default())
    }
}

impl Provider for Headscale {
    fn key(&self, wanted: &Wanted<'_>) -> Result<AuthKey, Trouble> {
        let tags: Vec<&str> = wanted.tags.iter().map(super::Tag::as_str).collect();
        let until = jiff::Timestamp::now() + KEY_LIVES;
        let asked = json!({
            "user": self.user()?, "reusable": false, "ephemeral": false, "expiration": until.to_string(),
            "aclTags": tags
        });
        let path = "/api/v1/preauthkey";
        let made: Option<Made> = self.client.ask(Doing::Making, "POST", path, Some(&self.key), &Sent::Json(&asked))?;
        AuthKey::parse(&made.map(|m| m.pre_auth_key.key).unwrap_or_default())
    }

    fn devices(&self) -> Result<Option<Vec<Device>>, Trouble> {
        let listed: Option<Nodes> =
            self.client.ask(Doing::Listing, "GET", "/api/v1/node", Some(&self.key), &Sent::Nothing)?;
        let now = jiff::Timestamp::now();
        let device = |n: Node| {
            Ok(Device {
                expired: n.expiry.is_some_and(|at| at <= now && at > jiff::Timestamp::UNIX_EPOCH),
                id: part(Doing::Listing, &n.id)?.to_owned(),
                hostname: hostname(&n.given_name),
                addresses: n.ip_addresses,
                tags: n.tags,
                online: Some(n.online),
            })
        };
        listed.map(|l| l.nodes.into_iter().map(device).collect()).transpose()
    }

    fn remove(&self, id: &str) -> Result<(), Trouble> {
        let path = format!("/api/v1/node/{}", part(Doing::Removing, id)?);
        let _: Option<serde_json::Value> =
            self.client.ask(Doing::Removing, "DELETE", &path, Some(&self.key), &Sent::Nothing)?;
        Ok(())
    }

    /// A tagged node that logs in anew keeps the expiry that it has (0.28).
    fn renew(&self, id: &str) -> Result<(), Trouble> {
        // The year 1 stands for never.
        let path = format!("/api/v1/node/{}/expire?expiry=0001-01-01T00:00:00Z", part(Doing::Making, id)?);
        let _: Option<serde_json::Value> =
            self.client.ask(Doing::Making, "POST", &path, Some(&self.key), &Sent::Nothing)?;
        Ok(())
    }

    fn login_server(&self) -> Option<&str> {
        Some(&self.url)
    }
}
