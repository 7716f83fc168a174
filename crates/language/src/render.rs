//! Renders diagnostics: for a terminal ([`fn@full`]), one line each for editors and scripts
//! ([`fn@concise`]), for programs ([`fn@json`]), and in HAProxy's own form ([`fn@haproxy`]). The
//! functions only return text; nothing is printed, and no diagnostic is changed.

mod concise;
mod full;
mod haproxy;
mod json;

pub use concise::concise;
pub use full::{RenderOptions, full, render_diagnostic};
pub use haproxy::{HaproxyForm, haproxy};
pub use json::{json, json_lines};

use crate::Environment;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::difference::{COVER, Vocabulary, expanded_secrets, mask_secrets, secrets};
use crate::source::{SourceMap, Span};
pub use crate::visible::visible;
use std::borrow::Cow;

/// Minimum length of a secret in bytes; shorter words cannot be distinguished from others.
const SECRET_BYTES_MIN: usize = 3;

/// Returns the diagnostics to show: those for `-dD` only if requested. None contains a secret of
/// its lines.
fn visible_diagnostics<'d>(
    sources: &'d SourceMap,
    diagnostics: &'d Diagnostics,
    diag: bool,
) -> impl Iterator<Item = Cow<'d, Diagnostic>> {
    diagnostics
        .iter()
        .filter(move |d| diag || d.severity != Severity::Diag)
        .map(|d| without_secrets(sources, d))
}

/// Returns a diagnostic without the secrets of its lines. A correction that contains one is left
/// out.
fn without_secrets<'d>(sources: &SourceMap, d: &'d Diagnostic) -> Cow<'d, Diagnostic> {
    if d.primary
        .is_some_and(|span| sources.file(span.file).is_secret)
    {
        return Cow::Owned(without_texts(d));
    }
    let spans = d
        .primary
        .iter()
        .chain(d.secondary.iter().map(|(span, _)| span));
    // Omits a lower-case word such as `image` unless the span points at it, because it would mask
    // the keyword of that name.
    let found = spans.flat_map(|span| {
        let pointed = sources.snippet(*span);
        let found = secrets(sources.line_text(*span), sources.vocabulary()).into_iter();
        found.filter(move |secret| !is_lowercase_word(secret) || pointed.contains(secret.as_str()))
    });
    let mut found: Vec<String> = found
        .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
        .collect();
    found.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    found.dedup();
    let mut clean = mask_diagnostic(d, &found).map_or(Cow::Borrowed(d), Cow::Owned);
    let has_secret = |span: Span| {
        let line = sources.line_text(span);
        !secrets(line, sources.vocabulary()).is_empty()
    };
    if d.primary.is_some_and(has_secret) {
        mask_suggestions(&mut clean, sources.vocabulary());
    }
    clean
}

/// Returns a diagnostic about a line of a file in which everything is secret. All its texts may
/// quote the line.
fn without_texts(d: &Diagnostic) -> Diagnostic {
    let mut clean = d.clone();
    clean.message = format!("{} in a file that contains secrets", d.code.title);
    clean.label = String::new();
    clean.notes.clear();
    clean.help = Some("compare the line with the manual: it is not displayed here".to_owned());
    clean.fix = None;
    clean.further_fixes.clear();
    clean
}

/// Masks the lines that a diagnostic suggests to write, each between backticks: a suggestion
/// contains the values of its line with other quotes.
fn mask_suggestions(d: &mut Cow<'_, Diagnostic>, vocabulary: &Vocabulary<'_>) {
    let mask = |text: &str| {
        let line = mask_secrets(text.as_bytes(), vocabulary);
        String::from_utf8_lossy(&line).into_owned()
    };
    let mask_text = |text: &str| {
        let parts = text.split('`').enumerate();
        // Masks every second part, which is between backticks.
        let parts = parts.map(|(at, part)| match at % 2 {
            1 => mask(part),
            _ => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("`")
    };
    let mut texts = d.help.iter().chain(&d.notes);
    if texts.any(|text| mask_text(text) != **text) {
        let d = d.to_mut();
        d.help = d.help.as_deref().map(mask_text);
        let notes = d.notes.iter();
        d.notes = notes.map(|note| mask_text(note)).collect();
    }
    let mut fixes = d.fix.iter().chain(&d.further_fixes);
    if fixes.any(|fix| mask(&fix.replacement) != fix.replacement) {
        let d = d.to_mut();
        d.fix = None;
        d.further_fixes.clear();
    }
}

/// Returns a diagnostic without these secrets, which are sorted by length, longest first; `None` if
/// it contains none of them.
pub(crate) fn mask_diagnostic(d: &Diagnostic, found: &[String]) -> Option<Diagnostic> {
    let has = |text: &str| found.iter().any(|secret| text.contains(secret.as_str()));
    let texts = [&d.message, &d.label].into_iter();
    let texts = texts.chain(&d.notes).chain(&d.help);
    let mut texts = texts.chain(d.secondary.iter().map(|(_, label)| label));
    let mut fixes = d.fix.iter().chain(&d.further_fixes);
    // Treats a replacement that is a part of a secret like the secret, because a correction usually
    // is one.
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

/// Masks secrets of the environment in a diagnostic: the values of the variables that its line uses
/// as secrets.
pub fn without_environment(sources: &SourceMap, environment: &Environment, d: &mut Diagnostic) {
    let lines = d.primary.map(|span| sources.line_text(span));
    let Some(line) = lines.filter(|line| line.contains(&b'$')) else {
        return;
    };
    let mut found = expanded_secrets(line, sources.vocabulary(), environment);
    found.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    found.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    if let Some(clean) = mask_diagnostic(d, &found) {
        *d = clean;
    }
}

fn is_lowercase_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase())
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Diag => "diag",
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Returns "2 errors, 1 warning"; empty if there is nothing to count.
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
