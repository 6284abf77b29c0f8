//! Boxes that the broker lets onto the tailnet: key at start, device, and both gone with the box.

use std::time::{Duration, Instant};

use testbed::tailnet::{TAG, Tailnet, tag_of};

use super::broker::call;
use super::prelude::*;

tests! { Host:
    #[slow] each_of_many_rotations_logs_in,
    from_create_to_destroy,
    back_from_the_trash,
    anothers_key,
    a_provider_that_is_away,
}

pub(super) fn text(e: impl std::fmt::Display) -> String {
    format!("{e:#}")
}

/// devboxd with that control server as its provider.
pub(super) fn install(world: &World, tailnet: &Tailnet) -> Outcome {
    let settings =
        format!("[tailnet]\nprovider = \"headscale\"\nurl = \"{}\"\nca = \"/etc/devbox/ca.pem\"\n", tailnet.url());
    world.ok("root", &["mkdir", "-p", "/etc/credstore"])?;
    world.write("/etc/credstore/devbox.tailnet", tailnet.api_key());
    world.ok("root", &["chmod", "600", "/etc/credstore/devbox.tailnet"])?;
    world.install_broker(&settings)?;
    world.write("/etc/devbox/ca.pem", &std::fs::read_to_string(tailnet.ca())?);
    Ok(())
}

