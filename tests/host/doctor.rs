//! `doctor`: what is wrong is found, said with what mends it, and mended where asked.

use super::prelude::*;

tests! { Host:
    an_escaped_process_is_found,
    debians_cron_and_the_line_that_mends_it,
    an_account_and_its_boxes,
    a_broker_that_fails,
}

const ESCAPED: &str = "esc-of-bob.service";

fn an_escaped_process_is_found(world: &World) -> Outcome {
    world.run("root", &["devbox-ctl", "doctor"]).expect(0)?.shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  this host has no broker: names and limits are each owner's own
        ok  no process is outside of its owner's slice
    "#]])?;
    // Type=exec: by the end of systemd-run the process has its user (systemd.service(5)).
    // What a service does that starts a user's program without a session: Debian's cron is one.
    world.ok("root", &["systemd-run", "--quiet", "--service-type=exec", "--uid=1001", "--unit", ESCAPED, "sleep", "infinity"])?;
    let [roots, bobs] = ["root", "bob"].map(|user| world.run(user, &["devbox-ctl", "doctor"]));
    let others = world.ctl(&["doctor"]);
    world.ok("root", &["systemctl", "stop", ESCAPED])?;
    roots.expect(7)?.shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  this host has no broker: names and limits are each owner's own
        !!  PROGRAM[PID] of bob runs outside of user-1001.slice, in esc-of-bob.service: the limits of users.toml do not hold for it
            have that service open sessions with pam_systemd (Debian's cron: add it to /etc/pam.d/cron)
        --- standard error
        error: there is a problem
    "#]])?;
    bobs.expect(7)?.says("of bob runs outside of user-1001.slice, in esc-of-bob.service")?;
    others.shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  this host has no broker: names and limits are each owner's own
        ok  podman's locks are yours
        ok  your boxes run without a session of yours
        ok  you have subordinate ids
        !!  limits of single boxes are not enforced: cpu, memory, pids not delegated to you
            `sudo systemctl edit user@.service`: [Service] Delegate=cpu cpuset io memory pids
        ok  you have localhost/devbox:latest
        ok  no process is outside of its owner's slice
        --- standard error
        error: there is a problem
    "#]])?;
    world.run("root", &["devbox-ctl", "doctor"]).expect(0).map(drop)
}

fn debians_cron_and_the_line_that_mends_it(world: &World) -> Outcome {
    // A job at the start of cron; cron takes its own start for the host's where this file is missing.
    let job = "printf '@reboot echo up >/run/up; exec sleep 86400\\n' | crontab -u bob -";
    let again = "rm -f /run/crond.reboot; pkill -u bob -x sleep; systemctl restart cron; timeout 60 head -1 /run/up";
    world.ok("root", &["sh", "-c", &format!("mkfifo -m 666 /run/up; {job}; {again}")])?;
    let before = world.run("root", &["devbox-ctl", "doctor"]);
    world.ok(
        "root",
        &["sh", "-c", "cp /etc/pam.d/cron /run/cron.pam; echo 'session required pam_systemd.so' >>/etc/pam.d/cron"],
    )?;
    world.ok("root", &["sh", "-c", again])?;
    let after = world.run("root", &["devbox-ctl", "doctor"]);
    let mend =
        "crontab -r -u bob; pkill -u bob -x sleep; mv /run/cron.pam /etc/pam.d/cron; rm /run/up; systemctl stop cron";
    world.ok("root", &["sh", "-c", mend])?;
    before.expect(7)?.says("of bob runs outside of user-1001.slice, in cron.service")?;
    after.expect(0)?.shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  this host has no broker: names and limits are each owner's own
        ok  no process is outside of its owner's slice
    "#]])
}

fn an_account_and_its_boxes(world: &World) -> Outcome {
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    world.ctl(&["create", "odd", "--no-start"]).expect(0)?;
    std::fs::write(world.folder("abc").join("destroying"), "")?;
    std::fs::write(world.folder("odd").join("box.toml"), "not a box")?;
    // A lab host has no controllers to give, so this is never all good.
    let ran = world.ctl(&["doctor", "--json"]).expect(7)?;
    ensure(ran.err.is_empty(), &ran.err)?;
    let json = ran.json()?;
    let is_good = |check: &str, text: &str| {
        let found = json.as_array().into_iter().flatten();
        let found = found.filter(|c| c["check"] == check && c["text"].as_str().is_some_and(|t| t.contains(text)));
        found.map(|c| (c["good"].as_bool(), c["mend"].is_string())).next()
    };
    for (check, text, good) in [
        ("podman", "", true),
        ("linger", "", true),
        ("subordinate ids", "", true),
        ("image", "", true),
        ("controllers", "cpu, memory, pids", false),
        ("box", "abc is half destroyed", false),
        ("box", "odd: ", false),
    ] {
        same(&is_good(check, text), &Some((Some(good), !good)), &format!("{check} {text}: {json:#}"))?;
    }
    ensure(world.folder("abc").exists(), "it only looks")?;
    world.ctl(&["doctor", "--fix"]).expect(7)?.shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  this host has no broker: names and limits are each owner's own
        ok  podman's locks are yours
        ok  your boxes run without a session of yours
        ok  you have subordinate ids
        !!  limits of single boxes are not enforced: cpu, memory, pids not delegated to you
            `sudo systemctl edit user@.service`: [Service] Delegate=cpu cpuset io memory pids
        ok  you have localhost/devbox:latest
        !!  odd: box.toml cannot be read: key with no value, expected `=`
            `devbox-ctl destroy --keep-volume odd` keeps its data; create it again
        ok  no process is outside of its owner's slice
        --- standard error
        warning: destroying abc had been cut short; it is finished now
        error: there are 2 problems
    "#]])?;
    ensure(!world.folder("abc").exists() && world.folder("odd").exists(), "mended, and nothing else touched")?;
    // Dave has none of what an account needs.
    let dave = world.run("dave", &["devbox-ctl", "doctor"]);
    same(&dave.code, &7, &format!("{dave:?}"))
}

fn a_broker_that_fails(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["doctor"]).says("devboxd answers")?;
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxs = 1\n");
    world.ctl(&["doctor"]).expect(7)?.says("unknown key")?;
    std::fs::remove_file(world.path("/etc/devbox/users.toml"))?;
    world.override_devboxd("[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n")?;
    let ran = world.run("root", &["devbox-ctl", "doctor"]).expect(7)?;
    ran.says("journalctl -u devboxd")
}
