//! An administrator's own program: a real one, below a folder that stands for /etc.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use devbox_ctl::settings::Provider as Kind;
use devbox_ctl::tailnet::{Doing, Mend, Places};

use crate::world::{KEY, World, stays};

fn world(script: &str) -> World {
    let mut world = World::new(Kind::Command, "");
    let program = world.program("give", &format!("{script}\n"));
    world.settings.command = vec![program, "--for".to_owned()];
    world
}

fn mode(world: &World, name: &str, mode: u32) {
    fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn it_is_told_the_owner_and_the_box() {
    let world = world(&format!("printf '%s\\n' \"$@\" >@/argv; env >@/env; pwd >@/pwd; cat >@/stdin; echo {KEY}"));
    assert_eq!(world.key().unwrap().expose(), KEY);
    assert_eq!(world.read("argv"), "--for\nalice\nmy-project\n");
    assert_eq!((world.read("pwd").as_str(), world.read("stdin").as_str()), ("/\n", ""));
    let env = world.read("env");
    let mut names: Vec<&str> = env.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PWD", "_", "SHLVL", "OLDPWD"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["LC_ALL", "PATH"]);
}

#[test]
fn an_odd_name_is_no_argument() {
    let world = world(&format!("echo >@/ran; echo {KEY}"));
    for odd in ["", "-x", "--help", "a b", "../x", "a\nb", "$(id)"] {
        world.open(world.key_of(odd).expect_err(odd));
    }
    assert!(!world.path("ran").exists());
}

#[test]
fn how_it_fails_is_told_without_secrets() {
    for code in [1, 2, 126, 255] {
        let world = world(&format!("echo 'no such user: {KEY}' >&2; echo {KEY}; exit {code}"));
        let trouble = world.trouble();
        assert!(trouble.why.contains("no such user") && trouble.why.contains("failed"), "{trouble:?}");
        assert!(matches!(trouble.mend, Mend::Administrator(_)));
    }
    // Killed.
    assert!(world("kill -9 $$").trouble().why.contains("failed"));
    for (script, says) in [
        (":", "empty"),
        ("printf '\\377\\376'", "not an auth key"),
        ("printf tskey-api-k1-2", "API token"),
        ("head -c 1000000 /dev/zero", "not an auth key"),
        ("head -c 1000000 /dev/zero | tr '\\0' a", "not an auth key"),
        ("head -c 1000000 /dev/zero >&2; echo hello", "not an auth key"),
    ] {
        let trouble = world(script).trouble();
        assert!(trouble.why.contains(says), "{script}: {trouble:?}");
    }
    let trouble = world("head -c 1000000 /dev/zero | tr '\\0' ' a' >&2; exit 1").trouble();
    assert!(trouble.why.len() < 500);
}

#[test]
fn one_that_hangs_is_ended() {
    let world = world("perl -e 'sleep 1000' @/one & perl -e 'sleep 1000' @/two");
    let begun = Instant::now();
    assert!(world.trouble().why.contains("has not answered"));
    assert!(begun.elapsed() < world.places.patience + Duration::from_secs(2));
    assert!(!stays(world.folder.path()));
}

#[test]
fn only_what_an_administrator_put_there_is_run() {
    let world = world(&format!("echo >@/ran; echo {KEY}"));
    let refused = |what: &str| {
        let trouble = world.trouble();
        assert_eq!(trouble.doing, Doing::Settings, "{what}: {trouble:?}");
        assert!(matches!(trouble.mend, Mend::Administrator(_)), "{what}");
        assert!(!world.path("ran").exists(), "{what}");
    };
    for odd in [0o775, 0o757, 0o777] {
        mode(&world, "give", odd);
        refused(&format!("{odd:o}"));
    }
    mode(&world, "give", 0o755);
    let root = world.folder.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o777)).unwrap();
    refused("a folder for everybody");
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(world.path("give")).unwrap();
    refused("not there");
    symlink("/bin/true", world.path("give")).unwrap();
    refused("a link that leads out");
}

#[test]
fn what_is_another_users_is_not_run() {
    let mut world = world(&format!("echo >@/ran; echo {KEY}"));
    world.places.owners[0] += 1;
    let trouble = world.trouble();
    assert_eq!(trouble.doing, Doing::Settings, "{trouble:?}");
    assert!(!world.path("ran").exists());
}

#[test]
fn what_cannot_be_run_is_said() {
    let world = world("");
    mode(&world, "give", 0o644);
    assert!(world.trouble().why.contains("cannot be run"), "{:?}", world.trouble());
}

#[test]
fn outside_of_its_folder_there_is_none() {
    let mut world = world("");
    for odd in ["/bin/true", "true", "./give", "", "/etcetera/x"] {
        world.settings.command = vec![odd.to_owned()];
        assert_eq!(world.provider().map(drop).unwrap_err().doing, Doing::Settings, "{odd}");
    }
    world.settings.command = vec![format!("{}/../x", world.folder.path().display())];
    assert_eq!(world.provider().map(drop).unwrap_err().doing, Doing::Settings);
    world.settings.command.clear();
    assert_eq!(world.provider().map(drop).unwrap_err().doing, Doing::Settings);
    let places = Places::default();
    assert_eq!((places.commands.to_str(), places.owners.as_slice()), (Some("/etc"), &[0][..]));
    // None of these is a folder that a tenant could write.
    assert_eq!(places.path, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}
