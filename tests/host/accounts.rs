//! Accounts as a directory makes them, and hosts whose network changes.

use super::prelude::*;

tests! { Host:
    a_directorys_account,
    subordinate_ids_of_a_directory,
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

/// What sssd(8) brings for nsswitch.conf(5): one user's subordinate ids, which are in no file (libsubid, `subid_nss.h`).
const DIRECTORY: &str = r#"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
struct subid_range { unsigned long start, count; };
static bool has(const char *owner) { return !strcmp(owner, "dave") || !strcmp(owner, "1003"); }
int shadow_subid_has_range(const char *owner, unsigned long start, unsigned long count, int type, bool *result) {
  *result = has(owner) && start >= 6000000 && start + count <= 6065536; return 0;
}
int shadow_subid_list_owner_ranges(const char *owner, int type, struct subid_range **ranges, int *count) {
  *count = 0; *ranges = NULL;
  if (has(owner) && (*ranges = malloc(sizeof **ranges))) { (*ranges)->start = 6000000; (*ranges)->count = 65536; *count = 1; }
  return 0;
}
void shadow_subid_free(void *given) { free(given); }
int shadow_subid_find_subid_owners(unsigned long id, int type, unsigned **uids, int *count) { *count = 0; return 0; }
"#;

/// Dave's ids come from the directory alone: podman uses them, and `doctor` finds them.
fn subordinate_ids_of_a_directory(world: &World) -> Outcome {
    let source = world.path("/srv/directory.c");
    std::fs::write(&source, DIRECTORY)?;
    let made = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(world.path("/usr/lib/libsubid_lab.so")).arg(&source).output()?;
    ensure(made.status.success(), &String::from_utf8_lossy(&made.stderr))?;
    let begin = "cp -a /etc/subuid /run/subuid; cp -a /etc/subgid /run/subgid; cp /etc/nsswitch.conf /run/nsswitch; \
                 sed -i /^dave:/d /etc/subuid /etc/subgid; loginctl enable-linger dave; \
                 until test -S /run/user/1003/bus; do sleep 0.05; done";
    world.ok("root", &["timeout", "60", "sh", "-c", begin])?;
    let doctor = || world.run("dave", &["devbox-ctl", "doctor"]).out;
    let without = doctor();
    world.ok("root", &["sh", "-c", "echo 'subid: lab' >>/etc/nsswitch.conf"])?;
    let with = doctor();
    let asked = "podman system migrate && podman unshare grep '6000000 *65536' /proc/self/uid_map";
    let ids = world.run("dave", &["sh", "-c", asked]);
    let end = "cat /run/nsswitch >/etc/nsswitch.conf; cat /run/subuid >/etc/subuid; cat /run/subgid >/etc/subgid; \
               rm /usr/lib/libsubid_lab.so; su dave -c 'podman system migrate' 2>/dev/null; loginctl disable-linger dave; systemctl stop user@1003";
    world.ok("root", &["sh", "-c", end])?;
    ensure(without.contains("!!  you have no subordinate ids"), &without)?;
    ensure(with.contains("ok  you have subordinate ids"), &with)?;
    ids.expect(0).map(drop)
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
