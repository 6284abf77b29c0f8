//! `cargo xtask image`

use anyhow::Result;
use clap::Args;
use xtask::image;

#[derive(Debug, Args)]
pub(crate) struct Image {
    /// Build with this machine's podman on this base, such as debian:trixie-slim
    #[arg(long)]
    base: Option<String>,
}

pub(crate) fn run(args: &Image) -> Result<()> {
    image::prepare(args.base.as_deref())?;
    image::build(args.base.as_deref()).map(drop)
}
