//! A spinner or a bar on standard error, for what takes over a second, on a terminal only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;

#[derive(Debug)]
pub(super) struct Spinner(ProgressBar);

fn is_watched(out: Output) -> bool {
    std::io::stderr().is_terminal() && !out.quiet && !tracing::enabled!(tracing::Level::DEBUG)
}

/// Says at once, on a terminal only, why the next step takes long.
pub(super) fn tell(out: Output, text: &str) {
    if is_watched(out) {
        super::output::error_text(&format!("{text}\n"));
    }
}

/// Shown once it has taken a second.
fn later(out: Output, template: &str) -> ProgressBar {
    let bar = ProgressBar::hidden();
    if is_watched(out) {
        // NO_COLOR is honoured by the style's own library.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let later = bar.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(1));
            if !later.is_finished() {
                later.set_draw_target(ProgressDrawTarget::stderr());
                later.enable_steady_tick(Duration::from_millis(120));
            }
        });
    }
    bar
}

impl Spinner {
    pub(super) fn new(out: Output) -> Self {
        Self(later(out, "{spinner} {msg} ({elapsed})"))
    }

    pub(super) fn step(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Bytes that go by.
#[derive(Debug)]
pub(super) struct Meter(ProgressBar, bool);

const OF_UNKNOWN: &str = "{spinner} {msg}, {bytes} ({bytes_per_sec}, {elapsed})";
const OF_KNOWN: &str = "{bar:30} {bytes} of {total_bytes}, {msg} ({bytes_per_sec}, {eta} left)";

impl Meter {
    pub(super) fn counting(out: Output) -> Self {
        Self(later(out, OF_UNKNOWN), is_watched(out))
    }

    /// Whether anybody looks.
    pub(super) fn is_shown(&self) -> bool {
        self.1
    }

    /// So far, of something that does not say how much it is.
    pub(super) fn at(&self, bytes: u64, text: &str) {
        self.0.set_position(bytes);
        self.0.set_message(text.to_owned());
    }

    /// So far, of that many.
    pub(super) fn of(&self, bytes: u64, all: u64, text: &str) {
        if self.0.length() != Some(all) {
            self.0.set_length(all);
            if let Ok(style) = ProgressStyle::with_template(OF_KNOWN) {
                self.0.set_style(style);
            }
        }
        self.at(bytes, text);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
