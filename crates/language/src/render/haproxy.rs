//! Renders diagnostics in HAProxy's own form (that of 2.6), for its users, init scripts and
//! monitoring.

use super::{visible, visible_diagnostics};
use crate::codes::{self, CODES};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Severity};
use crate::difference::starred;
use crate::source::{FileId, SourceMap, Span};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// The values about the process that HAProxy's messages contain, and the options of the output.
#[derive(Clone, Copy, Debug)]
pub struct HaproxyForm<'a> {
    pub pid: u32,
    pub version: &'a str,
    pub executable: &'a str,
    /// Shows diagnostics that are only for `-dD`.
    pub diag: bool,
    /// Treats a warning as an error (`-dW`, `zero-warning`).
    pub zero_warning: bool,
}

/// The ending of a message of the reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MessageEnding {
    /// " at position 7:", the line, and a caret under the position.
    Shown,
    /// The message ends with its position: " at position 7."
    Position,
    Stop,
}

/// Returns all messages, each with a trailing line feed.
pub fn haproxy(sources: &SourceMap, diagnostics: &Diagnostics, form: &HaproxyForm<'_>) -> String {
    let list: Vec<Cow<'_, Diagnostic>> =
        visible_diagnostics(sources, diagnostics, form.diag).collect();
    let mut last_of_file: HashMap<FileId, usize> = HashMap::new();
    let mut refused: HashSet<FileId> = HashSet::new();
    for (n, d) in list.iter().enumerate() {
        let Some(span) = d.primary else { continue };
        last_of_file.insert(span.file, n);
        if d.severity == Severity::Error {
            refused.insert(span.file);
        }
    }
    let mut text = String::new();
    let mut introduced = false;
    for (n, d) in list.iter().enumerate() {
        if d.severity >= Severity::Warning && !std::mem::replace(&mut introduced, true) {
            append_heading(&mut text, form);
        }
        message(&mut text, sources, d, form);
        let ends = |file: &FileId| last_of_file.get(file) == Some(&n) && refused.contains(file);
        if let Some(file) = d.primary.map(|span| span.file).filter(ends) {
            let name = &sources.file(file).name;
            let said = format!("Error(s) found in configuration file : {}", visible(name));
            line(&mut text, Severity::Error, form.pid, &said);
        }
    }
    if diagnostics.dropped() > 0 {
        let said = format!("{} more messages were not kept.", diagnostics.dropped());
        line(&mut text, Severity::Notice, form.pid, &said);
    }
    if diagnostics.errors() > 0 {
        line(
            &mut text,
            Severity::Error,
            form.pid,
            "Fatal errors found in configuration.",
        );
    } else if diagnostics.warnings() > 0 && form.zero_warning {
        let said = "Some warnings were found and 'zero-warning' is set. Aborting.";
        line(&mut text, Severity::Error, form.pid, said);
    }
    text
}

fn append_heading(text: &mut String, form: &HaproxyForm<'_>) {
    let head = head(Severity::Notice, form.pid);
    *text += &format!("{head}haproxy version is {}\n", form.version);
    *text += &format!("{head}path to executable is {}\n", form.executable);
}

fn head(severity: Severity, pid: u32) -> String {
    let name = match severity {
        Severity::Diag => "[DIAG]",
        Severity::Notice => "[NOTICE]",
        Severity::Warning => "[WARNING]",
        Severity::Error => "[ALERT]",
    };
    format!("{name:<11}({pid}) : ")
}

fn line(text: &mut String, severity: Severity, pid: u32, said: &str) {
    *text += &head(severity, pid);
    *text += "config : ";
    *text += said;
    text.push('\n');
}

fn message(text: &mut String, sources: &SourceMap, d: &Diagnostic, form: &HaproxyForm<'_>) {
    let mut said = visible(&d.message).into_owned();
    if std::ptr::eq(d.code, &codes::MISSING_LINE_FEED) {
        said = said.replacen("missing", "Missing", 1);
    }
    if let Some(name) = d.help.as_deref().and_then(suggested) {
        said += &format!("; did you mean '{name}' maybe ?");
    }
    let Some(span) = d.primary else {
        line(text, d.severity, form.pid, &said);
        notes(text, d);
        return;
    };
    let at = sources.position(span);
    let name = visible(&sources.file(span.file).name);
    let place = format!("parsing [{name}:{}]", at.line);
    match ending(d.code) {
        None => line(text, d.severity, form.pid, &format!("{place} : {said}")),
        Some(MessageEnding::Stop) => line(text, d.severity, form.pid, &format!("{place}: {said}.")),
        Some(MessageEnding::Position) => {
            let said = format!("{place}: {said} at position {}.", at.column);
            line(text, d.severity, form.pid, &said);
        }
        Some(MessageEnding::Shown) => {
            let said = format!("{place}: {said} at position {}:", at.column);
            line(text, d.severity, form.pid, &said);
            show(text, sources, span);
        }
    }
    notes(text, d);
}

fn notes(text: &mut String, d: &Diagnostic) {
    for note in &d.notes {
        for part in note.lines() {
            *text += &format!("   | {}\n", visible(part));
        }
    }
}

/// Returns the ending of a message of the reader; `None` for those of keywords.
fn ending(code: &'static Code) -> Option<MessageEnding> {
    let is = |other: &'static Code| std::ptr::eq(code, other);
    let of_reader = CODES.iter().any(|c| is(c)) && !code.id.starts_with("E002");
    if !of_reader {
        return None;
    }
    let shown: [&'static Code; 6] = [
        &codes::UNMATCHED_QUOTE,
        &codes::BAD_HEXADECIMAL,
        &codes::BAD_VARIABLE_NAME,
        &codes::UNMATCHED_BRACE,
        &codes::BAD_WORD_EXPANSION,
        &codes::BAD_CONDITION,
    ];
    if shown.into_iter().any(is) {
        Some(MessageEnding::Shown)
    } else if is(&codes::NUL_BYTE) || is(&codes::MISSING_LINE_FEED) {
        Some(MessageEnding::Position)
    } else {
        Some(MessageEnding::Stop)
    }
}

/// Adds the line without its leading white space, and a caret under the position. For a long line
/// only the text around the position is shown.
fn show(text: &mut String, sources: &SourceMap, span: Span) {
    /// Maximum characters shown before and after the position.
    const AROUND: usize = 60;
    let line = starred(sources.line_text(span), sources.vocabulary());
    let column = sources.position(span).column as usize - 1;
    let column = column.min(line.len());
    let before: String = visible(&String::from_utf8_lossy(&line[..column])).into_owned();
    let before = before.replace("\\t", " ");
    let before = before.trim_start();
    let length = before.chars().count();
    let cut = length.saturating_sub(AROUND);
    let dots = if cut > 0 { "..." } else { "" };
    let before: String = before.chars().skip(cut).collect();
    let behind = visible(&String::from_utf8_lossy(&line[column..])).into_owned();
    let behind = behind.trim_end_matches("\\r");
    let tail: String = behind.chars().take(AROUND).collect();
    let rest = if behind.chars().nth(AROUND).is_some() {
        "..."
    } else {
        ""
    };
    *text += &format!("  {dots}{before}{tail}{rest}\n");
    let width = dots.len() + before.chars().count();
    *text += &format!("  {:width$}^\n", "");
}

/// Returns the name in "did you mean 'bind'?".
fn suggested(help: &str) -> Option<&str> {
    help.strip_prefix("did you mean '")?.strip_suffix("'?")
}
