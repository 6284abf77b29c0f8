//! Backups that are cut short, find no room, or are not what they were.

use std::fs;

use libtest_mimic::Failed;

use super::backup::{FILE, backed_up, has_it};
use super::kill::walk;
use super::prelude::*;

tests! { Host:
    damaged_archives_change_nothing,
    another_file_between_the_readings,
    the_disk_is_full,
    no_room_for_the_volume,
    ctrl_c,
    #[slow] backup_killed_at_every_step,
    #[slow] create_killed_at_every_step,
    #[slow] create_interrupted_at_every_step,
    what_the_killed_left_running,
}

const CREATE: &[&str] = &["create", "abc", "--from-backup", FILE];

/// A backup, and no box.
fn only_the_file(world: &World) -> Outcome {
    backed_up(world)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

fn damaged_archives_change_nothing(world: &World) -> Outcome {
    only_the_file(world)?;
    let good = fs::read(world.path(FILE))?;
    let try_it = |bytes: &[u8], arguments: &[&str]| -> Result<Ran, Failed> {
        fs::write(world.path(FILE), bytes)?;
        let refused = world.ctl(&[CREATE, arguments].concat()).expect(1)?;
        world.expect_clean()?;
        Ok(refused)
    };
    let half = good.len() / 2;
    let mut flipped = good.clone();
    flipped[half] ^= 0xff;
    try_it(&flipped, &[])?.says("it is damaged")?;
    try_it(&good[..half], &[])?.shows(&expect![[r#"
        --- standard error
        error: /home/alice/abc.devbox.tar.zst: it is damaged: it ends too early
          hint: nothing was changed; copy it again, or make another
    "#]])?;
    try_it(&good[..good.len() - 1], &[])?.shows(&expect![[r#"
        --- standard error
        error: /home/alice/abc.devbox.tar.zst: it is damaged: it ends too early
          hint: nothing was changed; copy it again, or make another
    "#]])?;
    try_it(&[&good[..], b"x"].concat(), &[])?.shows(&expect![[r#"
        --- standard error
        error: /home/alice/abc.devbox.tar.zst: it is damaged: there is more after its end
          hint: nothing was changed; copy it again, or make another
    "#]])?;
    try_it(b"hello", &[])?.shows(&expect![[r#"
        --- standard error
        error: /home/alice/abc.devbox.tar.zst: it is no backup of devbox-ctl
          hint: nothing was changed; `devbox-ctl backup NAME` writes such a file
    "#]])?;
    try_it(b"", &[])?.shows(&expect![[r#"
        --- standard error
        error: /home/alice/abc.devbox.tar.zst: it is damaged: it ends too early
          hint: nothing was changed; copy it again, or make another
    "#]])?;
    try_it(&good, &["--max-size", "x"])?.shows(&expect![[r#"
        --- standard error
        error: "x" is not a memory size: write 512M or 4G
          hint: for example `--max-size 20G`
    "#]])?;
    world.ctl(&["create", "abc", "--from-backup", "/home/alice"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: /home/alice: it cannot be read: it is not a regular file
          hint: nothing was changed; `devbox-ctl backup NAME` writes such a file
    "#]])?;
    world.ctl(&["create", "abc", "--from-backup", "nothing"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: nothing: it cannot be read: No such file or directory (os error 2)
          hint: nothing was changed; `devbox-ctl backup NAME` writes such a file
    "#]])?;
    world.ok("alice", &["mkfifo", "fifo"])?;
    world.ctl(&["create", "abc", "--from-backup", "fifo"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: fifo: it cannot be read: it is not a regular file
          hint: nothing was changed; `devbox-ctl backup NAME` writes such a file
    "#]])?;
    try_it(&with_a_way_out(&good)?, &[])?.shows(&expect![[r#"
        --- standard error
        error: /home/alice/abc.devbox.tar.zst: it is not safe to unpack: a name that is not one of the volume's: ../ept
          hint: nothing was changed; devbox-ctl writes no such file: ask who gave it to you, and do not unpack it
    "#]])?;
    // What cannot be is told before all of it is read: neither a name nor a limit needs that.
    try_it(&flipped, &["--cpu", "60"])?.shows(&expect![[r#"
        --- standard error
        error: 60 processors for one box is more than the 8 allowed
          hint: ask for `--cpu 8` or less
    "#]])?;
    // More than it may be, whatever the file's own size.
    fs::write(world.path(FILE), &good)?;
    world.ctl(CREATE).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "head -c 100000000 /dev/zero > zeros"]).expect(0)?;
    world.ok("alice", &["rm", FILE])?;
    world.ctl(&["backup", "abc", "-o", FILE]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    let bomb = fs::read(world.path(FILE))?;
    ensure(bomb.len() < 1_000_000, "it is small")?;
    try_it(&bomb, &["--max-size", "64M"])?.shows(&expect![[r#"
        --- standard error
        error: /home/alice/abc.devbox.tar.zst unpacks to more than 64M
          `--max-size` says no more
          hint: nothing was changed; `--max-size` allows another size
    "#]])?;
    world.ctl(&[CREATE, &["--max-size", "128M"]].concat()).expect(0)?;
    world.ok("alice", &["rm", "fifo"])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0).map(drop)
}

/// What is unpacked is what was checked, or nothing: another file under the name changes nothing, and another text in the
/// same file is noticed.
fn another_file_between_the_readings(world: &World) -> Outcome {
    backed_up(world)?;
    world.ctl(&["start", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo another > kept"]).expect(0)?;
    world.ctl(&["backup", "abc", "-o", "other"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    // Between the two it makes the folder, and is held up before that can be seen.
    let strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=renameat2"];
    let held_up = ["-e", "inject=renameat2:delay_enter=5000000:when=1", "devbox-ctl"];
    let staged = "timeout 60 sh -c 'until ls .config/containers/devbox-stage | grep -q making; do :; done'";
    let with = |change: &str| {
        let create = world.spawn("alice", &[&strace[..], &held_up, CREATE].concat());
        world.ok("alice", &["sh", "-c", &format!("{staged} && {change}")])?;
        Ok::<_, Failed>(create.finish())
    };
    with(&format!("cp {FILE} good && cp other new && mv new {FILE}"))?.expect(0)?;
    has_it(world, "alice", "abc")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["cp", "good", FILE])?;
    let ran = with(&format!("cat other > {FILE}"))?.expect(1)?;
    ran.shows(&expect![[r#"
        --- standard error
        error: /home/alice/abc.devbox.tar.zst: it is damaged: it was changed while it was read
          what had been done was taken back
          hint: nothing was changed; copy it again, or make another
    "#]])?;
    world.expect_clean()?;
    world.ok("alice", &["rm", "good", "other"]).map(drop)
}

/// The same backup with another name in its home, and every checksum made anew.
fn with_a_way_out(good: &[u8]) -> Result<Vec<u8>, Failed> {
    let mut tar = zstd::decode_all(good)?;
    let find = |tar: &[u8], what: &[u8]| tar.chunks(512).position(|block| block.starts_with(what)).map(|n| n * 512);
    let chunk = find(&tar, b"home.tar/000000\0").ok_or("no home")?;
    let size = usize::from_str_radix(std::str::from_utf8(&tar[chunk + 124..chunk + 135])?, 8)?;
    let home = chunk + 512..chunk + 512 + size;
    let before = sha256(&tar[home.clone()]);
    let at = find(&tar, b"./kept\0").ok_or("no file")?;
    tar[at..at + 6].copy_from_slice(b"../ept");
    tar[at + 148..at + 156].fill(b' ');
    let sum: u32 = tar[at..at + 512].iter().map(|b| u32::from(*b)).sum();
    tar[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let after = sha256(&tar[home]);
    let said = tar.windows(64).position(|some| some == before.as_bytes()).ok_or("no checksum")?;
    tar[said..said + 64].copy_from_slice(after.as_bytes());
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
    encoder.include_checksum(true)?;
    std::io::Write::write_all(&mut encoder, &tar)?;
    Ok(encoder.finish()?)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn the_disk_is_full(world: &World) -> Outcome {
    backed_up(world)?;
    world.ctl(&["start", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "head -c 20000000 /dev/urandom > big"]).expect(0)?;
    let mount =
        "mkdir -p /home/alice/small && mount -t tmpfs -o size=4m,mode=700,uid=1000,gid=1000 tmpfs /home/alice/small";
    world.ok("root", &["sh", "-c", mount])?;
    let ran = world.ctl(&["backup", "abc", "-o", "small/x"]);
    let left = world.ok("alice", &["ls", "-A", "small"]);
    world.ok("root", &["umount", "/home/alice/small"])?;
    ran.expect(7)?.shows(&expect![[r#"
        --- standard error
        error: writing the backup failed: No space left on device (os error 28) at path "/home/alice/small/.devbox-backup-RANDOM.partial"
          hint: make room there; nothing was left of it
    "#]])?;
    ensure(left?.is_empty(), "something was left")?;
    ensure(copiers(world)?.is_empty(), "a container was left")?;
    world.ctl(&["status", "abc"]).expect(0)?.says("running")
}

/// Containers that copy, and their processes.
fn copiers(world: &World) -> Result<String, Failed> {
    world.ok("alice", &["podman", "ps", "--all", "--filter=name=--copy", "--format={{.Names}} {{.Status}}"])
}

fn no_room_for_the_volume(world: &World) -> Outcome {
    backed_up(world)?;
    world.ctl(&["start", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "head -c 20000000 /dev/urandom > big"]).expect(0)?;
    world.ok("alice", &["rm", FILE])?;
    world.ctl(&["backup", "abc", "-o", FILE]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    let volumes = "/home/alice/.local/share/containers/storage/volumes";
    world.ok("root", &["mount", "-t", "tmpfs", "-o", "size=8m,mode=700,uid=1000,gid=1000", "tmpfs", volumes])?;
    let early = world.ctl(CREATE);
    let ran = world.ctl(&[CREATE, &["--max-size", "1G"]].concat());
    let left = world.leftovers();
    world.ok("root", &["umount", volumes])?;
    early.expect(5)?.says("that is what is free where your volumes are")?;
    let ran = ran.expect(7)?;
    ran.says("No space left on device")?;
    ran.says("what had been done was taken back")?;
    ensure(left.is_empty(), &format!("{left:?}"))?;
    world.expect_clean()
}

/// In the middle of the data, when most of it is still to come.
fn ctrl_c(world: &World) -> Outcome {
    backed_up(world)?;
    world.ctl(&["start", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "head -c 200000000 /dev/urandom > big"]).expect(0)?;
    let copying = "timeout 60 sh -c 'until pgrep -x tar >/dev/null; do :; done'; pkill -INT -x devbox-ctl";
    world.ok("alice", &["mkdir", "there"])?;
    let backup = world.spawn("alice", &["devbox-ctl", "backup", "abc", "-o", "there/x"]);
    world.ok("alice", &["sh", "-c", copying])?;
    backup.finish().expect(130)?;
    ensure(world.ok("alice", &["ls", "-A", "there"])?.is_empty(), "something was left")?;
    ensure(copiers(world)?.is_empty(), "a container was left")?;
    world.ctl(&["backup", "abc", "-o", "there/x"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    let create = world.spawn("alice", &["devbox-ctl", "create", "abc", "--from-backup", "there/x"]);
    world.ok("alice", &["sh", "-c", copying])?;
    create.finish().expect(130)?.shows(&expect![[r#"
        --- standard error
        warning: the backup is crash-consistent: abc ran while it was made, and its files are as after a power cut
        error: interrupted
          what had been done was taken back
    "#]])?;
    world.expect_clean()?;
    world.ok("alice", &["rm", "-r", "there"]).map(drop)
}

fn backup_killed_at_every_step(world: &World) -> Outcome {
    backed_up(world)?;
    world.ok("alice", &["sh", "-c", "mkdir -p there; rm -f there/*"])?;
    walk(world, "KILL", &["backup", "abc", "-o", "there/x"], 20, |met, ran| {
        if !met {
            ran.expect(0)?;
        }
        // What is there under its name is whole; what is not is gone with the next.
        let there = world.ok("alice", &["ls", "-A", "there"])?;
        let parts = there.lines().filter(|l| l.starts_with(".devbox-backup-") && l.ends_with(".partial")).count();
        ensure(there.lines().count() == parts + usize::from(there.contains("x\n")) && parts < 2, &there)?;
        world.ok("alice", &["sh", "-c", "if test -e there/x; then mv there/x there/y; fi"])?;
        world.ctl(&["backup", "abc", "-o", "there/x"]).expect(0)?;
        for file in world.ok("alice", &["ls", "-A", "there"])?.lines() {
            let bytes = fs::read(world.path(&format!("/home/alice/there/{file}")))?;
            devbox_ctl::backup::verify(&bytes[..], devbox_ctl::backup::Most::ANY, |_, _| Ok(()))?;
        }
        ensure(copiers(world)?.is_empty(), "a container was left")?;
        world.ok("alice", &["sh", "-c", "rm there/*"]).map(drop)
    })?;
    // And the box is none the worse.
    world.ctl(&["start", "abc"]).expect(0)?;
    has_it(world, "alice", "abc")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["rmdir", "there"])?;
    world.expect_clean()
}

fn create_killed_at_every_step(world: &World) -> Outcome {
    only_the_file(world)?;
    walk(world, "KILL", CREATE, 30, |met, ran| {
        if !met {
            ran.expect(0)?;
            has_it(world, "alice", "abc")?;
            world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
            return world.expect_clean();
        }
        world.ctl(&["list", "--json"]).expect(0)?;
        // The next command takes back what was not whole, and a box that is there has all of its data.
        match world.ctl(&["start", "abc"]).code {
            0 | 12 => has_it(world, "alice", "abc")?,
            10 => return world.expect_clean(),
            code => return Err(format!("start ended with {code}").into()),
        }
        world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
        world.expect_clean()
    })
}

fn create_interrupted_at_every_step(world: &World) -> Outcome {
    only_the_file(world)?;
    walk(world, "INT", CREATE, 30, |_, ran| match ran.code {
        130 | -1 => world.expect_clean(),
        0 => {
            has_it(world, "alice", "abc")?;
            world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0).map(drop)
        }
        _ => Err(format!("{ran:#?}").into()),
    })
}

/// Killed in the middle of the data: what copies ends by itself, and nothing is done to its volume before.
fn what_the_killed_left_running(world: &World) -> Outcome {
    backed_up(world)?;
    world.ctl(&["start", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "head -c 200000000 /dev/urandom > big"]).expect(0)?;
    world.ok("alice", &["rm", FILE])?;
    world.ctl(&["backup", "abc", "-o", FILE]).expect(0)?;
    let copying = "timeout 60 sh -c 'until pgrep -x tar >/dev/null; do :; done'; pkill -KILL -x devbox-ctl";
    let killed = |arguments: &[&str]| -> Outcome {
        let running = world.spawn("alice", &[&["devbox-ctl"], arguments].concat());
        world.ok("alice", &["sh", "-c", copying])?;
        running.finish();
        Ok(())
    };
    killed(&["backup", "abc", "-o", "x"])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()?;
    killed(CREATE)?;
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  CPU  MEMORY  CREATED  IMAGE
        abc  broken  2  4G  SECONDS ago  localhost/devbox:latest
        --- standard error
        warning: abc: its creation from a backup was cut short; the next command takes it back
    "#]])?;
    world.ctl(&["stop", "other"]).expect(10)?.shows(&expect![[r#"
        --- standard error
        warning: creating abc from a backup had been cut short; what had been done is taken back
        error: you have no box called other
          hint: `devbox-ctl list` shows yours
    "#]])?;
    world.expect_clean()?;
    // A reboot in the middle must not start what is not whole; and to destroy it is to destroy it.
    killed(CREATE)?;
    ensure(world.folder("abc").join("stopped").exists(), "it could be started")?;
    world.ctl(&["destroy", "--now", "--yes", "--keep-volume", "abc"]).expect(0)?;
    world.expect_clean()?;
    world.ok("alice", &["sh", "-c", "rm -f .devbox-backup-*.partial x"]).map(drop)
}
