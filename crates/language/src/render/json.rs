//! Renders diagnostics as a JSON array of one object each. Keys are stable; positions start at 1,
//! columns are in bytes, and an end is exclusive.

use super::{severity_name, visible_diagnostics};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::{SourceMap, Span};
use serde_json::{Map, Value, json};

/// Returns the diagnostics as a JSON array with a trailing line feed.
pub fn json(sources: &SourceMap, diagnostics: &Diagnostics, diag: bool) -> String {
    let all: Vec<Value> = visible_diagnostics(sources, diagnostics, diag)
        .map(|d| Value::Object(object(sources, &d)))
        .collect();
    escaped(&format!("{:#}\n", Value::Array(all)))
}

/// Returns the diagnostics as JSON objects, each on a separate line.
pub fn json_lines<'d>(
    sources: &'d SourceMap,
    diagnostics: &'d Diagnostics,
    diag: bool,
) -> impl Iterator<Item = String> + 'd {
    let all = visible_diagnostics(sources, diagnostics, diag);
    all.map(|d| escaped(&Value::Object(object(sources, &d)).to_string()))
}

/// Escapes the control characters that JSON permits, which occur only in strings, because the
/// output may go to a terminal.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() && c != '\n' {
            text += &format!("\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

fn object(sources: &SourceMap, d: &Diagnostic) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("code".into(), d.code.id.into());
    object.insert("severity".into(), severity_name(d.severity).into());
    object.insert("message".into(), d.message.as_str().into());
    place(sources, d.primary, &mut object);
    object.insert("label".into(), d.label.as_str().into());
    let secondary = d.secondary.iter().map(|(span, label)| {
        let mut also = Map::new();
        place(sources, Some(*span), &mut also);
        also.insert("label".into(), label.as_str().into());
        Value::Object(also)
    });
    object.insert("secondary".into(), secondary.collect());
    object.insert("notes".into(), json!(d.notes));
    object.insert("help".into(), json!(d.help));
    let fix = d.fix.as_ref().map(|fix| {
        let mut object = Map::new();
        place(sources, Some(fix.span), &mut object);
        object.insert("replacement".into(), fix.replacement.as_str().into());
        object
    });
    object.insert("fix".into(), json!(fix));
    object
}

/// Adds the file, line, column and end of a span; nulls without a span.
fn place(sources: &SourceMap, span: Option<Span>, object: &mut Map<String, Value>) {
    let file = span.map(|s| sources.file(s.file).name.as_str());
    let start = span.map(|s| sources.position(s));
    let end = span.map(|s| sources.position(Span { start: s.end, ..s }));
    object.insert("file".into(), json!(file));
    object.insert("line".into(), json!(start.map(|p| p.line)));
    object.insert("column".into(), json!(start.map(|p| p.column)));
    object.insert("end_line".into(), json!(end.map(|p| p.line)));
    object.insert("end_column".into(), json!(end.map(|p| p.column)));
}
