//! Hosts, and the root that most of them are copies of: with the box image loaded for every user who has a manager.
//! Loading takes seconds, copying does not.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::artifacts::base::base_name;
use crate::artifacts::image::{self, Kind};
use crate::artifacts::{Artifact, Debian, base, build_once, named, recipe};
use crate::lab::dir::HostDir;
use crate::lab::{Host, boot, enter, root};
use crate::{paths, progress, run};

/// Where the image is in the host while it is loaded.
const ARCHIVE: &str = "var/tmp/devbox-image.oci.tar";

/// Boots the host of that name, or attaches to it when it is up. Makes its root first when there is none.
pub fn up(name: &str, debian: Debian) -> Result<Host> {
    // One that has the image is as good.
    let fit = [base_name(debian), seeded_name(Kind::Small, debian)?, seeded_name(Kind::Full, debian)?];
    Host::up_from(name, &fit, || base(debian))
}

/// The same from a root in which alice, bob and carol have the box image.
pub fn up_with_image(name: &str, debian: Debian) -> Result<Host> {
    Host::up_from(name, &[seeded_name(Kind::Full, debian)?], || seeded(Kind::Full, debian))
}

/// The same with the small image, or with the full one where that is made already.
pub fn up_with_some_image(name: &str, debian: Debian) -> Result<Host> {
    let [small, full] = [seeded_name(Kind::Small, debian)?, seeded_name(Kind::Full, debian)?];
    let kind = if named(full.clone())?.path.exists() { Kind::Full } else { Kind::Small };
    Host::up_from(name, &[small, full], || seeded(kind, debian))
}

/// The name of the seeded root that this recipe and this image make.
pub(crate) fn seeded_name(kind: Kind, debian: Debian) -> Result<String> {
    Ok(format!("{}{}", family(kind, debian), recipe::seeded_key(debian, &image::key(kind)?)))
}

fn family(kind: Kind, debian: Debian) -> String {
    match kind {
        Kind::Full => format!("seeded-{debian}-"),
        Kind::Small => format!("small-{debian}-"),
    }
}

/// The seeded root, built when there is none of this recipe and image.
pub(crate) fn seeded(kind: Kind, debian: Debian) -> Result<Artifact> {
    let artifact = named(seeded_name(kind, debian)?)?;
    build_once(&artifact, &family(kind, debian), |partial| {
        let image = image::ensure(kind)?;
        let base = base(debian)?;
        // One for each family: several may be made at the same time.
        let name = format!("seed-{}", family(kind, debian).trim_end_matches('-'));
        let seed = Seed(HostDir::building(&name, paths::lab()?.join(&name)));
        boot::end(&seed.0, None)?;
        paths::remove_tree(seed.0.path())?;
        root::make(&seed.0, &base)?;
        load(&seed.0, &image)?;
        let made = seed.0.root();
        // The seed's own; each host that is a copy of this has another identity.
        paths::remove_tree(&made.join("var/log/journal"))?;
        paths::create(&made.join("var/log/journal"))?;
        paths::create(&partial.join("layers"))?;
        for user in recipe::lingering() {
            move_tree(&made.join(root::layers_of(user)), &partial.join("layers").join(user.name))?;
        }
        move_tree(&made, &partial.join("root"))
    })?;
    Ok(artifact)
}

/// By rename, or by copy where the cache is on another file system.
fn move_tree(from: &Path, to: &PathBuf) -> Result<()> {
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    let mut copy = std::process::Command::new("cp");
    run::output(copy.args(["--archive", "--no-target-directory", "--"]).arg(from).arg(to))?;
    paths::remove_tree(from)
}

/// Boots the seed, loads the image as each of its users, and powers it off.
fn load(seed: &HostDir, archive: &Path) -> Result<()> {
    let inside = seed.root().join(ARCHIVE);
    fs::hard_link(archive, &inside)
        .or_else(|_| fs::copy(archive, &inside).map(drop))
        .context("cannot hand the image over")?;
    let (running, child) = boot::boot(seed)?;
    progress::step("loading the image for each user");
    let root = seed.root();
    let loaded = std::thread::scope(|scope| {
        let load = |user: &'static recipe::User| {
            let mut command = enter::as_user(&root, running.leader, user.name);
            command.args(["podman", "load", "--quiet", "--input"]).arg(Path::new("/").join(ARCHIVE));
            scope.spawn(move || run::output(&mut command))
        };
        let loads: Vec<_> = recipe::lingering().map(load).collect();
        let join = |l: std::thread::ScopedJoinHandle<'_, Result<String>>| {
            l.join().unwrap_or_else(|_| Err(anyhow!("a load panicked"))).map(drop)
        };
        loads.into_iter().map(join).fold(Ok(()), Result::and)
    });
    boot::power_off(seed, &running, Some(child))?;
    fs::remove_file(&inside).context("cannot take the image back")?;
    loaded
}

/// The host it is done in; gone when done, and when not.
struct Seed(HostDir);

impl Drop for Seed {
    fn drop(&mut self) {
        if let Err(e) = boot::end(&self.0, None)
            .and_then(|()| boot::remove_network(&self.0))
            .and_then(|()| paths::remove_tree(self.0.path()))
        {
            eprintln!("warning: {e:#}");
        }
    }
}
