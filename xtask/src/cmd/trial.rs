//! `cargo xtask try`: from a bare clone to a box, with one command.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use testbed::artifacts::{Debian, image};
use testbed::{progress, tools};

use super::build;

const NAME: &str = "my-project";

#[derive(Debug, Args)]
pub(crate) struct Try {
    /// On this machine instead of a lab host; it needs a systemd user manager and podman 5.4
    #[arg(long)]
    here: bool,
    /// What --here builds the box image from
    #[arg(long, default_value = "debian:trixie-slim", requires = "here")]
    base: String,
}

pub(crate) fn run(args: &Try) -> Result<()> {
    let binary = build::release()?;
    if args.here { here(&binary, &args.base) } else { in_the_lab(&binary) }
}

fn in_the_lab(binary: &Path) -> Result<()> {
    tools::become_root()?;
    let host = testbed::up_with_some_image("try", Debian::Trixie)?;
    host.install(binary)?;
    progress::step(&format!("alice runs devbox-ctl create {NAME}"));
    first_or_again(|verb| {
        let mut command = host.command("alice");
        command.args(["devbox-ctl", verb, NAME]);
        command
    })?;
    println!("\nGo in:          cargo xtask lab in --name try alice devbox-ctl ssh {NAME}");
    println!("Look around:    cargo xtask lab in --name try alice bash");
    println!("Clean up:       cargo xtask lab down try --purge");
    Ok(())
}

fn here(binary: &Path, base: &str) -> Result<()> {
    let quiet = |command: &mut Command| -> Result<bool> {
        Ok(command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("cannot run podman; is it installed?")?
            .success())
    };
    if !quiet(Command::new("podman").args(["image", "exists", image::TAG]))? {
        let built = image::build(Some(base), image::Kind::Small)?;
        if !quiet(Command::new("podman").args(["load", "--input"]).arg(built))? {
            bail!("podman cannot load the image");
        }
    }
    progress::step(&format!("devbox-ctl create {NAME}"));
    first_or_again(|verb| {
        let mut command = Command::new(binary);
        command.args([verb, NAME]);
        command
    })?;
    println!("\nGo in:       {} ssh {NAME}", binary.display());
    println!("Clean up:    {} destroy --now {NAME}", binary.display());
    Ok(())
}

/// Creates the box, or shows and starts the one of an earlier try: what somebody did in it is kept.
fn first_or_again(command: impl Fn(&str) -> Command) -> Result<()> {
    let there =
        command("status").stdout(Stdio::null()).stderr(Stdio::null()).status().context("cannot run it")?.success();
    if !there {
        println!("$ devbox-ctl create {NAME}");
        let made = command("create").status().context("cannot run it")?;
        return if made.success() { Ok(()) } else { bail!("create failed ({made})") };
    }
    progress::step(&format!("{NAME} is there from an earlier try"));
    // Code 12: it runs already.
    let started = command("start").stderr(Stdio::null()).status().context("cannot run it")?;
    if !matches!(started.code(), Some(0 | 12)) {
        bail!("start failed ({started})");
    }
    println!("$ devbox-ctl status {NAME}");
    command("status").status().context("cannot run it").map(drop)
}
