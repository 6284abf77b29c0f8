//! `admin warn --test`, and what devbox-warn@.service runs.

use crate::cli::error::{Failure, Kind};
use crate::cli::output::{self, Output};
use crate::host::hook;

/// Try the command that is told of warnings
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl admin warn --test")]
pub(super) struct Args {
    /// Hand it a document of a box that there is not; what waits to be tried again is tried at once if that goes well
    #[arg(long, required = true)]
    test: bool,
}

/// Hand the command what devboxd has for it
#[derive(Debug, clap::Args)]
pub(super) struct AnswerArgs {}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let (good, text) = super::broker()?.hook(args.test)?;
    if !good {
        return Err(Failure::new(Kind::Backend, format!("the command did not take it: {text}"))
            .hint("what it printed is in `journalctl -u 'devbox-warn@*'`"));
    }
    if out.json {
        output::json(&serde_json::json!({ "good": good, "text": text }));
    } else {
        out.remark(&text);
    }
    Ok(())
}

pub(super) fn answer(_: &AnswerArgs) -> Result<(), Failure> {
    hook::answer().map_err(|why| Failure::new(Kind::Backend, format!("a warning was not taken: {why}")))
}
