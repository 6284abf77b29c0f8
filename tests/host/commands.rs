//! Each command as a user meets it.

use super::prelude::*;

tests! { Host:
    a_life,
    no_start,
    json_fits_the_schema,
    dry_run_changes_nothing,
    several_names,
    exec_passes_everything,
    ssh,
    ssh_config,
    logs,
    destroy_asks,
    kept_data_comes_back,
    no_such_box,
    quiet_and_verbose,
}

fn state(world: &World, name: &str) -> Result<String, libtest_mimic::Failed> {
    let status = world.ctl(&["status", name, "--json"]).expect(0)?.json()?;
    Ok(status["state"].as_str().unwrap_or_default().to_owned())
}

fn a_life(world: &World) -> Outcome {
    let made = world.ctl(&["create", "my-project", "--cpu", "0.5", "--memory", "512M"]).expect(0)?;
    made.shows(&expect![[r#"
        my-project is ready (SECONDS)
          shell  devbox-ctl ssh my-project
          command  devbox-ctl exec my-project -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host my-project
          stop  devbox-ctl stop my-project
    "#]])?;
    ensure(made.err.is_empty(), "progress without a terminal")?;
    same(&state(world, "my-project")?, &"running", "running")?;
    world.ctl(&["create", "my-project"]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is already a box called my-project
          hint: `devbox-ctl start my-project` starts it; choose another name for a new one
    "#]])?;
    world.ctl(&["start", "my-project"]).expect(12)?;
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  CPU  MEMORY  CREATED  IMAGE
        my-project  running  0.5  512M  SECONDS ago  localhost/devbox:latest
    "#]])?;
    world.ctl(&["exec", "my-project", "--", "touch", "kept"]).expect(0)?;
    world.ctl(&["stop", "my-project"]).expect(0)?;
    same(&state(world, "my-project")?, &"stopped", "stopped")?;
    world.ctl(&["stop", "my-project"]).expect(12)?;
    world.ctl(&["status", "my-project"]).expect(0)?.shows(&expect![[r#"
        name  my-project
        state  stopped
        stopped  by its owner, TIME (SECONDS ago)
        cpu  0.5
        memory  512M
        image  localhost/devbox:latest
        volume  my-project-data
        unit  devbox-my-project.service
        created  TIME (SECONDS ago)
    "#]])?;
    world.ctl(&["ls", "--state", "stopped"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  CPU  MEMORY  CREATED  IMAGE
        my-project  stopped  0.5  512M  SECONDS ago  localhost/devbox:latest
    "#]])?;
    world.ctl(&["start", "my-project"]).expect(0)?;
    world.ctl(&["exec", "my-project", "--", "rm", "kept"]).expect(0)?;
    world.ctl(&["restart", "my-project"]).expect(0)?;
    same(&state(world, "my-project")?, &"running", "running again")?;
    world.ctl(&["rm", "--yes", "--now", "my-project"]).expect(0)?;
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        no boxes; `devbox-ctl create NAME` makes one
    "#]])?;
    world.expect_clean()
}

fn no_start(world: &World) -> Outcome {
    world.ctl(&["create", "later", "--no-start"]).expect(0)?.shows(&expect![[r#"
        later is created, not started
          start  devbox-ctl start later
    "#]])?;
    same(&state(world, "later")?, &"stopped", "not started")?;
    world.ctl(&["start", "later"]).expect(0)?;
    same(&state(world, "later")?, &"running", "started")
}

fn json_fits_the_schema(world: &World) -> Outcome {
    let schema = serde_json::from_str(include_str!("../../docs/box.schema.json")).map_err(|e| e.to_string())?;
    let validator = jsonschema::validator_for(&schema).map_err(|e| e.to_string())?;
    let made = world.ctl(&["create", "one", "--json"]).expect(0)?.json()?;
    world.ctl(&["create", "two", "--no-start", "--json"]).expect(0)?;
    world.ctl(&["create", "three", "--no-start"]).expect(0)?;
    world.ok("alice", &["rm", ".config/containers/systemd/devbox/three/box.toml"])?;
    let list = world.ctl(&["list", "--json"]).expect(0)?.json()?;
    let all = list.as_array().ok_or("an array")?;
    same(&all.len(), &3, "three boxes")?;
    let status = world.ctl(&["status", "one", "--json"]).expect(0)?.json()?;
    for value in all.iter().chain([&status, &made]) {
        validator.validate(value).map_err(|e| format!("{e}: {value}"))?;
    }
    ensure(status["activeSince"].is_string() && status["health"] == "ready", &status.to_string())?;
    ensure(all[0]["name"] == "one" && all[0]["cpuLimit"] == 2 && all[0]["memoryLimit"] == "4G", &all[0].to_string())?;
    ensure(all[1]["state"] == "broken" && all[1]["cpuLimit"].is_null(), &all[1].to_string())
}

fn dry_run_changes_nothing(world: &World) -> Outcome {
    let ran = world.ctl(&["create", "abc", "--dry-run", "--env", "SECRET=x"]).expect(0)?;
    ran.says("# devbox-abc.container")?;
    ran.says("1. write the units of abc")?;
    let plan = world.ctl(&["create", "abc", "--dry-run", "--json"]).expect(0)?.json()?;
    ensure(plan["steps"][0]["do"] == "publish" && plan["undo"].is_array(), &plan.to_string())?;
    // Not even a folder, for someone who never had a box; and nothing is finished that was cut short.
    world.run("carol", &["devbox-ctl", "create", "abc", "--dry-run"]).expect(0)?;
    ensure(!world.path("/home/carol/.config/containers").exists(), "a folder was made")?;
    world.ctl(&["create", "half"]).expect(0)?;
    world.write("/home/alice/.config/containers/systemd/devbox/half/destroying", "");
    world.ctl(&["create", "abc", "--dry-run"]).expect(0)?;
    world.ctl(&["exec", "half", "--", "true"]).expect(0)?;
    world.ctl(&["stop", "half"]).expect(10)?.shows(&expect![[r#"
        --- standard error
        warning: destroying half had been cut short; it is finished now
        error: you have no box called half
          hint: `devbox-ctl list` shows yours
    "#]])?;
    world.expect_clean()
}

fn several_names(world: &World) -> Outcome {
    for name in ["one", "two"] {
        world.ctl(&["create", name, "--no-start"]).expect(0)?;
    }
    let ran = world.ctl(&["start", "nobody", "one", "two"]).expect(10)?;
    ran.shows(&expect![[r#"
        one is running
        two is running
        --- standard error
        error: you have no box called nobody
          hint: `devbox-ctl list` shows yours
    "#]])?;
    ensure(state(world, "one")? == "running" && state(world, "two")? == "running", "the others are started")?;
    world.ctl(&["stop", "one", "two"]).expect(0)?;
    same(&state(world, "two")?, &"stopped", "both are stopped")
}

fn exec_passes_everything(world: &World) -> Outcome {
    let odd = "A=%h $HOME ${A} \"q\" 'q' \\ # ü";
    world.ctl(&["create", "abc", "--env", odd]).expect(0)?;
    same(&world.ctl(&["exec", "abc", "--", "printenv", "A"]).expect(0)?.out.trim_end(), &&odd[2..], "the value as given")?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "exit 42"]).expect(42)?;
    world.ctl(&["exec", "abc", "--", "no-such-program"]).expect(127)?;
    let id = world.ctl(&["exec", "abc", "--", "id", "-un"]).expect(0)?;
    same(&id.out, &"dev\n", &id.out)?;
    same(&world.ctl(&["exec", "abc", "--", "pwd"]).expect(0)?.out, &"/home/dev\n", "in the home")?;
    same(&world.ctl(&["exec", "--root", "abc", "--", "id", "-u"]).expect(0)?.out, &"0\n", "root")?;
    let weird = "a b $HOME * \\ 'x' \"y\"";
    same(&world.ctl(&["exec", "abc", "--", "printf", "%s", weird]).expect(0)?.out, &weird, "arguments are not split")?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "true"]).expect(125)?.shows(&expect![[r#"
        --- standard error
        error: abc is stopped
          hint: `devbox-ctl start abc`
    "#]])?;
    Ok(())
}

fn ssh(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let ran = world.ctl(&["ssh", "abc", "--", "id -un; pwd"]).expect(0)?;
    same(&ran.out, &"dev\n/home/dev\n", &format!("{ran:#?}"))?;
    world.ctl(&["ssh", "abc", "--", "exit", "42"]).expect(42)?;
    // The host key outlives the box's root file system.
    world.ctl(&["restart", "abc"]).expect(0)?;
    world.ctl(&["ssh", "abc", "--", "true"]).expect(0)?;
    // Nobody else gets in, and nothing listens on the host.
    world.run("bob", &["devbox-ctl", "ssh", "abc", "--", "true"]).expect(125)?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["ssh", "abc"]).expect(125)?.shows(&expect![[r#"
        --- standard error
        error: abc is stopped
          hint: `devbox-ctl start abc`
    "#]])?;
    Ok(())
}

fn ssh_config(world: &World) -> Outcome {
    world.ok("alice", &["rm", "-rf", ".ssh"])?;
    let own = "# mine\nHost other\n  User x\n\n\n";
    world.ok("alice", &["sh", "-c", "mkdir -m 700 .ssh; mkdir dotfiles; ln -s ../dotfiles/config .ssh/config"])?;
    world.write("/home/alice/dotfiles/config", own);
    world.ok("root", &["chown", "alice:alice", "/home/alice/dotfiles/config"])?;
    world.ok("alice", &["chmod", "640", "dotfiles/config"])?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["ssh-config", "--install"]).expect(0)?;
    world.ctl(&["ssh-config", "--install"]).expect(0)?.shows(&expect![[r#"
        /home/alice/.local/share/devbox/ssh/config is up to date
    "#]])?;
    let text = std::fs::read_to_string(world.path("/home/alice/dotfiles/config"))?;
    same(&text, &format!("Include ~/.local/share/devbox/ssh/config\n{own}"), &text)?;
    ensure(world.ok("alice", &["stat", "-c", "%a %F", "dotfiles/config"])?.starts_with("640 regular"), "its mode")?;
    world.ok("alice", &["test", "-L", ".ssh/config"])?;
    same(&world.ok("alice", &["ssh", "abc", "id -un"])?, &"dev\n", "plain ssh")?;
    world.ok("alice", &["scp", "-q", "/etc/hostname", "abc:copied"])?;
    world.ctl(&["exec", "abc", "--", "test", "-s", "copied"]).expect(0)?;
    // From another machine: through the host, with a key that may enter the owner's account.
    world.ok("alice", &["sh", "-c", "rm -f laptop*; ssh-keygen -q -t ed25519 -N '' -f laptop; { echo '# a comment'; echo 'ssh-rsa junk'; cat laptop.pub; } > .ssh/kept-keys; ln -s kept-keys .ssh/authorized_keys"])?;
    world.ctl(&["ssh-config", "--for-client"]).expect(0)?.shows(&expect![[r#"
        # Boxes of alice on HOST; put the name by which you reach that host.

        Host abc
          User dev
          HostKeyAlias devbox-abc
          ProxyCommand ssh alice@HOST devbox-ctl ssh-proxy abc
          StrictHostKeyChecking accept-new
          ForwardAgent no
    "#]])?;
    let through = [
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
        "laptop",
        "-o",
        "BatchMode=yes",
        "dev@abc",
        "id -un",
    ];
    same(&world.ok("alice", &through)?, &"dev\n", "with the laptop's key")?;
    world.ok("alice", &["rm", "-f", "laptop", "laptop.pub"])?;
    // A box made later is there at once, a destroyed one is gone.
    world.ctl(&["create", "later"]).expect(0)?;
    world.ok("alice", &["ssh", "later", "true"])?;
    world.ctl(&["destroy", "--now", "--yes", "later"]).expect(0)?;
    let ours = std::fs::read_to_string(world.path("/home/alice/.local/share/devbox/ssh/config"))?;
    ensure(ours.contains("Host abc\n") && !ours.contains("later"), &ours)?;
    // A file that may not be written is left, with the line to write.
    world.ok("alice", &["sh", "-c", "printf '' > dotfiles/config; chmod 400 dotfiles/config"])?;
    world.ctl(&["ssh-config", "--install"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: writing /home/alice/.ssh/config failed: it is read-only
          hint: put this line at its top yourself: Include ~/.local/share/devbox/ssh/config
    "#]])?;
    world.ok("alice", &["rm", "-rf", ".ssh", "dotfiles"])?;
    Ok(())
}

fn logs(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "--root", "abc", "--", "sh", "-c", "echo hello from inside > /proc/1/fd/1"]).expect(0)?;
    world.ok("root", &["journalctl", "--sync"])?;
    let ran = world.ctl(&["logs", "abc", "--tail", "50"]).expect(0)?;
    ran.says("hello from inside")?;
    ran.says("Started devbox-abc.service")?;
    ensure(!ran.out.contains("PODMAN_SYSTEMD_UNIT"), "podman's events are no log of the box")?;
    ensure(world.ctl(&["logs", "abc", "--since", "2100-01-01"]).expect(0)?.out.is_empty(), "nothing from the future")?;
    world.ctl(&["logs", "nobody"]).expect(10)?;
    Ok(())
}

fn destroy_asks(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["destroy", "abc"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: destroy asks first, and there is no terminal to ask on
          hint: `devbox-ctl destroy --yes abc`
    "#]])?;
    world.ctl(&["destroy", "--now", "abc"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: destroy asks first, and there is no terminal to ask on
          hint: `devbox-ctl destroy --now --yes abc`
    "#]])?;
    // On a terminal it asks, and says what will be; anything but yes leaves the box.
    let typed = |answer: &str, command: &str| {
        let script = format!("printf '{answer}\\n' | script -qec 'devbox-ctl {command}' /dev/null");
        world.run("alice", &["sh", "-c", &script])
    };
    typed("n", "destroy abc").expect(130)?.says("It goes to the trash, and can be restored until 2")?;
    typed("n", "destroy --now abc").expect(130)?.says("Its data in /home/dev is deleted with it")?;
    typed("n", "destroy --keep-volume abc").expect(130)?.says("for good? Its data is kept")?;
    same(&state(world, "abc")?, &"running", "still there")?;
    typed("y", "destroy abc").expect(0)?.says("abc is in the trash until 2")?;
    same(&state(world, "abc")?, &"trashed", "in the trash")?;
    world.ctl(&["trash", "--empty"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: emptying the trash asks first, and there is no terminal to ask on
          hint: `devbox-ctl trash --empty --yes`
    "#]])?;
    typed("n", "trash --empty").expect(130)?.says("Delete abc and all their data for good?")?;
    same(&state(world, "abc")?, &"trashed", "still there")?;
    typed("y", "trash --empty abc").expect(0)?.says("abc is deleted")?;
    world.expect_clean()
}

fn kept_data_comes_back(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo mine > kept; rm .bashrc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "--keep-volume", "abc"]).expect(0)?.shows(&expect![[r#"
        abc is deleted; its data is kept
    "#]])?;
    world.ctl(&["create", "abc"]).expect(0)?;
    same(&world.ctl(&["exec", "abc", "--", "cat", "kept"]).expect(0)?.out, &"mine\n", "the data")?;
    world.ctl(&["exec", "abc", "--", "test", "!", "-e", ".bashrc"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

fn no_such_box(world: &World) -> Outcome {
    for verb in [&["status"][..], &["start"], &["stop"], &["restart"], &["destroy", "--now", "--yes"], &["logs"]] {
        world.ctl(&[verb, &["nobody"]].concat()).expect(10)?.says("you have no box called nobody")?;
    }
    world.ctl(&["exec", "nobody", "--", "true"]).expect(125)?;
    world.ctl(&["ssh", "nobody"]).expect(125)?;
    world.ctl(&["list", "--all"]).expect(11)?;
    Ok(())
}

fn quiet_and_verbose(world: &World) -> Outcome {
    let ran = world.ctl(&["-q", "create", "abc"]).expect(0)?;
    ensure(ran.out.is_empty() && ran.err.is_empty(), &format!("{ran:#?}"))?;
    let ran = world.ctl(&["-v", "list"]).expect(0)?;
    ran.says("systemd: ListUnitsByPatterns")?;
    ensure(!ran.err.contains("podman"), "list runs no podman")?;
    ensure(!world.ctl(&["-v", "status", "abc"]).expect(0)?.err.contains("podman"), "status runs no podman")
}
