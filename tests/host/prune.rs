//! `prune`: what nobody needs goes, and nothing else.

use std::collections::BTreeSet;

use libtest_mimic::Failed;

use super::prelude::*;

tests! { Host:
    what_somebody_needs_stays,
    what_a_list_needs_and_what_has_two_names,
    what_cannot_be_read_is_needed,
    killed_at_any_time,
    beside_creates,
}

/// Long ago, by its own word: what is young may be of a build that is at work.
const OLD: &str = "--timestamp=1700000000";

/// An image like the box's, with a file in it; its id. The one that had the name before has none after it.
fn build(world: &World, user: &str, name: &str, text: &str, more: &[&str]) -> Result<String, Failed> {
    let script = "mkdir -p empty && cd empty && printf 'FROM localhost/devbox:latest\\nENV PRUNE=%s\\n' \"$1\" >Containerfile; shift; podman build --quiet \"$@\" .";
    let tag = format!("--tag=localhost/{name}");
    let argv = [&["sh", "-c", script, "-", text, &tag], more].concat();
    Ok(world.ok(user, &argv)?.trim().to_owned())
}

fn images(world: &World, user: &str) -> Result<BTreeSet<String>, Failed> {
    let out = world.ok(user, &["podman", "images", "--all", "--quiet", "--no-trunc"])?;
    Ok(out.lines().map(|id| id.trim_start_matches("sha256:").to_owned()).collect())
}

fn volumes(world: &World) -> Result<String, Failed> {
    world.ok("alice", &["sh", "-c", "podman volume ls --quiet | sort; cd .local/share/containers/storage/volumes && podman unshare find . -type f | sort"])
}

/// Ids of a `--json`, in their order.
fn told(world: &World, arguments: &[&str]) -> Result<Vec<String>, Failed> {
    let shown = world.ctl(&[&["prune", "--json"], arguments].concat()).expect(0)?.json()?;
    let list = shown["images"].as_array().ok_or("an array")?;
    Ok(list.iter().filter_map(|image| image["id"].as_str().map(str::to_owned)).collect())
}

/// Nothing of what tests before have left.
fn begin(world: &World) -> Outcome {
    let script = "podman images --filter manifest=true --quiet | xargs -r podman manifest rm; podman images --quiet --no-trunc | sort -u | grep -v \"$(podman image inspect --format '{{.Id}}' localhost/devbox:latest)\" | xargs -r podman image rm --force";
    for user in ["alice", "bob"] {
        world.ok(user, &["sh", "-c", script])?;
        same(&images(world, user)?.len(), &1, &format!("{:?}", images(world, user)?))?;
    }
    Ok(())
}

