//! The owner's own settings of podman, which change what containers are and not what a box is.

use super::prelude::*;

tests! { Host:
    settings_of_containers,
    settings_of_the_manager,
    units_elsewhere,
}

const CONF: &str = r#"
[containers]
annotations = ["run.oci.keep_original_groups=1"]
cgroupns = "host"
devices = ["/dev/null:/dev/extra:rwm"]
env_host = true
init = true
ipcns = "host"
log_driver = "none"
mounts = ["type=bind,source=/etc,destination=/y"]
netns = "host"
no_hosts = true
pidns = "host"
privileged = true
read_only = true
seccomp_profile = "unconfined"
tz = "Asia/Tokyo"
umask = "0077"
userns = "keep-id"
utsns = "host"
volumes = ["/etc:/x:ro"]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"

[network]
default_rootless_network_cmd = "slirp4netns"
pasta_options = ["--tcp-ns", "auto"]
"#;

/// What shows that a box is one: all that the settings above would change.
const LOOK: &str = "ls -d /x /y /dev/extra 2>&1; date +%Z; cat /proc/1/comm; cat /proc/self/uid_map; umask; hostname; \
                    grep -c localhost /etc/hosts; sudo touch /t && echo written; sudo grep -e CapEff -e Seccomp /proc/1/status; ls -d /run/copied 2>&1; \
                    cat /proc/self/cgroup; env | grep -c ^XDG_; ls /sys/class/net";

fn settings_of_containers(world: &World) -> Outcome {
    world.ctl(&["create", "plain"]).expect(0)?;
    let plain = world.ctl(&["exec", "plain", "--", "sh", "-c", LOOK]).expect(0)?.out;
    world.ctl(&["exec", "plain", "--", "sh", "-c", "echo work >file"]).expect(0)?;
    world.ctl(&["stop", "plain"]).expect(0)?;
    let file = ".config/containers/containers.conf";
    world.write(&format!("/home/alice/{file}"), CONF);
    world.write("/home/alice/.config/containers/mounts.conf", "/home/alice/.ssh:/run/copied\n");
    let checked = (|| {
        world.ctl(&["start", "plain"]).expect(0)?;
        let now = world.ctl(&["exec", "plain", "--", "sh", "-c", LOOK]).expect(0)?.out;
        same(&now, &plain, "a box that was there")?;
        world.ctl(&["create", "other"]).expect(0)?;
        let other = world.ctl(&["exec", "other", "--", "sh", "-c", LOOK]).expect(0)?.out;
        same(&other.replace("other", "plain"), &plain, "a box that is made now")?;
        let own = [("net", "plain"), ("net", "other"), ("pid", "other"), ("ipc", "other"), ("uts", "other")];
        for (kind, name) in own {
            let inside = world.ctl(&["exec", name, "--", "readlink", &format!("/proc/self/ns/{kind}")]).expect(0)?.out;
            let outside = world.ok("alice", &["readlink", &format!("/proc/self/ns/{kind}")])?;
            ensure(inside != outside, &format!("{kind} of {name} is the host's"))?;
        }
        // And what is made beside a box: what reads its volumes.
        world.ctl(&["backup", "plain", "-o", "plain.tar.zst"]).expect(0)?;
        world.ctl(&["create", "third", "--from-backup", "plain.tar.zst"]).expect(0)?;
        same(&world.ctl(&["exec", "third", "--", "cat", "file"]).expect(0)?.out, &"work\n".to_owned(), "its files")?;
        let said = world.ctl(&["logs", "other"]).expect(0)?;
        ensure(!said.out.is_empty(), "it logs")
    })();
    world.ok("alice", &["rm", file, ".config/containers/mounts.conf"])?;
    checked?;
    for name in ["plain", "other", "third"] {
        world.ctl(&["destroy", "--now", "--yes", name]).expect(0)?;
    }
    world.ok("alice", &["rm", "plain.tar.zst"])?;
    world.expect_clean()
}

fn settings_of_the_manager(world: &World) -> Outcome {
    let set = ["PODMAN_USERNS=keep-id", "CONTAINER_HOST=tcp://127.0.0.1:1", "CONTAINER_CONNECTION=nowhere"];
    world.ok("alice", &[&["systemctl", "--user", "set-environment"][..], &set].concat())?;
    let checked = (|| {
        world.ctl(&["create", "abc"]).expect(0)?;
        let map = world.ctl(&["exec", "abc", "--", "cat", "/proc/self/uid_map"]).expect(0)?;
        ensure(map.out.lines().count() == 2, &format!("root in the box is alice: {map:?}"))?;
        world.ctl(&["exec", "abc", "--", "sh", "-c", "echo work >file"]).expect(0)?;
        world.ctl(&["backup", "abc", "-o", "abc.tar.zst"]).expect(0).map(drop)
    })();
    let names = ["PODMAN_USERNS", "CONTAINER_HOST", "CONTAINER_CONNECTION"];
    world.ok("alice", &[&["systemctl", "--user", "unset-environment"][..], &names].concat())?;
    checked?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    same(&world.ctl(&["exec", "abc", "--", "cat", "file"]).expect(0)?.out, &"work\n".to_owned(), "it is readable")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["rm", "abc.tar.zst"])?;
    world.expect_clean()
}

fn units_elsewhere(world: &World) -> Outcome {
    world.ok("alice", &["systemctl", "--user", "set-environment", "XDG_CONFIG_HOME=/home/alice/elsewhere"])?;
    let ran = world.ctl(&["create", "abc"]);
    world.ok("alice", &["systemctl", "--user", "unset-environment", "XDG_CONFIG_HOME"])?;
    ran.expect(7)?.shows(&expect![[r#"
        --- standard error
        error: your systemd user manager has XDG_CONFIG_HOME=/home/alice/elsewhere, so that Quadlet looks for units there
          hint: boxes are in ~/.config/containers/systemd; `systemctl --user unset-environment XDG_CONFIG_HOME`, and take it out of ~/.config/environment.d
    "#]])?;
    world.expect_clean()
}
