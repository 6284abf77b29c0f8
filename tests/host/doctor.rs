//! `doctor`: what is wrong is found, said with what mends it, and mended where asked.

use super::world::{Outcome, Tests, World, ensure};

pub(crate) const TESTS: Tests = &[
    ("doctor::an_escaped_process_is_found", escaped),
    ("doctor::debians_cron_and_the_line_that_mends_it", cron),
    ("doctor::an_account_and_its_boxes", account),
    ("doctor::a_broker_that_fails", broker),
];

const ESCAPED: &str = "esc-of-bob.service";

fn escaped(world: &World) -> Outcome {
    world.run("root", &["devbox-ctl", "doctor"]).expect(0)?.says("no process is outside of its owner's slice")?;
    // What a service does that starts a user's program without a session: Debian's cron is one.
    world.ok("root", &["systemd-run", "--quiet", "--uid=1001", "--unit", ESCAPED, "sleep", "infinity"])?;
    let found = ["root", "bob"].map(|user| world.run(user, &["devbox-ctl", "doctor"]));
    let others = world.ctl(&["doctor"]);
    world.ok("root", &["systemctl", "stop", ESCAPED])?;
    for ran in found {
        let ran = ran.expect(7)?;
        ran.says("of bob runs outside of user-1001.slice, in esc-of-bob.service")?;
        ran.says("pam_systemd")?;
    }
    others.says("no process is outside of its owner's slice")?;
    world.run("root", &["devbox-ctl", "doctor"]).expect(0).map(drop)
}

fn cron(world: &World) -> Outcome {
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
    after.expect(0)?.says("no process is outside of its owner's slice")
}

fn account(world: &World) -> Outcome {
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
        ensure(is_good(check, text) == Some((Some(good), !good)), &format!("{check} {text}: {json:#}"))?;
    }
    ensure(world.folder("abc").exists(), "it only looks")?;
    world.ctl(&["doctor", "--fix"]).expect(7)?.says("destroying abc had been cut short; it is finished now")?;
    ensure(!world.folder("abc").exists() && world.folder("odd").exists(), "mended, and nothing else touched")?;
    // Dave has none of what an account needs.
    let dave = world.run("dave", &["devbox-ctl", "doctor"]);
    ensure(dave.code == 7, &format!("{dave:?}"))
}

fn broker(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["doctor"]).says("devboxd answers")?;
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxs = 1\n");
    world.ctl(&["doctor"]).expect(7)?.says("unknown key")?;
    std::fs::remove_file(world.path("/etc/devbox/users.toml"))?;
    world.override_devboxd("[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n")?;
    let ran = world.run("root", &["devbox-ctl", "doctor"]).expect(7)?;
    ran.says("journalctl -u devboxd")
}
