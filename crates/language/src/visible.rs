//! Makes text from files and the network safe for a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns the text on one line and without characters that a terminal interprets (control
/// characters, and those that change the direction of writing), because words of a configuration
/// may contain any byte.
pub fn visible(text: &str) -> Cow<'_, str> {
    let obeyed =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.chars().any(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            c if c.is_ascii_control() => {
                // Writing to a string cannot fail.
                let _ = write!(clean, "\\x{:02x}", u32::from(c));
            }
            c if obeyed(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", u32::from(c));
            }
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}
