//! `admin reconcile`.

use std::collections::BTreeMap;

use crate::cli::error::Failure;
use crate::cli::output::{self, Output};
use crate::wire::Finding;

/// Compare the ledger with what runs and what owners' timers reported
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl admin reconcile && devbox-ctl admin reconcile --fix")]
pub(super) struct Args {
    /// Mend what can be: adopt boxes made without the broker, forget names without a box
    #[arg(long)]
    fix: bool,
}

/// Lines shown of one owner: their report may name a thousand boxes that do not exist.
const MOST: usize = 20;

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
    let row = |f: &Finding| {
        let what = if f.name.is_empty() { f.owner.clone() } else { format!("{}/{}", f.owner, f.name) };
        vec![f.kind.clone(), what, f.text.clone(), mended(f.mends).to_owned()]
    };
    let mut rows = Vec::new();
    for (owner, found) in by_owner(&findings) {
        rows.extend(found.iter().take(MOST).copied().map(row));
        if found.len() > MOST {
            let more = format!("{} more of this owner's; `--json` has them all", found.len() - MOST);
            rows.push(vec!["...".to_owned(), owner.to_owned(), more, String::new()]);
        }
    }
    output::raw(&output::table(&["FOUND", "BOX", "WHAT", ""], rows));
    Ok(())
}

/// Sorted by how many findings an owner has, the fewest first.
fn by_owner(findings: &[Finding]) -> Vec<(&str, Vec<&Finding>)> {
    let mut owners: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for found in findings {
        owners.entry(&found.owner).or_default().push(found);
    }
    // Where not all are shown, what there is one of is not behind a thousand of another kind.
    for found in owners.values_mut().filter(|found| found.len() > MOST) {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for f in found.iter() {
            *kinds.entry(&f.kind).or_default() += 1;
        }
        found.sort_by_key(|f| kinds[f.kind.as_str()]);
    }
    let mut owners: Vec<_> = owners.into_iter().collect();
    owners.sort_by_key(|(_, found)| found.len().min(MOST + 1));
    owners
}
