//! headscale's broken answers; tests/host has the real one.

use devbox_ctl::settings::Provider as Kind;
use devbox_ctl::tailnet::{Doing, Mend};
use serde_json::{Value, json};

use crate::server::{Answer, Server, good};
use crate::world::World;

const API_KEY: &str = "hskey-api-aBcDeF12-Zx9Cv8Bn7Ma6Sd5Fg4Hj3Kl2Qw1";
const KEY: &str = "hskey-auth-0a1b2c3d-Po9Iu8Yt7Re6Wq5As4Df3Gh2";

fn world(server: &Server) -> World {
    let mut world = World::new(Kind::Headscale, API_KEY);
    world.settings.url = Some(server.url.clone());
    world
}

fn users(names: &[&str]) -> Value {
    let one =
        |(n, name): (usize, &&str)| json!({ "id": n.to_string(), "name": name, "createdAt": "2026-09-28T12:00:00Z" });
    json!({ "users": names.iter().enumerate().map(one).collect::<Vec<_>>() })
}

fn made() -> Answer {
    good(json!({ "preAuthKey": { "id": "1", "key": KEY, "reusable": false, "used": false } }))
}

#[test]
fn a_key_is_made_for_the_boxes_user() {
    let server = Server::new(|asked| match asked.line().as_str() {
        "GET /api/v1/user?name=devbox" => good(users(&["other", "devbox"])),
        _ => made(),
    });
    assert_eq!(world(&server).key().unwrap().expose(), KEY);
    let asked = server.asked();
    assert!(
        asked
            .iter()
            .all(|a| a.header("authorization") == Some(&format!("Bearer {API_KEY}")) && !a.path.contains("hskey"))
    );
    let body: Value = serde_json::from_str(&asked[1].body).unwrap();
    assert_eq!((&body["user"], &body["reusable"], &body["ephemeral"]), (&json!("1"), &json!(false), &json!(false)));
    assert_eq!(body["aclTags"], json!(["tag:devcontainer", "tag:alice-container"]));
    let until: jiff::Timestamp = body["expiration"].as_str().unwrap().parse().unwrap();
    let lives = until.as_second() - jiff::Timestamp::now().as_second();
    assert!((60..=900).contains(&lives), "{lives}");
}

#[test]
fn a_user_that_is_missing_is_made() {
    let server = Server::new(|asked| match asked.line().as_str() {
        "GET /api/v1/user?name=devbox" => good(users(&["someone"])),
        "POST /api/v1/user" => good(json!({ "user": { "id": "7", "name": "devbox" } })),
        _ => made(),
    });
    world(&server).key().unwrap();
    assert_eq!(server.lines(), ["GET /api/v1/user?name=devbox", "POST /api/v1/user", "POST /api/v1/preauthkey"]);
    let body: Value = serde_json::from_str(&server.asked()[2].body).unwrap();
    assert_eq!(body["user"], "7");
}

#[test]
fn broken_answers_are_told() {
    for (answer, doing, waits) in [
        (Answer::Status(401, "Unauthorized".to_owned()), Doing::LoggingIn, false),
        (Answer::Status(500, json!({ "code": 2, "message": "database is locked" }).to_string()), Doing::Making, true),
        (good("junk"), Doing::Making, false),
        (good(""), Doing::Making, false),
        (good("{\"users\":[{\"id\":1}]}"), Doing::Making, false),
        (good(format!("\"{KEY}\"")), Doing::Making, false),
        (Answer::Midway, Doing::Reaching, true),
    ] {
        let server = Server::new(move |_| answer.clone());
        let trouble = world(&server).trouble();
        assert_eq!((trouble.doing, trouble.mend == Mend::Wait), (doing, waits), "{trouble:?}");
        let said = format!("{trouble:?}");
        assert!(!said.contains("hskey-") && !said.contains("Po9Iu8") && !said.contains("Zx9Cv8"), "{said}");
    }
}

#[test]
fn a_key_of_the_wrong_kind_is_no_boxes() {
    for wrong in [API_KEY, "", "nodekey:abc", "hskey-client-x"] {
        let server = Server::new(move |asked| match asked.method.as_str() {
            "GET" => good(users(&["devbox"])),
            _ => good(json!({ "preAuthKey": { "key": wrong } })),
        });
        assert_eq!(world(&server).trouble().doing, Doing::ReadingKey, "{wrong}");
    }
}

#[test]
fn nodes_are_listed() {
    let server = Server::new(|_| {
        good(json!({ "nodes": [
            { "id": "1", "givenName": "abc", "ipAddresses": ["100.64.0.1"], "tags": ["tag:a"], "expiry": null, "online": true, "x": {} },
            { "id": "2", "givenName": "old", "expiry": "2020-01-01T00:00:00Z" },
            { "id": "3", "givenName": "never", "expiry": "0001-01-01T00:00:00Z", "ipAddresses": null, "tags": null },
            { "id": "4", "givenName": "odd", "expiry": "", "ipAddresses": ["x"] },
        ] }))
    });
    let nodes = world(&server).provider().unwrap().devices().unwrap().unwrap();
    let seen: Vec<_> = nodes.iter().map(|n| (n.id.as_str(), n.hostname.as_str(), n.expired)).collect();
    assert_eq!(seen, [("1", "abc", false), ("2", "old", true), ("3", "never", false), ("4", "odd", false)]);
}

#[test]
fn an_id_is_no_path() {
    let server = Server::new(|_| good("{}"));
    let provider = world(&server).provider().unwrap();
    provider.remove("12").unwrap();
    provider.renew("12").unwrap();
    assert_eq!(server.lines(), ["DELETE /api/v1/node/12", "POST /api/v1/node/12/expire?expiry=0001-01-01T00:00:00Z"]);
    for odd in ["", "../user/1", "1/2", "1?x"] {
        provider.remove(odd).unwrap_err();
        provider.renew(odd).unwrap_err();
    }
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn without_a_url_it_is_said() {
    let trouble = World::new(Kind::Headscale, API_KEY).provider().map(drop).unwrap_err();
    assert_eq!(trouble.doing, Doing::Settings);
}
