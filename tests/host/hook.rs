//! Warnings on their way to a command of the administrator's, and timers that stopped.

use serde_json::Value;

use super::broker::call;
use super::life::{CLEANUP, pass, says};
use super::prelude::*;

tests! { Host:
    an_idle_box_reaches_it_once,
    one_that_fails_hangs_or_is_missing,
    a_broker_that_does_not_answer,
    a_deletion_that_was_cut_short,
    a_cleanup_killed_while_it_tells,
    hostile_owners,
    it_has_little,
    timers_that_stopped,
}

pub(super) const HOOK: &str = "/usr/local/libexec/hook/hook";
const SETTINGS: &str = "[warnings]\ncommand = [\"/usr/local/libexec/hook/hook\", \"an argument; with $(shell)\"]\n";
/// What it is told, a line each: the last arguments are those of users.toml.
const TAKES: &str =
    "#!/bin/sh\n{ cat; } >>/var/lib/warned/told\nprintf '%s\\n' \"$#:$1\" >>/var/lib/warned/arguments\n";

/// A broker with a command that notes what it is told.
pub(super) fn install(world: &World, settings: &str) -> Outcome {
    hook(world, TAKES)?;
    world.install_broker(&format!("{SETTINGS}{settings}"))?;
    // Its sandbox lets it write nowhere: this is the test's.
    let conf = "/etc/systemd/system/devbox-warn@.service.d/test.conf";
    world.write(conf, "[Service]\nReadWritePaths=/var/lib/warned\n");
    let script = "rm -rf /var/lib/warned; install -d -o devbox-warn /var/lib/warned; systemctl daemon-reload";
    world.ok("root", &["sh", "-c", script]).map(drop)
}

pub(super) fn hook(world: &World, script: &str) -> Outcome {
    world.write(HOOK, script);
    world.ok("root", &["sh", "-c", &format!("chown -R root: /usr/local/libexec/hook; chmod 755 {HOOK}")]).map(drop)
}

/// Waits until it was told so much; what it was told.
fn told(world: &World, count: usize) -> Result<Vec<Value>, libtest_mimic::Failed> {
    let wait = format!("until [ $(cat /var/lib/warned/told 2>/dev/null | wc -l) -ge {count} ]; do sleep 0.05; done");
    world.run("root", &["timeout", "40", "sh", "-c", &wait]);
    let text = world.run("root", &["sh", "-c", "cat /var/lib/warned/told 2>/dev/null"]).out;
    let all: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    same(&all.len(), &count, &format!("{count} expected: {text}"))?;
    Ok(all)
}

/// Until nothing is on its way: a later one would be there by then too.
fn quiet(world: &World) -> Outcome {
    let none = "until [ -z \"$(systemctl list-units --plain --no-legend 'devbox-warn@*')\" ]; do sleep 0.05; done";
    world.ok("root", &["timeout", "60", "sh", "-c", none]).map(drop)
}

pub(super) fn warn(world: &World, user: &str, name: &str, event: &str, seconds: &str, work: &str) -> Ran {
    world.run(user, &call("Warn", &["ssts", name, event, seconds, work]))
}

fn admin(world: &World, arguments: &[&str]) -> Ran {
    world.run("root", &[&["devbox-ctl", "admin"], arguments].concat())
}

