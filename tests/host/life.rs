//! Boxes that nobody uses, on a clock that is moved: looks a quarter of an hour apart, days in seconds.
//!
//! libfaketime moves both clocks for devbox-ctl alone: to it, the host was awake all that time.

use super::kill::walk_command;
use super::prelude::*;

tests! { Host:
    work_that_no_branch_shows,
    idle_warned_stopped,
    stopped_trashed_restored,
    the_trash_is_emptied,
    its_own_terms,
    what_is_kept_may_be_lost_or_damaged,
    time_that_nobody_saw_does_not_count,
    used_while_it_is_to_be_stopped,
    work_that_is_nowhere_else,
    timers,
    #[slow] cleanup_killed_at_every_step,
}

/// Looks at boxes from one hour to another, four times an hour; `then` runs at the end of it.
pub(crate) fn pass(world: &World, from: u32, to: u32, then: &str) -> Result<String, libtest_mimic::Failed> {
    let script = format!(
        "export NO_FAKE_STAT=1 LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1); \
         for quarter in $(seq {} {}); do FAKETIME=+$((quarter * 15))m devbox-ctl sample || exit; done; \
         export FAKETIME=+{}m; {then}",
        from * 4,
        to * 4,
        to * 60,
    );
    world.ok("alice", &["sh", "-c", &script])
}

/// So many minutes from now.
pub(crate) fn at(world: &World, minutes: u32, then: &str) -> Result<String, libtest_mimic::Failed> {
    let preload = "export NO_FAKE_STAT=1 LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1)";
    world.ok("alice", &["sh", "-c", &format!("{preload} FAKETIME=+{minutes}m; {then}")])
}

pub(crate) const CLEANUP: &str = "devbox-ctl cleanup";
pub(crate) const WHY: &str = "devbox-ctl why abc";

pub(crate) fn says(text: &str, what: &str) -> Outcome {
    ensure(text.contains(what), &format!("{what:?} is not in {text}"))
}

