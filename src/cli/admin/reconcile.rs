//! `admin reconcile`.

use crate::cli::error::Failure;
use crate::cli::output::{self, Output};

/// Compare the ledger with what runs and what owners' timers reported
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl admin reconcile && devbox-ctl admin reconcile --fix")]
pub(super) struct Args {
    /// Mend what can be: adopt boxes made without the broker, forget names without a box
    #[arg(long)]
    fix: bool,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let findings = super::broker()?.reconcile(args.fix)?;
    if out.json {
        output::json(&findings);
        return Ok(());
    }
    if findings.is_empty() {
        out.remark("the ledger and the host agree");
        return Ok(());
    }
    let mended = |mends: bool| match (mends, args.fix) {
        (true, true) => "mended",
        (true, false) => "--fix mends it",
        (false, _) => "",
    };
    let rows = findings
        .iter()
        .map(|f| {
            let what = if f.name.is_empty() { f.owner.clone() } else { format!("{}/{}", f.owner, f.name) };
            vec![f.kind.clone(), what, f.text.clone(), mended(f.mends).to_owned()]
        })
        .collect();
    output::raw(&output::table(&["FOUND", "BOX", "WHAT", ""], rows));
    Ok(())
}
