//! tailscaled and headscale, built from source once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache::{Artifact, build_once, named};
use super::recipe;
use crate::{paths, progress, run, tools};

/// Says which version, and how; the Containerfile runs the same.
const TAILSCALE: &str = include_str!("../../../../image/tailscale/build");

/// The newest whose commands are built with what is on Go's proxy.
const HEADSCALE: &str = "v0.28.0";

/// Which build of tailscaled this is.
pub(crate) fn tailscale_key() -> String {
    recipe::hash(&format!("{TAILSCALE} {}", std::env::consts::ARCH))
}

/// `usr/sbin/tailscaled`, and `usr/bin/tailscale` as a link to it: the folder that holds them.
pub(crate) fn tailscale() -> Result<PathBuf> {
    let artifact = named(format!("tailscale-{}", tailscale_key()))?;
    build_once(&artifact, "tailscale-", |partial| {
        let go = tools::go()?;
        progress::step("building tailscaled from source: some minutes, the first time");
        let mut build = Command::new("sh");
        build.arg(paths::workspace().join("image/tailscale/build")).arg(partial).env("PATH", go.path());
        run::logged(&mut build, &log()?)
    })?;
    Ok(artifact.path)
}

/// The program.
pub(crate) fn headscale() -> Result<PathBuf> {
    let key = recipe::hash(&format!("{HEADSCALE} {}", std::env::consts::ARCH));
    let artifact: Artifact = named(format!("headscale-{key}"))?;
    build_once(&artifact, "headscale-", |partial| {
        let go = tools::go()?;
        progress::step("building headscale from source: some minutes, the first time");
        let module = partial.join("module");
        paths::create(&module)?;
        let command = |arguments: &[&str]| {
            let mut command = Command::new(&go.program);
            command.current_dir(&module).env("PATH", go.path()).env("GOTOOLCHAIN", "auto").env("CGO_ENABLED", "0");
            command.args(arguments);
            command
        };
        // Before there is a go.mod: what that requires would be looked up one by one.
        let download = ["mod", "download", "-json", &format!("github.com/juanfont/headscale@{HEADSCALE}")];
        let about = run::output(&mut command(&download))?;
        let about: serde_json::Value = serde_json::from_str(&about).context("go says something else than JSON")?;
        let source = Path::new(about["Dir"].as_str().context("go does not say where the source is")?);
        let read =
            |name: &str| fs::read_to_string(source.join(name)).with_context(|| format!("headscale has no {name}"));
        let theirs = read("go.mod")?;
        // Without a version in it go would read the requirements of all requirements.
        let version = theirs.lines().find(|l| l.starts_with("go ")).context("headscale's go.mod names no Go")?;
        // Not `go install`, which leaves go.sum aside and asks a database for each sum; that may lack some.
        let ours = format!("module lab\n\n{version}\n\nrequire github.com/juanfont/headscale {HEADSCALE}\n");
        paths::write(&module.join("go.mod"), ours)?;
        paths::write(&module.join("go.sum"), read("go.sum")?)?;
        let output = format!("-o={}", partial.join("headscale").display());
        let build = ["build", "-mod=mod", "-trimpath", "-ldflags=-s -w", &output];
        run::logged(command(&build).arg("github.com/juanfont/headscale/cmd/headscale"), &log()?)?;
        paths::remove_tree(&module)
    })?;
    Ok(artifact.path.join("headscale"))
}

fn log() -> Result<PathBuf> {
    Ok(paths::lab()?.join("go.log"))
}