fn idle_warned_stopped(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    shows(&pass(world, 0, 1, WHY)?, &expect![[r#"
        abc runs, and nobody has used it for 1 hour
          evidence
            1 hour ago  started
          next
            in 6 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])?;
    ensure(pass(world, 1, 95, CLEANUP)?.is_empty(), "three days: nothing to say")?;
    let fourth = pass(world, 95, 97, CLEANUP)?;
    shows(&fourth, &expect![[r#"
        nobody uses your box abc; in 2 days it is stopped, and its data stays: `devbox-ctl why abc`
    "#]])?;
    ensure(pass(world, 97, 98, CLEANUP)?.is_empty(), "once")?;
    // Where its owner reads it: in `list`, at a login on the host, and at one in the box; at logins once.
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  CPU  MEMORY  CREATED  IMAGE
        abc  running  2  4G  SECONDS ago  localhost/devbox:latest
        --- standard error
        warning: nobody uses your box abc; in 2 days it is stopped, and its data stays: `devbox-ctl why abc`
    "#]])?;
    let login = ["bash", "-ic", ". /opt/profile.sh"];
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/profile.sh"), world.path("/opt/profile.sh"))?;
    let program = "mkdir -p /usr/bin; ln -sf /usr/local/bin/devbox-ctl /usr/bin/devbox-ctl";
    world.ok("root", &["sh", "-c", program])?;
    let told = world.run("alice", &login).out;
    let again = world.run("alice", &login).out;
    world.ok("root", &["rm", "/usr/bin/devbox-ctl"])?;
    says(&told, "nobody uses your box abc")?;
    ensure(!again.contains("nobody uses"), &again)?;
    let inside = ["exec", "abc", "--", "bash", "-ic", "true"];
    world.ctl(&inside).expect(0)?.says("nobody uses your box abc; in 2 days it is stopped")?;
    ensure(!world.ctl(&inside).out.contains("nobody uses"), "once in the box too")?;
    world.ctl(&["status", "abc", "--json"]).expect(0).and_then(|ran| {
        let json = ran.json()?;
        ensure(json["stopsAt"].is_string() && json["lastActivityAt"].is_string(), &json.to_string())
    })?;

    shows(&pass(world, 98, 146, CLEANUP)?, &expect![[r#"
        nobody uses your box abc; in 22 hours it is stopped, and its data stays: `devbox-ctl why abc`
    "#]])?;
    let dry = pass(world, 146, 170, "devbox-ctl cleanup --dry-run; devbox-ctl cleanup --dry-run --json")?;
    shows(&dry, &expect![[r#"
        stop abc
        [
          {
            "name": "abc",
            "act": "stop",
            "now": "do",
            "at": "TIME",
            "held": null
          }
        ]
    "#]])?;
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    shows(&pass(world, 170, 170, CLEANUP)?, &expect![[r#"
        abc is stopped: nobody had used it for 7 days
    "#]])?;
    world.ctl(&["status", "abc"]).expect(0)?.shows(&expect![[r#"
        name  abc
        state  stopped
        stopped  nobody had used it for 7 days, TIME (SECONDS ago)
        used  TIME (SECONDS ago)
        cpu  2
        memory  4G
        image  localhost/devbox:latest
        volume  abc-data
        unit  devbox-abc.service
        created  TIME (SECONDS ago)
    "#]])?;
    shows(&pass(world, 170, 170, WHY)?, &expect![[r#"
        abc is stopped
          evidence
            7 days ago  started
          next
            in 14 days it goes to the trash, and its data stays in it (about TIME)
            you are told 3 days and 1 day before
          to prevent it: `devbox-ctl start abc`
    "#]])?;
    // Its owner has it again with one command, and it counts anew.
    world.ctl(&["start", "abc"]).expect(0)?;
    shows(&pass(world, 171, 172, WHY)?, &expect![[r#"
        abc runs, and nobody has used it for 1 hour
          evidence
            1 hour ago  started
          next
            in 6 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])
}

fn stopped_trashed_restored(world: &World) -> Outcome {
    world.write(
        "/etc/devbox/users.toml",
        "[defaults]\nmax_boxes = 2\nidle_stop_days = 1\nstopped_destroy_days = 2\nwarn_days = [1]\n",
    );
    let key = ["exec", "abc", "--", "sudo", "cat", "/var/lib/devbox/ssh/ssh_host_ed25519_key.pub"];
    world.ctl(&["create", "abc", "--env", "WHO=me"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo kept >note"]).expect(0)?;
    let before = world.ctl(&key).expect(0)?.out;
    ensure(pass(world, 0, 1, CLEANUP)?.is_empty(), "just used")?;
    // Where all warnings are as long as the term, there is one half-way.
    shows(&pass(world, 1, 13, CLEANUP)?, &expect![[r#"
        nobody uses your box abc; in 12 hours it is stopped, and its data stays: `devbox-ctl why abc`
    "#]])?;
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    shows(&pass(world, 13, 26, CLEANUP)?, &expect![[r#"
        abc is stopped: nobody had used it for 1 day
    "#]])?;
    shows(&pass(world, 26, 52, CLEANUP)?, &expect![[r#"
        your box abc is stopped; in 1 day it goes to the trash, and its data stays in it: `devbox-ctl why abc`
    "#]])?;
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  CPU  MEMORY  CREATED  IMAGE
        abc  stopped  2  4G  SECONDS ago  localhost/devbox:latest
        --- standard error
        warning: your box abc is stopped; in 1 day it goes to the trash, and its data stays in it: `devbox-ctl why abc`
    "#]])?;
    shows(&pass(world, 52, 77, "devbox-ctl cleanup --dry-run")?, &expect![[r#"
        move abc to the trash
    "#]])?;
    // Where the trash is full, it stays where it is.
    world.ctl(&["create", "one", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "one"]).expect(0)?;
    world.ctl(&["create", "two", "--no-start"]).expect(0)?;
    world.ctl(&["destroy", "--yes", "two"]).expect(0)?;
    ensure(pass(world, 77, 77, CLEANUP)?.is_empty(), "the trash is full")?;
    shows(&pass(world, 77, 77, WHY)?, &expect![[r#"
        abc is stopped
          evidence
            3 days ago  started
          next
            in SECONDS it goes to the trash, and its data stays in it (about TIME)
            but not while there is no place left in the trash
          to prevent it: `devbox-ctl start abc`
    "#]])?;
    world.ctl(&["trash", "--empty", "--yes", "one", "two"]).expect(0)?;
    shows(&pass(world, 77, 77, CLEANUP)?, &expect![[r#"
        abc is in the trash: it was stopped for 2 days; `devbox-ctl restore abc` brings it back
    "#]])?;
    world.ctl(&["list", "--json"]).expect(0).and_then(|ran| same(&ran.out.trim(), &"[]", &ran.out))?;
    let trashed = world.ctl(&["trash", "--json"]).expect(0)?.json()?;
    ensure(trashed[0]["trashedBy"] == "timer" && trashed[0]["emptiedAt"].is_null(), &trashed.to_string())?;
    // It stays until somebody says so.
    ensure(pass(world, 77, 500, CLEANUP)?.is_empty(), "nothing is due")?;
    shows(&pass(world, 500, 500, WHY)?, &expect![[r#"
        abc is in the trash
          evidence
            20 days ago  started
          next
            nothing, whatever time passes
    "#]])?;
    world.ctl(&["restore", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "cat note; echo $WHO"]).expect(0)?.shows(&expect![[r#"
        kept
        me
    "#]])?;
    same(&world.ctl(&key).expect(0)?.out, &before, "it is the same box, by its host key")?;
    shows(&pass(world, 501, 502, WHY)?, &expect![[r#"
        abc runs, and nobody has used it for 1 hour
          evidence
            1 hour ago  started
          next
            in 23 hours it is stopped (about TIME)
            you are told 12 hours before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]])
}

fn the_trash_is_emptied(world: &World) -> Outcome {
    world.write(
        "/etc/devbox/users.toml",
        "[defaults]\ntrash_days = 1\nreclaim_days = 1\nstopped_destroy_days = 1\nwarn_days = [1]\n",
    );
    for name in ["mine", "clean", "work"] {
        world.ctl(&["create", name]).expect(0)?;
    }
    let begun = "git init -q repo; touch repo/file";
    world.ctl(&["exec", "work", "--", "sh", "-c", begun]).expect(0)?;
    world.ctl(&["stop", "clean", "work"]).expect(0)?;
    pass(world, 0, 13, CLEANUP)?;
    shows(&pass(world, 13, 26, CLEANUP)?, &expect![[r#"
        clean is in the trash: it was stopped for 1 day; `devbox-ctl restore clean` brings it back
        work is in the trash: it was stopped for 1 day; `devbox-ctl restore work` brings it back
    "#]])?;
    world.ctl(&["destroy", "--yes", "mine"]).expect(0)?;
    shows(&pass(world, 26, 39, CLEANUP)?, &expect![[r#"
        your box clean is in the trash; in 12 hours it is deleted for good: `devbox-ctl why clean`
        your box work is in the trash; in 12 hours it is deleted for good: `devbox-ctl why work`; git work in it that is nowhere else: repo: 1 changed file
    "#]])?;
    shows(&at(world, 39 * 60, "devbox-ctl list 2>&1")?, &expect![[r#"
        no boxes; `devbox-ctl create NAME` makes one
        warning: your box clean is in the trash; in 12 hours it is deleted for good: `devbox-ctl why clean`
        warning: your box work is in the trash; in 12 hours it is deleted for good: `devbox-ctl why work`
    "#]])?;
    // What the timer put there says when it is deleted, unless there is work in it.
    let trash: serde_json::Value = serde_json::from_str(&at(world, 39 * 60, "devbox-ctl trash --json")?)?;
    let until =
        |name: &str| trash.as_array().into_iter().flatten().find(|b| b["name"] == name).map(|b| &b["emptiedAt"]);
    for (name, is_told) in [("mine", true), ("clean", true), ("work", false)] {
        ensure(until(name).is_some_and(|at| at.is_string() == is_told), &format!("{name}: {trash:#}"))?;
    }
    let gone = pass(world, 39, 52, CLEANUP)?;
    shows(&gone, &expect![[r#"
        clean is deleted: it was in the trash for 1 day
        mine is deleted: it was in the trash for 1 day
    "#]])?;
    ensure(!gone.contains("work is deleted"), &gone)?;
    shows(&pass(world, 52, 99, "devbox-ctl cleanup; devbox-ctl why work")?, &expect![[r#"
        work is in the trash
          git work that is nowhere else: repo: 1 changed file
          next
            in SECONDS it is deleted for good (about TIME)
            but not while there may be work in it that is nowhere else
          to prevent it: `devbox-ctl restore work`
    "#]])?;
    let volumes = world.ok("alice", &["sh", "-c", "podman volume ls --quiet | sort | tr '\\n' ' '"])?;
    same(&volumes, &"work--state work-data ", &volumes)?;
    world.ctl(&["trash", "--empty", "--yes"]).expect(0).map(drop)
}

fn its_own_terms(world: &World) -> Outcome {
    world.write("/etc/devbox/users.toml", "[defaults]\nwarn_days = []\nmax_idle_stop_days = 10\n");
    world.ctl(&["create", "abc", "--idle-stop-days", "1"]).expect(0)?;
    world.ctl(&["create", "long", "--idle-stop-days", "90"]).expect(0)?;
    pass(world, 0, 23, CLEANUP)?;
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    shows(&pass(world, 23, 25, CLEANUP)?, &expect![[r#"
        abc is stopped: nobody had used it for 1 day
    "#]])?;
    shows(&pass(world, 25, 25, "devbox-ctl why long")?, &expect![[r#"
        long runs, and nobody has used it for 1 day
          evidence
            1 day ago  started
          next
            in 8 days it is stopped (about TIME)
          to prevent it: use it, or `devbox-ctl keep-awake long --for 8h`
    "#]])
}

fn what_is_kept_may_be_lost_or_damaged(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    pass(world, 0, 100, CLEANUP)?;
    let kept = "/home/alice/.local/state/devbox/life.json";
    for broken in ["", "{", "[]", "{\"clock\":1}", "\0\0\0", "{\"clock\":-1,\"tick\":null,\"boxes\":{}}"] {
        world.write(kept, broken);
        // It is counted anew: nothing is stopped for it.
        let ran = world.ctl(&["cleanup"]).expect(0)?;
        ensure(!ran.out.contains("stopped"), &format!("{broken:?}: {ran:?}"))?;
        let why = world.ctl(&["why", "abc"]).expect(0)?.out;
        ensure(why.contains("in 7 days it is stopped") || why.contains("for 1 second"), &format!("{broken:?}: {why}"))?;
    }
    // Its clock may not be turned on by hand past what was lived.
    let forged = "sed -i 's/\"spent\":[0-9]*/\"spent\":99999999/' .local/state/devbox/life.json; devbox-ctl cleanup";
    ensure(!world.ok("alice", &["sh", "-c", forged])?.contains("stopped"), "more time than there was")?;
    // A link is not followed, and a FIFO is not waited for.
    for odd in ["ln -s /etc/passwd", "mkfifo"] {
        let script = format!("cd .local/state/devbox; rm -f life.json; {odd} life.json; timeout 60 devbox-ctl list");
        world.ok("alice", &["sh", "-c", &script])?;
    }
    world.ok("alice", &["sh", "-c", "rm .local/state/devbox/life.json; test -s /etc/passwd"]).map(drop)
}

fn time_that_nobody_saw_does_not_count(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    pass(world, 0, 1, "true")?;
    // The timer did not run for a month, or the clocks were wrong by ten years and right again.
    let faked = |at: &str| {
        let script = format!(
            "NO_FAKE_STAT=1 LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1) FAKETIME={at} devbox-ctl cleanup"
        );
        world.ok("alice", &["sh", "-c", &script])
    };
    for at in ["+30d", "+3650d", "-3650d", "+0d", "+3651d"] {
        ensure(faked(at)?.is_empty(), at)?;
    }
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    world.ctl(&["why", "abc"]).expect(0)?.shows(&expect![[r#"
        abc runs, and nobody has used it for 1 hour
          evidence
            SECONDS ago  started
          next
            in 6 days it is stopped (about TIME)
            you are told 3 days and 1 day before
          to prevent it: use it, or `devbox-ctl keep-awake abc --for 8h`
    "#]]).map(drop)
}

fn used_while_it_is_to_be_stopped(world: &World) -> Outcome {
    world.write("/etc/devbox/users.toml", "[defaults]\nidle_stop_days = 1\nwarn_days = []\n");
    world.ctl(&["create", "abc"]).expect(0)?;
    pass(world, 0, 25, "devbox-ctl cleanup --dry-run")?;
    // Somebody is at work on it while the timer comes; what it had decided is decided again after that.
    let folder = ".config/containers/systemd/devbox/abc";
    let holder = world.spawn("alice", &["flock", folder, "sh", "-c", "until test -e go; do sleep 0.1; done"]);
    let script = format!(
        "until ! flock -n {folder} true; do sleep 0.01; done; export NO_FAKE_STAT=1 LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1); FAKETIME=+1505m devbox-ctl cleanup & \
         until ls -l /proc/$(pgrep -x devbox-ctl)/fd 2>/dev/null | grep -q devbox/abc; do sleep 0.01; done; \
         unset LD_PRELOAD; podman exec devbox-abc touch /run/devbox/active; touch go; wait $!"
    );
    let ran = world.run("alice", &["timeout", "60", "sh", "-c", &script]).expect(0)?;
    holder.finish().expect(0)?;
    world.ok("alice", &["rm", "go"])?;
    ensure(!ran.out.contains("is stopped"), &ran.out)?;
    world.ctl(&["exec", "abc", "--", "true"]).expect(0).map(drop)
}

fn work_that_is_nowhere_else(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let inside = r#"
        set -e; git config --global user.email a@b; git config --global user.name a; git config --global init.defaultBranch main
        git init -q --bare origin.git; git clone -q origin.git clean 2>/dev/null
        cd clean; echo a >a; git add a; git commit -qm a; git push -q origin main; cd
        cp -a clean ahead; cd ahead; echo b >a; git commit -qam b; echo c >new; cd
        cp -a clean planted; cd planted; git config core.fsmonitor 'touch /home/dev/ran /tmp/ran; curl -s http://169.254.1.2/'; cd
        git init -q "$(printf 'odd
name')"; touch "$(printf 'odd
name')/file"
        mkdir broken broken/.git; ln -s / root"#;
    world.ctl(&["exec", "abc", "--", "bash", "-c", inside]).expect(0)?;
    pass(world, 0, 95, "true")?;
    let told = pass(world, 95, 97, CLEANUP)?;
    says(&told, "ahead: 1 changed file, 1 commit")?;
    says(&told, "oddname: 1 changed file")?;
    // A bare one is nowhere else either.
    says(&told, "origin.git: 1 commit")?;
    says(&told, "broken cannot be read by git")?;
    ensure(!told.contains("clean") && !told.contains("planted"), &told)?;
    world.ctl(&["why", "abc"]).expect(0)?.says("git work that is nowhere else: ")?;
    // What a repository says to run was run nowhere that matters.
    world.ctl(&["exec", "abc", "--", "test", "!", "-e", "ran"]).expect(0)?;
    world.ok("alice", &["test", "!", "-e", "/tmp/ran"])?;
    let left = world.ok("alice", &["podman", "ps", "--all", "--format={{.Names}}"])?;
    same(&left, &"devbox-abc\n", &left)
}

fn work_that_no_branch_shows(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let inside = r"
        set -e; git config --global user.email a@b; git config --global user.name a; git config --global init.defaultBranch main
        git config --global protocol.file.allow always; git init -q --bare origin.git; git clone -q origin.git clean 2>/dev/null
        cd clean; echo a >a; git add a; git commit -qm a; git push -q origin main; cd; cp -a clean part
        cp -a clean orphan; cd orphan; echo b >a; git stash -q; git switch -q --orphan other; cd
        cd part; git switch -q -c with; git submodule --quiet add /home/dev/origin.git inner; git commit -qm inner
        git push -q origin with; cd inner; echo c >a; git commit -qam c; cd ..
        git submodule --quiet deinit -f inner; git switch -q main; test ! -e inner/a";
    world.ctl(&["exec", "abc", "--", "bash", "-c", inside]).expect(0)?;
    pass(world, 0, 95, "true")?;
    let told = pass(world, 95, 97, CLEANUP)?;
    // HEAD is at nothing; and no branch that is there has the submodule.
    says(&told, "orphan: 1 stash")?;
    says(&told, "part/.git/modules/inner: 1 commit")?;
    ensure(!told.contains("clean") && told.matches("part").count() == 1, &told)
}

fn timers(world: &World) -> Outcome {
    world.install_broker("")?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ok("alice", &["systemctl", "--user", "daemon-reload"])?;
    for unit in ["devboxes-sample.service", "devboxes-cleanup.service"] {
        world.ok("alice", &["systemctl", "--user", "start", unit])?;
    }
    world.ctl(&["why", "abc"]).expect(0)?.says("started")?;
    let enabled =
        world.ok("alice", &["systemctl", "--user", "is-enabled", "devboxes-sample.timer", "devboxes-cleanup.timer"])?;
    same(&enabled, &"enabled\nenabled\n", &enabled)?;
    let verify = "systemd-analyze --user verify /usr/lib/systemd/user/devboxes-sample.* /usr/lib/systemd/user/devboxes-cleanup.* 2>&1";
    let said = world.ok("alice", &["sh", "-c", verify])?;
    ensure(said.is_empty(), &said)
}

/// Whatever the timer's run was killed at, the next one does what is due, once.
fn cleanup_killed_at_every_step(world: &World) -> Outcome {
    world.write("/etc/devbox/users.toml", "[defaults]\nidle_stop_days = 1\nwarn_days = []\n");
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "touch", "kept"]).expect(0)?;
    // A box that was started anew has to rest anew, so that each step is more than a day later. What it does in the
    // moments between two looks of a test is nothing in a quarter of an hour.
    let day = std::cell::Cell::new(0);
    let due = || (day.get() * 26 - 1) * 60 + 15;
    let rest = || {
        let from = day.replace(day.get() + 1) * 26;
        pass(world, from, from + 25, &format!("unset LD_PRELOAD; echo +{}m > clock", due()))
    };
    rest()?;
    let library = world.ok("alice", &["sh", "-c", "ls /usr/lib/*/faketime/libfaketime.so.1"])?;
    let preload = format!("LD_PRELOAD={}", library.trim());
    let clock = "FAKETIME_TIMESTAMP_FILE=/home/alice/clock";
    let command = ["-E", &preload, "-E", "NO_FAKE_STAT=1", "-E", clock, "devbox-ctl", "cleanup"];
    walk_command(world, "KILL", &command, 15, |met, ran| {
        let told = if met { String::new() } else { ran.expect(0)?.out };
        let then = told + &at(world, due() + 15, "devbox-ctl cleanup; devbox-ctl cleanup --dry-run")?;
        ensure(!then.contains("stop abc") && then.matches("abc is stopped").count() <= 1, &then)?;
        world.ctl(&["status", "abc"]).expect(0)?.says("nobody had used it for 1 day")?;
        world.ctl(&["start", "abc"]).expect(0)?;
        world.ctl(&["exec", "abc", "--", "test", "-e", "kept"]).expect(0)?;
        rest().map(drop)
    })?;
    world.ok("alice", &["rm", "clock"]).map(drop)
}
