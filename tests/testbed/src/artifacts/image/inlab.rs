//! Building the image where there is no podman and no registry: in the lab's own root, on a base of Debian packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Kind, TAG, code_server, source};
use crate::artifacts::{Artifact, Debian, base, cache, recipe, tailnet};
use crate::nspawn::Builder;
use crate::{lock, paths, progress, run, tools};

/// How the base is made; raised when that changes.
const BASE_VERSION: &str = "1";

/// Which base this makes.
pub(super) fn base_key() -> String {
    recipe::hash(&format!("{BASE_VERSION} {}", Debian::Trixie))
}

/// Builds the image and writes it to `archive`, whole or not at all.
pub(super) fn build(archive: &Path, kind: Kind) -> Result<()> {
    tools::ensure()?;
    // Built here once, instead of by each build of the image: the Containerfile takes each from an image.
    let parts = match kind {
        Kind::Small => Vec::new(),
        Kind::Full => vec![
            Part { name: "tailscale", key: tailnet::tailscale_key(), built: tailnet::tailscale()? },
            Part { name: "code-server", key: code_server::key(), built: code_server::built()? },
        ],
    };
    let base = minbase()?;
    let cache = paths::cache()?;
    // The full image's build and the small one's share layers, and so one store.
    let _lock = lock::take(&cache.join("image-store.lock"))?;
    let (store, work) = (Cleared(cache.join("image-store")), Cleared(cache.join("image-work")));
    paths::remove_tree(&work.0)?;
    paths::create(&store.0)?;
    paths::create(&work.0)?;
    let builder = Builder::new()?
        .bind(&store.0, "/var/lib/containers/storage")
        .bind(&work.0, "/build")
        .bind(&base.path, "/base")
        .bind(&source(), "/image")
        .set("TMPDIR", "/build");
    let log = paths::lab()?.join("image.log");
    let podman = |args: &[&str]| run::logged(builder.command()?.arg("podman").args(args), &log);

    let base_tag = format!("localhost/devbox-base:{}", base_key());
    if podman(&["image", "exists", &base_tag]).is_err() {
        progress::step("importing the image's base");
        podman(&["import", "--quiet", "/base/base.tar", &base_tag])?;
    }
    let mut part_args: Vec<String> =
        if parts.is_empty() { super::WITHOUT.map(str::to_owned).into() } else { Vec::new() };
    for part in &parts {
        let tag = part.tag();
        if podman(&["image", "exists", &tag]).is_err() {
            progress::step(&format!("importing {}", part.name));
            part.pack(&work.0.join("part.tar"))?;
            podman(&["import", "--quiet", "/build/part.tar", &tag])?;
        }
        part_args.push(format!("{}={tag}", part.name.to_uppercase().replace('-', "_")));
    }
    progress::step("building the image");
    // The limits are named because podman's own are above what a process here may have.
    let mut build = vec!["build", "--network=host", "--isolation=chroot"];
    build.extend(["--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]);
    let base_arg = format!("BASE={base_tag}");
    build.extend(["--build-arg", &base_arg]);
    build.extend(part_args.iter().flat_map(|arg| ["--build-arg", arg]));
    build.extend(["--tag", TAG, "/image"]);
    podman(&build)?;
    progress::step("writing the image");
    podman(&["save", "--quiet", "--format=oci-archive", "--output=/build/image.tar", TAG])?;
    podman(&["image", "prune", "--force"])?;
    fs::rename(work.0.join("image.tar"), archive).context("cannot put the image in place")?;
    // The layers that are unchanged make the next build a matter of seconds.
    std::mem::forget(store);
    Ok(())
}

/// What is built apart from the image, and found in it at `/NAME/usr`.
struct Part {
    name: &'static str,
    key: String,
    built: PathBuf,
}

impl Part {
    fn tag(&self) -> String {
        format!("localhost/devbox-{}:{}", self.name, self.key)
    }

    fn pack(&self, tar: &Path) -> Result<()> {
        let mut command = Command::new("tar");
        let below = format!("--transform=s,^usr,{}/usr,", self.name);
        command.args(["--create", "--owner=root:0", "--group=root:0", &below, "--file"]).arg(tar);
        run::output(command.arg("--directory").arg(&self.built).arg("usr")).map(drop)
    }
}

/// A minimal Debian, as the image that a registry would give.
pub(super) fn minbase() -> Result<Artifact> {
    let artifact = cache::named(format!("minbase-{}", base_key()))?;
    cache::build_once(&artifact, "minbase-", |partial| {
        progress::step(&format!("building the image's base (minimal {})", Debian::Trixie));
        base::debootstrap(Debian::Trixie, &partial.join("base.tar"), &[])
    })?;
    Ok(artifact)
}

/// A directory that goes when the build ends, however it ends.
struct Cleared(PathBuf);

impl Drop for Cleared {
    fn drop(&mut self) {
        if let Err(e) = paths::remove_tree(&self.0) {
            eprintln!("warning: {e:#}");
        }
    }
}
