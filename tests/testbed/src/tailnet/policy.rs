//! Who may reach what: each person's devices their own boxes, and nothing else.

use serde_json::{Value, json};

/// The tag of every box.
pub const TAG: &str = "tag:devcontainer";

/// The tag of a person's boxes.
pub fn tag_of(user: &str) -> String {
    format!("tag:{user}-container")
}

/// The devices of each of these users reach that user's boxes on any port, and log in there as dev, never as root.
pub fn own_boxes(users: &[&str]) -> Value {
    let person = |user: &str| format!("{user}@");
    let everyone: Vec<String> = users.iter().map(|user| person(user)).collect();
    let mut owners = serde_json::Map::new();
    owners.insert(TAG.to_owned(), json!(everyone));
    owners.extend(users.iter().map(|user| (tag_of(user), json!([person(user)]))));
    let reach =
        |user: &&str| json!({"action": "accept", "src": [person(user)], "dst": [format!("{}:*", tag_of(user))]});
    let login =
        |user: &&str| json!({"action": "accept", "src": [person(user)], "dst": [tag_of(user)], "users": ["dev"]});
    json!({
        "tagOwners": owners,
        "acls": users.iter().map(reach).collect::<Vec<_>>(),
        "ssh": users.iter().map(login).collect::<Vec<_>>(),
    })
}
