//! Diagnostics for their readers: people at a terminal ([`fn@full`]), one line
//! each for editors and scripts ([`fn@concise`]), programs ([`fn@json`]), and those
//! that read HAProxy's own messages ([`fn@haproxy`]). Only text is made here;
//! nothing is printed, and no diagnostic is changed.

mod concise;
mod full;
mod haproxy;
mod json;

pub use concise::concise;
pub use full::{Look, full, full_one};
pub use haproxy::{HaproxyForm, haproxy};
pub use json::{json, json_lines};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use std::borrow::Cow;
use std::fmt::Write;

/// Returns the diagnostics to show: those for `-dD` only if requested.
fn shown(diagnostics: &Diagnostics, diag: bool) -> impl Iterator<Item = &Diagnostic> {
    diagnostics
        .iter()
        .filter(move |d| diag || d.severity != Severity::Diag)
}

/// The name of a severity, as it stands in front of a message.
fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Diag => "diag",
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// The text on one line and without characters that a terminal obeys (control
/// characters, and those that turn the direction of writing): words of a
/// configuration hold any byte.
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

/// "2 errors, 1 warning"; empty if there is nothing to count.
fn count(diagnostics: &Diagnostics) -> String {
    let plural = |n: usize, name: &str| match n {
        0 => None,
        1 => Some(format!("1 {name}")),
        n => Some(format!("{n} {name}s")),
    };
    [
        plural(diagnostics.errors(), "error"),
        plural(diagnostics.warnings(), "warning"),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}

#[cfg(test)]
mod tests;
