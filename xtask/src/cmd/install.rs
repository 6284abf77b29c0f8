//! `cargo xtask install`

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use testbed::{install, tools};

use super::build;

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Lay the files out under this folder, and set nothing in motion
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// Only devbox-ctl and the units of users, for somebody alone on a machine
    #[arg(long)]
    without_broker: bool,
}

fn place(args: &Install, root: &Path, programs: &Path) -> Result<()> {
    if args.without_broker { install::without_broker(root, programs) } else { install::into(root, programs) }
}

pub(crate) fn run(args: &Install) -> Result<()> {
    let binary = build::release()?;
    let programs = binary.parent().unwrap_or(&binary);
    if let Some(root) = &args.root {
        place(args, root, programs)?;
        println!("everything is under {}", root.display());
        return Ok(());
    }
    tools::become_root()?;
    place(args, "/".as_ref(), programs)?;
    if args.without_broker {
        println!("installed; docs/tailnet.md says how to have a tailnet");
        return Ok(());
    }
    for command in install::ACTIVATE {
        println!("{}", command.join(" "));
        let status = std::process::Command::new(command[0]).args(&command[1..]).status()?;
        ensure!(status.success(), "`{}` failed", command.join(" "));
    }
    println!("installed; docs/admin-guide.md goes on from here");
    Ok(())
}
