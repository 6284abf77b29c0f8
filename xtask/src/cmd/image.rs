//! `cargo xtask image`

use anyhow::Result;
use clap::Args;
use testbed::artifacts::image::{self, Kind};

#[derive(Debug, Args)]
pub(crate) struct Image {
    /// Build with this machine's podman on this base, such as debian:trixie-slim
    #[arg(long)]
    base: Option<String>,
    /// Without tailscaled, code-server and Syncthing
    #[arg(long)]
    small: bool,
}

pub(crate) fn run(args: &Image) -> Result<()> {
    image::become_builder(args.base.as_deref())?;
    let kind = if args.small { Kind::Small } else { Kind::Full };
    image::build(args.base.as_deref(), kind).map(drop)
}
