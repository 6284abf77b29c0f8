//! Devices in Tailscale's API: listed and removed.

use devbox_ctl::tailnet::Doing;
use serde_json::{Value, json};

use crate::server::{Answer, good};
use crate::tailscale::{TOKEN, answering, world};

fn listed(devices: &Value) -> Vec<devbox_ctl::policy::login::Device> {
    let body = json!({ "devices": devices });
    let server = answering(move |_| good(body.clone()));
    let listed = world(&server).provider().unwrap().devices().unwrap().unwrap();
    assert_eq!(server.lines()[1], "GET /api/v2/tailnet/-/devices");
    assert_eq!(server.asked()[1].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    listed
}

/// As the API's documentation shows one.
fn device() -> Value {
    json!({
        "addresses": ["100.87.74.78", "fd7a:115c:a1e0:ac82:4843:ca90:697d:c36e"], "id": "92960230385", "nodeId": "n292kg92CNTRL",
        "user": "amelie@example.com", "name": "my-project.tail1234.ts.net", "hostname": "my-project", "clientVersion": "",
        "updateAvailable": false, "os": "linux", "created": "2022-12-01T05:23:30Z", "lastSeen": "2022-12-01T05:23:30Z",
        "keyExpiryDisabled": true, "expires": "2023-05-30T04:44:05Z", "authorized": true, "isExternal": false,
        "machineKey": "", "nodeKey": "nodekey:01234567890", "blocksIncomingConnections": false,
        "enabledRoutes": [], "advertisedRoutes": [], "clientConnectivity": { "endpoints": [] },
        "tags": ["tag:devcontainer", "tag:alice-container"], "tailnetLockError": "", "tailnetLockKey": "", "new": [1, { "x": null }]
    })
}

#[test]
fn a_device_is_as_the_api_has_it() {
    let one = &listed(&json!([device()]))[0];
    assert_eq!((one.id.as_str(), one.hostname.as_str(), one.expired), ("92960230385", "my-project", false));
    assert_eq!(one.addresses.len(), 2);
    assert_eq!(one.tags, ["tag:devcontainer", "tag:alice-container"]);
}

#[test]
fn an_expired_device_is() {
    let with = |disabled: bool, expires: Value| {
        let mut one = device();
        one["keyExpiryDisabled"] = disabled.into();
        one["expires"] = expires;
        listed(&json!([one]))[0].expired
    };
    assert!(with(false, "2023-05-30T04:44:05Z".into()));
    assert!(!with(false, "2123-05-30T04:44:05Z".into()));
    assert!(!with(true, "2023-05-30T04:44:05Z".into()));
    // Never, in Go.
    assert!(!with(false, "0001-01-01T00:00:00Z".into()));
    assert!(!with(false, Value::Null));
}

/// A device of somebody else's that is not as documented must not keep all boxes off the tailnet.
#[test]
fn an_odd_device_spoils_nothing() {
    let odd = json!([
        { "id": "1", "name": "bare" },
        { "id": "2" },
        { "id": "3", "name": "odd-date", "expires": "" },
        { "id": "4", "name": "odd-date", "expires": "soon" },
        { "id": "5", "name": "odd-address", "addresses": ["100.64.0.1/32", "", "100.64.0.2"] },
        { "id": "6", "name": "null", "addresses": null, "tags": null, "expires": null, "keyExpiryDisabled": null },
        device(),
    ]);
    let listed = listed(&odd);
    assert_eq!(listed.len(), 7);
    assert_eq!(listed[6].hostname, "my-project");
    assert_eq!(listed[4].addresses.len(), 1);
    assert!(listed.iter().all(|d| !d.expired));
    assert!(listed[0].tags.is_empty() && listed[1].hostname.is_empty());
}

/// Devices are told apart by their ids: a list without them is none.
#[test]
fn a_list_that_is_none() {
    for body in [
        "{}",
        "{\"devices\":[{\"name\":\"x\"}]}",
        "{\"devices\":[{\"id\":\"\u{1b}[2J\"}]}",
        "{\"devices\":null}",
        "",
        "[]",
    ] {
        let server = answering(move |_| good(body));
        let trouble = world(&server).provider().unwrap().devices().unwrap_err();
        assert_eq!(trouble.doing, Doing::Listing, "{body}");
    }
    let server = answering(|_| Answer::Status(404, String::new()));
    assert!(world(&server).provider().unwrap().devices().is_err());
}

#[test]
fn a_device_is_removed() {
    for answer in [good(""), good("null"), Answer::Status(404, json!({ "message": "no such device" }).to_string())] {
        let server = answering(move |_| answer.clone());
        world(&server).provider().unwrap().remove("92960230385").unwrap();
        assert_eq!(server.lines()[1], "DELETE /api/v2/device/92960230385");
    }
    for (status, doing) in
        [(401, Doing::LoggingIn), (403, Doing::LoggingIn), (500, Doing::Removing), (400, Doing::Removing)]
    {
        let server = answering(move |_| Answer::Status(status, "{\"message\":\"no\"}".to_owned()));
        let trouble = world(&server).provider().unwrap().remove("92960230385").unwrap_err();
        assert_eq!(trouble.doing, doing, "{status}");
    }
}

/// What the provider once said is a part of a path later.
#[test]
fn an_id_is_no_path() {
    let server = answering(|_| good(""));
    let provider = world(&server).provider().unwrap();
    for odd in ["", "..", "../tailnet/-/keys/k1", "a/b", "1?x=y", "1#x", "a b", "1\r\nx: y", "%2e%2e"] {
        assert_eq!(provider.remove(odd).unwrap_err().doing, Doing::Removing, "{odd}");
    }
    assert!(!server.lines().iter().any(|line| line.starts_with("DELETE")), "{:?}", server.lines());
}

/// Owners see it at their terminals, and read there what to type.
#[test]
fn a_host_name_is_one() {
    for (name, shown) in [
        ("abc.tail1234.ts.net", "abc"),
        ("\u{1b}[2Jabc\r\n", "??2Jabc??"),
        ("-oProxyCommand=id", "?oProxyCommand?id"),
        ("$(id)", "??id?"),
        ("\u{202e}x", "?x"),
        ("", ""),
    ] {
        let mut one = device();
        one["name"] = name.into();
        assert_eq!(listed(&json!([one]))[0].hostname, shown);
    }
}
