//! code-server, built from source once, in a Debian root of its own: it needs that release's Node and compilers.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::source;
use crate::artifacts::{Debian, base, cache, recipe};
use crate::nspawn::Builder;
use crate::{paths, progress, run};

/// Says which version, and how; the Containerfile runs the same.
const BUILD: &str = include_str!("../../../../../image/code-server/build");

/// What that needs; the Containerfile's stage installs the same.
const PACKAGES: &[&str] =
    &["binutils", "ca-certificates", "g++", "libkrb5-dev", "make", "nodejs", "npm", "pkg-config", "python3"];

/// Whom the machine trusts: perhaps also a proxy of its own, between it and npm's registry.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Which build of it this is.
pub(super) fn key() -> String {
    recipe::hash(&format!("{BUILD} {PACKAGES:?} {} {}", Debian::Trixie, std::env::consts::ARCH))
}

/// The folder that holds its `usr`.
pub(super) fn built() -> Result<PathBuf> {
    let artifact = cache::named(format!("code-server-{}", key()))?;
    cache::build_once(&artifact, "code-server-", |partial| {
        progress::step("building code-server from source: some minutes, the first time");
        let root = partial.join("root");
        base::debootstrap(Debian::Trixie, &root, &["--include", &PACKAGES.join(",")])?;
        let recipe = source().join("code-server");
        let mut builder = Builder::in_root(root.clone())?.bind(&recipe, "/recipe").bind(partial, "/built");
        if Path::new(TRUSTED).exists() {
            builder = builder.bind(Path::new(TRUSTED), TRUSTED).set("npm_config_cafile", TRUSTED);
        }
        let mut build = builder.command()?;
        run::logged(build.args(["sh", "/recipe/build", "/built"]), &paths::lab()?.join("npm.log"))?;
        paths::remove_tree(&root)
    })?;
    Ok(artifact.path)
}
