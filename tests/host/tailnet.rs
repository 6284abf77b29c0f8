//! A box on a tailnet: a real control server, a real tailscaled in the box, and devices of two users.

use std::fmt::Display;
use std::time::{Duration, Instant};

use testbed::tailnet::{Device, KeyRequest, TAG, Tailnet, own_boxes, tag_of};

use super::prelude::*;

tests! { Host:
    a_box_is_reached_by_its_owner_alone,
    ports_of_a_box_and_keys,
    connections_outlive_the_control_server,
}

/// Long enough for a busy machine; what is waited for takes about a second.
const PATIENCE: Duration = Duration::from_secs(90);

fn text(e: impl Display) -> String {
    format!("{e:#}")
}

fn timed<T>(what: &str, doing: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = doing();
    eprintln!("      {what}: {:.2} s", begun.elapsed().as_secs_f32());
    done
}

/// Runs a script as root in alice's box, with that on its standard input.
fn inside(world: &World, name: &str, script: &str, input: &str) -> Outcome {
    let unit = format!("devbox-{name}");
    let argv = ["podman", "exec", "--interactive", "--user=root", &unit, "sh", "-euc", script];
    world.run_with("alice", &argv, input).expect(0).map(drop)
}

/// alice's box on the tailnet, by hand.
fn join(world: &World, tailnet: &Tailnet, name: &str) -> Outcome {
    let tag = tag_of("alice");
    let key = tailnet.preauth_key(&KeyRequest { tags: &[TAG, &tag], ..KeyRequest::default() }).map_err(text)?;
    let ca = std::fs::read_to_string(tailnet.ca())?;
    inside(world, name, "cat >/dev/shm/ca.pem", &ca)?;
    inside(world, name, "test $(stat -f -c %T /dev/shm) = tmpfs; umask 077; cat >/dev/shm/key", &key)?;
    let unit = format!("devbox-{name}");
    let daemon = "exec tailscaled --tun=userspace-networking --statedir=/var/lib/devbox/tailscale >/dev/shm/log 2>&1";
    let variables = ["--env=SSL_CERT_FILE=/dev/shm/ca.pem", "--env=TS_NO_LOGS_NO_SUPPORT=true"];
    let argv = [&["podman", "exec", "--detach", "--user=root"], &variables[..], &[&unit, "sh", "-c", daemon]].concat();
    world.ok("alice", &argv)?;
    let socket = "n=0; until test -S /run/tailscale/tailscaled.sock; do n=$((n+1)); test $n -lt 2400; sleep 0.05; done";
    timed("tailscaled in the box listens", || inside(world, name, socket, ""))?;
    let up = format!(
        "tailscale up --ssh --accept-dns=false --timeout=60s --hostname={name} --login-server={} \
         --auth-key=file:/dev/shm/key; rm /dev/shm/key",
        tailnet.url()
    );
    timed("tailscale up in the box", || inside(world, name, &up, ""))?;
    let node = tailnet.node(name).map_err(text)?.ok_or("no such node")?;
    same(&node["tags"], &serde_json::json!([tag, TAG]), &format!("its tags: {node}"))
}

