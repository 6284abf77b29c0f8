//! The box image: `image/` built into an archive that `podman load` takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{cache, recipe};
use crate::{interrupt, lock, paths, progress, run, tools};

mod code_server;
mod inlab;
mod key;

/// The image's name and tag.
pub const TAG: &str = "localhost/devbox:latest";

/// What the small image is built with.
const WITHOUT: [&str; 2] = ["TAILSCALE=without-tailscale", "CODE_SERVER=without-code-server"];

/// The archive in an artifact.
const ARCHIVE: &str = "image.oci.tar";

/// Which of the two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All that a box can have.
    Full,
    /// Without tailscaled, code-server and Syncthing: quick to make, for a first try.
    Small,
}

impl Kind {
    fn family(self) -> &'static str {
        match self {
            Self::Full => "image-full-",
            Self::Small => "image-small-",
        }
    }
}

/// The image's archive, built in a lab root unless it is up to date.
pub fn ensure(kind: Kind) -> Result<PathBuf> {
    let artifact = cache::named(format!("{}{}", kind.family(), key(kind)?))?;
    cache::build_once(&artifact, kind.family(), |partial| inlab::build(&partial.join(ARCHIVE), kind))?;
    Ok(artifact.path.join(ARCHIVE))
}

/// Builds what the full image is put together from.
pub(crate) fn parts() -> Result<()> {
    inlab::minbase()?;
    code_server::built().map(drop)
}

/// Puts the image's archive into the target directory: built by this machine's podman when a base is given, else in a
/// lab root from a base made of Debian packages.
pub fn build(base: Option<&str>, kind: Kind) -> Result<PathBuf> {
    let archive = paths::target()?.join(match kind {
        Kind::Full => "devbox-image.oci.tar",
        Kind::Small => "devbox-image-small.oci.tar",
    });
    let _lock = lock::take(&paths::lab()?.join("image.lock"))?;
    let _guard = interrupt::guard()?;
    if let Some(base) = base {
        by_podman(base, kind, &archive)?;
    } else {
        let built = ensure(kind)?;
        // Not a link: an edit of this file must not change the cached archive.
        let partial = archive.with_extension("partial");
        fs::copy(&built, &partial).context("cannot copy the image")?;
        fs::rename(&partial, &archive).context("cannot put the image in place")?;
    }
    let size = fs::metadata(&archive).context("the image was not written")?.len();
    progress::step(&format!("the image is {} ({} MB)", archive.display(), size / 1_000_000));
    Ok(archive)
}

/// The key of the image that [`ensure`] makes, without making it.
pub fn key(kind: Kind) -> Result<String> {
    // What is built from source has its recipe in there too.
    Ok(recipe::hash(&format!("{} {kind:?} {}", inlab::base_key(), key::of(&source())?)))
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

/// Becomes root where the build needs it: the lab does, this machine's podman does not.
pub fn become_builder(base: Option<&str>) -> Result<()> {
    if base.is_some() { Ok(()) } else { tools::become_root() }
}
