//! Looks for keys of the tailnet everywhere on the host.

use super::login::{install, text};
use super::prelude::*;

tests! { Host:
    the_search_finds_what_is_there,
    no_key_is_left_anywhere,
}

/// A whole key of headscale's, for devices or of its API: what may be shown of one ends before its secret half.
const KEY: &str = "hskey-(auth|api)-[A-Za-z0-9_-]{12}-[A-Za-z0-9_-]{20,}";

/// Where a key may be beside its one file: what systemd gives a service, on a ramfs of that service's.
const LAWFUL: &str = "^(/run/credentials/devboxd\\.service/devbox\\.tailnet\
                      |/run/user/[0-9]+/credentials/devbox-[a-z]+\\.service/tailnet-key)$";

/// Everywhere that one is found and may not be; `but`: a path that it may be at as well.
pub(crate) fn found(world: &World, but: &str) -> Result<Vec<String>, libtest_mimic::Failed> {
    // The pattern's own text is not such a key. What a process has open and nobody else can reach is in its environment
    // or its arguments, or is the box's memory, which is its owner's.
    let script = format!(
        "cd /; key='{KEY}'; \
         {{ grep -rlaE --devices=skip --exclude-dir=proc --exclude-dir=sys \"$key\" / 2>/dev/null; \
            grep -laE \"$key\" /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; \
            journalctl --no-pager --quiet --all --output=export | grep -aE \"$key\" | sed 's/^/journal: /'; \
         }} | grep -vE '{LAWFUL}' | grep -vxF '{but}'; true"
    );
    let mut all: Vec<String> = world.ok("root", &["sh", "-c", &script])?.lines().map(str::to_owned).collect();
    // What podman tells, which is not the same as what it keeps.
    let inspect = "podman ps --all --quiet | xargs --no-run-if-empty podman inspect; podman volume ls --quiet | xargs --no-run-if-empty podman volume inspect; \
                   systemctl --user show 'devbox-*'; systemctl --user show-environment";
    let told = world.ok("alice", &["sh", "-c", inspect])?;
    all.extend(told.lines().filter(|l| l.contains("hskey-")).map(|l| format!("inspect: {l}")));
    Ok(all)
}

pub(crate) fn nothing_found(world: &World, when: &str) -> Outcome {
    nothing_found_but(world, "/etc/credstore/devbox.tailnet", when)
}

/// The same where the provider's secret is an owner's.
pub(crate) fn nothing_found_but(world: &World, lawful: &str, when: &str) -> Outcome {
    let found = found(world, lawful)?;
    ensure(found.is_empty(), &format!("{when}: {found:?}"))
}

/// A search that finds nothing proves nothing by itself.
fn the_search_finds_what_is_there(world: &World) -> Outcome {
    let key = "hskey-auth-Planted00001-0123456789abcdef0123456789abcdef";
    for path in ["/srv/planted", "/run/planted", "/home/alice/planted", "/tmp/planted"] {
        let script = format!("printf 'binary\\000 %s' {key} >{path}");
        world.run_with("root", &["sh", "-s"], &script).expect(0)?;
    }
    let environment = world.spawn("alice", &["env", &format!("PLANTED={key}"), "sleep", "1000"]);
    world.run_with("alice", &["logger"], key).expect(0)?;
    let found = found(world, "/nowhere")?.join("\n");
    for place in ["/srv/planted", "/run/planted", "/home/alice/planted", "/tmp/planted", "/environ", "journal: "] {
        ensure(found.contains(place), &format!("{place} is not in {found}"))?;
    }
    drop(environment);
    let tidy =
        "rm /srv/planted /run/planted /home/alice/planted /tmp/planted; journalctl --quiet --rotate --vacuum-time=1s";
    world.ok("root", &["sh", "-c", tidy]).map(drop)
}

fn no_key_is_left_anywhere(world: &World) -> Outcome {
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    nothing_found(world, "before")?;
    world.ctl(&["create", "abc"]).expect(0)?.says("tailnet")?;
    nothing_found(world, "after create")?;
    ensure(world.path("/etc/credstore/devbox.tailnet").exists(), "the administrator's own is where it was")?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    nothing_found(world, "after a restart")?;
    world.ctl(&["rotate-key", "abc"]).expect(0)?;
    nothing_found(world, "after rotate-key")?;
    // A login that is lost, with its key handed in late.
    let lose = [
        "podman",
        "exec",
        "--user=root",
        "devbox-abc",
        "sh",
        "-c",
        "pkill -9 tailscaled; rm -r /var/lib/devbox/tailscale",
    ];
    world.ok("alice", &lose)?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    nothing_found(world, "after a late key")?;
    // devboxd's own memory is nobody's to read, and does not end in a core.
    let limit = "systemctl start devboxd; grep -E '^Max core' /proc/$(systemctl show --value --property=MainPID devboxd)/limits";
    let limit = world.ok("root", &["sh", "-c", limit])?;
    same(&limit.split_whitespace().nth(4), &Some("0"), &limit)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    nothing_found(world, "after destroy")?;
    ensure(tailnet.nodes().map_err(text)?.is_empty(), "nothing is left of it")
}
