//! `cargo xtask prepare`

use anyhow::Result;
use clap::Args;
use testbed::artifacts::Debian;
use testbed::tools;

#[derive(Debug, Args)]
pub(crate) struct Prepare {
    /// Also for `cargo xtask test --all` and `--slice`: hosts of Debian forky, and the disk of machines in QEMU
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Prepare) -> Result<()> {
    tools::become_root()?;
    let debians = if args.all { &[Debian::Trixie, Debian::Forky][..] } else { &[Debian::Trixie] };
    testbed::prepare(debians, args.all)
}
