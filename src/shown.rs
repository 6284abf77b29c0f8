//! What others wrote, fit to be shown: one rule for terminals, the journal and the audit trail.

/// Characters that a line of ours may show of what somebody else wrote: none that steers a terminal, turns text round, or is
/// not seen (Unicode's Bidi_Control and Default_Ignorable_Code_Point, and its line and paragraph separators).
pub fn may_be_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Such a text: at most 400 characters, and of the others only tabs.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| *c == '\t' || may_be_shown(*c)).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_left_out() {
        let all = "a\u{202e}b\u{2066}c\u{200b}d\u{2028}e\u{feff}f\u{1b}[31mg\r\n\th\u{9b}i\u{e0041}";
        assert_eq!(printable(all), "abcdef[31mg\thi");
        assert_eq!(printable("Zoë, 東京, שלום, a b"), "Zoë, 東京, שלום, a b");
        assert_eq!(printable(&"x".repeat(500)).len(), 400);
    }
}
