//! Parses `[name]` alone on a line: the scope of the lines that follow. Files of SPOE engines
//! have a scope for each filter; in other files a scope has no meaning.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::source::{FileId, Span};

/// Parses a line that begins with `[`, at byte `base` of its file.
pub(super) fn scope(text: &[u8], file: FileId, base: usize) -> Result<String, Diagnostic> {
    let refused = |start: usize, end: usize, message: String| {
        let span = Span {
            file,
            start: (base + start) as u32,
            end: (base + end) as u32,
        };
        Diagnostic::error(&codes::BAD_SCOPE, span, message)
            .help("a scope is one name in brackets, alone on its line: [name]")
    };
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':');
    let end = 1 + text[1..].iter().take_while(|b| allowed(b)).count();
    match text.get(end) {
        Some(b']') if end > 1 => {}
        Some(b']') | None => {
            return Err(refused(0, end, "empty scope name is forbidden".to_owned()));
        }
        Some(other) => {
            let shown = other.escape_ascii();
            let message = format!("character '{shown}' is not permitted in a scope name");
            return Err(refused(end, end + 1, message));
        }
    }
    let behind = &text[end + 1..];
    let blank = |b: &u8| b.is_ascii_whitespace() || *b == 0x0b;
    match behind.iter().position(|b| !blank(b)) {
        Some(at) if behind[at] != b'#' => {
            let shown = behind[at].escape_ascii();
            let message = format!("character '{shown}' is not permitted after scope declaration");
            Err(refused(end + 1 + at, text.len(), message))
        }
        _ => Ok(String::from_utf8_lossy(&text[1..end]).into_owned()),
    }
}
