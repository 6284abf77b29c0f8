//! Bad input gets a clear error, and nothing changes.

use libtest_mimic::Failed;

use super::prelude::*;

tests! { Host:
    names,
    sizes,
    environment,
    variables_of_files_and_of_the_callers,
    mounts,
    an_absent_image,
    no_user_manager,
    podman_missing_or_old,
    broken_settings,
    more_than_the_settings_allow,
    usage_errors_in_both_forms,
}

/// Refused with this code, and the host is as before.
fn refused(world: &World, arguments: &[&str], code: i32) -> Result<Ran, Failed> {
    let ran = world.ctl(arguments).expect(code)?;
    ensure(ran.err.starts_with("error: ") && ran.out.is_empty(), &format!("{ran:#?}"))?;
    world.expect_clean().map_err(|e| format!("{arguments:?}: {e:?}"))?;
    Ok(ran)
}

fn names(world: &World) -> Outcome {
    let long = "a".repeat(64);
    for bad in ["ab", "localhost", &long, "abc-", "a--b", "A", "ünï", "../x", "x;y", "new\nline", "", " abc", "$(id)", "x%h"] {
        refused(world, &["create", bad], 1)?.says("hint: names look like my-project")?;
        world.ctl(&["start", bad]).expect(1)?;
        world.ctl(&["destroy", "--now", "--yes", bad]).expect(1)?;
        world.ctl(&["exec", bad, "--", "true"]).expect(125)?;
    }
    // Like every program's: an option that is none.
    world.ctl(&["create", "-a"]).expect(1)?;
    refused(world, &["create", "--", "-abc"], 1)?.shows(&expect![[r#"
        --- standard error
        error: a name starts with a lowercase letter
          hint: names look like my-project: 3-63 lowercase letters, digits and single hyphens
    "#]])
}

fn sizes(world: &World) -> Outcome {
    for memory in ["0", "63M", "5X", "-1", "1e9G", "", "4g", "99999999999999999999G"] {
        refused(world, &["create", "abc", "--memory", memory], 1)?.says("memory")?;
    }
    for cpu in ["0", "0.05", "65", "-1", "x", "1e1", "NaN"] {
        refused(world, &["create", "abc", "--cpu", cpu], 1)?.says("processors")?;
    }
    Ok(())
}

fn environment(world: &World) -> Outcome {
    for bad in ["A", "=x", "1A=x", "A B=x", "A=x\ny", "A=x\r", "NOTIFY_SOCKET=/x"] {
        refused(world, &["create", "abc", "--env", bad], 1)?.says("hint: for example `--env")?;
    }
    Ok(())
}

fn variables_of_files_and_of_the_callers(world: &World) -> Outcome {
    world.write("/home/alice/vars", "A=from the file\n# a remark\n\nSECRET\nB=b\n");
    let create = ["env", "SECRET=hunter2", "devbox-ctl", "create", "abc", "--env-file", "vars", "--env", "B=typed"];
    world.run("alice", &create).expect(0)?;
    let seen = world.ctl(&["exec", "abc", "--", "sh", "-c", "echo $A; echo $B; echo $SECRET"]).expect(0)?.out;
    same(&seen, &"from the file\ntyped\nhunter2\n".to_owned(), "as they were given")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.write("/home/alice/vars", "A=b\nhunter2 x\n");
    refused(world, &["create", "abc", "--env-file", "vars"], 1)?.shows(&expect![[r#"
        --- standard error
        error: vars, line 2: a variable's name has letters, digits and _ only, and no digit first
          hint: for example `--env EDITOR=nvim`; what has line breaks goes into a file in the box
    "#]])?;
    refused(world, &["create", "abc", "--env-file", "nowhere"], 1)?.shows(&expect![[r#"
        --- standard error
        error: nowhere cannot be read: No such file or directory (os error 2)
    "#]])?;
    refused(world, &["create", "abc", "--env", "UNSET"], 1)?.shows(&expect![[r#"
        --- standard error
        error: a variable has no `=`, and none of that name is set in your environment
          hint: for example `--env EDITOR=nvim`; what has line breaks goes into a file in the box
    "#]])?;
    world.write("/home/alice/vars", &format!("A={}\n", "x".repeat(64 * 1024)));
    refused(world, &["create", "abc", "--env-file", "vars"], 1)?.shows(&expect![[r#"
        --- standard error
        error: vars, line 1: A is longer than the 64 KiB that an environment file can carry
          hint: for example `--env EDITOR=nvim`; what has line breaks goes into a file in the box
    "#]])?;
    world.ok("alice", &["rm", "vars"])?;
    world.expect_clean()
}

fn mounts(world: &World) -> Outcome {
    world.ok("bob", &["mkdir", "-p", "/home/bob/his"])?;
    for (bad, words) in [
        ("/home/alice/nowhere:/x", "it is not there"),
        ("/home/bob/his:/x", "cannot be mounted: you may not read it"),
        ("/etc:/x", "is not yours"),
        ("/home/alice:/home/dev", "taken by the box itself"),
        ("relative:/x", "not an absolute path"),
        ("/home/alice:/x:suid", "is not SRC:DST"),
        ("/home/alice/../bob:/x", "without `..`"),
    ] {
        refused(world, &["create", "abc", "--mount", bad], 1)?.says(words)?;
    }
    let twice = ["create", "abc", "--mount", "/home/alice:/x", "--mount", "/home/alice:/x"];
    refused(world, &twice, 1)?.shows(&expect![[r#"
        --- standard error
        error: /x is mounted twice
    "#]])
}

fn an_absent_image(world: &World) -> Outcome {
    refused(world, &["create", "abc", "--image", "localhost/none:1"], 7)?.shows(&expect![[r#"
        --- standard error
        error: you have no image localhost/none:1
          hint: `podman pull localhost/none:1` or `podman build` brings it; devbox-ctl pulls nothing unasked
    "#]])?;
    refused(world, &["create", "abc", "--image", "--privileged"], 1)?.shows(&expect![[r#"
        --- standard error
        error: unexpected argument '--privileged' found
          Usage: devbox-ctl create <NAME>
          hint: to pass '--privileged' as a value, use '-- --privileged'
    "#]])?;
    world.ok("alice", &["podman", "tag", "localhost/devbox:latest", "localhost/kept:1"])?;
    world.ok("alice", &["podman", "untag", "localhost/devbox:latest", "localhost/devbox:latest"])?;
    let ran = refused(world, &["create", "abc"], 7);
    world.ok("alice", &["podman", "tag", "localhost/kept:1", "localhost/devbox:latest"])?;
    world.ok("alice", &["podman", "untag", "localhost/kept:1", "localhost/kept:1"])?;
    ran?.shows(&expect![[r#"
        --- standard error
        error: you have no image localhost/devbox:latest
          hint: `podman load -i devbox-image.oci.tar` loads it; an administrator has the file, or `cargo xtask image` builds it
    "#]])
}

fn no_user_manager(world: &World) -> Outcome {
    let ran = world.run("dave", &["devbox-ctl", "create", "abc"]).expect(7)?;
    ran.shows(&expect![[r#"
        --- standard error
        error: dave has no systemd user manager running
          hint: an administrator can run `loginctl enable-linger dave`
    "#]])?;
    ensure(!world.path("/home/dave/.config").exists(), "something was written")
}

fn podman_missing_or_old(world: &World) -> Outcome {
    let with_path = |path: &str| {
        world.run("alice", &["env", &format!("PATH={path}"), "/usr/local/bin/devbox-ctl", "create", "abc"])
    };
    with_path("/nowhere").expect(7)?.shows(&expect![[r#"
        --- standard error
        error: podman is not installed, or not on your PATH
          hint: an administrator can install podman 5.4 or newer
    "#]])?;
    let generator = "/usr/lib/systemd/user-generators/podman-user-generator";
    world.write("/opt/old-generator", "#!/bin/sh\necho 4.9.3\n");
    world.ok("root", &["chmod", "755", "/opt/old-generator"])?;
    world.ok("root", &["mount", "--bind", "/opt/old-generator", generator])?;
    let ran = world.ctl(&["create", "abc"]);
    world.ok("root", &["umount", generator])?;
    ran.expect(7)?.shows(&expect![[r#"
        --- standard error
        error: podman 4.9.3 is too old: 5.4 is the least
          hint: an administrator can install a newer podman
    "#]])?;
    world.expect_clean()
}

fn broken_settings(world: &World) -> Outcome {
    world.write("/etc/devbox/users.toml", "[defaults]\ncpu = 2\nmax_boxs = 3\n");
    world.ctl(&["create", "abc"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: /etc/devbox/users.toml:3: unknown key `max_boxs` in [defaults]
          hint: did you mean `max_boxes`?
    "#]])?;
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxes = 3\n");
    world.write("/etc/devbox/users.toml.d/10-x.toml", "[defaults]\nmemory = \"5X\"\n");
    refused(world, &["create", "abc"], 1)?.shows(&expect![[r#"
        --- standard error
        error: /etc/devbox/users.toml.d/10-x.toml:2: "5X" is not a memory size: write 512M or 4G
          hint: an administrator can mend this file; nothing was changed
    "#]])
}

fn more_than_the_settings_allow(world: &World) -> Outcome {
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxes = 2\n[users.bob]\nallowed = false\n");
    refused(world, &["create", "abc", "--cpu", "9"], 1)?.shows(&expect![[r#"
        --- standard error
        error: 9 processors for one box is more than the 8 allowed
          hint: ask for `--cpu 8` or less
    "#]])?;
    refused(world, &["create", "abc", "--memory", "17G"], 1)?.shows(&expect![[r#"
        --- standard error
        error: 17G of memory for one box is more than the 16G allowed
          hint: ask for `--memory 16G` or less
    "#]])?;
    world.run("bob", &["devbox-ctl", "create", "abc"]).expect(11)?.shows(&expect![[r#"
        --- standard error
        error: bob may not have boxes on this host
          hint: ask an administrator of this host
    "#]])?;
    world.ctl(&["create", "one"]).expect(0)?;
    world.ctl(&["create", "two", "--no-start"]).expect(0)?;
    world.ctl(&["create", "three"]).expect(3)?.shows(&expect![[r#"
        --- standard error
        error: you already have 2 boxes, and 2 is your limit
          running: one · stopped: two
          hint: `devbox-ctl destroy two` makes room
    "#]])?;
    let ran = world.ctl(&["create", "three", "--json"]).expect(3)?;
    let error = &ran.json()?["error"];
    ensure(error["code"] == 3 && error["kind"] == "owner-limit", &error.to_string())?;
    // A name that is there says so, limit or not.
    world.ctl(&["create", "one"]).expect(2)?;
    Ok(())
}

fn usage_errors_in_both_forms(world: &World) -> Result<(), Failed> {
    world.ctl(&[]).expect(1)?;
    world.ctl(&["frobnicate"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: unrecognized subcommand 'frobnicate'
          hint: `devbox-ctl --help` lists the commands
    "#]])?;
    let ran = world.ctl(&["create", "abc", "--memry", "1G", "--json"]).expect(1)?;
    same(&ran.json()?["error"]["kind"], &"invalid-input", &ran.out)?;
    for verb in [
        "create",
        "list",
        "status",
        "start",
        "stop",
        "restart",
        "destroy",
        "restore",
        "trash",
        "logs",
        "exec",
        "ssh",
        "ssh-config",
        "completions",
    ] {
        world.ctl(&[verb, "--help"]).expect(0)?.says("Example")?;
    }
    let script = "eval \"$(devbox-ctl completions bash)\"; COMP_WORDS=(devbox-ctl create --); COMP_CWORD=2; _devbox__ctl devbox-ctl -- create; echo ${COMPREPLY[@]}";
    let offered = world.ok("alice", &["bash", "-c", script])?;
    ensure(offered.contains("--memory") && offered.contains("--dry-run"), &offered)?;
    for shell in ["zsh", "fish"] {
        world.ctl(&["completions", shell]).expect(0)?.says("devbox-ctl")?;
    }
    Ok(())
}
