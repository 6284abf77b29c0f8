//! Folders of the owner's that are shown in a box, and what root in a box may do to them.

use super::prelude::*;

tests! { Host:
    a_source_replaced_by_a_link_is_not_followed,
    a_source_in_another_boxs_folder,
    nested_sources,
    #[slow] the_first_copy_of_the_image_is_told,
    a_source_is_found_where_it_was_at_create,
    the_first_process_is_root,
    what_a_box_without_podmans_namespace_does,
}

/// What root in the box does.
fn as_root(world: &World, name: &str, script: &str) -> Ran {
    world.run("alice", &["podman", "exec", "--user=root", &format!("devbox-{name}"), "sh", "-c", script])
}

fn mount(source: &str, target: &str) -> [String; 2] {
    ["--mount".to_owned(), format!("/home/alice/{source}:{target}")]
}

fn create(world: &World, name: &str, mounts: &[(&str, &str)]) -> Outcome {
    let mounts: Vec<String> = mounts.iter().flat_map(|(source, target)| mount(source, target)).collect();
    let words: Vec<&str> = ["create", name].into_iter().chain(mounts.iter().map(String::as_str)).collect();
    world.ctl(&words).expect(0).map(drop)
}

/// Root in the box puts a link in the place of a source below another, and makes the box start again.
fn a_source_replaced_by_a_link_is_not_followed(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", "mkdir -p proj/sub .ssh && echo key > .ssh/id && echo kept > proj/sub/file"])?;
    create(world, "abc", &[("proj", "/p"), ("proj/sub", "/s")])?;
    as_root(world, "abc", "mv /p/sub /p/aside && ln -s /home/alice/.ssh /p/sub").expect(0)?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["start", "abc"]).expect(7)?.shows(&expect![[r#"
        --- standard error
        error: /home/alice/proj/sub cannot be mounted: it is a link now, and links are not followed
          hint: put the folder or file back where it was; what is now in its place is not shown in the box
    "#]])?;
    // Nor when systemd starts it by itself.
    world.ok("alice", &["rm", ".config/containers/systemd/devbox/abc/stopped"])?;
    world.run("alice", &["systemctl", "--user", "start", "devbox-abc.service"]).expect(1)?;
    // By its identifier, which Quadlet sets to the name of the unit: journald does not know the unit of a process that has
    // ended before it reads its last words.
    world.ok("root", &["journalctl", "--sync"])?;
    let words = "journalctl --user -o cat -t devbox-abc--home-volume -g 'mounted|hint' | tail -n 2";
    let said = world.ok("alice", &["sh", "-c", words])?;
    shows(&said, &expect![[r#"
        error: /home/alice/proj/sub cannot be mounted: it is a link now, and links are not followed
          hint: put the folder or file back where it was; what is now in its place is not shown in the box
    "#]])?;
    // A link on the way to it is one too.
    world.ok("alice", &["sh", "-c", "rm proj/sub && mv proj/aside proj/sub"])?;
    world.ok("alice", &["sh", "-c", "mv proj elsewhere && ln -s elsewhere proj"])?;
    let failed = world.ctl(&["start", "abc"]).expect(7)?;
    failed.says("/home/alice/proj cannot be mounted: it is a link now")?;
    world.ok("alice", &["sh", "-c", "rm proj && mv elsewhere proj"])?;
    world.ctl(&["start", "abc"]).expect(0)?;
    let seen = world.ctl(&["exec", "abc", "--", "sh", "-c", "ls /s; echo more >>/s/file; cat /p/sub/file"]).expect(0)?;
    same(&seen.out, &"file\nkept\nmore\n".to_owned(), "the folder itself")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["rm", "-r", "proj", ".ssh/id"])?;
    world.expect_clean()
}

/// The same from one box to another, over and over while the other starts: whatever the moment, no link is followed.
fn a_source_in_another_boxs_folder(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", "mkdir -p proj/sub/in secret && echo key > secret/id"])?;
    create(world, "attacker", &[("proj", "/p")])?;
    create(world, "victim", &[("proj/sub/in", "/s")])?;
    let swap = "while :; do mv -T /p/sub /p/aside; ln -s /home/alice/trap /p/sub; rm /p/sub; mv -T /p/aside /p/sub; done";
    world.ok("alice", &["sh", "-c", "mkdir -p trap && ln -s /home/alice/secret trap/in"])?;
    as_root(world, "attacker", &format!("({swap}) >/dev/null 2>&1 &")).expect(0)?;
    // What its unit runs before each start, fifty times, and what would be shown in the box then.
    let starts = "shown=0 refused=0; for n in $(seq 50); do \
                  devbox-ctl pre-start victim 2>/dev/null; case $? in 255) refused=$((refused+1));; \
                  *) shown=$((shown+1)); podman unshare ls -A /run/user/1000/devbox/mounts/victim/0;; esac; done; echo $shown $refused";
    let said = world.ok("alice", &["sh", "-c", starts])?;
    let counts: Vec<u32> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    ensure(counts.len() == 2 && said.lines().count() == 1, &format!("the folder is empty whenever it is shown: {said}"))?;
    ensure(counts[0] > 0 && counts[1] > 0, &format!("both happened: {said}"))?;
    world.ctl(&["destroy", "--now", "--yes", "attacker"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "victim"]).expect(0)?;
    world.ok("alice", &["rm", "-r", "proj", "secret", "trap"])?;
    world.expect_clean()
}

/// On a terminal, at once: then it takes long. Only the first box that needs such a copy waits for it.
fn the_first_copy_of_the_image_is_told(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", "mkdir -p proj; echo 'FROM localhost/devbox:latest\nLABEL fresh=yes' | podman build -q -t localhost/fresh -"])?;
    let told = |name: &str| {
        let create = format!("devbox-ctl create {name} --image localhost/fresh --mount /home/alice/proj:/p");
        let ran = world.run("alice", &["script", "-qec", &create, "/dev/null"]);
        ran.out.lines().any(|line| line.starts_with("your first box with --mount: podman copies the image for it, once"))
    };
    let (first, second) = (told("one"), told("two"));
    world.ctl(&["destroy", "--now", "--yes", "one"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "two"]).expect(0)?;
    world.ok("alice", &["sh", "-c", "rmdir proj; podman rmi localhost/fresh"])?;
    same(&(first, second), &(true, false), "the first and the second")?;
    world.expect_clean()
}

fn nested_sources(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", "mkdir -p app/data app/src && echo code > app/src/main && echo row > app/data/db"])?;
    let mounts = [("app", "/app"), ("app/data", "/data"), ("app/src", "/app/src:ro"), ("app/src/main", "/etc/main")];
    create(world, "abc", &mounts)?;
    for round in ["after create", "after a restart"] {
        let script = "cat /app/src/main /data/db /etc/main; touch /app/src/new 2>/dev/null || echo read-only; touch /app/new /data/new && ls /app/data";
        let seen = world.ctl(&["exec", "abc", "--", "sh", "-c", script]).expect(0)?;
        same(&seen.out, &"code\nrow\ncode\nread-only\ndb\nnew\n".to_owned(), round)?;
        world.ctl(&["restart", "abc"]).expect(0)?;
    }
    // What the box made is its owner's.
    same(&world.ok("alice", &["stat", "-c", "%U", "app/new"])?, &"alice\n".to_owned(), "dev is alice")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["rm", "-r", "app"])?;
    let left = world.ok("alice", &["sh", "-c", "ls -A /run/user/1000/devbox/mounts; podman unshare grep -c devbox/mounts /proc/self/mountinfo || true"])?;
    same(&left, &"0\n".to_owned(), "nothing stays mounted")?;
    world.expect_clean()
}

/// Links are followed once, at `create`; a folder that is made anew in the same place is shown, as after a new clone.
fn a_source_is_found_where_it_was_at_create(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", "mkdir -p real/proj && ln -s real link && touch real/proj/first"])?;
    create(world, "abc", &[("link/proj", "/p")])?;
    let spec = world.ok("alice", &["grep", "mounts", ".config/containers/systemd/devbox/abc/box.toml"])?;
    same(&spec, &"mounts = [\"/home/alice/real/proj:/p\"]\n".to_owned(), "the folder itself")?;
    world.ok("alice", &["sh", "-c", "rm -r real/proj && mkdir real/proj && touch real/proj/second"])?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    same(&world.ctl(&["exec", "abc", "--", "ls", "/p"]).expect(0)?.out, &"second\n".to_owned(), "the new one")?;
    world.ok("alice", &["rm", "-r", "real"])?;
    world.ctl(&["stop", "abc"]).expect(0)?;
    world.ctl(&["start", "abc"]).expect(7)?.says("/home/alice/real/proj cannot be mounted: it is not there any more")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["rm", "link"])?;
    world.expect_clean()
}

/// `dev` cannot end the box, and has no power that `sudo` did not give, whatever is mounted.
fn the_first_process_is_root(world: &World) -> Outcome {
    world.ok("alice", &["mkdir", "-p", "proj"])?;
    create(world, "plain", &[])?;
    create(world, "mounts", &[("proj", "/p")])?;
    let seen = |name: &str| -> Result<String, libtest_mimic::Failed> {
        let script = "grep -h -e ^Uid -e ^Gid -e ^Cap -e ^Groups /proc/1/status; ps -eo user,comm --no-headers | sort -u | grep -v -e ps$ -e sh$ -e sort$ -e grep$; kill -KILL 1 || echo refused";
        let root = world.ctl(&["exec", name, "--", "sh", "-c", script]).expect(0)?.out;
        let dev = world.ctl(&["exec", name, "--", "sh", "-c", "id; grep ^Cap /proc/self/status"]).expect(0)?.out;
        Ok(root + &dev)
    };
    let (plain, mounts) = (seen("plain")?, seen("mounts")?);
    same(&mounts, &plain, "both kinds alike")?;
    shows(&plain, &expect![[r#"
        Uid:	0	0	0	0
        Gid:	0	0	0	0
        Groups:	
        CapInh:	HEX
        CapPrm:	HEX
        CapEff:	HEX
        CapBnd:	HEX
        CapAmb:	HEX
        dev  on-connect
        root  s6-supervise
        root  s6-svscan
        root  sshd
        refused
        uid=1000(dev) gid=1000(dev) groups=1000(dev)
        CapInh:	HEX
        CapPrm:	HEX
        CapEff:	HEX
        CapBnd:	HEX
        CapAmb:	HEX
    "#]])?;
    world.ctl(&["destroy", "--now", "--yes", "plain"]).expect(0)?;
    world.ctl(&["destroy", "--now", "--yes", "mounts"]).expect(0)?;
    world.ok("alice", &["rmdir", "proj"])?;
    world.expect_clean()
}

/// `podman system migrate` ends podman's namespaces, and with them all that was mounted there.
fn what_a_box_without_podmans_namespace_does(world: &World) -> Outcome {
    world.ok("alice", &["sh", "-c", "mkdir -p proj && touch proj/here"])?;
    create(world, "abc", &[("proj", "/p")])?;
    world.ok("alice", &["podman", "system", "migrate"])?;
    world.ctl(&["restart", "abc"]).expect(0)?;
    same(&world.ctl(&["exec", "abc", "--", "ls", "/p"]).expect(0)?.out, &"here\n".to_owned(), "it is shown")?;
    world.ctl(&["destroy", "--now", "--yes", "abc"]).expect(0)?;
    world.ok("alice", &["rm", "-r", "proj"])?;
    world.expect_clean()
}
