//! What becomes of a command in a box when whoever asked for it is told to end, is killed, or loses its terminal.

use super::prelude::*;

tests! { Host:
    signals_reach_the_command,
    nothing_lives_on,
    a_lost_terminal_is_the_commands_too,
    keys_are_the_commands,
    jobs_of_a_shell,
    what_is_ignored_stays_ignored,
}

/// Answers each signal with a word and ends at a USR2. What the shell says of a `sleep` that the signal ended too goes
/// nowhere: there is none between two of them.
const ANSWERS: &str = "exec 2>/dev/null; for s in HUP INT QUIT TERM USR1; do trap \"echo $s\" $s; done; trap 'echo bye; exit 7' USR2; \
                       echo up; while :; do sleep 0.05; done";

fn signals_reach_the_command(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    // Whoever runs the tests may ignore some.
    let exec = ["env", "--default-signal", "devbox-ctl", "exec", "abc", "--", "sh", "-c", ANSWERS];
    let mut running = world.spawn("alice", &exec);
    same(&running.line()?, &"up\n".to_owned(), "it runs")?;
    for word in ["HUP", "INT", "QUIT", "TERM", "USR1"] {
        world.ok("alice", &["pkill", &format!("-{word}"), "-x", "devbox-ctl"])?;
        same(&running.line()?, &format!("{word}\n"), "the command answers")?;
    }
    world.ok("alice", &["pkill", "-USR2", "-x", "devbox-ctl"])?;
    running.finish().expect(7)?.shows(&expect![[r#"
        bye
    "#]])?;
    // By itself a signal is the command's end, and its status says so.
    let script = "devbox-ctl exec abc -- sleep 1000 & sleep 1; kill -TERM $!; wait $!";
    world.run("alice", &["sh", "-c", script]).expect(143)?;
    let script = "timeout 1 devbox-ctl exec abc -- sh -c 'sleep 1000; echo more'";
    world.run("alice", &["sh", "-c", script]).expect(124)?.shows(&expect![[""]])?;
    none_left(world)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// devbox-ctl is killed: the command hears of it, and is killed when it goes on.
fn nothing_lives_on(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    for ends in ["", "trap '' HUP TERM INT; "] {
        let script = format!("{ends}echo up; sleep 1000; sleep 1000");
        let mut running = world.spawn("alice", &["devbox-ctl", "exec", "abc", "--", "sh", "-c", &script]);
        same(&running.line()?, &"up\n".to_owned(), "it runs")?;
        world.ok("alice", &["pkill", "-KILL", "-x", "devbox-ctl"])?;
        none_left(world)?;
    }
    // podman's own end is not the command's: here at a pipe that nobody reads any more.
    world.ok("alice", &["sh", "-c", "devbox-ctl exec abc -- sh -c 'yes; sleep 1000' | head -1"])?;
    let yes = "timeout 20 sh -c 'while pgrep -x yes; do sleep 0.05; done'";
    world.run("alice", &["podman", "exec", "devbox-abc", "sh", "-c", yes]).expect(0)?;
    none_left(world)?;
    // What sudo runs takes signals from root alone.
    let mut running = world.spawn("alice", &["devbox-ctl", "exec", "abc", "--", "sh", "-c", "echo up; exec sudo sleep 1000"]);
    same(&running.line()?, &"up\n".to_owned(), "it runs")?;
    world.ok("alice", &["pkill", "-KILL", "-x", "devbox-ctl"])?;
    none_left(world)?;
    // One that has ended leaves nothing of ours behind.
    world.ctl(&["exec", "abc", "--", "true"]).expect(0)?;
    none_left(world)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// In the box, and of podman outside.
fn none_left(world: &World) -> Outcome {
    let left = "timeout 20 sh -c 'while pgrep -f \"[s]leep 1000|[d]evbox-exec|[d]evbox-watch\" >&2; do sleep 0.05; done'";
    world.run("alice", &["podman", "exec", "devbox-abc", "sh", "-c", left]).expect(0)?;
    let outside = "timeout 20 sh -c 'while pgrep -u alice -f \"[p]odman exec --preserve\" >&2; do sleep 0.05; done'";
    world.run("alice", &["sh", "-c", outside]).expect(0).map(drop)
}

fn a_lost_terminal_is_the_commands_too(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let typed = "script -qfec \"devbox-ctl exec abc -- sh -c 'echo up; sleep 1000; sleep 1000'\" /dev/null";
    let mut running = world.spawn("alice", &["sh", "-c", &format!("sleep 600 | {typed}")]);
    same(&running.line()?.trim_end(), &"up", "it runs")?;
    world.ok("alice", &["pkill", "-KILL", "-x", "script"])?;
    none_left(world)?;
    world.ok("alice", &["pkill", "-x", "sleep"])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// Podman would hold Ctrl-P back, and leave at Ctrl-P Ctrl-Q. Ctrl-C is the command's too.
fn keys_are_the_commands(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let reads = "stty raw -echo; echo up; dd bs=1 count=3 status=none | od -An -tx1; stty size";
    let typed = format!(
        "{{ until podman exec devbox-abc pgrep -x dd >/dev/null; do :; done; printf '\\020\\021\\003'; sleep 600; }} | \
         script -qfec \"stty rows 33 cols 77; devbox-ctl exec abc -- sh -c '{reads}'\" /dev/null"
    );
    let mut running = world.spawn("alice", &["sh", "-c", &typed]);
    same(&running.line()?.trim_end(), &"up", "it runs")?;
    same(&running.line()?.trim(), &"10 11 03", "what was typed")?;
    same(&running.line()?.trim(), &"33 77", "as large as the terminal")?;
    world.ok("alice", &["pkill", "-x", "sleep"])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// A command that reads from the terminal is stopped in the background, and what is typed is the shell's.
fn jobs_of_a_shell(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let lines = "devbox-ctl exec abc -- cat >got &\nuntil jobs | grep -q Stopped; do sleep 0.05; done\njobs | grep -o Stopped\n\
                 fg >/dev/null\nfor the box\n\\004echo back$((1+1))\nexit\n";
    let typed = format!("{{ printf '{lines}' | while IFS= read -r line; do echo \"$line\"; sleep 1; done; sleep 600; }} | \
                         script -qfec 'bash --norc -i' /dev/null");
    let mut running = world.spawn("alice", &["timeout", "60", "sh", "-c", &typed]);
    let mut said = String::new();
    while !said.contains("back2") {
        let line = running.line()?;
        ensure(!line.is_empty(), &format!("it ended: {said}"))?;
        said += &line;
    }
    world.ok("alice", &["pkill", "-x", "sleep"])?;
    ensure(said.contains("Stopped"), &said)?;
    same(&world.ok("alice", &["cat", "got"])?, &"for the box\n".to_owned(), &said)?;
    world.ok("alice", &["rm", "got"])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

/// As nohup(1) and a shell's jobs without control of them have it.
fn what_is_ignored_stays_ignored(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let mut running = world.spawn(
        "alice",
        &["sh", "-c", "trap '' HUP; exec devbox-ctl exec abc -- sh -c 'echo up; sleep 2; echo survived'"],
    );
    same(&running.line()?, &"up\n".to_owned(), "it runs")?;
    world.ok("alice", &["pkill", "-HUP", "-x", "devbox-ctl"])?;
    running.finish().expect(0)?.shows(&expect![[r#"
        survived
    "#]])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}