fn from_create_to_destroy(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
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
    let node = tailnet.node("abc").map_err(text)?.ok_or("no node")?;
    same(&node["tags"], &serde_json::json!([tag_of("alice"), TAG]), &format!("its tags: {node}"))?;
    let status = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    ensure(status["tailscaleHostname"] == "abc" && status["tailnet"] == "on", &status.to_string())?;
    ensure(node["ipAddresses"].as_array().is_some_and(|a| a.contains(&status["tailscaleIP"])), &status.to_string())?;

    // A restart needs no key, and the box is the same device.
    let keys = || world.run("root", &["devbox-ctl", "admin", "audit"]).out.matches(" key ").count();
    let before = keys();
    same(&before, &1, &format!("{before} keys were given"))?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    let again = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    ensure(again["tailnet"] == "on" && again["tailscaleIP"] == status["tailscaleIP"], &again.to_string())?;
    same(&keys(), &before, "no other key")?;

    // Another key, for the same device, while somebody works in it.
    let shell = world.spawn("alice", &["podman", "exec", "devbox-abc", "sleep", "infinity"]);
    world.ctl(&["rotate-key", "abc"]).expect(0)?.shows(&expect![[r#"
        abc has logged in anew (TAILNET-ADDRESS)
    "#]])?;
    let rotated = tailnet.node("abc").map_err(text)?.ok_or("no node")?;
    ensure(rotated["id"] == node["id"] && rotated["nodeKey"] != node["nodeKey"], &format!("{rotated} of {node}"))?;
    world.ok("alice", &["podman", "exec", "devbox-abc", "pgrep", "-x", "sleep"])?;
    drop(shell);

    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "nothing is left of it")
}

/// Its device goes with it, and comes back under the same name, on a key of its own.
fn back_from_the_trash(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    world.ctl(&["create", "abc", "--wait-tailnet"]).expect(0)?;
    let node = tailnet.node("abc").map_err(text)?.ok_or("no node")?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "its device is gone")?;
    // In the trash it is nobody who could be let in, its owner's own asking included.
    let ask = &as_box_abc("/run/devboxd/login.sock");
    for id in ["tailnet-login", "tailnet-key", "tailnet-key-anew", "tailnet-key-rotated"] {
        let given = world.ok("alice", &["perl", "-e", ask, id])?;
        same(&given, &"0", &format!("alice was given {given} bytes of {id}"))?;
    }
    world.run("alice", &call("Tailnet", &["s", "abc"])).expect(1)?;
    world.ctl(&["rotate-key", "abc"]).expect(10)?;
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
    let again = tailnet.node("abc").map_err(text)?.ok_or("no node")?;
    ensure(again["id"] != node["id"] && again["tags"] == node["tags"], &format!("{again} after {node}"))?;
    same(&tailnet.nodes().map_err(text)?.len(), &1, "one device")?;
    let status = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    ensure(status["tailscaleHostname"] == "abc" && status["tailnet"] == "on", &status.to_string())?;
    let keys = world.run("root", &["devbox-ctl", "admin", "audit"]).out.matches(" key ").count();
    same(&keys, &2, &format!("{keys} keys were given"))?;
    // With nobody to ask it is in the trash all the same, and its device goes when there is somebody.
    tailnet.stop().map_err(text)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(9)?.shows(&expect![[r#"
        abc is in the trash until DATE; `devbox-ctl restore abc` brings it back
        --- standard error
        error: abc could not be taken off the tailnet yet
          hint: that is tried again every quarter of an hour; `journalctl -u devboxd` says why
    "#]])?;
    let status = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    same(&status["state"], &"trashed", &status.to_string())?;
    tailnet.start().map_err(text)?;
    // Restored before anybody has: the old one goes, and there is one of the name.
    world.ctl(&["restore", "abc"]).expect(0)?;
    same(&tailnet.nodes().map_err(text)?.len(), &1, "one device")?;
    let last = tailnet.node("abc").map_err(text)?.ok_or("no node")?;
    ensure(last["id"] != again["id"], "another one")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "nothing is left of it")
}

/// A program that asks at that socket as systemd does for a box called abc, and prints how long the answer is.
pub(super) fn as_box_abc(socket: &str) -> String {
    format!(
        "use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; \
         bind($s, pack_sockaddr_un(\"\\0x/unit/devbox-abc.service/$ARGV[0]\")) or die; \
         connect($s, pack_sockaddr_un('{socket}')) or die qq($!\\n); local $/; print length <$s>"
    )
}

/// The name in a peer's address is the peer's own word.
fn anothers_key(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    let ask = &as_box_abc("/run/devboxd/login.sock");
    for id in ["tailnet-login", "tailnet-key", "tailnet-key-anew", "tailnet-key-rotated"] {
        let given = world.ok("bob", &["perl", "-e", ask, id])?;
        same(&given, &"0", &format!("bob was given {given} bytes of {id}"))?;
    }
    ensure(world.ok("alice", &["perl", "-e", ask, "tailnet-key"])? != "0", "alice may have it")?;
    world.run("bob", &call("Tailnet", &["s", "abc"])).expect(1).map(drop)
}

fn a_provider_that_is_away(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
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
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    tailnet.start().map_err(text)?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    let status = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    same(&status["tailnet"], &"on", &status.to_string())?;
    // With nobody to ask its device stays, and goes when there is somebody.
    tailnet.stop().map_err(text)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(9)?.shows(&expect![[r#"
        abc is deleted
        --- standard error
        error: abc could not be taken off the tailnet yet
          hint: that is tried again every quarter of an hour; `journalctl -u devboxd` says why
    "#]])?;
    tailnet.start().map_err(text)?;
    ensure(tailnet.node("abc").map_err(text)?.is_some(), "it is there still")?;
    world.ok("root", &["systemctl", "start", "devbox-tidy"])?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "nothing is left of it")
}

/// On a busy host about one of 100 logins stands still in tailscaled. The box tries once more.
fn each_of_many_rotations_logs_in(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    world.ctl(&["create", "abc", "--wait-tailnet"]).expect(0)?;
    for n in 0..25 {
        let begun = Instant::now();
        let ran = world.ctl(&["rotate-key", "abc"]);
        if ran.code != 0 {
            return Err(format!("rotation {n}: {ran:?}\n{}", world.ctl(&["logs", "abc"]).out).into());
        }
        if begun.elapsed() > Duration::from_secs(10) {
            println!("      rotation {n} took {:.1} s: the first `tailscale up` stood still", begun.elapsed().as_secs_f32());
        }
    }
    Ok(())
}
