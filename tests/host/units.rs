//! What systemd and Quadlet make of a box.

use std::fs;
use std::path::Path;

use super::prelude::*;

tests! { Host:
    golden_cases_pass_the_real_generator,
    limits_are_set_on_the_unit,
    odd_paths_are_mounted_as_they_are,
    others_units_volumes_and_containers_are_left_alone,
    hyphens_do_not_nest_slices,
    environment_reaches_no_command_line,
    an_administrators_template_wins,
    a_broken_template_changes_nothing,
    confinement,
}

fn golden_cases_pass_the_real_generator(world: &World) -> Outcome {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut count = 0;
    for case in fs::read_dir(cases)? {
        let case = case?.path();
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for file in fs::read_dir(case.join("expected"))? {
            let file = file?.path();
            let text = fs::read_to_string(&file)?;
            world.write(
                &format!("/srv/golden/{name}/{}", file.file_name().unwrap_or_default().to_string_lossy()),
                &text,
            );
        }
        let generator = "/usr/lib/systemd/user-generators/podman-user-generator";
        let folder = format!("QUADLET_UNIT_DIRS=/srv/golden/{name}");
        let made = world.run("alice", &["env", &folder, generator, "-user", "-dryrun"]).expect(0)?;
        same(&(made.out.matches("\n---devbox-").count() + usize::from(made.out.starts_with("---devbox-"))), &3, &format!("{name}: {made:#?}"))?;
        ensure(!made.err.contains("rror"), &made.err)?;
        count += 1;
    }
    ensure(count >= 4, "cases were looked at")
}

fn limits_are_set_on_the_unit(world: &World) -> Outcome {
    world.ctl(&["create", "abc", "--cpu", "1.5", "--memory", "512M"]).expect(0)?;
    let properties =
        ["MemoryMax", "MemoryHigh", "CPUQuotaPerSecUSec", "TasksMax", "OOMPolicy", "Type", "Slice", "Restart"];
    let mut argv = vec!["systemctl", "--user", "show", "devbox-abc.service"];
    let flags: Vec<String> = properties.iter().map(|p| format!("--property={p}")).collect();
    argv.extend(flags.iter().map(String::as_str));
    let shown = world.ok("alice", &argv)?;
    for line in [
        "MemoryMax=536870912",
        "MemoryHigh=infinity",
        "CPUQuotaPerSecUSec=1.500000s",
        "TasksMax=2048",
        "OOMPolicy=continue",
        "Type=notify",
        "Slice=devbox-abc.slice",
        "Restart=on-failure",
    ] {
        ensure(shown.lines().any(|l| l == line), &format!("{line} in {shown}"))?;
    }
    Ok(())
}

fn odd_paths_are_mounted_as_they_are(world: &World) -> Outcome {
    let source = "/home/alice/a b/%h $HOME \"q\" 'q' \\ # ü";
    world.ok("alice", &["mkdir", "-p", source])?;
    world.ok("alice", &["sh", "-c", "echo seen > \"$1/file\"", "-", source])?;
    world
        .ctl(&["create", "abc", "--mount", &format!("{source}:/odd %h/$HOME"), "--mount", "/home/alice:/read:ro"])
        .expect(0)?;
    let seen = world.ctl(&["exec", "abc", "--", "cat", "/odd %h/$HOME/file"]).expect(0)?;
    same(&seen.out, &"seen\n", &seen.out)?;
    // The owner's own files are dev's to write, and stay the owner's.
    world.ctl(&["exec", "abc", "--", "touch", "/odd %h/$HOME/new"]).expect(0)?;
    same(&world.ok("alice", &["stat", "-c", "%U", &format!("{source}/new")])?, &"alice\n", "the owner's")?;
    ensure(world.ctl(&["exec", "abc", "--", "touch", "/read/no"]).code != 0, "read-only")?;
    world.ok("alice", &["rm", "-rf", "a b"])?;
    Ok(())
}

