//! `completions SHELL`.

use clap_complete::Shell;

use super::error::Failure;
use super::output::Output;

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  devbox-ctl completions bash > ~/.local/share/bash-completion/completions/devbox-ctl"
)]
pub(super) struct Args {
    shell: Shell,
}

#[allow(clippy::unnecessary_wraps)] // every verb has this shape
pub(super) fn run(args: &Args, _: Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "devbox-ctl", &mut script);
    super::output::raw(&String::from_utf8_lossy(&script));
    Ok(())
}
