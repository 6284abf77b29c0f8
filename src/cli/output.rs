//! How things are printed: tables and lines for people, JSON for scripts.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// What the global flags ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
}

impl Output {
    /// A remark that `--quiet` drops.
    pub(super) fn remark(self, text: &str) {
        if !self.quiet && !self.json {
            line(text);
        }
    }

    /// Something a person should know though nothing failed; to standard error.
    pub(super) fn warning(self, text: &str) {
        if !self.quiet {
            error_text(&format!("warning: {text}\n"));
        }
    }
}

/// A closed pipe is no error: the reader has had enough.
pub(super) fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

pub(super) fn raw(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

pub(super) fn error_text(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

pub(super) fn json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        line(&text);
    }
}

/// Columns without lines, as in `podman ps`; never wrapped, so that `awk` can read it.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let text = table.to_string();
    text.lines().map(|l| l.trim_end().trim_start_matches(' ').to_owned() + "\n").collect()
}

/// Bytes in the units of the command line.
pub(super) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes, "B");
    for larger in ["K", "M", "G", "T"] {
        if value < 10 * 1024 {
            break;
        }
        value /= 1024;
        unit = larger;
    }
    format!("{value}{unit}")
}

/// A span in the largest unit that keeps it a small number.
pub(super) fn span(seconds: u64) -> String {
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let (length, unit) = units.into_iter().find(|(length, _)| seconds >= *length).unwrap_or((1, "second"));
    let count = seconds / length;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// What lies ahead, to the nearest half hour: a warning three days before says three days, not two and a lot.
pub(super) fn ahead(seconds: u64) -> String {
    span(seconds.saturating_add(1800))
}

/// When something was, in seconds since 1970; what lies in the future is now.
pub(super) fn ago(now: i64, then: i64) -> String {
    span(u64::try_from(now.saturating_sub(then)).unwrap_or(0)) + " ago"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans() {
        assert_eq!([0, 10_239, 10_240, 4 << 30, 64 << 30].map(size), ["0B", "10239B", "10K", "4096M", "64G"]);
        assert_eq!([0, 1, 119, 7200, 86_400 * 3].map(span), ["0 seconds", "1 second", "1 minute", "2 hours", "3 days"]);
        assert_eq!([ago(100, 40), ago(100, 105)], ["1 minute ago", "0 seconds ago"]);
        assert_eq!([86_400 * 3 - 900, 86_000, 7200].map(ahead), ["3 days", "1 day", "2 hours"]);
    }
}
