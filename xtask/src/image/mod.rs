//! The box image: `image/` built into an archive that `podman load` takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::lab::recipe;
use crate::{interrupt, lock, paths, progress, run, tools};

mod code_server;
mod inlab;
mod key;

/// The image's name and tag.
pub const TAG: &str = "localhost/devbox:latest";

/// What the small image is built with.
const WITHOUT: [&str; 2] = ["TAILSCALE=without-tailscale", "CODE_SERVER=without-code-server"];

/// Which of the two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All that a box can have.
    Full,
    /// Without tailscaled, code-server and Syncthing: quick to make, for a first try.
    Small,
}

/// A built image.
#[derive(Debug)]
pub struct Built {
    /// The OCI archive.
    pub archive: PathBuf,
}

/// The image, built in the lab unless it is up to date.
pub fn ensure(kind: Kind) -> Result<Built> {
    build(None, kind)
}

/// Builds the image unless it is up to date: on this machine's podman when a base is given, else in the lab from a
/// base made of Debian packages.
pub fn build(base: Option<&str>, kind: Kind) -> Result<Built> {
    let archive = paths::target()?.join(match kind {
        Kind::Full => "devbox-image.oci.tar",
        Kind::Small => "devbox-image-small.oci.tar",
    });
    let key = key(base, kind)?;
    let _lock = lock::take(&paths::lab()?.join("image.lock"))?;
    let key_file = archive.with_extension("key");
    if archive.exists() && fs::read_to_string(&key_file).is_ok_and(|made_from| made_from == key) {
        progress::step(&format!("the image is up to date: {}", archive.display()));
        return Ok(Built { archive });
    }
    let _guard = interrupt::guard()?;
    match base {
        Some(base) => by_podman(base, kind, &archive)?,
        None => inlab::build(&archive, kind)?,
    }
    // Last: an archive without it is not trusted.
    paths::write(&key_file, &key)?;
    let size = fs::metadata(&archive).context("the image was not written")?.len();
    progress::step(&format!("the image is {} ({} MB)", archive.display(), size / 1_000_000));
    Ok(Built { archive })
}

/// The key of what [`build`] makes, without making it.
pub fn key(base: Option<&str>, kind: Kind) -> Result<String> {
    // What is built from source has its recipe in there too.
    Ok(recipe::hash(&format!("{} {base:?} {kind:?} {}", inlab::base_key(), key::of(&source())?)))
}

fn source() -> PathBuf {
    paths::workspace().join("image")
}

/// On this machine, as a person would.
fn by_podman(base: &str, kind: Kind, archive: &Path) -> Result<()> {
    progress::step(&format!("building the image from {base} with this machine's podman"));
    let log = paths::target()?.join("devbox-image.log");
    let mut build = Command::new("podman");
    build.args(["build", "--build-arg", &format!("BASE={base}"), "--tag", TAG]);
    if kind == Kind::Small {
        build.args(WITHOUT.iter().flat_map(|arg| ["--build-arg", arg]));
    }
    run::logged(build.arg(source()), &log)?;
    let partial = archive.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut save = Command::new("podman");
    save.args(["save", "--quiet", "--format=oci-archive", "--output"]).arg(&partial).arg(TAG);
    run::logged(&mut save, &log)?;
    fs::rename(&partial, archive).context("cannot put the image in place")
}

/// Whether building needs root: the lab does, this machine's podman does not.
pub fn prepare(base: Option<&str>) -> Result<()> {
    if base.is_some() { Ok(()) } else { tools::become_root() }
}
