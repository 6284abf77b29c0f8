//! `admin …`: what an administrator does; a file a verb.

mod act;
mod apply_limits;
mod audit;
mod check;
mod limits;
mod reconcile;
mod tidy;
mod warn;

use super::error::{Failure, Kind};
use super::output::Output;
use crate::host::Broker;

/// Administer the boxes of all owners
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl admin check\n  devbox-ctl admin audit --owner alice --since '2 days ago'\n  sudo devbox-ctl admin stop alice/my-project"
)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Check(check::Args),
    Limits(limits::Args),
    Audit(audit::Args),
    Reconcile(reconcile::Args),
    Warn(warn::Args),
    /// Stop an owner's box, as that owner
    Stop(act::Args),
    /// Start an owner's box, as that owner
    Start(act::Args),
    /// Move an owner's box into their trash, as that owner
    Destroy(act::DestroyArgs),
    #[command(hide = true)]
    ApplyLimits(apply_limits::Args),
    #[command(hide = true)]
    Tidy(tidy::Args),
    #[command(hide = true)]
    WarnAnswer(warn::AnswerArgs),
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    match &args.verb {
        Verb::Check(args) => check::run(args, out),
        Verb::Limits(args) => limits::run(args, out),
        Verb::Audit(args) => audit::run(args, out),
        Verb::Reconcile(args) => reconcile::run(args, out),
        Verb::Stop(args) => act::run("stop", args),
        Verb::Start(args) => act::run("start", args),
        Verb::Destroy(args) => act::destroy(args),
        Verb::ApplyLimits(args) => apply_limits::run(args, out),
        Verb::Tidy(args) => tidy::run(args, out),
        Verb::Warn(args) => warn::run(args, out),
        Verb::WarnAnswer(args) => warn::answer(args),
    }
}

/// The broker, without which there is nothing to administer.
pub(super) fn broker() -> Result<Broker, Failure> {
    Broker::connect()?.ok_or_else(|| {
        Failure::new(Kind::NotAllowed, "only the broker knows every owner's boxes, and this host has none")
            .hint("docs/admin-guide.md says how to install it")
    })
}
