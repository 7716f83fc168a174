//! The configuration language: bytes to tokens to sections, and everything a
//! person is told about them.
//!
//! This crate knows no keyword. Crates that define keywords hand in tables of
//! [`Keyword`] rows; reading, diagnostics, the formatter, completion and the
//! reference manual work from those.
//!
//! Reading never fails: it returns what could be read and a list of
//! [`Diagnostic`]s, so that one run reports every mistake.

pub mod arguments;
pub mod codes;
pub mod diagnostic;
pub mod difference;
pub mod environment;
pub mod format;
pub mod keyword;
pub mod manual;
pub mod outline;
pub mod reader;
pub mod render;
pub mod source;
pub mod suggest;
pub mod token;
pub mod upgrade;
pub mod value;

use std::io;

pub use codes::CODES;
pub use diagnostic::{Code, Details, Diagnostic, Diagnostics, Severity};
pub use environment::Environment;
pub use keyword::{Documented, Keyword};
pub use outline::Outline;
pub use reader::{Facts, Reader, evaluate_condition};
pub use source::{FileId, SourceMap, Span};
pub use token::{Line, Word};

/// The system's sentence for an error, without the number that Rust adds.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let number = text
        .find(" (os error ")
        .filter(|_| error.raw_os_error().is_some());
    text[..number.unwrap_or(text.len())].to_owned()
}
