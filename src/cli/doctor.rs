//! `doctor`.

use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::session::Session;
use crate::host::health;

/// Say what is wrong with this host or your account, and what mends it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  devbox-ctl doctor\n  sudo devbox-ctl doctor   (the host, and processes outside of their owners' slices)"
)]
pub(super) struct Args {
    /// Finish what earlier commands left half done
    #[arg(long)]
    fix: bool,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let mut checked = health::of_host();
    if nix::unistd::Uid::current().is_root() {
        checked.extend(health::hook());
        checked.extend(health::escaped(None));
    } else {
        let session = if args.fix { Session::begin(out, None)? } else { Session::look(out)? };
        checked.extend(health::of_account(&session.host)?);
    }
    if out.json {
        output::json(&checked);
    } else {
        for c in &checked {
            if c.good {
                out.remark(&format!("ok  {}", c.text));
            } else {
                output::line(&format!("!!  {}", c.text));
                output::line(&format!("    {}", c.mend.as_deref().unwrap_or_default()));
            }
        }
    }
    match checked.iter().filter(|c| !c.good).count() {
        0 => Ok(()),
        // What is wrong is said above; with --json it is the data, and only the status tells.
        _ if out.json => Err(Failure::silent(Kind::Backend)),
        1 => Err(Failure::new(Kind::Backend, "there is a problem")),
        n => Err(Failure::new(Kind::Backend, format!("there are {n} problems"))),
    }
}
