//! What differs from run to run in a command's output, replaced by words, so that all of the output can be compared.

use std::sync::LazyLock;

use regex::Regex;

/// (pattern, replacement), applied in this order.
const RULES: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(UTC|Z|[+-]\d\d:?\d\d))?", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"\b\d+(\.\d+)? (milliseconds?|seconds?|minutes?|ms|s)\b", "SECONDS"),
    (r"\b100\.64\.\d+\.\d+\b", "TAILNET-ADDRESS"),
    (r"\bfd7a:115c:a1e0:[0-9a-f:]+", "TAILNET-ADDRESS"),
    (r"\b[0-9a-f]{12,64}\b", "HEX"),
    (r"SHA256:[A-Za-z0-9+/]{43}", "FINGERPRINT"),
    (r"\btest-\d+\b", "HOST"),
    (r"\b[pP]rocess \d+", "process PID"),
    (r"\w+\[\d+\]", "PROGRAM[PID]"),
    (r"(making|backup)-[A-Za-z0-9]{6}(/|\.partial)", "$1-RANDOM$2"),
    (r"\b\d{8}-\d{6}\b", "TIME"),
    (r"\(\d+[BKMGT], SECONDS\)", "(SIZE, SECONDS)"),
    // Columns are as wide as what is in them.
    (r"(\S) {3,}", "$1  "),
    (r" +\n", "\n"),
];

/// The text with times, addresses and ids replaced.
pub(crate) fn stable(text: &str) -> String {
    static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        RULES.iter().map(|(pattern, word)| (Regex::new(pattern).expect("a pattern"), *word)).collect()
    });
    COMPILED.iter().fold(text.to_owned(), |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
}
