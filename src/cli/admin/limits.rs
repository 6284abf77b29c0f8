//! `admin limits`.

use crate::cli::error::Failure;
use crate::cli::output::{self, Output};

/// Show what each owner has and may have
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, out: Output) -> Result<(), Failure> {
    let uses = super::broker()?.limits()?;
    if out.json {
        output::json(&uses);
        return Ok(());
    }
    let now = crate::host::now().as_second();
    let ago = |at: i64| if at == 0 { "never".to_owned() } else { output::ago(now, at) };
    let rows = uses
        .iter()
        .map(|u| {
            vec![
                u.owner.clone(),
                format!("{}/{}", u.boxes, u.max_boxes),
                u.trashed.to_string(),
                format!("{}.{}", u.cpu_millis / 1000, u.cpu_millis % 1000 / 100),
                output::size(u.memory_bytes),
                if u.reported == 0 { "-".to_owned() } else { output::size(u.disk_bytes) },
                ago(u.reported),
                ago(u.sampled),
                ago(u.cleaned),
            ]
        })
        .collect();
    output::raw(&output::table(
        &["OWNER", "BOXES", "TRASH", "CPU", "MEMORY", "DISK", "REPORTED", "LOOKED", "CLEANED"],
        rows,
    ));
    Ok(())
}