fn ssh(device: &Device, user: &str, name: &str) -> Result<(bool, String), libtest_mimic::Failed> {
    let output = device.ssh(user, name, &["id", "-un"]).stdin(std::process::Stdio::null()).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// The exit status of an ssh by Tailscale SSH was lost a few times early in a connection, which is not explained; what is
/// asked here is who gets in.
fn is_in(device: &Device, name: &str) -> Outcome {
    let said = ssh(device, "dev", name)?;
    same(&said.1, &"dev\n", &format!("{said:?}"))
}

fn a_box_is_reached_by_its_owner_alone(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let tailnet = timed("a tailnet", || world.tailnet())?;
    join(world, &tailnet, "abc")?;
    let alice = timed("alice's device", || tailnet.device("alice", "alice-laptop")).map_err(text)?;
    let bob = timed("bob's device", || tailnet.device("bob", "bob-laptop")).map_err(text)?;

    timed("alice's device meets the box", || alice.await_peer("abc", PATIENCE)).map_err(text)?;
    timed("the first ssh", || is_in(&alice, "abc"))?;
    timed("the second ssh", || is_in(&alice, "abc"))?;
    let plain = alice.plain_ssh(&[], "dev", "abc").args(["id", "-un"]).output()?;
    same(&plain.stdout, &b"dev\n", &format!("plain ssh: {plain:?}"))?;
    let root = ssh(&alice, "root", "abc")?;
    ensure(!root.0 && root.1.contains("does not permit"), &format!("root by the policy: {root:?}"))?;

    // For bob there is no such box.
    ensure(!bob.sees("abc").map_err(text)?, "bob sees it")?;
    let stranger = ssh(&bob, "dev", "abc")?;
    ensure(!stranger.0, &format!("bob is in: {stranger:?}"))?;

    // And when he can reach it he still may not log in.
    let mut policy = own_boxes(&["alice", "bob"]);
    policy["acls"] =
        serde_json::json!([{"action": "accept", "src": ["alice@", "bob@"], "dst": [format!("{}:*", tag_of("alice"))]}]);
    tailnet.set_policy(&policy).map_err(text)?;
    timed("bob's device meets the box", || bob.await_peer("abc", PATIENCE)).map_err(text)?;
    let stranger = ssh(&bob, "dev", "abc")?;
    ensure(!stranger.0 && stranger.1.contains("does not permit"), &format!("bob by the policy: {stranger:?}"))?;
    is_in(&alice, "abc")
}

/// Answers one request with `hello`, on an address that nobody outside the box has.
const HELLO: &str = "my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1:8000', Listen => 1) or die; open F, '>/dev/shm/up'; \
                     my $c = $s->accept; while (<$c>) { last if /^\\r/ } print $c qq(HTTP/1.0 200 OK\\r\\n\\r\\nhello);";

fn ports_of_a_box_and_keys(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let tailnet = world.tailnet()?;
    join(world, &tailnet, "abc")?;
    let alice = tailnet.device("alice", "alice-laptop").map_err(text)?;
    alice.await_peer("abc", PATIENCE).map_err(text)?;

    let server = world.spawn("alice", &["podman", "exec", "devbox-abc", "perl", "-MIO::Socket::INET", "-e", HELLO]);
    inside(world, "abc", "n=0; until test -e /dev/shm/up; do n=$((n+1)); test $n -lt 2400; sleep 0.05; done", "")?;
    let page = timed("a page", || alice.curl().arg("http://abc:8000/").output())?;
    same(&page.stdout, &b"hello", &format!("{page:?}"))?;
    server.finish().expect(0)?;

    // A key that is good once is good once; the box's home is on its volume and needs none.
    let once = tailnet.preauth_key(&KeyRequest { user: Some("bob"), ..KeyRequest::default() }).map_err(text)?;
    let mut first = tailnet.device_with_key("one", &once);
    ensure(first.is_ok(), &format!("{:?}", first.as_ref().err()))?;
    ensure(tailnet.device_with_key("two", &once).is_err(), "used twice")?;
    let node = tailnet.node("one").map_err(text)?.ok_or("no node")?;
    tailnet.expire_node(node["id"].as_str().ok_or("no id")?).map_err(text)?;
    let first = first.as_mut().map_err(text)?;
    let begun = Instant::now();
    while first.status().map_err(text)?["BackendState"] != "NeedsLogin" {
        ensure(begun.elapsed() < PATIENCE, "an expired device is told so")?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn connections_outlive_the_control_server(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let tailnet = world.tailnet()?;
    join(world, &tailnet, "abc")?;
    let alice = tailnet.device("alice", "alice-laptop").map_err(text)?;
    alice.await_peer("abc", PATIENCE).map_err(text)?;
    ensure(ssh(&alice, "dev", "abc")?.0, "before")?;
    tailnet.stop().map_err(text)?;
    ensure(tailnet.nodes().is_err(), "the server is away")?;
    tailnet.start().map_err(text)?;
    // Both have to find back to the relay that went with the server.
    alice.await_peer("abc", PATIENCE).map_err(text)?;
    ensure(ssh(&alice, "dev", "abc")?.0, "after")?;
    let node = tailnet.node("abc").map_err(text)?.ok_or("the server forgot it")?;
    tailnet.delete_node(node["id"].as_str().ok_or("no id")?).map_err(text)?;
    ensure(tailnet.node("abc").map_err(text)?.is_none(), "gone")
}
