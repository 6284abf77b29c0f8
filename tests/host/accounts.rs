//! Accounts as a directory makes them, and hosts whose network changes.

use super::prelude::*;

tests! { Host:
    a_directorys_account,
    name_servers_that_change,
    ended_by_hand,
}

/// Of LDAP, by its id and the dot in its name. journald keeps what such an id writes in the system's journal.
fn a_directorys_account(world: &World) -> Outcome {
    let make = "useradd -m --badname --uid 61308 --shell /bin/bash john.doe 2>/dev/null; \
                echo john.doe:5000000:65536 | tee -a /etc/subuid >>/etc/subgid; loginctl enable-linger john.doe; \
                until test -S /run/user/61308/bus; do sleep 0.05; done";
    world.ok("root", &["timeout", "60", "sh", "-c", make])?;
    let john = |words: &[&str]| world.run("john.doe", &[&["devbox-ctl"], words].concat());
    world.ok("john.doe", &["sh", "-c", "tar -c -T /dev/null | podman import -q - localhost/empty"])?;
    let checked = (|| {
        john(&["create", "abc", "--image", "localhost/empty", "--no-start"]).expect(0)?;
        john(&["logs", "abc"]).expect(7)?.shows(&expect![[r#"
            --- standard error
            error: you may not read what your boxes wrote: journald keeps it in the system's journal
              there is no journal of your user id 61308: it is one that systemd keeps for services and containers, or this host keeps no journal
              hint: `sudo usermod -aG systemd-journal john.doe` and a new login let you read it, with that of everybody else
        "#]])?;
        world.ok("root", &["usermod", "-aG", "systemd-journal", "john.doe"])?;
        // There is nothing in that image that could start.
        john(&["start", "abc"]).expect(7)?;
        world.ok("root", &["journalctl", "--sync"])?;
        john(&["logs", "abc"]).expect(0)?.says("devbox-abc.service: Failed with result")?;
        john(&["destroy", "--now", "--yes", "abc"]).expect(0)
    })();
    let remove = "loginctl disable-linger john.doe; systemctl stop user@61308; userdel -r john.doe 2>/dev/null; \
                  sed -i /john.doe/d /etc/subuid /etc/subgid";
    world.ok("root", &["sh", "-c", remove])?;
    checked.map(drop)
}

/// pasta reads resolv.conf when the box starts, and never again.
fn name_servers_that_change(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let about = |world: &World| {
        let json = world.ctl(&["doctor", "--json"]).json()?;
        let found = json.as_array().into_iter().flatten().find(|c| c["check"] == "name servers").cloned();
        Ok::<_, libtest_mimic::Failed>(found.map(|c| format!("{}: {}", c["text"].as_str().unwrap_or_default(), c["mend"])))
    };
    same(&about(world)?, &None, "nothing has changed")?;
    world.ok("root", &["sh", "-c", "cp /etc/resolv.conf /run/kept; echo 'nameserver 192.0.2.53' >/etc/resolv.conf"])?;
    let changed = about(world);
    let restarted = world.ctl(&["restart", "abc"]);
    let after = about(world);
    world.ok("root", &["sh", "-c", "cat /run/kept >/etc/resolv.conf"])?;
    let text = changed?.unwrap_or_default();
    ensure(text.starts_with("abc still uses the name servers ") && text.contains("; the host has 192.0.2.53 now"), &text)?;
    ensure(text.ends_with("\"`devbox-ctl restart abc`\""), &text)?;
    restarted.expect(0)?;
    same(&after?, &None, "it has those of now")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// `podman stop`, `podman rm` and `podman system migrate`, and not devbox-ctl.
fn ended_by_hand(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    for ends in ["podman stop devbox-abc", "podman rm -f devbox-abc", "podman system migrate"] {
        world.ok("alice", &["sh", "-c", ends])?;
        world.ok("alice", &["timeout", "60", "sh", "-c", "until test $(systemctl --user show -P ActiveState devbox-abc) = inactive; do sleep 0.05; done"])?;
        let status = world.ctl(&["status", "abc"]).expect(0)?;
        status.says("stopped  not by devbox-ctl, ")?;
        world.ctl(&["why", "abc"]).expect(0)?.shows(&expect![[r#"
            nothing comes of abc by itself
              next
                nothing, whatever time passes
              it does not run, and `devbox-ctl stop` did not stop it: it ended by itself, or its container was ended by hand
              to start it: `devbox-ctl start abc`; the next boot of the host does it too
        "#]])?;
        world.ctl(&["start", "abc"]).expect(0)?;
    }
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}
