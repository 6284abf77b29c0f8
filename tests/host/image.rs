//! The box image, as a box.

use super::prelude::*;

tests! { Host:
    the_tools_are_there,
    sudo_and_packages,
    terminals_of_today,
    a_late_supervisor_is_waited_for,
    a_crashed_service_comes_back,
    stops_within_two_seconds,
    home_is_filled_once,
    sftp_and_no_password,
}

fn the_tools_are_there(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    for tool in ["git", "rg", "fd", "bat", "eza", "fzf", "jq", "gh", "nvim", "tmux", "curl", "less", "rsync"] {
        world.ctl(&["exec", "abc", "--", tool, if tool == "tmux" { "-V" } else { "--version" }]).expect(0)?;
    }
    let completes = "source /etc/bash_completion; declare -F _comp_initialize || declare -F _init_completion";
    world.ctl(&["exec", "abc", "--", "bash", "-c", completes]).expect(0)?;
    ensure(world.ctl(&["exec", "abc", "--", "id"]).expect(0)?.out.starts_with("uid=1000(dev) gid=1000(dev)"), "dev")
}

fn sudo_and_packages(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    same(&world.ctl(&["exec", "abc", "--", "sudo", "id", "-u"]).expect(0)?.out, &"0\n", "root by sudo")?;
    // What apt does with files, without a network: unpack a package, own its files, run its scripts.
    let repack = "cd /tmp && mkdir -p p/DEBIAN p/opt && printf 'Package: probe\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: x\\n' > p/DEBIAN/control \
                  && printf '#!/bin/sh\\nchown dev:dev /opt/probe\\n' > p/DEBIAN/postinst && chmod 755 p/DEBIAN/postinst && echo x > p/opt/probe \
                  && dpkg-deb --root-owner-group -b p probe.deb && sudo dpkg -i probe.deb && stat -c %U /opt/probe";
    world.ctl(&["exec", "abc", "--", "sh", "-c", repack]).expect(0)?.says("dev\n")
}

/// What terminals send as TERM, by which `less` and editors know how to draw.
fn terminals_of_today(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    for name in ["alacritty", "foot", "wezterm", "xterm-256color", "xterm-ghostty", "xterm-kitty", "tmux-256color"] {
        let seen = world.ctl(&["exec", "abc", "--", "env", &format!("TERM={name}"), "tput", "clear"]).expect(0)?.out;
        ensure(seen.contains('\u{1b}'), name)?;
    }
    // A forwarded socket that was lost does not keep the next one out.
    world.ctl(&["exec", "abc", "--", "grep", "-x", "StreamLocalBindUnlink yes", "/etc/devbox/sshd_config"]).expect(0)?;
    // Half of the box's memory, as on a machine.
    same(&world.ctl(&["exec", "abc", "--", "stat", "-fc", "%b %S", "/dev/shm"]).expect(0)?.out, &"524288 4096\n", "2 GiB")
}

/// s6-svwait itself fails at once where a service's supervisor is not there yet, and then a box was ready before its tailnet.
fn a_late_supervisor_is_waited_for(world: &World) -> Outcome {
    let script = "mkdir -p /run/s6/late && printf '#!/bin/sh\\nexec sleep infinity\\n' >/run/s6/late/run && chmod +x /run/s6/late/run; \
                  (sleep 1; exec s6-svscan /run/s6 >/dev/null 2>&1) & \
                  /usr/libexec/devbox/wait-ready late 5000; echo it ended with $?; s6-svstat -o up /run/s6/late";
    let run = ["podman", "run", "--rm", "--init", "localhost/devbox", "sh", "-c", script];
    // It is up, and never says that it is ready.
    same(&world.ok("alice", &run)?, &"it ended with 1\ntrue\n".to_owned(), "it waited for both")
}