fn an_idle_box_reaches_it_once(world: &World) -> Outcome {
    install(world, "[defaults]\nidle_stop_days = 2\nstopped_destroy_days = 1\nwarn_days = [1]\ntrash_days = 1\n")?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "git init -q repo; touch repo/file"]).expect(0)?;
    pass(world, 0, 1, CLEANUP)?;
    shows(&pass(world, 1, 26, CLEANUP)?, &expect![[r#"
        nobody uses your box abc; in 1 day it is stopped, and its data stays: `devbox-ctl why abc`; git work in it that is nowhere else: repo: 1 changed file
    "#]])?;
    pass(world, 26, 27, &format!("{CLEANUP}; {CLEANUP}"))?;
    let first = &told(world, 1)?[0];
    for (key, value) in [
        ("version", Value::from(1)),
        ("test", false.into()),
        ("owner", "alice".into()),
        ("uid", 1000.into()),
        ("box", "abc".into()),
        ("event", "stop-ahead".into()),
        ("text", "nobody uses alice's box abc; in 1 day it is stopped, and its data stays".into()),
        ("work", "repo: 1 changed file".into()),
        ("prevent", "devbox-ctl keep-awake abc --for 8h".into()),
        ("undo", Value::Null),
    ] {
        same(&first[key], &value, &format!("{key}: {first}"))?;
    }
    let host = world.ok("root", &["hostname"])?;
    same(&first["host"], &host.trim(), &first.to_string())?;
    let ahead = ahead(first)?;
    ensure((21 * 3600..=24 * 3600).contains(&ahead), &first.to_string())?;
    // The argument is one, and no shell has read it.
    let argument = world.ok("root", &["cat", "/var/lib/warned/arguments"])?;
    same(&argument, &"1:an argument; with $(shell)\n", &argument)?;
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    // What is done is told, each once.
    shows(&pass(world, 27, 52, CLEANUP)?, &expect![[r#"
        abc is stopped: nobody had used it for 2 days
    "#]])?;
    pass(world, 52, 66, &format!("{CLEANUP}; {CLEANUP}"))?;
    shows(&pass(world, 66, 78, CLEANUP)?, &expect![[r#"
        abc is in the trash: it was stopped for 1 day; `devbox-ctl restore abc` brings it back
    "#]])?;
    let all = told(world, 4)?;
    let events: Vec<&str> = all.iter().filter_map(|t| t["event"].as_str()).collect();
    same(&events, &["stop-ahead", "stopped", "trash-ahead", "trashed"], &format!("{events:?}"))?;
    same(&all[3]["undo"], &"devbox-ctl restore abc", &all[3].to_string())?;
    // And a box that is gone for good, whose name is nobody's by then.
    world.ctl(&["restore", "abc"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    pass(world, 78, 79, CLEANUP)?;
    shows(&pass(world, 79, 104, CLEANUP)?, &expect![[r#"
        abc is deleted: it was in the trash for 1 day
    "#]])?;
    same(&told(world, 5)?[4]["event"], &"deleted", "told")?;
    let trail = admin(world, &["audit", "--owner", "alice"]).expect(0)?;
    trail.says("warn")
}

/// How far ahead of what was said it happens.
fn ahead(told: &Value) -> Result<i64, libtest_mimic::Failed> {
    let time = |key: &str| told[key].as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok()).ok_or(key.to_owned());
    Ok(time("happensAt")?.as_second() - time("saidAt")?.as_second())
}

fn one_that_fails_hangs_or_is_missing(world: &World) -> Outcome {
    install(world, "")?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    let doctor = || world.run("root", &["devbox-ctl", "doctor"]);
    // It fails: whoever said it knows nothing of that, and an administrator does.
    hook(world, "#!/bin/sh\necho said-by-the-hook >&2; exit 3\n")?;
    warn(world, "alice", "abc", "stop-ahead", "90000", "").expect(0)?;
    let failed = "until journalctl -u devboxd -o cat | grep -q 'ended with exit status 3'; do journalctl --sync; done";
    world.ok("root", &["timeout", "40", "sh", "-c", failed])?;
    doctor().expect(7)?.shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  devboxd answers
        !!  any user can hold up the system's bus, and with it logins, podman and devboxd: it is dbus-daemon's
            `sudo apt install dbus-broker`, and boot the host anew
        !!  warnings do not arrive: /usr/local/libexec/hook/hook ended with exit status 3: `journalctl -u 'devbox-warn@*'`; 1 wait to be tried again, 0 are not tried by themselves any more
            `journalctl -u 'devbox-warn@*'`, and `devbox-ctl admin warn --test` tries it
        ok  no process is outside of its owner's slice
        --- standard error
        error: there are 2 problems
    "#]])?;
    admin(world, &["check"]).expect(0)?.shows(&expect![[r#"
        the settings are good
          host  7 boxes at most
          default  5 boxes at most, of 2 cpu and 4G
          named  nobody
        devboxd: settings good, 1 boxes in the ledger
        --- standard error
        warning: warnings do not arrive: /usr/local/libexec/hook/hook ended with exit status 3: `journalctl -u 'devbox-warn@*'`; 1 wait to be tried again, 0 are not tried by themselves any more; `devbox-ctl admin warn --test` tries it
    "#]])?;
    admin(world, &["warn", "--test"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: the command did not take it: /usr/local/libexec/hook/hook ended with exit status 3: `journalctl -u 'devbox-warn@*'`
          hint: what it printed is in `journalctl -u 'devbox-warn@*'`
    "#]])?;
    world.ok("root", &["journalctl", "--sync"])?;
    says(&world.ok("root", &["journalctl", "-o", "cat", "-u", "devbox-warn@*"])?, "said-by-the-hook")?;
    world.run("alice", &["devbox-ctl", "admin", "warn", "--test"]).expect(11)?;
    // It hangs, and holds up nobody.
    hook(world, "#!/bin/sh\nsleep 600 & exec sleep 600\n")?;
    let test = world.spawn("root", &["devbox-ctl", "admin", "warn", "--test"]);
    warn(world, "alice", "abc", "stop-ahead", "200000", "").expect(0)?;
    world.ctl(&["create", "other", "--no-start"]).expect(0)?;
    test.finish().expect(7)?.shows(&expect![[r#"
        --- standard error
        error: the command did not take it: /usr/local/libexec/hook/hook has not ended in SECONDS
          hint: what it printed is in `journalctl -u 'devbox-warn@*'`
    "#]])?;
    quiet(world)?;
    let left = world.run("root", &["pgrep", "-u", "devbox-warn"]);
    same(&left.code, &1, &format!("what it started ended with it: {left:?}"))?;
    // It is not there, or not root's alone.
    world.ok("root", &["chmod", "775", "/usr/local/libexec/hook"])?;
    admin(world, &["check"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: [warnings] command: /usr/local/libexec/hook can be written by others: `chmod go-w /usr/local/libexec/hook`
          hint: it and all folders on its way have to be root's, and writable by nobody else
    "#]])?;
    admin(world, &["warn", "--test"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: the command did not take it: [warnings] command: /usr/local/libexec/hook can be written by others: `chmod go-w /usr/local/libexec/hook`
          hint: what it printed is in `journalctl -u 'devbox-warn@*'`
    "#]])?;
    world.ok("root", &["sh", "-c", &format!("chmod 755 /usr/local/libexec/hook; chown alice {HOOK}")])?;
    admin(world, &["check"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: [warnings] command: /usr/local/libexec/hook/hook is not root's: `chown root /usr/local/libexec/hook/hook`
          hint: it and all folders on its way have to be root's, and writable by nobody else
    "#]])?;
    world.ok("root", &["rm", HOOK])?;
    admin(world, &["check"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: [warnings] command: /usr/local/libexec/hook/hook: No such file or directory (os error 2)
          hint: it and all folders on its way have to be root's, and writable by nobody else
    "#]])?;
    doctor().expect(7)?.shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  devboxd answers
        !!  any user can hold up the system's bus, and with it logins, podman and devboxd: it is dbus-daemon's
            `sudo apt install dbus-broker`, and boot the host anew
        !!  [warnings] command: /usr/local/libexec/hook/hook: No such file or directory (os error 2)
            mend that; `devbox-ctl admin warn --test` tries it
        ok  no process is outside of its owner's slice
        --- standard error
        error: there are 2 problems
    "#]])?;
    admin(world, &["warn", "--test"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: the command did not take it: [warnings] command: /usr/local/libexec/hook/hook: No such file or directory (os error 2)
          hint: what it printed is in `journalctl -u 'devbox-warn@*'`
    "#]])?;
    // Nor is its socket.
    hook(world, TAKES)?;
    world.ok("root", &["systemctl", "stop", "devbox-warn.socket"])?;
    admin(world, &["warn", "--test"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: the command did not take it: devbox-warn.socket is not active: `systemctl enable --now devbox-warn.socket`
          hint: what it printed is in `journalctl -u 'devbox-warn@*'`
    "#]])?;
    warn(world, "alice", "other", "stopped", "0", "").expect(0)?;
    // devboxd ends meanwhile, and what was said is not lost.
    world.kill_devboxd()?;
    world.ok("root", &["systemctl", "start", "devbox-warn.socket"])?;
    admin(world, &["warn", "--test"]).expect(0)?.shows(&expect![[r#"
        the command took a test
    "#]])?;
    let all = told(world, 4)?;
    let mut events: Vec<String> =
        all.iter().map(|t| format!("{} {} {}", t["test"], t["box"], t["event"]).replace('"', "")).collect();
    events.sort();
    let expected =
        ["false abc stop-ahead", "false abc stop-ahead", "false other stopped", "true example-box stop-ahead"];
    same(&events, &expected, &format!("{events:?}"))?;
    admin(world, &["check"]).expect(0)?.shows(&expect![[r#"
        the settings are good
          host  7 boxes at most
          default  5 boxes at most, of 2 cpu and 4G
          named  nobody
        devboxd: settings good, 2 boxes in the ledger
        the command that is told of warnings takes them
    "#]])?;
    doctor().shows(&expect![[r#"
        ok  podman is new enough
        ok  the settings of /etc/devbox are good
        ok  devboxd answers
        !!  any user can hold up the system's bus, and with it logins, podman and devboxd: it is dbus-daemon's
            `sudo apt install dbus-broker`, and boot the host anew
        ok  the command that is told of warnings takes them
        ok  no process is outside of its owner's slice
        --- standard error
        error: there is a problem
    "#]])
}

/// Its owner is told all the same, and the box is stopped in time.
fn a_broker_that_does_not_answer(world: &World) -> Outcome {
    install(world, "[defaults]\nidle_stop_days = 1\n")?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.override_devboxd("[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n")?;
    let warned = pass(world, 0, 13, CLEANUP)?;
    let stopped = pass(world, 13, 26, CLEANUP);
    world.override_devboxd("")?;
    shows(&warned, &expect![[r#"
        nobody uses your box abc; in 12 hours it is stopped, and its data stays: `devbox-ctl why abc`
    "#]])?;
    shows(&stopped?, &expect![[r#"
        abc is stopped: nobody had used it for 1 day
    "#]])?;
    // The next cleanup tells it: what was ahead is over by then.
    told(world, 0)?;
    pass(world, 38, 38, CLEANUP)?;
    let later = &told(world, 1)?[0];
    ensure(later["event"] == "stopped" && ahead(later)? < -11 * 3600, &later.to_string())?;
    pass(world, 38, 39, CLEANUP)?;
    quiet(world)?;
    told(world, 1).map(drop)
}

/// It waits for a broker that hangs, with the box stopped and what was counted of it begun anew.
fn a_cleanup_killed_while_it_tells(world: &World) -> Outcome {
    install(world, "[defaults]\nidle_stop_days = 1\n")?;
    world.ctl(&["create", "abc"]).expect(0)?;
    pass(world, 0, 13, CLEANUP)?;
    same(&told(world, 1)?[0]["event"], &"stop-ahead", "warned")?;
    admin(world, &["limits"]).expect(0)?;
    world.ok("root", &["systemctl", "kill", "-s", "STOP", "devboxd"])?;
    let kill = "devbox-ctl cleanup & timeout 60 sh -c \"until grep -q '\\\"begun\\\":false' ~/.local/state/devbox/life.json; do sleep 0.05; done\" && kill -KILL $!";
    let cut = pass(world, 13, 26, kill);
    world.kill_devboxd()?;
    cut?;
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  ADDRESS  CPU  MEMORY  CREATED  IMAGE
        abc  stopped  -  2  4G  SECONDS ago  localhost/devbox:latest
    "#]])?;
    told(world, 1)?;
    pass(world, 38, 38, CLEANUP)?;
    let all = told(world, 2)?;
    ensure(all[1]["event"] == "stopped" && ahead(&all[1])? < -11 * 3600, &all[1].to_string())?;
    pass(world, 38, 39, CLEANUP)?;
    quiet(world)?;
    told(world, 2).map(drop)
}

/// The data is gone, the name is not given back, and another command ends it.
fn a_deletion_that_was_cut_short(world: &World) -> Outcome {
    install(world, "[defaults]\ntrash_days = 1\n")?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    pass(world, 0, 1, CLEANUP)?;
    world.override_devboxd("[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n")?;
    let cut = pass(world, 1, 26, &format!("! {CLEANUP}"));
    world.override_devboxd("")?;
    cut?;
    world.ctl(&["create", "other", "--no-start"]).expect(0)?;
    world.ok("root", &["sh", "-c", "devbox-ctl admin audit --owner alice | grep release"])?;
    told(world, 0)?;
    pass(world, 38, 38, CLEANUP)?;
    let later = &told(world, 1)?[0];
    ensure(later["event"] == "deleted" && later["box"] == "abc", &later.to_string())?;
    ensure(ahead(later)? < -11 * 3600, &later.to_string())?;
    pass(world, 38, 39, CLEANUP)?;
    quiet(world)?;
    told(world, 1).map(drop)
}

fn hostile_owners(world: &World) -> Outcome {
    install(world, "")?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    world.run("bob", &["devbox-ctl", "create", "bobs", "--no-start"]).expect(0)?;
    // Of another's box, and of what nobody has.
    for (name, event) in [("abc", "stop-ahead"), ("abc", "deleted"), ("none", "trashed"), ("none", "deleted")] {
        warn(world, "bob", name, event, "0", "").expect(1)?.says("you hold no name")?;
    }
    // What is none of the words, or out of all bounds.
    for (name, event, seconds) in [
        ("bobs", "exploded", "0"),
        ("../../etc", "stopped", "0"),
        ("bobs", "stopped", "777600"),
        ("bobs", "stop-ahead", "18446744073709551615"),
    ] {
        warn(world, "bob", name, event, seconds, "").expect(1)?;
    }
    warn(world, "bob", "bobs", "stop-ahead", "1", &"x".repeat(5000)).expect(1)?.says("at most 4096 bytes")?;
    // The socket of the command's is devboxd's alone.
    let direct = ["perl", "-MIO::Socket::UNIX", "-e", "IO::Socket::UNIX->new('/run/devboxd/warn.sock') or die $!"];
    world.run("bob", &direct).expect(13)?.says("Permission denied")?;
    world.run("root", &direct).expect(0)?;
    let mode = world.ok("root", &["stat", "-c", "%U %a", "/run/devboxd/warn.sock"])?;
    same(&mode, &"devboxd 600\n", &mode)?;
    let odd = "a\r\nBcc: all@example.com\n\u{1b}[2J\u{202e}\"$(touch /tmp/ran)`touch /tmp/ran`'; touch /tmp/ran #";
    warn(world, "bob", "bobs", "stop-ahead", "90000", odd).expect(0)?;
    let first = &told(world, 1)?[0];
    same(&first["work"], &"aBcc: all@example.com[2J\"$(touch /tmp/ran)`touch /tmp/ran`'; touch /tmp/ran #", &first.to_string())?;
    ensure(first["owner"] == "bob" && first["box"] == "bobs", &first.to_string())?;
    // However often and however much: ten a day, for one who may have five boxes.
    let many = (2..40).map(|days| (days * 86_400).to_string());
    let codes: Vec<i32> = many.map(|s| warn(world, "bob", "bobs", "stop-ahead", &s, "").code).collect();
    warn(world, "bob", "bobs", "stopped", "0", "").expect(1)?.says("told of your boxes in a day")?;
    ensure(codes.iter().filter(|code| **code == 0).count() < 12, &format!("{codes:?}"))?;
    told(world, 10)?;
    // And nobody else pays for it.
    warn(world, "alice", "abc", "stopped", "0", "").expect(0)?;
    same(&told(world, 11)?[10]["owner"], &"alice", "alice's arrives")
}

fn it_has_little(world: &World) -> Outcome {
    install(world, "")?;
    world.write("/etc/credstore/devbox-warn.url", "https://chat.example.com/secret-of-the-hook\n");
    world.ok("root", &["chmod", "600", "/etc/credstore/devbox-warn.url"])?;
    let script = "#!/bin/sh\nexec >>/var/lib/warned/told\nprintf '{\"user\":\"%s\",' $(id -un)\nprintf '\"environment\":\"%s\",' \"$(env | grep -Ev '^(PWD|_|SHLVL|OLDPWD)=' | cut -d= -f1 | sort | tr '\\n' ' ')\"\n\
        printf '\"secret\":\"%s\",' \"$(cat $CREDENTIALS_DIRECTORY/devbox-warn.url)\"\nprintf '\"ledger\":\"%s\",' \"$(cat /var/lib/devboxd/ledger.sqlite 2>&1 | head -c 40)\"\n\
        printf '\"homes\":\"%s\",' \"$(ls /home 2>&1)\"\nprintf '\"wrote\":\"%s\"}\\n' \"$(touch /etc/x /usr/x /var/x 2>/dev/null && echo yes)\"\n";
    hook(world, script)?;
    admin(world, &["warn", "--test"]).expect(0)?;
    let seen = &told(world, 1)?[0];
    for (key, value) in [
        ("user", "devbox-warn"),
        ("environment", "CREDENTIALS_DIRECTORY LC_ALL PATH "),
        ("secret", "https://chat.example.com/secret-of-the-hook"),
        ("wrote", ""),
    ] {
        same(&seen[key], &value, &format!("{key}: {seen}"))?;
    }
    says(seen["homes"].as_str().unwrap_or_default(), "ls: cannot open directory")?;
    ensure(!seen["ledger"].as_str().unwrap_or_default().contains("SQLite"), &seen.to_string())?;
    // Its owner's words and its secret are nobody else's to read.
    let search = "grep -rs secret-of-the-hook /run/credentials /etc/credstore /proc/*/cmdline /proc/*/environ";
    ensure(world.run("alice", &["sh", "-c", search]).out.is_empty(), "the secret")?;
    let shown =
        world.ok("root", &["systemd-analyze", "security", "--no-pager", "--threshold=25", "devbox-warn@x.service"])?;
    ensure(shown.contains("Overall exposure level"), &shown)?;
    let verify = "systemd-analyze verify --man=no /usr/lib/systemd/system/devbox-warn.socket /usr/lib/systemd/system/devbox-warn@.service 2>&1 | grep devbox-warn";
    let said = world.run("root", &["sh", "-c", verify]).out;
    ensure(said.is_empty(), &said)
}

fn timers_that_stopped(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "abc", "--no-start"]).expect(0)?;
    let units = ["report", "sample", "cleanup"].map(|timer| format!("devboxes-{timer}.timer"));
    let user = |arguments: &[&str]| world.ok("alice", &[&["systemctl", "--user"], arguments].concat());
    user(&["daemon-reload"])?;
    user(&["start", &units[0], &units[1], &units[2]])?;
    let doctor = |check: &str| {
        let found = world.ctl(&["doctor", "--json"]).json()?;
        let one = found.as_array().into_iter().flatten().find(|c| c["check"] == check).cloned();
        one.ok_or_else(|| libtest_mimic::Failed::from(format!("{check}: {found:#}")))
    };
    world.ctl(&["sample"]).expect(0)?;
    world.ctl(&["cleanup"]).expect(0)?;
    for check in ["report", "sample", "cleanup"] {
        same(&doctor(check)?["good"], &true, &doctor(check)?.to_string())?;
    }
    let report = || {
        super::broker::next_second(world)?;
        world.ctl(&["report"]).expect(0).map(drop)
    };
    report()?;
    admin(world, &["reconcile"]).expect(0)?.shows(&expect![[r#"
        the ledger and the host agree
    "#]])?;
    let limits = admin(world, &["limits"]).expect(0)?;
    limits.says("LOOKED")?;
    ensure(!limits.out.contains("never"), &limits.out)?;
    // Its owner stops the sampler; it ran last three days ago.
    let stop = "systemctl --user mask --now devboxes-sample.timer; export NO_FAKE_STAT=1 LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1); FAKETIME=-3d devbox-ctl sample";
    world.ok("alice", &["sh", "-c", stop])?;
    report()?;
    let found = admin(world, &["reconcile"]).expect(0)?;
    let own = doctor("sample")?;
    user(&["unmask", &units[1]])?;
    found.shows(&expect![[r#"
        FOUND  BOX  WHAT
        silent  alice  their devboxes-sample.timer has not run since DATE (3 days): no box of theirs is found unused; `devbox-ctl doctor` as them says what helps
    "#]])?;
    ensure(!found.out.contains("cleanup.timer"), &found.out)?;
    admin(world, &["limits"]).expect(0)?.says("3 days ago")?;
    ensure(own["good"] == false && own["text"].as_str().is_some_and(|t| t.contains("does not run")), &own.to_string())?;
    says(own["mend"].as_str().unwrap_or_default(), "systemctl --user unmask devboxes-sample.timer")?;
    // It runs again, and all is well.
    user(&["start", &units[1]])?;
    world.ctl(&["sample"]).expect(0)?;
    same(&doctor("sample")?["good"], &true, "it runs")?;
    report()?;
    admin(world, &["reconcile"]).expect(0)?.shows(&expect![[r#"
        the ledger and the host agree
    "#]])?;
    // The host was off for three days, and the report was quicker than the cleanup, which tells that it has run.
    let ran =
        "export NO_FAKE_STAT=1 LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1); FAKETIME=-3d devbox-ctl cleanup";
    world.ok("alice", &["sh", "-c", ran])?;
    report()?;
    admin(world, &["reconcile"]).expect(0)?.shows(&expect![[r#"
        FOUND  BOX  WHAT
        silent  alice  their devboxes-cleanup.timer has not run since DATE (3 days): no box of theirs is warned of or stopped; `devbox-ctl doctor` as them says what helps
    "#]])?;
    super::broker::next_second(world)?;
    world.ctl(&["cleanup"]).expect(0)?;
    admin(world, &["reconcile"]).expect(0)?.shows(&expect![[r#"
        the ledger and the host agree
    "#]])
}
