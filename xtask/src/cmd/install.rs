//! `cargo xtask install`

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use xtask::{install, tools};

use super::build;

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Lay the files out under this folder, and set nothing in motion
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
}

pub(crate) fn run(args: &Install) -> Result<()> {
    let binary = build::release()?;
    let programs = binary.parent().unwrap_or(&binary);
    if let Some(root) = &args.root {
        install::into(root, programs)?;
        println!("everything is under {}", root.display());
        return Ok(());
    }
    tools::become_root()?;
    install::into("/".as_ref(), programs)?;
    for command in install::ACTIVATE {
        println!("{}", command.join(" "));
        let status = std::process::Command::new(command[0]).args(&command[1..]).status()?;
        ensure!(status.success(), "`{}` failed", command.join(" "));
    }
    println!("installed; docs/admin-guide.md goes on from here");
    Ok(())
}
