//! Destroyed boxes: in the trash, back out of it, and gone for good.

use libtest_mimic::Failed;
use serde_json::Value;

use super::faults::{MUTE, image};
use super::prelude::*;

tests! { Host:
    what_comes_back_is_the_same_box,
    what_is_in_it_and_until_when,
    limits_without_a_broker,
    a_restore_that_fails_is_put_back,
    a_broken_box,
    folders_moved_by_hand,
    a_full_disk,
    many_at_once,
    a_reboot_starts_nothing_of_it,
}

pub(crate) fn status(world: &World, name: &str) -> Result<Value, Failed> {
    world.ctl(&["status", name, "--json"]).expect(0)?.json()
}

/// Its state, or `none` where nobody knows it.
pub(crate) fn state(world: &World, name: &str) -> Result<String, Failed> {
    let ran = world.ctl(&["status", name, "--json"]);
    if ran.code == 10 {
        Ok("none".to_owned())
    } else {
        Ok(ran.expect(0)?.json()?["state"].as_str().unwrap_or_default().to_owned())
    }
}

/// Nothing of it runs, systemd knows nothing of it, and no operation is left open.
pub(crate) fn is_at_rest(world: &World, name: &str) -> Outcome {
    same(&state(world, name)?, &"trashed", &format!("{name} is {}", state(world, name)?))?;
    let units = ["systemctl", "--user", "--plain", "--no-legend", "list-units", "--all", &format!("devbox-{name}*")];
    let known = world.ok("alice", &units)?;
    ensure(known.is_empty(), &known)?;
    let known = world.run("alice", &["systemctl", "--user", "cat", &format!("devbox-{name}.service")]);
    ensure(known.code != 0, "systemd knows no unit of it")?;
    world.await_no_container()?;
    let (folder, live) = (world.trashed(name), world.folder(name));
    ensure(folder.join("trashed").exists() && !live.exists(), "it is in the trash alone")?;
    ensure(!folder.join("trashing").exists() && !folder.join("creating").exists(), "it is through")
}

/// It is a box as any other.
pub(crate) fn is_settled(world: &World, name: &str) -> Outcome {
    let (folder, trashed) = (world.folder(name), world.trashed(name));
    ensure(folder.exists() && !trashed.exists(), "it is a box alone")?;
    for mark in ["trashed", "trashing", "creating", "destroying"] {
        ensure(!folder.join(mark).exists(), &format!("{mark} is left"))?;
    }
    Ok(())
}

pub(crate) fn has_its_data(world: &World) -> Outcome {
    same(&world.ctl(&["exec", "abc", "--", "cat", "kept"]).expect(0)?.out, &"mine\n", "its data")
}

pub(crate) fn make(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo mine > kept"]).expect(0).map(drop)
}

