//! The host goes down and comes back.

use super::prelude::*;

tests! { Host:
    boxes_are_as_their_owners_left_them,
}

fn boxes_are_as_their_owners_left_them(world: &World) -> Outcome {
    world.ctl(&["create", "runs"]).expect(0)?;
    world.ctl(&["create", "stopped"]).expect(0)?;
    world.ctl(&["create", "never", "--no-start"]).expect(0)?;
    world.ctl(&["exec", "runs", "--", "sh", "-c", "echo mine > kept; sync"]).expect(0)?;
    world.ctl(&["ssh", "runs", "--", "true"]).expect(0)?;
    world.ctl(&["stop", "stopped"]).expect(0)?;

    world.reboot()?;

    // Its start job is part of the manager's own startup: waiting for that is waiting for the box.
    world.run("alice", &["systemctl", "--user", "is-system-running", "--wait"]);
    let list = world.ctl(&["list", "--json"]).expect(0)?.json()?;
    let states: Vec<(&str, &str)> = list
        .as_array()
        .ok_or("an array")?
        .iter()
        .map(|b| (b["name"].as_str().unwrap_or_default(), b["state"].as_str().unwrap_or_default()))
        .collect();
    same(&states, &[("never", "stopped"), ("runs", "running"), ("stopped", "stopped")], &format!("{states:?}"))?;
    same(&world.ctl(&["exec", "runs", "--", "cat", "kept"]).expect(0)?.out, &"mine\n", "its data")?;
    // The same host key: a changed one would be refused.
    world.ctl(&["ssh", "runs", "--", "true"]).expect(0)?;
    world.ctl(&["start", "never", "stopped"]).expect(0)?;
    for name in ["never", "runs", "stopped"] {
        world.ctl(&["destroy", "--now", "--yes", name]).expect(0)?;
    }
    world.expect_clean()
}
