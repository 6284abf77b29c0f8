//! A yes or no from a terminal; never without one.

use std::io::{self, BufRead, IsTerminal, Write};

/// `None` where there is no terminal to ask on.
pub(super) fn yes(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}