fn what_comes_back_is_the_same_box(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", "mkdir -p src && echo shown > src/file; rm -rf .ssh"])?;
    let create = [
        "create",
        "abc",
        "--cpu",
        "1.5",
        "--memory",
        "512M",
        "--env",
        "GREETING=hello $USER",
        "--mount",
        "/home/alice/src:/src",
    ];
    world.ctl(&create).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo mine > kept"]).expect(0)?;
    world.ctl(&["ssh-config", "--install"]).expect(0)?;
    world.ok("alice", &["ssh", "abc", "true"])?;
    let known = std::fs::read_to_string(world.folder("abc").join("known_hosts"))?;
    let files =
        world.ok("alice", &["sh", "-c", "cd .config/containers/systemd/devbox/abc && sha256sum box.* devbox-*"])?;

    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is in the trash until DATE; `devbox-ctl restore abc` brings it back
    "#]])?;
    is_at_rest(world, "abc")?;
    same(&world.ctl(&["list", "--json"]).expect(0)?.json()?, &serde_json::json!([]), "it is in no list")?;
    let volumes = world.ok("alice", &["podman", "volume", "ls", "-q"])?;
    ensure(volumes.contains("abc-data\n") && volumes.contains("abc--state\n"), &volumes)?;
    // Its name is its own still; what helps is said.
    for verb in [&["create", "abc"][..], &["create", "abc", "--dry-run"]] {
        let refused = world.ctl(verb).expect(2)?;
        refused.says("abc is in the trash")?;
        refused.says("devbox-ctl restore abc")?;
        refused.says("devbox-ctl destroy --now abc")?;
    }
    for verb in [&["start", "abc"][..], &["stop", "abc"], &["restart", "abc"], &["logs", "abc"]] {
        world.ctl(verb).expect(10)?.says("abc is in the trash")?;
    }
    world.ctl(&["exec", "abc", "--", "true"]).expect(125)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(12)?.shows(&expect![[r#"
        --- standard error
        error: abc is in the trash already
          hint: `devbox-ctl restore abc` brings it back; `devbox-ctl destroy --now abc` deletes it for good
    "#]])?;
    let config = std::fs::read_to_string(world.path("/home/alice/.local/share/devbox/ssh/config"))?;
    ensure(!config.contains("Host abc"), "ssh does not offer it")?;

    world.ctl(&["restore", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is ready (SECONDS)
          shell  devbox-ctl ssh abc
          command  devbox-ctl exec abc -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host abc
          stop  devbox-ctl stop abc
    "#]])?;
    is_settled(world, "abc")?;
    has_its_data(world)?;
    let said = world.ctl(&["exec", "abc", "--", "sh", "-c", "echo \"$GREETING\"; cat /src/file"]).expect(0)?.out;
    same(&said, &"hello $USER\nshown\n", &said)?;
    let shown =
        world.ok("alice", &["systemctl", "--user", "show", "-p", "MemoryMax,CPUQuotaPerSecUSec", "devbox-abc"])?;
    ensure(shown.contains("MemoryMax=536870912") && shown.contains("CPUQuotaPerSecUSec=1.5"), &shown)?;
    let now =
        world.ok("alice", &["sh", "-c", "cd .config/containers/systemd/devbox/abc && sha256sum box.* devbox-*"])?;
    same(&now, &files, "the same units and settings")?;
    // No question: batch mode asks none, and a changed key would be refused.
    world.ok("alice", &["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "abc", "true"])?;
    same(&std::fs::read_to_string(world.folder("abc").join("known_hosts"))?, &known, "the same host key")?;
    world.ctl(&["restore", "abc"]).expect(12)?.shows(&expect![[r#"
        --- standard error
        error: abc is a box, and not in the trash
          hint: `devbox-ctl status abc` shows it
    "#]])?;

    // Stopped and back without a start, it stays so.
    world.ctl(&["stop", "abc"]).expect(0)?;
    let stopped = std::fs::read_to_string(world.folder("abc").join("stopped"))?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["restore", "abc", "--no-start"]).expect(0)?;
    same(&state(world, "abc")?, &"stopped", "not started")?;
    same(&std::fs::read_to_string(world.folder("abc").join("stopped"))?, &stopped, "as its owner stopped it")?;
    is_settled(world, "abc")?;
    world.ctl(&["start", "abc"]).expect(0)?;
    has_its_data(world)?;

    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is deleted
    "#]])?;
    world.expect_clean()?;
    for verb in [&["restore", "abc"][..], &["status", "abc"], &["destroy", "--now", "--yes", "abc"]] {
        world.ctl(verb).expect(10)?;
    }
    // Its data alone can be kept from there too.
    make(world)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--keep-volume", "--yes", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is deleted; its data is kept
    "#]])?;
    world.ctl(&["create", "abc"]).expect(0)?;
    has_its_data(world)?;
    world.ok("alice", &["rm", "-rf", "src", ".ssh", ".local/share/devbox"]).map(drop)
}

fn what_is_in_it_and_until_when(world: &World) -> Outcome {
    world.write("/etc/devbox/users.toml", "[defaults]\ntrash_days = 3\n");
    same(&world.ctl(&["trash"]).expect(0)?.out, &"the trash is empty\n", "nothing yet")?;
    world.ctl(&["trash", "--empty", "--yes"]).expect(0)?;
    make(world)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "head -c 20M /dev/urandom > large; sync"]).expect(0)?;
    world.ctl(&["create", "never", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "--by-administrator", "never"]).expect(0)?;
    let trash = world.ctl(&["trash", "--json"]).expect(0)?.json()?;
    let (abc, never) = (&trash[0], &trash[1]);
    ensure(abc["name"] == "abc" && abc["state"] == "trashed" && abc["trashedBy"] == "owner", &abc.to_string())?;
    let time = |value: &Value| value.as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let (at, until) = (time(&abc["trashedAt"]), time(&abc["emptiedAt"]));
    let days = at.zip(until).map(|(at, until)| (until - at).total(jiff::Unit::Hour).unwrap_or(0.0));
    same(&days, &Some(72.0), &abc.to_string())?;
    let size = abc["sizeBytes"].as_u64().unwrap_or(0) >> 20;
    ensure((20..30).contains(&size), &abc.to_string())?;
    ensure(never["emptiedAt"].is_null() && never["trashedBy"] == "administrator", &never.to_string())?;
    same(&never["sizeBytes"], &0, "it never had a volume")?;
    // All of it is what the schema says.
    let schema: Value = serde_json::from_str(include_str!("../../docs/box.schema.json"))?;
    let validator = jsonschema::validator_for(&schema).map_err(|e| e.to_string())?;
    for shown in [abc, never, &status(world, "abc")?] {
        ensure(validator.is_valid(shown), &shown.to_string())?;
    }
    let table = world.ctl(&["trash"]).expect(0)?;
    for words in ["NAME   SIZE", "by you", "by an administrator", "you say so"] {
        table.says(words)?;
    }
    world.ctl(&["status", "abc"]).expect(0)?.shows(&expect![[r#"
        name  abc
        state  trashed
        destroyed by you, TIME (SECONDS ago)
        until  DATE
        cpu  2
        memory  4G
        image  localhost/devbox:latest
        volume  abc-data
        unit  devbox-abc.service
        created  TIME (SECONDS ago)
    "#]])?;
    // Where the settings are broken nobody knows a term.
    world.write("/etc/devbox/users.toml", "[defaults]\ntrash_days = many\n");
    ensure(status(world, "abc")?["emptiedAt"].is_null(), "no term")?;
    world.write("/etc/devbox/users.toml", "");
    // Some of it, and what is not there.
    world.ctl(&["trash", "--empty", "--yes", "nobody", "abc"]).expect(10)?.shows(&expect![[r#"
        --- standard error
        error: there is no nobody in your trash
          hint: `devbox-ctl trash` shows what is in it
    "#]])?;
    world.ctl(&["trash", "abc"]).expect(1)?;
    world.ctl(&["trash", "--empty", "--yes", "never"]).expect(0)?.shows(&expect![[r#"
        never is deleted
    "#]])?;
    ensure(state(world, "abc")? == "trashed" && state(world, "never")? == "none", "only that one")?;
    world.ctl(&["trash", "--empty", "--yes"]).expect(0)?;
    world.expect_clean()
}

fn limits_without_a_broker(world: &World) -> Outcome {
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxes = 2\n");
    let create = |name: &str| world.ctl(&["create", name, "--no-start"]);
    let destroy = |name: &str| world.ctl(&["destroy", "--yes", name]);
    create("one").expect(0)?;
    create("two").expect(0)?;
    create("three").expect(3)?;
    destroy("one").expect(0)?;
    create("three").expect(0)?;
    world.ctl(&["restore", "one"]).expect(3)?.shows(&expect![[r#"
        --- standard error
        error: you already have 2 boxes, and 2 is your limit
          stopped: three, two
          hint: `devbox-ctl destroy three` makes room
    "#]])?;
    is_at_rest(world, "one")?;
    destroy("two").expect(0)?;
    destroy("three").expect(3)?.shows(&expect![[r#"
        --- standard error
        error: you have 2 boxes in the trash, and 2 is your limit there too
          in the trash: one, two
          hint: `devbox-ctl restore NAME`, `devbox-ctl destroy --now NAME` or `devbox-ctl trash --empty` makes room; with `--now` this box is deleted at once, for good
    "#]])?;
    is_settled(world, "three")?;
    same(&state(world, "three")?, &"stopped", "as it was")?;
    world.ctl(&["destroy", "--now", "--yes", "three"]).expect(0)?;
    world.ctl(&["restore", "one", "--no-start"]).expect(0)?;
    world.ctl(&["restore", "two", "--no-start"]).expect(0)?;
    // What one box may have is asked anew too.
    destroy("one").expect(0)?;
    world.write("/etc/devbox/users.toml", "[defaults]\ncpu = 1\nmax_cpu = 1\n");
    world.ctl(&["restore", "one"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: 2 processors for one box is more than the 1 allowed
          hint: ask for `--cpu 1` or less
    "#]])?;
    world.write("/etc/devbox/users.toml", "[users.alice]\nallowed = false\n");
    world.ctl(&["restore", "one"]).expect(11)?;
    is_at_rest(world, "one")
}

fn a_restore_that_fails_is_put_back(world: &World) -> Outcome {
    image(world, "mute:1", MUTE)?;
    for broker in [false, true] {
        if broker {
            world.install_broker("")?;
        }
        world.ctl(&["create", "put-back", "--no-start", "--image", "localhost/mute:1"]).expect(0)?;
        world.ctl(&["destroy", "--yes", "put-back"]).expect(0)?;
        let before = std::fs::read_to_string(world.trashed("put-back").join("trashed"))?;
        // It never says that it is ready.
        let unit = "devbox-put-back.service";
        let restore = world.spawn("alice", &["devbox-ctl", "restore", "put-back"]);
        world.run(
            "alice",
            &["sh", "-c", &format!("until systemctl --user is-active {unit} | grep -q activating; do :; done")],
        );
        world.ok("alice", &["pkill", "-INT", "-x", "devbox-ctl"])?;
        restore.finish().expect(130)?.says("what had been done was taken back")?;
        is_at_rest(world, "put-back")?;
        same(&std::fs::read_to_string(world.trashed("put-back").join("trashed"))?, &before, "as it was")?;
        ensure(world.trashed("put-back").join("stopped").exists(), "as it was stopped")?;
        if broker {
            world.run("bob", &["devbox-ctl", "create", "put-back"]).expect(2)?;
        }
        world.ctl(&["trash", "--empty", "--yes"]).expect(0)?;
    }
    // Without its image, or beside somebody's unit, nothing is moved.
    world.ctl(&["create", "put-back", "--no-start", "--image", "localhost/mute:1"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "put-back"]).expect(0)?;
    world.ok("alice", &["podman", "rmi", "localhost/mute:1"])?;
    world.ctl(&["restore", "put-back"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: you have no image localhost/mute:1
          hint: `podman pull localhost/mute:1` or `podman build` brings it; devbox-ctl pulls nothing unasked
    "#]])?;
    is_at_rest(world, "put-back")
}

fn a_broken_box(world: &World) -> Outcome {
    make(world)?;
    world.ok("alice", &["sh", "-c", "echo '][' > .config/containers/systemd/devbox/abc/box.toml"])?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    is_at_rest(world, "abc")?;
    world.ctl(&["trash"]).expect(0)?.says("warning: abc: box.toml cannot be read")?;
    world.ctl(&["restore", "abc"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: abc is broken: box.toml cannot be read: missing table open, expected `[`
          its folder is /home/alice/.config/containers/devbox-trash/abc
          hint: `devbox-ctl destroy --keep-volume abc` keeps its data; create it again
    "#]])?;
    is_at_rest(world, "abc")?;
    world.ctl(&["destroy", "--keep-volume", "--yes", "abc"]).expect(0)?;
    world.ctl(&["create", "abc"]).expect(0)?;
    has_its_data(world)?;
    world.ok("alice", &["sh", "-c", "rm .config/containers/systemd/devbox/abc/box.toml"])?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// Two folders of one name share their data: neither is touched for the other.
fn folders_moved_by_hand(world: &World) -> Outcome {
    make(world)?;
    world.ok("alice", &["sh", "-c", "cd .config/containers && cp -a systemd/devbox/abc devbox-trash/; mkdir 'devbox-trash/no name'; touch devbox-trash/stray; ln -s /etc devbox-trash/link"])?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is another abc in the trash
          its folder is /home/alice/.config/containers/devbox-trash/abc
          hint: nothing was changed; the data is of both, so that one of the folders has to be moved by hand
    "#]])?;
    world.ctl(&["trash", "--empty", "--yes"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is a box abc beside the one in the trash
          its folder is /home/alice/.config/containers/devbox-trash/abc
          hint: nothing was changed; the data is of both, so that one of the folders has to be moved by hand
    "#]])?;
    world.ctl(&["restore", "abc"]).expect(12)?;
    has_its_data(world)?;
    world.ok("alice", &["rm", "-r", ".config/containers/devbox-trash/abc"])?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    // What cannot be read of it is known of nobody, and has no end.
    world.ok("alice", &["sh", "-c", "echo '][' > .config/containers/devbox-trash/abc/trashed"])?;
    let abc = status(world, "abc")?;
    ensure(abc["trashedAt"].is_null() && abc["emptiedAt"].is_null() && abc["state"] == "trashed", &abc.to_string())?;
    // Other sorts of files are none of ours.
    world.ctl(&["trash", "--empty", "--yes", "link"]).expect(10)?;
    world.ctl(&["restore", "abc"]).expect(0)?;
    has_its_data(world)?;
    world.ok("alice", &["sh", "-c", "cd .config/containers/devbox-trash && rm stray link && rmdir 'no name'"]).map(drop)
}

fn a_full_disk(world: &World) -> Outcome {
    let folder = "/home/alice/.config/containers";
    world.ok("alice", &["mkdir", "-p", folder])?;
    world.ok("root", &["mount", "-t", "tmpfs", "-o", "size=128k,mode=700,uid=1000,gid=1000", "tmpfs", folder])?;
    let checked = (|| {
        make(world)?;
        let fill = world.run("alice", &["dd", "if=/dev/zero", &format!("of={folder}/filler"), "bs=1k"]);
        ensure(fill.code != 0, "the disk was full")?;
        world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
        let trashed = world.ok("alice", &["cat", &format!("{folder}/devbox-trash/abc/trashed")])?;
        ensure(trashed.is_empty(), "there was no room for its text")?;
        let abc = status(world, "abc")?;
        ensure(abc["state"] == "trashed" && abc["emptiedAt"].is_null(), &abc.to_string())?;
        world.ctl(&["restore", "abc"]).expect(0)?;
        has_its_data(world)?;
        world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
        world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0).map(drop)
    })();
    world.ok("root", &["umount", folder])?;
    checked?;
    world.expect_clean()
}

/// Whoever comes first, there is one box, and its data is in it or all of it is gone.
fn many_at_once(world: &World) -> Outcome {
    make(world)?;
    let verbs = [
        &["destroy", "--yes", "abc"][..],
        &["restore", "abc"],
        &["start", "abc"],
        &["create", "abc"],
        &["stop", "abc"],
    ];
    let racers: Vec<_> =
        (0..20).map(|n| world.spawn("alice", &[&["devbox-ctl"], verbs[n % verbs.len()]].concat())).collect();
    for racer in racers {
        let ran = racer.finish();
        ensure(matches!(ran.code, 0 | 2 | 10 | 12), &format!("{ran:#?}"))?;
        ensure(!ran.err.contains("still fails"), &format!("{ran:#?}"))?;
    }
    let _ = world.ctl(&["restore", "abc"]);
    let _ = world.ctl(&["start", "abc"]);
    has_its_data(world)?;
    is_settled(world, "abc")?;
    // No more than fit, however many go there at once.
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxes = 12\n");
    let names: Vec<String> = (0..8).map(|n| format!("box-{n}")).collect();
    for name in &names {
        world.ctl(&["create", "--no-start", name]).expect(0)?;
    }
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxes = 3\n");
    let racers: Vec<_> =
        names.iter().map(|name| world.spawn("alice", &["devbox-ctl", "destroy", "--yes", name])).collect();
    let codes: Vec<i32> = racers.into_iter().map(|racer| racer.finish().code).collect();
    same(&codes.iter().filter(|code| **code == 0).count(), &3, &format!("{codes:?}"))?;
    ensure(codes.iter().all(|code| matches!(code, 0 | 3)), &format!("{codes:?}"))?;
    let racers: Vec<_> = (0..6).map(|_| world.spawn("alice", &["devbox-ctl", "trash", "--empty", "--yes"])).collect();
    for racer in racers {
        let ran = racer.finish();
        ensure(matches!(ran.code, 0 | 10), &format!("{ran:#?}"))?;
    }
    same(&world.ctl(&["trash", "--json"]).expect(0)?.json()?, &serde_json::json!([]), "all is gone")
}

fn a_reboot_starts_nothing_of_it(world: &World) -> Outcome {
    world.install_broker("")?;
    make(world)?;
    world.ctl(&["create", "runs"]).expect(0)?;
    world.ctl(&["ssh", "abc", "--", "true"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sync"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.reboot()?;
    world.run("alice", &["systemctl", "--user", "is-system-running", "--wait"]);
    same(&state(world, "runs")?, &"running", "the other one runs")?;
    world.ctl(&["destroy", "--now", "--yes", "runs"]).expect(0)?;
    is_at_rest(world, "abc")?;
    world.run("bob", &["devbox-ctl", "create", "abc"]).expect(2)?;
    world.ctl(&["restore", "abc"]).expect(0)?;
    has_its_data(world)?;
    // The same host key: a changed one would be refused.
    world.ctl(&["ssh", "abc", "--", "true"]).expect(0).map(drop)
}
