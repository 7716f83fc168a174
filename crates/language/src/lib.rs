//! Reads the configuration language: converts bytes to words and sections, and reports
//! diagnostics about them.
//!
//! The crate knows no keyword. Crates that define keywords supply tables of [`Keyword`] rows, which
//! this crate uses for reading, diagnostics, the formatter, completion and the reference manual.
//!
//! Reading never fails: it returns everything that could be read and a list of [`Diagnostic`]s,
//! so that one run reports every error.

pub mod arguments;
pub mod choice;
pub mod codes;
pub mod diagnostic;
pub mod difference;
pub mod environment;
pub mod format;
pub mod keyword;
pub mod log_levels;
pub mod manual;
pub mod outline;
pub mod reader;
pub mod render;
pub mod section;
pub mod source;
pub mod suggest;
pub mod token;
pub mod upgrade;
pub mod value;
mod visible;

use std::io;

pub use choice::Spanned;
pub use codes::CODES;
pub use diagnostic::{Code, Details, Diagnostic, Diagnostics, Severity};
pub use environment::Environment;
pub use keyword::{Documented, Keyword};
pub use outline::Outline;
pub use reader::{Facts, Reader, evaluate_condition};
pub use source::{FileId, SourceMap, Span};
pub use token::{ConfigLine, ConfigWord};

/// Returns the system's message for an error, without the number that Rust adds.
pub fn reason(error: &io::Error) -> String {
    without_numbers(error.to_string())
}

/// Returns the beginning of a text: at most this number of bytes, and no part of a character.
pub fn truncated(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The text that Rust adds before the number of a system error.
const NUMBER: &str = " (os error ";

/// Removes each number that Rust adds to the message of a system error, because operators know the
/// plain message. Diagnostics, messages, logs and reports use this function.
pub fn without_numbers(mut text: String) -> String {
    let mut from = 0;
    while let Some(at) = text[from..].find(NUMBER).map(|at| from + at) {
        let digits = at + NUMBER.len();
        let length = text[digits..].find(|c: char| !c.is_ascii_digit());
        from = match length.map(|length| digits + length) {
            Some(end) if end > digits && text[end..].starts_with(')') => {
                text.replace_range(at..=end, "");
                at
            }
            _ => digits,
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_system_errors_are_removed_and_nothing_else() {
        let error = io::Error::from_raw_os_error(2);
        assert!(error.to_string().contains(NUMBER));
        assert_eq!(reason(&error), "No such file or directory");
        let all = without_numbers(format!("/a: {error} (b: {error})"));
        let expected = "/a: No such file or directory (b: No such file or directory)";
        assert_eq!(all, expected);
        for other in [
            "x",
            " (os error ",
            "a (os error )",
            "a (os error 2",
            "a (os error 2b)",
        ] {
            assert_eq!(without_numbers(other.to_owned()), other);
        }
    }

    #[test]
    fn text_is_truncated_between_characters() {
        for (bytes_max, expected) in [
            (0, ""),
            (1, "a"),
            (2, "a"),
            (3, "aé"),
            (4, "aéb"),
            (9, "aéb"),
        ] {
            assert_eq!(truncated("aéb", bytes_max), expected, "{bytes_max}");
        }
    }
}
