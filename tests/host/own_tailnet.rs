//! Boxes on their owner's own tailnet, on a host without a broker.

use libtest_mimic::Failed;
use serde_json::Value;
use testbed::tailnet::{KeyRequest, TAG, Tailnet, tag_of};

use super::login::{as_box_abc, text};
use super::login_faults::{is_on, node, status};
use super::secrets::nothing_found_but;
use super::prelude::*;

tests! { Host:
    from_create_to_destroy,
    back_from_the_trash,
    a_provider_that_is_away,
    anothers_key,
    what_is_not_set_up_right,
    a_program_of_the_owners,
    boxes_after_a_reboot,
    a_broker_goes_before_it,
}

const FOLDER: &str = "/home/alice/.config/devbox";
const CREDENTIAL: &str = "/home/alice/.config/devbox/tailnet-credential";
const SOCKET: &str = "/run/user/1000/devbox/login.sock";

/// Writes a file of alice's.
fn write(world: &World, name: &str, content: &str, mode: &str) -> Outcome {
    let script = format!("mkdir -p {FOLDER}; cat >{FOLDER}/{name}; chmod {mode} {FOLDER}/{name}");
    world.run_with("alice", &["sh", "-euc", &script], content).expect(0).map(drop)
}

fn settings(tailnet: &Tailnet, provider: &str) -> String {
    format!("[tailnet]\nprovider = {provider}\nurl = \"{}\"\nca = \"{FOLDER}/ca.pem\"\n", tailnet.url())
}

fn install(world: &World, tailnet: &Tailnet) -> Outcome {
    write(world, "ca.pem", &std::fs::read_to_string(tailnet.ca())?, "644")?;
    write(world, "tailnet.toml", &settings(tailnet, "\"headscale\""), "644")?;
    write(world, "tailnet-credential", tailnet.api_key(), "600")?;
    world.install_without_broker()
}

/// How many keys the control server has ever given.
fn keys(tailnet: &Tailnet) -> Result<usize, Failed> {
    let listed = tailnet.rest("GET", "/api/v1/preauthkey", None).map_err(text)?;
    Ok(listed["preAuthKeys"].as_array().ok_or_else(|| format!("no keys in {listed}"))?.len())
}

/// Whoever answered has ended, and what they started.
fn nobody_asks(world: &World) -> Outcome {
    let left = world.run("alice", &["pgrep", "-u", "alice", "-af", "^/usr/bin/devbox-ctl login-answer|^sleep 100"]).out;
    ensure(left.is_empty(), &left)
}

fn tend(world: &World) -> Outcome {
    world.ok("alice", &["systemctl", "--user", "start", "devboxes-tend"]).map(drop)
}

fn pages(world: &World) -> Result<String, Failed> {
    world.ok("alice", &["sh", "-c", "ls .local/state/devbox/tailnet"])
}