fn others_units_volumes_and_containers_are_left_alone(world: &World) -> Outcome {
    world.ok("alice", &["podman", "volume", "create", "abc-data"])?;
    world.ctl(&["create", "abc"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is already a volume abc-data that devbox-ctl did not make
          hint: nothing was changed; remove or rename that, or choose another name
    "#]])?;
    ensure(!world.folder("abc").exists(), "nothing was written")?;
    world.ok("alice", &["podman", "volume", "rm", "abc-data"])?;

    world.ok("alice", &["podman", "create", "--name", "devbox-abc", "localhost/devbox:latest"])?;
    world.ctl(&["create", "abc"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is already a container devbox-abc that devbox-ctl did not make
          hint: nothing was changed; remove or rename that, or choose another name
    "#]])?;
    world.ok("alice", &["podman", "rm", "-v", "devbox-abc"])?;

    let hand_made = ".config/containers/systemd/mine/devbox-abc.container";
    world.ok(
        "alice",
        &[
            "sh",
            "-c",
            "mkdir -p .config/containers/systemd/mine; printf '[Container]\\nImage=x\\n' > \"$1\"",
            "-",
            hand_made,
        ],
    )?;
    world.ctl(&["create", "abc"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is already a unit file /home/alice/.config/containers/systemd/mine/devbox-abc.container
          hint: nothing was changed; remove or rename that, or choose another name
    "#]])?;
    world.ok("alice", &["rm", "-r", ".config/containers/systemd/mine"])?;

    let unit = ".config/systemd/user/devbox-abc.service";
    world.ok(
        "alice",
        &["sh", "-c", "mkdir -p .config/systemd/user; printf '[Service]\\nExecStart=true\\n' > \"$1\"", "-", unit],
    )?;
    world.ctl(&["create", "abc"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is already a unit devbox-abc.service that devbox-ctl did not make
          hint: nothing was changed; remove or rename that, or choose another name
    "#]])?;
    world.ok("alice", &["rm", unit])?;
    world.expect_clean()
}

fn hyphens_do_not_nest_slices(world: &World) -> Outcome {
    world.ctl(&["create", "api"]).expect(0)?;
    world.ctl(&["create", "api-v2"]).expect(0)?;
    world.ok("alice", &["systemctl", "--user", "stop", "devbox-api.slice"])?;
    world.ctl(&["exec", "api-v2", "--", "true"]).expect(0)?;
    Ok(())
}

fn environment_reaches_no_command_line(world: &World) -> Outcome {
    world.ctl(&["create", "abc", "--env", "TOKEN=s3cr3t-value"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "test \"$TOKEN\" = s3cr3t-value"]).expect(0)?;
    // Other users read /proc and the units' properties; the folder is closed to them.
    let bob = world.run(
        "bob",
        &[
            "sh",
            "-c",
            "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; cat /home/alice/.config/containers/systemd/devbox/abc/box.env",
        ],
    );
    ensure(!bob.out.contains("s3cr3t-value"), "seen by bob")?;
    ensure(bob.err.contains("Permission denied"), &bob.err)?;
    same(&world.ok(
            "alice",
            &[
                "stat",
                "-c",
                "%a",
                ".config/containers/systemd/devbox/abc",
                ".config/containers/systemd/devbox/abc/box.env",
            ],
        )?, &"700\n600\n", "modes")
}

fn an_administrators_template_wins(world: &World) -> Outcome {
    let own = include_str!("../../quadlet-templates/box.container").replace("TimeoutStopSec=30", "TimeoutStopSec=31");
    world.write("/etc/devbox/quadlet-templates/box.container", &own);
    world.ctl(&["create", "abc"]).expect(0)?;
    let shown = world.ok("alice", &["systemctl", "--user", "show", "-p", "TimeoutStopUSec", "devbox-abc.service"])?;
    same(&shown, &"TimeoutStopUSec=31s\n", &shown)
}

fn a_broken_template_changes_nothing(world: &World) -> Outcome {
    let template = include_str!("../../quadlet-templates/box.container");
    // A key that this podman does not know: Quadlet would drop the unit without a word.
    world.write(
        "/etc/devbox/quadlet-templates/box.container",
        &template.replace("Pull=never", "Pull=never\nKeyOfTomorrow=true"),
    );
    world.ctl(&["create", "abc"]).expect(7)?.says("Quadlet refuses the units")?;
    world.expect_clean()?;
    world.write("/etc/devbox/quadlet-templates/box.container", &template.replace("{{ image }}", "{{ imgae }}"));
    world.ctl(&["create", "abc"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: the template of devbox-abc.container does not work: undefined value (in <string>:21) (line 21)
          hint: an administrator's templates are in /etc/devbox/quadlet-templates
    "#]])?;
    world.expect_clean()
}

fn confinement(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let root = |script: &str| world.ctl(&["exec", "--root", "abc", "--", "sh", "-c", script]);
    // No way to load a module, mount, make a device or look at the kernel's log, root or not.
    for denied in [
        "mount -t tmpfs x /mnt",
        "mknod /tmp/x c 1 3",
        "dmesg -n 1",
        "echo x > /sys/kernel/uevent_seqnum",
        "echo 1 > /proc/sys/kernel/sysrq",
    ] {
        ensure(root(denied).code != 0, denied)?;
    }
    let caps = root("grep CapBnd /proc/self/status").expect(0)?.out;
    let bits =
        u64::from_str_radix(caps.split_whitespace().last().unwrap_or_default(), 16).map_err(|e| e.to_string())?;
    same(&bits.count_ones(), &10, &format!("the ten capabilities of docs/hardening.md: {caps}"))?;
    root("grep -q 'Seccomp:.*2' /proc/self/status").expect(0)?;
    // Nothing of the host's is reachable by port: pasta forwards none.
    let listening = world.ok("root", &["ss", "-Hltn"])?;
    ensure(!listening.contains(":22 ") && !listening.contains(":8080"), &listening)
}