fn what_somebody_needs_stays(world: &World) -> Outcome {
    begin(world)?;
    // Each name is another image's by now, but for the boxes that have it still.
    let runs = build(world, "alice", "runs:1", "old", &[OLD])?;
    world.ctl(&["create", "runs", "--image", "localhost/runs:1"]).expect(0)?;
    let newer = build(world, "alice", "runs:1", "new", &[OLD])?;
    let stopped = build(world, "alice", "stopped:1", "x", &[OLD])?;
    world.ctl(&["create", "stopped", "--image", "localhost/stopped:1"]).expect(0)?;
    world.ctl(&["stop", "stopped"]).expect(0)?;
    // By its id alone.
    let trashed = build(world, "alice", "trashed:1", "y", &[OLD])?;
    world.ctl(&["create", "trashed", "--no-start", "--image", &trashed[..12]]).expect(0)?;
    world.ctl(&["destroy", "--yes", "trashed"]).expect(0)?;
    world.ok("alice", &["podman", "untag", &trashed])?;
    let foreign = build(world, "alice", "foreign:1", "z", &[OLD])?;
    world.ok("alice", &["podman", "create", "--name", "mine", "--volume", "mine:/mine", "localhost/foreign:1"])?;
    world.ok("alice", &["podman", "untag", &foreign])?;
    let listed = build(world, "alice", "listed:1", "l", &[OLD])?;
    world.ok("alice", &["sh", "-c", "podman manifest create many:1 localhost/listed:1 && podman untag listed:1"])?;
    let young = build(world, "alice", "young:1", "w", &[])?;
    world.ok("alice", &["podman", "untag", &young])?;
    let unused = build(world, "alice", "unused:1", "u", &[OLD])?;
    let left = build(world, "alice", "unused:2", "v", &[OLD])?;
    world.ok("alice", &["podman", "untag", &left])?;
    let bobs = build(world, "bob", "unused:2", "v", &[OLD])?;
    world.ok("bob", &["podman", "untag", &bobs])?;
    // In a store that is not hers to change.
    world.ok("alice", &["sh", "-c", "podman --root /home/alice/shared --runroot /tmp/alices-shared import empty/Containerfile localhost/shared:1; mkdir -p .config/containers; printf '[storage]\\ndriver=\"overlay\"\\n[storage.options]\\nadditionalimagestores=[\"/home/alice/shared\"]\\n' >.config/containers/storage.conf"])?;
    let (before, data) = (images(world, "alice")?, volumes(world)?);
    ensure(data.contains("stopped-data") && data.contains("mine"), &data)?;

    let plan = told(world, &["--dry-run"])?;
    same(&plan[..], std::slice::from_ref(&left), &format!("{plan:?} instead of {left}"))?;
    same(&images(world, "alice")?, &before, "a dry run does nothing")?;
    world.ctl(&["prune", "--dry-run"]).expect(0)?.says("1 image to remove")?;
    same(&told(world, &[])?, &plan, "what was planned")?;
    let mut rest = before;
    rest.remove(&left);
    same(&images(world, "alice")?, &rest, "that and nothing else")?;
    world.ctl(&["prune"]).expect(0)?.shows(&expect![[r#"
        nothing was removed
    "#]])?;

    // With a name it goes only by its owner's word, and not without one.
    world.ctl(&["prune", "--all"]).expect(1)?.says("there is no terminal to ask on")?;
    let plan = told(world, &["--all", "--dry-run"])?;
    // The box has its name still, and starts with the newer one next time.
    ensure(plan == [unused.clone()] && rest.contains(&newer), &format!("{plan:?}"))?;
    same(&told(world, &["--all", "--yes"])?, &plan, "what was planned")?;
    rest.remove(&unused);
    same(&images(world, "alice")?, &rest, "that and nothing else")?;
    for (id, whose) in [
        (&runs, "running"),
        (&stopped, "stopped"),
        (&trashed, "trashed"),
        (&foreign, "foreign"),
        (&listed, "listed"),
        (&young, "young"),
    ] {
        ensure(rest.contains(id), whose)?;
    }
    ensure(images(world, "bob")?.contains(&bobs), "another owner's")?;
    same(&volumes(world)?, &data, "every volume and what is in it")?;
    world.ctl(&["start", "stopped"]).expect(0)?;
    world.ctl(&["restore", "trashed"]).expect(0)?;
    world.ok(
        "alice",
        &[
            "sh",
            "-c",
            "podman rm mine; podman volume rm mine; rm .config/containers/storage.conf; podman unshare rm -rf shared",
        ],
    )?;
    Ok(())
}

fn what_a_list_needs_and_what_has_two_names(world: &World) -> Outcome {
    begin(world)?;
    let member = build(world, "alice", "member:1", "m", &[OLD])?;
    world.ok("alice", &["podman", "manifest", "create", "many:1", "localhost/member:1"])?;
    world.ctl(&["create", "listed", "--image", "localhost/many:1"]).expect(0)?;
    world.ctl(&["stop", "listed"]).expect(0)?;
    let twice = build(world, "alice", "twice:1", "t", &[OLD])?;
    world.ok("alice", &["podman", "tag", "twice:1", "localhost/twice:2", "localhost/twice:3"])?;
    let shown = world.ok("alice", &["podman", "images", "--all", "--format", "{{.Repository}}"])?;
    ensure(!shown.contains("<none>"), &format!("nothing without a name: {shown}"))?;

    let plan = told(world, &["--all", "--dry-run"])?;
    same(&plan[..], std::slice::from_ref(&twice), &format!("once: {plan:?} instead of {twice}, and not {member}"))?;
    world.ctl(&["prune", "--all", "--dry-run"]).expect(0)?.says("1 image to remove")?;
    same(&told(world, &["--all", "--yes"])?, &plan, "what was planned")?;
    let left = images(world, "alice")?;
    ensure(!left.contains(&twice) && left.contains(&member), &format!("{left:?}"))?;
    world.ctl(&["start", "listed"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "listed"]).expect(0).map(drop)
}

fn what_cannot_be_read_is_needed(world: &World) -> Outcome {
    begin(world)?;
    let left = build(world, "alice", "left:1", "a", &[OLD])?;
    world.ok("alice", &["podman", "untag", &left])?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    world.ctl(&["create", "old", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "old"]).expect(0)?;
    let before = images(world, "alice")?;
    let refuses = |breaks: &str, mends: &str| {
        world.ok("alice", &["sh", "-c", breaks])?;
        let runs = [&["prune"][..], &["prune", "--dry-run"], &["prune", "--all", "--yes"]].map(|argv| world.ctl(argv));
        world.ok("alice", &["sh", "-c", mends])?;
        for ran in runs {
            ran.expect(7)?.says("nothing was removed")?;
        }
        same(&images(world, "alice")?, &before, breaks)
    };
    let trash = ".config/containers/devbox-trash";
    refuses(&format!("chmod 0 {trash}"), &format!("chmod 700 {trash}"))?;
    // Names can be listed, and nothing more.
    refuses(&format!("chmod 400 {trash}"), &format!("chmod 700 {trash}"))?;
    refuses(&format!("chmod 0 {trash}/old/box.toml"), &format!("chmod 600 {trash}/old/box.toml"))?;
    let abc = ".config/containers/systemd/devbox/abc";
    refuses(&format!("mv {abc}/box.toml kept"), &format!("mv kept {abc}/box.toml"))?;
    refuses(&format!("cp {abc}/box.toml kept; echo more = 1 >>{abc}/box.toml"), &format!("mv kept {abc}/box.toml"))?;
    refuses(
        "mkdir .config/containers/devbox-stage/making-x; echo >.config/containers/devbox-stage/making-x/box.toml; exec 9<.config/containers/devbox-stage/making-x; flock -n 9 && (sleep 600 <&9 >/dev/null 2>&1 & echo $! >sleeps)",
        "kill $(cat sleeps); rm -r sleeps .config/containers/devbox-stage/making-x",
    )?;
    world.ctl(&["prune"]).expect(0)?.says("1 image removed")?;
    ensure(!images(world, "alice")?.contains(&left), "and goes where all can be read")
}

fn killed_at_any_time(world: &World) -> Outcome {
    begin(world)?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    let mut left = Vec::new();
    for n in 0..8 {
        let id = build(world, "alice", "left:1", &format!("k{n}"), &[OLD])?;
        world.ok("alice", &["podman", "untag", &id])?;
        left.push(id);
    }
    let before = images(world, "alice")?;
    for delay in ["0.02", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.8"] {
        world.run("alice", &["timeout", "--signal=KILL", delay, "devbox-ctl", "prune"]);
        let now = images(world, "alice")?;
        ensure(before.difference(&now).all(|id| left.contains(id)), "nothing else went")?;
    }
    world.ctl(&["prune"]).expect(0)?;
    let now = images(world, "alice")?;
    ensure(left.iter().all(|id| !now.contains(id)) && now.len() == before.len() - left.len(), &format!("{now:?}"))?;
    world.ctl(&["start", "abc"]).expect(0).map(drop)
}

/// Whichever is first: there is no box whose image was taken from under it.
fn beside_creates(world: &World) -> Outcome {
    begin(world)?;
    let mut won = 0;
    for n in 0..6 {
        build(world, "alice", "raced:1", &format!("r{n}"), &[OLD])?;
        let prune = world.spawn("alice", &["devbox-ctl", "prune", "--all", "--yes"]);
        // Each time a little later beside it.
        for _ in 0..n {
            world.run("alice", &["podman", "version"]);
            world.run("alice", &["podman", "version"]);
        }
        let made = world.run("alice", &["devbox-ctl", "create", "abc", "--image", "localhost/raced:1"]);
        prune.finish().expect(0)?;
        if made.code == 0 {
            won += 1;
            world.ctl(&["restart", "abc"]).expect(0)?;
            world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
        } else {
            made.expect(7)?.says("you have no image localhost/raced:1")?;
            ensure(!world.folder("abc").exists(), "no box")?;
        }
    }
    println!("prune::beside_creates: {won} of 6 creates were first");
    Ok(())
}