fn a_crashed_service_comes_back(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    // Somebody's shell, which has to outlive the crash.
    let shell = world.spawn("alice", &["devbox-ctl", "exec", "abc", "--", "sh", "-c", "echo in; exec sleep 5"]);
    let script = "old=$(s6-svstat -o pid /run/s6/sshd) && kill -9 $old && s6-svwait -r -t 60000 /run/s6/sshd; s6-svwait -u -t 60000 /run/s6/sshd && new=$(s6-svstat -o pid /run/s6/sshd) && test $new != $old && echo restarted";
    let ran = world.ctl(&["exec", "--root", "abc", "--", "sh", "-c", script]);
    let shell = shell.finish().expect(0)?;
    same(&shell.out, &"in\n", "the shell went on")?;
    ran.expect(0)?.says("restarted")?;
    let status = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    same(&status["restarts"], &0, "the box itself was not restarted")
}

fn stops_within_two_seconds(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    // A process that will not go, and an orphan to reap.
    world
        .ctl(&["exec", "--root", "abc", "--", "sh", "-c", "(trap '' TERM; sleep 1000) & (sleep 0.1 &) ; exit 0"])
        .expect(0)?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    let show =
        |properties: &str| world.ok("alice", &["systemctl", "--user", "show", "-p", properties, "devbox-abc.service"]);
    let shown = show("ActiveState,Result,ExecMainStatus")?;
    ensure(shown.contains("ActiveState=inactive") && shown.contains("Result=success"), &shown)?;
    // By systemd's own clock. What is killed at last takes all of StopTimeout=10, and a busy machine some of the rest.
    let shown = show("ActiveExitTimestampMonotonic,InactiveEnterTimestampMonotonic")?;
    let at = |property: &str| -> Option<u64> {
        shown.lines().find_map(|line| line.strip_prefix(property)?.strip_prefix('=')?.parse().ok())
    };
    let (begun, ended) = (at("ActiveExitTimestampMonotonic"), at("InactiveEnterTimestampMonotonic"));
    let took = begun.filter(|us| *us > 0).zip(ended).and_then(|(begun, ended)| ended.checked_sub(begun));
    ensure(took.is_some_and(|us| us < 5_000_000), &format!("stopped in {took:?} us: {shown}"))
}

fn home_is_filled_once(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let owned = world.ctl(&["exec", "abc", "--", "stat", "-c", "%U:%G %n", ".", ".bashrc"]).expect(0)?;
    same(&owned.out, &"dev:dev .\ndev:dev .bashrc\n", &owned.out)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "find . -mindepth 1 -delete"]).expect(0)?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    let left = world.ctl(&["exec", "abc", "--", "ls", "-A"]).expect(0)?;
    ensure(left.out.is_empty(), &format!("filled again: {}", left.out))
}

fn sftp_and_no_password(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["ssh", "abc", "--", "true"]).expect(0)?;
    let config = world.ctl(&["ssh-config"]).expect(0)?.out;
    world.write("/home/alice/config", &config);
    world.ok("alice", &["sh", "-c", "echo get .bashrc /tmp/got | sftp -q -b - -F config abc"])?;
    // Another key, or none, does not enter even through the owner's own pipe.
    world.ok("alice", &["sh", "-c", "rm -f other*; ssh-keygen -q -t ed25519 -N '' -f other"])?;
    let other = world.run(
        "alice",
        &[
            "ssh",
            "-F",
            "none",
            "-o",
            "ProxyCommand=devbox-ctl ssh-proxy abc",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "IdentitiesOnly=yes",
            "-i",
            "other",
            "-o",
            "BatchMode=yes",
            "dev@abc",
            "true",
        ],
    );
    ensure(other.code == 255 && other.err.contains("Permission denied"), &format!("{other:#?}"))?;
    let root = world.run("alice", &["ssh", "-F", "config", "-o", "BatchMode=yes", "-l", "root", "abc", "true"]);
    same(&root.code, &255, "root does not log in")?;
    world.ok("alice", &["rm", "-f", "config", "other", "other.pub"])?;
    Ok(())
}