fn from_create_to_destroy(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    let clean = |when: &str| nothing_found_but(world, CREDENTIAL, when);
    clean("before")?;
    world.ctl(&["create", "abc", "--wait-tailnet"]).expect(0)?.shows(&expect![[r#"
        abc is ready (SECONDS)
          shell  devbox-ctl ssh abc
          command  devbox-ctl exec abc -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host abc
          tailnet  ssh dev@abc (TAILNET-ADDRESS)
                   http://abc:8080 (code-server)
                   zed ssh://dev@abc/home/dev
          stop  devbox-ctl stop abc
    "#]])?;
    clean("after create")?;
    nobody_asks(world)?;
    let first = node(&tailnet, "abc")?;
    same(&first["tags"], &serde_json::json!([tag_of("alice"), TAG]), &format!("its tags: {first}"))?;
    let seen = status(world, "abc")?;
    ensure(seen["tailscaleHostname"] == "abc" && seen["tailnet"] == "on", &seen.to_string())?;
    ensure(first["ipAddresses"].as_array().is_some_and(|a| a.contains(&seen["tailscaleIP"])), &seen.to_string())?;
    world.ctl(&["list"]).expect(0)?.says(seen["tailscaleIP"].as_str().ok_or("no address")?)?;
    let said = world.ok("alice", &["devbox-ctl", "tend"])?;
    ensure(said.is_empty(), "there is nothing to tend")?;

    // A restart needs no key, and the box is the same device.
    let given = keys(&tailnet)?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    clean("after a restart")?;
    let again = status(world, "abc")?;
    ensure(again["tailnet"] == "on" && again["tailscaleIP"] == seen["tailscaleIP"], &again.to_string())?;
    same(&keys(&tailnet)?, &given, "no other key")?;

    // Another key, for the same device, while somebody works in it.
    let shell = world.spawn("alice", &["podman", "exec", "devbox-abc", "sleep", "infinity"]);
    world.ctl(&["rotate-key", "abc"]).expect(0)?.shows(&expect![[r#"
        abc has logged in anew (TAILNET-ADDRESS)
    "#]])?;
    clean("after rotate-key")?;
    let rotated = node(&tailnet, "abc")?;
    ensure(rotated["id"] == first["id"] && rotated["nodeKey"] != first["nodeKey"], &format!("{rotated} of {first}"))?;
    world.ok("alice", &["podman", "exec", "devbox-abc", "pgrep", "-x", "sleep"])?;
    drop(shell);

    // A login that is lost: never two devices.
    let lose = "pkill -9 tailscaled; rm -r /var/lib/devbox/tailscale";
    world.ok("alice", &["podman", "exec", "--user=root", "devbox-abc", "sh", "-c", lose])?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    is_on(world, "abc")?;
    clean("after a late key")?;
    same(&tailnet.nodes().map_err(text)?.len(), &1, "one device a box")?;

    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    clean("after destroy")?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "nothing is left of it")?;
    ensure(!pages(world)?.contains("abc"), "nothing is known of it")?;
    ensure(world.path(CREDENTIAL).exists(), "the owner's own is where it was")
}

fn back_from_the_trash(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    world.ctl(&["create", "abc", "--wait-tailnet"]).expect(0)?;
    let first = node(&tailnet, "abc")?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "its device is gone")?;
    ensure(!pages(world)?.contains("abc"), "nothing is known of it")?;
    let given = world.ok("alice", &["perl", "-e", &as_box_abc(SOCKET), "tailnet-key"])?;
    same(&given, &"0", &format!("one in the trash was given {given} bytes"))?;
    world.ctl(&["restore", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is ready (SECONDS)
          shell  devbox-ctl ssh abc
          command  devbox-ctl exec abc -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host abc
          tailnet  ssh dev@abc (TAILNET-ADDRESS)
                   http://abc:8080 (code-server)
                   zed ssh://dev@abc/home/dev
          stop  devbox-ctl stop abc
    "#]])?;
    let again = node(&tailnet, "abc")?;
    ensure(again["id"] != first["id"] && again["tags"] == first["tags"], &format!("{again} after {first}"))?;
    same(&(keys(&tailnet)?, tailnet.nodes().map_err(text)?.len()), &(2, 1), "keys and devices: one, on a key of its own")?;
    is_on(world, "abc")?;
    nothing_found_but(world, CREDENTIAL, "after restore")?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    world.ctl(&["trash", "--empty", "--yes"]).expect(0)?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "nothing is left of it")
}

fn a_provider_that_is_away(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    let clean = |when: &str| nothing_found_but(world, CREDENTIAL, when);
    tailnet.stop().map_err(text)?;
    // It is a box all the same, and why it is not on the tailnet is said.
    world.ctl(&["create", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is ready (SECONDS)
          shell  devbox-ctl ssh abc
          command  devbox-ctl exec abc -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host abc
          stop  devbox-ctl stop abc
        --- standard error
        warning: error: abc is not on the tailnet: reaching the provider: https://198.18.1.1:8443: io: Connection refused (os error 111)
          hint: it is tried again at the next start; `devbox-ctl restart NAME` tries now

    "#]])?;
    world.ctl(&["create", "def", "--wait-tailnet"]).expect(8)?.shows(&expect![[r#"
        def is ready (SECONDS)
          shell  devbox-ctl ssh def
          command  devbox-ctl exec def -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host def
          stop  devbox-ctl stop def
        --- standard error
        error: def is not on the tailnet: reaching the provider: https://198.18.1.1:8443: io: Connection refused (os error 111)
          hint: it is tried again at the next start; `devbox-ctl restart NAME` tries now
    "#]])?;
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    clean("without a provider")?;
    tailnet.start().map_err(text)?;
    // The owner's timer finds both without anybody's doing.
    tend(world)?;
    is_on(world, "abc")?;
    is_on(world, "def")?;
    clean("after late keys")?;
    // With nobody to ask its device stays, and goes when there is somebody.
    tailnet.stop().map_err(text)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(9)?.shows(&expect![[r#"
        abc is deleted
        --- standard error
        error: abc could not be taken off the tailnet yet
          the device of abc, which is gone, stays on the tailnet for now: reaching the provider: https://198.18.1.1:8443: io: Connection refused (os error 111)
          hint: `devboxes-tend.timer` of yours tries it again every few minutes
    "#]])?;
    ensure(!world.folder("abc").exists(), "the box is gone")?;
    same(&status(world, "def")?["tailnet"], &"unknown", "nobody knows")?;
    tend(world)?;
    tailnet.start().map_err(text)?;
    ensure(tailnet.node("abc").map_err(text)?.is_some(), "it is there still")?;
    tend(world)?;
    ensure(tailnet.node("abc").map_err(text)?.is_none(), "nothing is left of it")?;
    is_on(world, "def")?;
    world.ctl(&["destroy", "--now", "--yes", "def"]).expect(0)?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "nothing is left of them")?;
    clean("after destroy")
}

fn anothers_key(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    let ask = &as_box_abc("/run/user/1000/devbox/login.sock");
    let ids = ["tailnet-login", "tailnet-key", "tailnet-key-anew", "tailnet-key-rotated"];
    for id in ids {
        let refused = world.run("bob", &["perl", "-e", ask, id]);
        ensure(refused.code != 0, "bob is connected")?;
        refused.says("Permission denied")?;
    }
    // Should somebody open it to everybody, who asks is still the kernel's word.
    let script = format!("chmod o+x /run/user/1000 /run/user/1000/devbox; chmod 666 {SOCKET}");
    world.ok("root", &["sh", "-euc", &script])?;
    for id in ids {
        let given = world.ok("bob", &["perl", "-e", ask, id])?;
        same(&given, &"0", &format!("bob was given {given} bytes of {id}"))?;
    }
    world.ok("root", &["sh", "-euc", "chmod o-x /run/user/1000 /run/user/1000/devbox"])?;
    ensure(tailnet.nodes().map_err(text)?.is_empty() && keys(&tailnet)? == 0, "no key was made")?;
    for odd in ["other", "tailnet-key/more"] {
        same(&world.ok("alice", &["perl", "-e", ask, odd])?, &"0", "nothing else is given")?;
    }
    ensure(world.ok("alice", &["perl", "-e", ask, "tailnet-login"])? != "0", "alice may have it")?;
    ensure(world.ok("alice", &["perl", "-e", ask, "tailnet-key"])? != "0", "alice may have it")
}

fn what_is_not_set_up_right(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    let good = settings(&tailnet, "\"headscale\"");
    for (broken, what) in [
        ("[tailnet]\nprovder = \"headscale\"\n", "did you mean `provider`?"),
        ("[tailnet\n", "tailnet.toml:1: "),
        ("[users.alice]\nmax_boxes = 99\n", "unknown key `users`"),
        ("[tailnet]\ncredential = \"x\"\n", "tailnet-credential"),
    ] {
        write(world, "tailnet.toml", broken, "644")?;
        world.ctl(&["create", "abc"]).expect(1)?.says(what)?;
        world.expect_clean()?;
    }
    write(world, "tailnet.toml", &good, "644")?;
    // What others may read is not used.
    write(world, "tailnet-credential", tailnet.api_key(), "640")?;
    world.ctl(&["create", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is ready (SECONDS)
          shell  devbox-ctl ssh abc
          command  devbox-ctl exec abc -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host abc
          stop  devbox-ctl stop abc
        --- standard error
        warning: error: abc is not on the tailnet: reading the provider's token: /home/alice/.config/devbox/tailnet-credential: others may read or write it
          hint: you can mend it: `chmod 600 /home/alice/.config/devbox/tailnet-credential`; was it so for long, a new secret

    "#]])?;
    same(&keys(&tailnet)?, &0, "no key was made")?;
    write(world, "tailnet-credential", tailnet.api_key(), "600")?;
    // A box that is there starts with settings that are broken, and that is said.
    write(world, "tailnet.toml", "[tailnet\n", "644")?;
    world.ctl(&["restart", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is running
        --- standard error
        warning: error: /home/alice/.config/devbox/tailnet.toml:1: unclosed table, expected `]`
          hint: mend that file of yours, or remove it to have no tailnet

    "#]])?;
    world.ctl(&["status", "abc"]).expect(0)?.says("tailnet.toml:1: ")?;
    write(world, "tailnet.toml", &good, "644")?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    is_on(world, "abc")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;

    // Where nobody listens the box is made all the same.
    world.ok("alice", &["systemctl", "--user", "stop", "devboxes-login.socket"])?;
    world.ctl(&["create", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is ready (SECONDS)
          shell  devbox-ctl ssh abc
          command  devbox-ctl exec abc -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host abc
          stop  devbox-ctl stop abc
        --- standard error
        warning: error: abc is not on the tailnet: nobody listens at /run/user/1000/devbox/login.sock, where boxes ask for their keys
          hint: `systemctl --user enable --now devboxes-login.socket devboxes-tend.timer`, then `devbox-ctl restart abc`

    "#]])?;
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    world.ok("alice", &["systemctl", "--user", "start", "devboxes-login.socket"])?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    is_on(world, "abc")?;
    // Without settings any more, it is a box that is nowhere.
    world.ok("alice", &["rm", &format!("{FOLDER}/tailnet.toml")])?;
    same(&status(world, "abc")?["tailnet"], &Value::Null, "nobody knows of a tailnet")?;
    world.ctl(&["rotate-key", "abc"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: abc is not on a tailnet
          hint: there is none here, or the box was made before there was: docs/tailnet.md
    "#]])?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    write(world, "tailnet.toml", &good, "644")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "nothing is left of it")
}

fn a_program_of_the_owners(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    let request = KeyRequest { tags: &[&tag_of("alice")], ..KeyRequest::default() };
    let script =
        format!("#!/bin/sh\n[ \"$1 $2\" = 'alice abc' ] && echo {}\n", tailnet.preauth_key(&request).map_err(text)?);
    write(world, "give", &script, "770")?;
    write(world, "tailnet.toml", &settings(&tailnet, &format!("\"command\"\ncommand = [\"{FOLDER}/give\"]")), "644")?;
    world.ctl(&["create", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is ready (SECONDS)
          shell  devbox-ctl ssh abc
          command  devbox-ctl exec abc -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host abc
          stop  devbox-ctl stop abc
        --- standard error
        warning: error: abc is not on the tailnet: reading the provider's settings: /home/alice/.config/devbox/give can be written by others
          hint: you can mend it: make /home/alice/.config/devbox/give a file, and it and its folders root's or yours, writable by nobody else

    "#]])?;
    write(world, "give", &script, "700")?;
    tend(world)?;
    // This provider has no list: its word is that a key was given, and the box's where it is.
    let seen = status(world, "abc")?;
    ensure(seen["tailnet"] == "given" && seen["trouble"] == Value::Null, &seen.to_string())?;
    ensure(
        node(&tailnet, "abc")?["ipAddresses"].as_array().is_some_and(|a| a.contains(&seen["tailscaleIP"])),
        "it is on",
    )?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    // One that does not end is not waited for.
    write(world, "give", "#!/bin/sh\nexec sleep 100\n", "700")?;
    let created = world.ctl(&["create", "slow"]).expect(0)?;
    created.says("in 8 seconds").or_else(|_| created.says("in 10 seconds"))?;
    world.ctl(&["exec", "slow", "--", "true"]).expect(0)?;
    nobody_asks(world)?;
    world.ctl(&["destroy", "--now", "--yes", "slow"]).expect(0).map(drop)
}

fn boxes_after_a_reboot(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    let boxes = ["abc", "def", "ghi"];
    let made: Vec<_> = boxes.iter().map(|name| world.spawn("alice", &["devbox-ctl", "create", name])).collect();
    for one in made {
        one.finish().expect(0)?;
    }
    boxes.iter().try_for_each(|name| is_on(world, name))?;
    let given = keys(&tailnet)?;
    world.reboot()?;
    world.run("alice", &["systemctl", "--user", "is-system-running", "--wait"]);
    for name in boxes {
        let seen = status(world, name)?;
        ensure(seen["state"] == "running" && seen["tailnet"] == "on", &seen.to_string())?;
    }
    same(&keys(&tailnet)?, &given, "no box needed another key")?;
    same(&tailnet.nodes().map_err(text)?.len(), &boxes.len(), "one device a box")
}

fn a_broker_goes_before_it(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    write(world, "tailnet.toml", "[tailnet\n", "644")?;
    world.install_broker("")?;
    world.ctl(&["create", "abc"]).expect(0)?;
    let spec = std::fs::read_to_string(world.folder("abc").join("box.toml"))?;
    ensure(spec.contains("tailnet = \"broker\""), &spec)?;
    same(&status(world, "abc")?["tailnet"], &Value::Null, "the administrator has set up none")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0).map(drop)
}
