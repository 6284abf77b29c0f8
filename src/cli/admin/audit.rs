//! `admin audit`.

use jiff::Timestamp;

use crate::cli::error::{Failure, Kind};
use crate::cli::output::{self, Output};
use crate::wire::{AuditLine, MOST_LINES};

/// Show who did what to which box
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl admin audit --since '2 days ago'\n  devbox-ctl admin audit --owner alice --json | jq '.[] | select(.outcome != \"allowed\")'"
)]
pub(super) struct Args {
    /// Only what is newer: 2026-01-31, 2026-01-31T12:00:00Z, or a span such as `2 days ago` [default: 7 days ago]
    #[arg(long, value_name = "T", default_value = "7 days ago", hide_default_value = true)]
    since: String,
    /// Only what this owner did, or was done to their boxes
    #[arg(long, value_name = "OWNER", default_value = "", hide_default_value = true)]
    owner: String,
    /// At most N lines. If there are more, each caller's newest lines are shown, the same number for each caller
    #[arg(long, value_name = "N", default_value_t = 1000)]
    tail: u32,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let since = since(&args.since, crate::host::now())?;
    let mut lines = super::broker()?.audit(since.as_second(), &args.owner, args.tail)?;
    lines.reverse();
    if lines.len() == usize::try_from(args.tail.clamp(1, MOST_LINES)).unwrap_or(usize::MAX) {
        out.warning(
            "there may be more lines: each caller's newest are shown; `--tail`, `--since` and `--owner` show others",
        );
    }
    if out.json {
        let json: Vec<serde_json::Value> = lines
            .iter()
            .map(|l| {
                serde_json::json!({
                    "at": time(l.at), "caller": l.caller, "pid": l.pid, "program": l.program, "verb": l.verb,
                    "owner": l.owner, "name": l.name, "outcome": l.outcome,
                })
            })
            .collect();
        output::json(&json);
        return Ok(());
    }
    let row = |l: &AuditLine| {
        let what = if l.name.is_empty() { l.owner.clone() } else { format!("{}/{}", l.owner, l.name) };
        vec![time(l.at), l.caller.clone(), format!("{}[{}]", l.program, l.pid), l.verb.clone(), what, l.outcome.clone()]
    };
    output::raw(&output::table(&["WHEN", "WHO", "PROCESS", "DID", "BOX", "OUTCOME"], lines.iter().map(row).collect()));
    Ok(())
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}

/// A time, a day in UTC, or a span before now.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let bad = || {
        Failure::new(Kind::InvalidInput, format!("{text:?} is no time"))
            .hint("2026-01-31, 2026-01-31T12:00:00Z or `2 days ago`")
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        return day.to_zoned(jiff::tz::TimeZone::UTC).map(|z| z.timestamp()).map_err(|_| bad());
    }
    let span: jiff::Span = text.parse().map_err(|_| bad())?;
    let then = now.to_zoned(jiff::tz::TimeZone::UTC).checked_add(span).map_err(|_| bad())?;
    Ok(then.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, then) in [
            ("2026-01-30T01:02:03Z", "2026-01-30T01:02:03Z"),
            ("2026-01-30", "2026-01-30T00:00:00Z"),
            ("2 days ago", "2026-01-29T12:00:00Z"),
            ("90 min ago", "2026-01-31T10:30:00Z"),
        ] {
            assert_eq!(since(text, now).unwrap().to_string(), then, "{text}");
        }
        assert!(since("yesteryear", now).is_err());
    }
}
