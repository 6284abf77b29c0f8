//! The root with the box image loaded for every user who has a manager: loading takes seconds, copying does not.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::base::{Template, base, build_once, named};
use super::dir::HostDir;
use super::{boot, enter, recipe, root};
use crate::image::{self, Kind};
use crate::{paths, progress, run};

/// Where the image is in the host while it is loaded.
const ARCHIVE: &str = "var/tmp/devbox-image.oci.tar";

/// The name of the seeded root that this recipe and this image make.
pub(crate) fn seeded_name(kind: Kind) -> Result<String> {
    Ok(format!("{}{}", family(kind), recipe::seeded_key(&image::key(None, kind)?)))
}

fn family(kind: Kind) -> &'static str {
    match kind {
        Kind::Full => "seeded-",
        Kind::Small => "small-",
    }
}

/// The seeded root, built when there is none of this recipe and image.
pub(crate) fn seeded(kind: Kind) -> Result<Template> {
    let image = image::ensure(kind)?;
    let base = base()?;
    let template = named(seeded_name(kind)?)?;
    build_once(&template, family(kind), |partial| {
        // One for each kind: two may be made at once.
        let name = if kind == Kind::Full { "seed" } else { "seed-small" };
        let seed = Seed(HostDir::building(name, paths::lab()?.join(name)));
        boot::end(&seed.0, None)?;
        paths::remove_tree(seed.0.path())?;
        root::make(&seed.0, &base)?;
        load(&seed.0, &image.archive)?;
        let made = seed.0.root();
        // The seed's own; each host that is made of this has another identity.
        paths::remove_tree(&made.join("var/log/journal"))?;
        paths::create(&made.join("var/log/journal"))?;
        paths::create(&partial.join("layers"))?;
        for user in recipe::lingering() {
            rename(&made.join(root::layers_of(user)), &partial.join("layers").join(user.name))?;
        }
        rename(&made, &partial.join("root"))
    })?;
    Ok(template)
}

fn rename(from: &Path, to: &PathBuf) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
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
        if let Err(e) = boot::end(&self.0, None).and_then(|()| paths::remove_tree(self.0.path())) {
            eprintln!("warning: {e:#}");
        }
    }
}
