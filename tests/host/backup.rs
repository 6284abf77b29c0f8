//! A box into a file, and boxes out of it.

use std::fs;

use devbox_ctl::backup::{Most, Part, Reader};
use libtest_mimic::Failed;

use super::prelude::*;

tests! { Host:
    odd_files_come_back,
    under_its_old_name_and_of_another_user,
    a_running_box_is_marked,
    what_is_in_it_and_what_is_not,
    by_hand_without_devbox_ctl,
    priorities_select_and_order,
    settings_come_back_or_are_overridden,
    of_what_is_in_the_trash,
    what_nobody_can_bring_back_is_left_out,
    whoever_dev_is_outside,
    where_it_goes,
    admitted_by_a_broker,
}

pub(crate) const FILE: &str = "/home/alice/abc.devbox.tar.zst";

/// What a home can hold, made by root and by dev inside.
const ODD: &str = r#"
set -eu
mkdir /home/dev/odd && cd /home/dev/odd
printf 'line\n' > "$(printf 'a\nb')"
printf x > 'with  spaces and "quotes" \ $HOME *'
printf x > "$(printf 'no-utf8-\377\376')"
printf x > -n
printf x > ./--checkpoint-action=exec=false
printf x > "$(printf '%0200d' 0)"
mkdir -p "$(printf '%0120d/%0120d/%0120d' 1 2 3)"
printf deep > "$(printf '%0120d/%0120d/%0120d/deep' 1 2 3)"
: > empty
mkdir empty-folder
printf one > first && ln first second
ln -s /etc/passwd absolute && ln -s ../../../etc out && ln -s nowhere dangling && ln -s . self && ln -P self self-too
truncate -s 1G holes && printf end | dd of=holes bs=1 seek=900000000 conv=notrunc status=none
cp /bin/true setuid && chmod 4755 setuid
cp /bin/true setgid && chmod 2755 setgid
cp /bin/true capped
mkdir sticky && chmod 1777 sticky
mkdir closed && printf x > closed/in && chmod 000 closed
mkfifo fifo
touch -d '1969-12-31T00:00:00.123456789Z' old && touch -d '2040-01-01T00:00:00.987654321Z' new
chown -R dev:dev . && printf root > roots && chown 0:0 roots && printf other > others && chown 4321:5432 others
perl -e 'our $set = `uname -m` =~ /aarch64/ ? 5 : 188; my $cap = pack("V5", 0x02000001, 0x400, 0, 0, 0);
  sub set { my ($file, $key, $value) = @_; syscall($set, $file, $key, $value, length $value, 0) == 0 or die "$key: $!" }
  set("empty", "user.note", "a=b\n"); set("capped", "security.capability", $cap);'
chmod 4755 setuid; chmod 2755 setgid
perl -MSocket -e 'socket(my $s, PF_UNIX, SOCK_STREAM, 0); bind($s, sockaddr_un("socket")) or die $!'
"#;

/// Everything of it that must survive, sockets aside.
const LOOK: &str = r#"
cd /home/dev/odd
find . ! -type s -printf '%P|%y|%m|%U:%G|%T@|%l|%n\n' | sort
find . -type f -exec sha256sum {} + | sort
stat -c '%s %n' empty holes setuid
[ "$(stat -c %b holes)" -lt 1000 ] && echo has holes
[ first -ef second ] && echo one file
perl -e 'my $get = `uname -m` =~ /aarch64/ ? 8 : 191; for (["empty", "user.note"], ["capped", "security.capability"]) {
  my ($file, $key) = @$_; my $value = "\0" x 64; my $n = syscall($get, $file, $key, $value, 64); print "@$_ $n ", unpack("H*", substr($value, 0, $n)), "\n" }'
"#;

fn inside(world: &World, user: &str, name: &str, script: &str) -> Result<String, Failed> {
    world.ok(user, &["devbox-ctl", "exec", "--root", name, "--", "sh", "-c", script])
}

