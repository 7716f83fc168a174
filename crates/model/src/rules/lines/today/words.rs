//! Writes words of a configuration with the quotes and escapes that they need.

pub(super) fn join(words: &[&str]) -> String {
    let words: Vec<&str> = words.iter().copied().filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// Returns a word as it is written, with quotes if it needs them. Returns None if no quotes
/// suffice.
pub(super) fn quoted(word: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:^-=,@%()[]+*?|".contains(&byte);
    if word.is_empty() || word.bytes().any(|byte| byte < b' ' || byte == b'\'') {
        return None;
    }
    Some(
        if word.bytes().all(plain) && !word.contains(['(', '[', '|', '*', '?']) {
            word.to_owned()
        } else {
            format!("'{word}'")
        },
    )
}

pub(super) fn format_text(text: &str) -> String {
    text.replace('%', "%%")
}

/// Returns a condition that requires a test and another condition (`if a b`). Returns None if that
/// one consists of alternatives, which cannot be joined.
pub(super) fn both(test: &str, condition: &str) -> Option<String> {
    if test.is_empty() {
        return Some(condition.to_owned());
    }
    let Some((kind, terms)) = condition.split_once(char::is_whitespace) else {
        return condition.is_empty().then(|| format!("if {test}"));
    };
    let terms = terms.trim();
    let mut words = terms.split_whitespace();
    if words.any(|word| matches!(word, "or" | "||")) {
        return None;
    }
    match kind {
        "if" => Some(format!("if {test} {terms}")),
        _ if terms.contains(char::is_whitespace) || terms.starts_with('!') => None,
        _ => Some(format!("if {test} !{terms}")),
    }
}
