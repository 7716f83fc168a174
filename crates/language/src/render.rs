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

use crate::Environment;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::difference::{COVER, expanded_secrets, known, secrets};
use crate::source::SourceMap;
pub use crate::visible::visible;
use std::borrow::Cow;

/// Shorter words are no secrets that could be told from others.
const SECRET_BYTES_MIN: usize = 3;

/// Returns the diagnostics to show: those for `-dD` only if requested. None has a secret of the
/// lines that it is about.
fn shown<'d>(
    sources: &'d SourceMap,
    diagnostics: &'d Diagnostics,
    diag: bool,
) -> impl Iterator<Item = Cow<'d, Diagnostic>> {
    diagnostics
        .iter()
        .filter(move |d| diag || d.severity != Severity::Diag)
        .map(|d| without_secrets(sources, d))
}

/// A diagnostic whose words have no secret of the lines that it is about. A correction that would
/// write one is left out.
fn without_secrets<'d>(sources: &SourceMap, d: &'d Diagnostic) -> Cow<'d, Diagnostic> {
    let spans = d
        .primary
        .iter()
        .chain(d.secondary.iter().map(|(span, _)| span));
    // A word such as `image` elsewhere in the line would cover the keyword of that name.
    let found = spans.flat_map(|span| {
        let pointed = sources.snippet(*span);
        let found = secrets(sources.line_text(*span), known()).into_iter();
        found.filter(move |secret| !is_lowercase_word(secret) || pointed.contains(secret.as_str()))
    });
    let mut found: Vec<String> = found
        .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
        .collect();
    found.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    found.dedup();
    covered(d, &found).map_or(Cow::Borrowed(d), Cow::Owned)
}

/// A diagnostic without these secrets, the longest first; None where it has none of them.
pub(crate) fn covered(d: &Diagnostic, found: &[String]) -> Option<Diagnostic> {
    let has = |text: &str| found.iter().any(|secret| text.contains(secret.as_str()));
    let texts = [&d.message, &d.label].into_iter();
    let texts = texts.chain(&d.notes).chain(&d.help);
    let mut texts = texts.chain(d.secondary.iter().map(|(_, label)| label));
    let mut fixes = d.fix.iter().chain(&d.further_fixes);
    // A correction of a secret is mostly a part of it.
    let has_part = |text: &str| {
        text.len() >= SECRET_BYTES_MIN && found.iter().any(|secret| secret.contains(text))
    };
    let fixes_have = fixes.any(|fix| has(&fix.replacement) || has_part(&fix.replacement));
    if !fixes_have && !texts.any(|text| has(text)) {
        return None;
    }
    let cover = |text: &mut String| {
        for secret in found {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret, COVER);
            }
        }
    };
    let mut clean = d.clone();
    cover(&mut clean.message);
    cover(&mut clean.label);
    clean.notes.iter_mut().for_each(cover);
    clean.help.iter_mut().for_each(cover);
    clean
        .secondary
        .iter_mut()
        .for_each(|(_, label)| cover(label));
    if fixes_have {
        clean.fix = None;
        clean.further_fixes.clear();
    }
    Some(clean)
}

/// Covers secrets of the environment in a diagnostic: the values of the variables that its line
/// has where a secret is.
pub fn without_environment(sources: &SourceMap, environment: &Environment, d: &mut Diagnostic) {
    let lines = d.primary.map(|span| sources.line_text(span));
    let Some(line) = lines.filter(|line| line.contains(&b'$')) else {
        return;
    };
    let mut found = expanded_secrets(line, known(), environment);
    found.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    found.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    if let Some(clean) = covered(d, &found) {
        *d = clean;
    }
}

fn is_lowercase_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase())
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
