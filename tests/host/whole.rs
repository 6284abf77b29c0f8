//! All the way on real parts: three people, a host, a control server and a second machine.

use std::time::Duration;

use testbed::tailnet::{Device, Tailnet, own_boxes, tag_of};
use testbed::tools;

use super::login::{install, text};
use super::secrets::nothing_found;
use super::prelude::*;
use super::{editor, syncthing};

tests! { Host:
    three_people_from_create_to_destroy,
}

const PATIENCE: Duration = Duration::from_mins(1);
const PEOPLE: [(&str, &str); 3] = [("alice", "abc"), ("bob", "bobs"), ("carol", "carols")];

/// Everybody reaches their own box, and nobody another's.
fn each_their_own(devices: &[Device]) -> Outcome {
    for (device, (person, own)) in devices.iter().zip(PEOPLE) {
        device.await_peer(own, PATIENCE).map_err(text)?;
        let output = device.ssh("dev", own, &["hostname"]).output()?;
        same(&output.stdout, &format!("{own}\n").as_bytes(), &format!("{person} in {own}: {output:?}"))?;
        let seen = device.status().map_err(text)?.to_string();
        for (_, other) in PEOPLE.iter().filter(|(_, name)| *name != own) {
            ensure(!seen.contains(&format!("\"{other}\"")), &format!("{person} sees {other}"))?;
            ensure(
                !device.ssh("dev", other, &["true"]).output()?.status.success(),
                &format!("{person} is in {other}"),
            )?;
        }
    }
    Ok(())
}

fn boxes(tailnet: &Tailnet) -> Result<Vec<String>, libtest_mimic::Failed> {
    let nodes = tailnet.nodes().map_err(text)?;
    let is_box = |node: &&serde_json::Value| node["tags"].as_array().is_some_and(|tags| !tags.is_empty());
    let mut names: Vec<String> =
        nodes.iter().filter(is_box).filter_map(|n| n["givenName"].as_str().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

fn three_people_from_create_to_destroy(world: &World) -> Outcome {
    tools::ensure_users().map_err(text)?;
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    tailnet.add_user("carol").map_err(text)?;
    tailnet.set_policy(&own_boxes(&PEOPLE.map(|(person, _)| person))).map_err(text)?;
    nothing_found(world, "before")?;

    for (person, name) in PEOPLE {
        let mut create = vec!["devbox-ctl", "create", name, "--wait-tailnet"];
        create.extend((name == "abc").then_some("--with-syncthing"));
        let created = world.run(person, &create).expect(0)?;
        created.says(&format!("tailnet  ssh dev@{name} (100."))?;
        let node = tailnet.node(name).map_err(text)?.ok_or("no node")?;
        ensure(node["tags"].to_string().contains(&tag_of(person)), &node.to_string())?;
    }
    nothing_found(world, "after create")?;
    let device = |(person, _)| tailnet.device(person, &format!("{person}-laptop")).map_err(text);
    let devices = PEOPLE.into_iter().map(device).collect::<Result<Vec<_>, _>>()?;
    each_their_own(&devices)?;

    drop(editor::edits(world, &devices[0])?);
    syncthing::exchanges(world, &devices[0])?;
    nothing_found(world, "after a day's work")?;

    let before = boxes(&tailnet)?;
    same(&before, &["abc", "bobs", "carols"], &format!("{before:?}"))?;
    world.reboot()?;
    for (person, _) in PEOPLE {
        world.run(person, &["systemctl", "--user", "is-system-running", "--wait"]);
    }
    each_their_own(&devices)?;
    let edited = world.ctl(&["exec", "abc", "--", "cat", "note.txt", "sync/back"]).expect(0)?;
    same(&edited.out, &"typed from afar, written in the box\nfrom afar\n", &edited.out)?;
    nothing_found(world, "after a reboot")?;

    for (person, name) in PEOPLE {
        world.run(person, &["devbox-ctl", "rotate-key", name]).expect(0)?;
    }
    each_their_own(&devices)?;
    same(&boxes(&tailnet)?, &before, "the same boxes")?;
    nothing_found(world, "after rotate-key")?;

    for (person, name) in PEOPLE {
        world.run(person, &["devbox-ctl", "destroy", "--now", "--yes", name]).expect(0)?;
    }
    ensure(boxes(&tailnet)?.is_empty(), &format!("left: {:?}", boxes(&tailnet)?))?;
    nothing_found(world, "after destroy")?;
    world.expect_clean()
}
