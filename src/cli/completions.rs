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
    // clap_complete 4.6 names the functions of a hyphenated program in two ways in bash, so that no option of a
    // subcommand would be offered (tests/host/commands.rs tries it in bash).
    let script = String::from_utf8_lossy(&script).replace("devbox__subcmd__ctl", "devbox__ctl");
    super::output::raw(&script);
    Ok(())
}