/// A stopped box abc with something in it, and a backup of it in [`FILE`].
pub(crate) fn backed_up(world: &World) -> Outcome {
    world.ok("alice", &["rm", "-f", FILE])?;
    world.ctl(&["create", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo mine > kept; rm .bashrc"]).expect(0)?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["backup", "abc", "-o", FILE]).expect(0).map(drop)
}

/// A box that came of that backup.
pub(crate) fn has_it(world: &World, user: &str, name: &str) -> Outcome {
    let look = "cat kept; test ! -e .bashrc";
    let ran = world.run(user, &["devbox-ctl", "exec", name, "--", "sh", "-c", look]).expect(0)?;
    same(&ran.out, &"mine\n", &ran.out)
}

fn odd_files_come_back(world: &World) -> Outcome {
    world.ok("alice", &["rm", "-f", FILE])?;
    world.ctl(&["create", "abc"]).expect(0)?;
    inside(world, "alice", "abc", ODD)?;
    let before = inside(world, "alice", "abc", LOOK)?;
    for what in ["has holes", "one file", "|4755|", "|2755|", "4321:5432", "capped security.capability 20"] {
        ensure(before.contains(what), &format!("{what:?} is not in {before}"))?;
    }
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["backup", "abc", "-o", FILE]).expect(0)?.shows(&expect![[r#"
        abc is in /home/alice/abc.devbox.tar.zst (SIZE, SECONDS)
          sha256  HEX
          restore  devbox-ctl create NAME --from-backup /home/alice/abc.devbox.tar.zst
        --- standard error
        warning: 1 sockets are left out: no archive can hold one
    "#]])?;
    ensure(fs::metadata(world.path(FILE))?.len() < 10_000_000, "holes take no room")?;
    world.ctl(&["create", "again", "--from-backup", FILE]).expect(0)?.shows(&expect![[r#"
        again is ready (SECONDS)
          shell  devbox-ctl ssh again
          command  devbox-ctl exec again -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host again
          stop  devbox-ctl stop again
    "#]])?;
    let after = inside(world, "alice", "again", LOOK)?;
    same(&after, &before, &format!("before {before}\nafter {after}"))?;
    // And the box is one like others: its own files are not made again, its dev may write.
    world.ctl(&["exec", "again", "--", "sh", "-c", "touch new; test -O new; test -O ."]).expect(0)?;
    world.ctl(&["ssh", "again", "--", "true"]).expect(0)?;
    for name in ["abc", "again"] {
        world.ctl(&["destroy", "--now", "--yes", name]).expect(0)?;
    }
    world.expect_clean()
}

fn under_its_old_name_and_of_another_user(world: &World) -> Outcome {
    backed_up(world)?;
    world.ctl(&["create", "abc", "--from-backup", FILE]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is already a box called abc
          hint: `devbox-ctl start abc` starts it; choose another name for a new one
    "#]])?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ctl(&["create", "abc", "--from-backup", FILE]).expect(0)?;
    has_it(world, "alice", "abc")?;
    // Kept data of that name is somebody's work, and not mixed with a backup's.
    world.ctl(&["destroy", "--now", "--yes", "--keep-volume", "abc"]).expect(0)?;
    world.ctl(&["create", "abc", "--from-backup", FILE]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is kept data of an earlier abc: abc-data, abc--state
          hint: `devbox-ctl create abc` has it again; choose another name for the backup's
    "#]])?;
    world.ctl(&["create", "abc"]).expect(0)?;
    has_it(world, "alice", "abc")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    // Not started, it is whole all the same.
    world.ctl(&["create", "abc", "--from-backup", FILE, "--no-start"]).expect(0)?.shows(&expect![[r#"
        abc is created, not started
          start  devbox-ctl start abc
    "#]])?;
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  CPU  MEMORY  CREATED  IMAGE
        abc  stopped  2  4G  SECONDS ago  localhost/devbox:latest
    "#]])?;
    world.ctl(&["start", "abc"]).expect(0)?;
    has_it(world, "alice", "abc")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    // What alice gives bob is his.
    let denied = world.run("bob", &["devbox-ctl", "create", "abc", "--from-backup", FILE]).expect(1)?;
    denied.shows(&expect![[r#"
        --- standard error
        error: /home/alice/abc.devbox.tar.zst: it cannot be read: Permission denied (os error 13)
          hint: nothing was changed; `devbox-ctl backup NAME` writes such a file
    "#]])?;
    world.ok("root", &["install", "-o", "bob", "-m", "600", FILE, "/home/bob/given"])?;
    world.run("bob", &["devbox-ctl", "create", "abc", "--from-backup", "given"]).expect(0)?;
    has_it(world, "bob", "abc")?;
    world.run("bob", &["devbox-ctl", "destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.expect_clean()
}

fn a_running_box_is_marked(world: &World) -> Outcome {
    backed_up(world)?;
    same(&manifest(world)?.consistency.word(), &"stopped", "it was stopped")?;
    world
        .ctl(&["create", "two", "--from-backup", FILE])
        .expect(0)
        .and_then(|ran| ensure(ran.err.is_empty(), &ran.err))?;
    world.ok("alice", &["rm", FILE])?;
    world.ctl(&["start", "abc"]).expect(0)?;
    // Files that come, go and grow while they are read.
    let busy = "cd /home/dev; mkdir busy; while :; do for n in 1 2 3 4 5 6 7 8 9; do date >> busy/$n; rm -f busy/$n.gone; date > busy/$n.gone; done; done";
    let writer = world.spawn("alice", &["devbox-ctl", "exec", "abc", "--", "sh", "-c", busy]);
    world.ctl(&["exec", "abc", "--", "sh", "-c", "until test -e busy/9.gone; do sleep 0.01; done"]).expect(0)?;
    let ran = world.ctl(&["backup", "abc", "-o", FILE]).expect(0)?;
    ran.shows(&expect![[r#"
        abc is in /home/alice/abc.devbox.tar.zst (SIZE, SECONDS)
          sha256  HEX
          restore  devbox-ctl create NAME --from-backup /home/alice/abc.devbox.tar.zst
        --- standard error
        warning: abc ran meanwhile: the backup is crash-consistent, as after a power cut; `devbox-ctl stop abc` before for one of one moment
    "#]])?;
    drop(writer);
    same(&manifest(world)?.consistency.word(), &"crash-consistent", "it ran")?;
    world.ctl(&["status", "abc"]).expect(0)?.says("running")?;
    let made = world.ctl(&["create", "three", "--from-backup", FILE]).expect(0)?;
    made.shows(&expect![[r#"
        three is ready (SECONDS)
          shell  devbox-ctl ssh three
          command  devbox-ctl exec three -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host three
          stop  devbox-ctl stop three
        --- standard error
        warning: the backup is crash-consistent: abc ran while it was made, and its files are as after a power cut
    "#]])?;
    has_it(world, "alice", "three")
}

pub(crate) fn manifest(world: &World) -> Result<devbox_ctl::backup::Manifest, Failed> {
    let bytes = fs::read(world.path(FILE))?;
    Ok(Reader::open(&bytes[..], Most::ANY)?.manifest().clone())
}

fn what_is_in_it_and_what_is_not(world: &World) -> Outcome {
    world.ok("alice", &["rm", "-f", FILE])?;
    world.ctl(&["create", "abc", "--env", "TOKEN=in-the-backup"]).expect(0)?;
    let login = "mkdir -p /var/lib/devbox/tailscale && echo login > /var/lib/devbox/tailscale/tailscaled.state && mkdir /home/dev/tailscale && echo mine > /home/dev/tailscale/tailscaled.state";
    inside(world, "alice", "abc", login)?;
    let key = inside(world, "alice", "abc", "cat /var/lib/devbox/ssh/ssh_host_ed25519_key.pub")?;
    let ran = world.ctl(&["backup", "abc", "-o", FILE, "--json"]).expect(0)?.json()?;
    let bytes = fs::read(world.path(FILE))?;
    same(&ran["sizeBytes"], &bytes.len(), &ran.to_string())?;
    let sum = world.ok("alice", &["sha256sum", FILE])?;
    ensure(sum.starts_with(ran["sha256"].as_str().unwrap_or("none")), &ran.to_string())?;
    ensure(ran["consistency"] == "crash-consistent" && ran["volumes"][1]["name"] == "abc--state", &ran.to_string())?;
    same(&world.ok("alice", &["stat", "-c", "%a %U", FILE])?, &"600 alice\n", "for its owner only")?;
    let mut reader = Reader::open(&bytes[..], Most::ANY)?;
    let (mut home, mut state) = (Vec::new(), Vec::new());
    reader.volume(Part::Home, &mut home, |_, _| Ok(()))?;
    reader.volume(Part::State, &mut state, |_, _| Ok(()))?;
    reader.finish()?;
    let has = |tar: &[u8], text: &str| tar.windows(text.len()).any(|some| some == text.as_bytes());
    ensure(has(&home, "tailscaled.state") && has(&state, "ssh_host_ed25519_key"), "what is its owner's")?;
    ensure(!has(&state, "tailscale"), "a login on the tailnet is in it")?;
    world.ctl(&["create", "two", "--from-backup", FILE]).expect(0)?;
    inside(
        world,
        "alice",
        "two",
        "test ! -e /var/lib/devbox/tailscale && test -e /home/dev/tailscale/tailscaled.state",
    )?;
    same(&inside(world, "alice", "two", "cat /var/lib/devbox/ssh/ssh_host_ed25519_key.pub")?, &key, "its host key")?;
    same(&world.ctl(&["exec", "two", "--", "printenv", "TOKEN"]).expect(0)?.out, &"in-the-backup\n", "its variables")
}

fn by_hand_without_devbox_ctl(world: &World) -> Outcome {
    backed_up(world)?;
    let script = "rm -rf plain && mkdir plain && cd plain && zstd -dc ../abc.devbox.tar.zst | tar x && ls && cat home.tar/* | tar x ./kept && cat kept && sha256sum home.tar/* && cat checksums.toml";
    let said = world.ok("alice", &["sh", "-c", script])?;
    for what in ["checksums.toml\ndevbox-backup.toml\nhome.tar\nstate.tar\nmine\n", "part = \"home\""] {
        ensure(said.contains(what), &said)?;
    }
    world.ok("alice", &["rm", "-rf", "plain"]).map(drop)
}

fn priorities_select_and_order(world: &World) -> Outcome {
    backed_up(world)?;
    world.ok("alice", &["rm", FILE])?;
    world.ctl(&["backup", "abc", "--priority", "1", "-o", FILE]).expect(0)?;
    ensure(manifest(world)?.volumes.iter().map(|v| v.part).eq([Part::Home]), "the home alone")?;
    world.ctl(&["create", "two", "--from-backup", FILE]).expect(0)?;
    has_it(world, "alice", "two")?;
    world.ctl(&["backup", "abc", "--priority", "0"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: "0" is no backup priority: 1 (the most important) to 9
          hint: for example `--priority 1`: the home alone
    "#]])?;
    // A label says it otherwise.
    let template = include_str!("../../quadlet-templates/home.volume");
    let own = template.replace("[Volume]\n", "[Volume]\nLabel=io.devbox.backup=3\n");
    world.write("/etc/devbox/quadlet-templates/home.volume", &own);
    world.ctl(&["create", "three"]).expect(0)?;
    let dry = world.ctl(&["backup", "three", "--dry-run"]).expect(0)?;
    dry.shows(&expect![[r#"
        read three--state (priority 2)
        read three-data (priority 3)
        write three-TIME.devbox.tar.zst (crash-consistent)
    "#]])?;
    let dry = world.ctl(&["backup", "three", "--dry-run", "--priority", "2", "--json"]).expect(0)?.json()?;
    ensure(
        dry["volumes"][0]["name"] == "three--state" && dry["volumes"].as_array().is_some_and(|v| v.len() == 1),
        &dry.to_string(),
    )?;
    let mad = own.replace("backup=3", "backup=first");
    world.write("/etc/devbox/quadlet-templates/home.volume", &mad);
    world.ctl(&["create", "four"]).expect(0)?;
    world.ctl(&["backup", "four"]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: the label of four-data says "first", which is no backup priority: 1 (the most important) to 9
          hint: an administrator's template says so (/etc/devbox/quadlet-templates)
    "#]]).map(drop)
}

fn settings_come_back_or_are_overridden(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", &format!("rm -f {FILE}; mkdir -p shown")])?;
    let asked = ["create", "abc", "--cpu", "0.5", "--memory", "512M", "--env", "A=1", "--env", "B=2", "--no-start"];
    let terms = ["--idle-stop-days", "2", "--stopped-destroy-days", "5"];
    world.ctl(&[&asked[..], &terms, &["--mount", "/home/alice/shown:/shown"]].concat()).expect(0)?;
    // Never started, it has no volumes, and its settings are all there is.
    world.ctl(&["backup", "abc", "-o", FILE]).expect(0)?;
    let plan = world.ctl(&["create", "two", "--from-backup", FILE, "--dry-run"]).expect(0)?;
    ensure(!plan.out.contains("A=1"), "a dry run shows no values")?;
    let made = world.ctl(&["create", "two", "--from-backup", FILE, "--env", "B=3", "--memory", "1G"]).expect(0)?;
    made.shows(&expect![[r#"
        two is ready (SECONDS)
          shell  devbox-ctl ssh two
          command  devbox-ctl exec two -- CMD
          editor  `devbox-ctl ssh-config --install`, then connect to host two
          stop  devbox-ctl stop two
        --- standard error
        warning: nothing is mounted at /shown in this box; the box that was backed up had /home/alice/shown of its host there. `--mount` mounts a folder
    "#]])?;
    let status = world.ctl(&["status", "two", "--json"]).expect(0)?.json()?;
    ensure(status["cpuLimit"] == 0.5 && status["memoryLimit"] == "1G", &status.to_string())?;
    let env = world.ctl(&["exec", "two", "--", "sh", "-c", "echo $A $B; test ! -e /shown"]).expect(0)?;
    same(&env.out, &"1 3\n", &env.out)?;
    let why = world.ctl(&["why", "two"]).expect(0)?;
    why.says("2 days")?;
    let own = fs::read_to_string(world.folder("two").join("box.toml"))?;
    ensure(own.contains("idle_stop_days = 2\n") && own.contains("stopped_destroy_days = 5\n"), &own)?;
    // Admission is as for any box.
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_boxes = 2\n");
    world.ctl(&["create", "three", "--from-backup", FILE]).expect(3)?;
    world.write("/etc/devbox/users.toml", "[defaults]\nmax_cpu = 0.2\ncpu = 0.2\n");
    world.ctl(&["create", "three", "--from-backup", FILE]).expect(1)?.shows(&expect![[r#"
        --- standard error
        error: 0.5 processors for one box is more than the 0.2 allowed
          hint: ask for `--cpu 0.2` or less
    "#]])?;
    world.ctl(&["create", "three", "--from-backup", FILE, "--cpu", "0.2"]).expect(0).map(drop)
}

/// Its name is taken, and its data is got at by restoring it.
fn of_what_is_in_the_trash(world: &World) -> Outcome {
    backed_up(world)?;
    world.ctl(&["destroy", "--yes", "abc"]).expect(0)?;
    let held = world.ctl(&["create", "abc", "--from-backup", FILE]).expect(2)?;
    held.shows(&expect![[r#"
        --- standard error
        error: abc is in the trash
          hint: `devbox-ctl restore abc` brings it back; `devbox-ctl destroy --now abc` deletes it for good
    "#]])?;
    world.ctl(&["backup", "abc", "-o", "again"]).expect(10)?.shows(&expect![[r#"
        --- standard error
        error: abc is in the trash
          hint: `devbox-ctl restore abc` brings it back; `devbox-ctl destroy --now abc` deletes it for good
    "#]])?;
    world.ctl(&["create", "two", "--from-backup", FILE]).expect(0)?;
    has_it(world, "alice", "two")?;
    world.ctl(&["restore", "abc"]).expect(0)?;
    has_it(world, "alice", "abc")
}

/// Anybody may make the device that hides a file in overlayfs, a path that is too long for the kernel, and a name that
/// tar may read as another.
fn what_nobody_can_bring_back_is_left_out(world: &World) -> Outcome {
    world.ok("alice", &["rm", "-f", FILE])?;
    world.ctl(&["create", "abc"]).expect(0)?;
    let make = "mkdir layer && perl -e 'my ($mknodat, $path) = (`uname -m` =~ /aarch64/ ? 33 : 259, \"layer/gone\"); syscall($mknodat, -100, $path, 0020644, 0) == 0 or die $!' && test -c layer/gone && ln layer/gone layer/again && echo stays > layer/stays";
    world.ctl(&["exec", "abc", "--", "sh", "-c", make]).expect(0)?;
    let deep = "printf one > flag; printf other > $(printf 'flag\\363\\240\\201\\201'); printf flag > $(printf '\\360\\237\\217\\264\\363\\240\\201\\247'); perl -e 'for (1 .. 42) { mkdir \"d\" x 100; chdir \"d\" x 100 } open(F, \">\", \"bottom\")'";
    world.ctl(&["exec", "abc", "--", "sh", "-c", deep]).expect(0)?;
    let ran = world.ctl(&["backup", "abc", "-o", FILE]).expect(0)?;
    ran.says("(a path that is too long)")?;
    ran.says("(a name that tar may read otherwise)")?;
    ran.says("7 files are left out, since no backup can bring them back: ./")?;
    ran.says("(a device)")?;
    world.ctl(&["create", "two", "--from-backup", FILE]).expect(0)?;
    let came = world
        .ctl(&["exec", "two", "--", "sh", "-c", "ls layer; cat layer/stays flag; ls | wc -l; cat *\u{e0067}"])
        .expect(0)?;
    same(&came.out, &"stays\nstays\none4\nflag", &came.out)
}

/// The stream has the ids of the inside, so that it does not matter who they are outside.
fn whoever_dev_is_outside(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", &format!("rm -f {FILE}; mkdir -p shown")])?;
    let mount = ["--mount", "/home/alice/shown:/shown"];
    world.ctl(&[&["create", "abc"], &mount[..]].concat()).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo mine > kept; rm .bashrc"]).expect(0)?;
    inside(world, "alice", "abc", "echo r > /home/dev/roots")?;
    world.ctl(&["backup", "abc", "-o", FILE]).expect(0)?;
    world.ctl(&["create", "plain", "--from-backup", FILE]).expect(0)?;
    world.ctl(&[&["create", "shown", "--from-backup", FILE], &mount[..]].concat()).expect(0)?;
    for name in ["plain", "shown"] {
        has_it(world, "alice", name)?;
        let owners = world.ctl(&["exec", name, "--", "stat", "-c", "%U", ".", "kept", "roots"]).expect(0)?;
        same(&owners.out, &"dev\ndev\nroot\n", &owners.out)?;
    }
    world.ctl(&["exec", "shown", "--", "touch", "/shown/x"]).expect(0)?;
    world.ok("alice", &["rm", "-r", "shown"]).map(drop)
}

fn where_it_goes(world: &World) -> Outcome {
    backed_up(world)?;
    world.ctl(&["backup", "abc", "-o", FILE]).expect(2)?.shows(&expect![[r#"
        --- standard error
        error: there is already a file /home/alice/abc.devbox.tar.zst
          hint: nothing was written; choose another name with `-o`
    "#]])?;
    world.ctl(&["backup", "nobody", "-o", FILE]).expect(2)?;
    world.ctl(&["backup", "nobody"]).expect(10)?;
    world.ctl(&["backup", "abc", "-o", "-", "--json"]).expect(1)?;
    world.ctl(&["backup", "abc", "-o", "/no/such/folder/x"]).expect(7)?;
    let piped = "devbox-ctl backup abc -o - > piped; mkdir there; cd there; devbox-ctl backup abc; ls";
    let listed = world.ok("alice", &["sh", "-c", piped])?;
    ensure(listed.contains("/there/abc-20") && listed.contains(")\n  sha256 "), &listed)?;
    world.ctl(&["create", "two", "--from-backup", "piped"]).expect(0)?;
    has_it(world, "alice", "two")?;
    // What killed ones left is removed, what is at work and what is somebody's is not.
    world.ok("alice", &["sh", "-c", "cd there; rm *; touch .devbox-backup-dead.partial .devbox-backup-mine other.partial; mkdir .devbox-backup-dir.partial"])?;
    let at_work = world.spawn(
        "alice",
        &[
            "sh",
            "-c",
            "cd there; exec flock .devbox-backup-live.partial sh -c 'until test -e ../go; do sleep 0.1; done'",
        ],
    );
    world.ok("alice", &["sh", "-c", "cd there; until test -e .devbox-backup-live.partial && ! flock -n .devbox-backup-live.partial true; do :; done"])?;
    world.ok("alice", &["sh", "-c", "cd there; devbox-ctl -q backup abc -o x; ls -A > ../list; touch ../go"])?;
    at_work.finish().expect(0)?;
    let left = world.ok("alice", &["cat", "list"])?;
    let wanted = ".devbox-backup-dir.partial\n.devbox-backup-live.partial\n.devbox-backup-mine\nother.partial\nx\n";
    same(&left, &wanted, &left)?;
    // On a terminal it refuses to write there; what is slow shows how far it is.
    let terminal = |command: &str| world.run("alice", &["env", "TERM=xterm", "script", "-qec", command, "/dev/null"]);
    terminal("devbox-ctl backup abc -o -").expect(1)?.says("not for a terminal")?;
    world.ctl(&["start", "abc"]).expect(0)?;
    world.ctl(&["exec", "abc", "--", "sh", "-c", "head -c 3000000 /dev/urandom > big"]).expect(0)?;
    let slow_reader = "devbox-ctl backup abc -o - | { sleep 10; cat > big.zst; }";
    terminal(slow_reader).expect(0)?.says("abc-data: ")?;
    // Without a terminal nothing moves.
    let quiet = world.run("alice", &["sh", "-c", slow_reader]).expect(0)?;
    ensure(!quiet.err.contains("abc-data: "), &quiet.err)?;
    world.ok("alice", &["sh", "-c", "rm -rf big.zst there piped list go"]).map(drop)
}

fn admitted_by_a_broker(world: &World) -> Outcome {
    world.install_broker("[host]\nmax_boxes = 1\n")?;
    backed_up(world)?;
    world.ctl(&["create", "two", "--from-backup", FILE]).expect(4)?;
    ensure(!world.folder("two").exists(), "it was refused before anything was made")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ctl(&["create", "two", "--from-backup", FILE]).expect(0)?;
    has_it(world, "alice", "two")?;
    world.ctl(&["destroy", "--now", "--yes", "two"]).expect(0)?;
    world.expect_clean()?;
    // Cut short, the name is free again once it is taken back.
    let strace = [
        "strace",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=clone3,vfork",
        "-e",
        "inject=clone3,vfork:signal=KILL:when=3",
    ];
    let killed = world.run("alice", &[&strace[..], &["devbox-ctl", "create", "two", "--from-backup", FILE]].concat());
    ensure(killed.code != 0, "it was killed")?;
    world.run("bob", &["devbox-ctl", "list"]).expect(0)?;
    world.ctl(&["create", "three"]).expect(0)?;
    world.ctl(&["list"]).expect(0)?.shows(&expect![[r#"
        NAME  STATE  ADDRESS  CPU  MEMORY  CREATED  IMAGE
        three  running  -  2  4G  SECONDS ago  localhost/devbox:latest
    "#]])?;
    world.ctl(&["destroy", "--now", "--yes", "three"]).expect(0)?;
    world.expect_clean()
}
