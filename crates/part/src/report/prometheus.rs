//! Renders a report as metrics in Prometheus' text format.

use super::{NumberKind, NumberRow, StatusReport, Subject, Unit};
use std::fmt::Write;

impl StatusReport {
    /// Writes every metric for which a subject has a number, in the order of the rows. Metrics of a
    /// child also have the labels of its parent.
    pub fn metrics(&self, out: &mut String) {
        for row in self.rows.iter().filter(|row| is_name(&row.metric)) {
            let mut lines = String::new();
            for subject in &self.subjects {
                values(&mut lines, row, subject, "");
            }
            if lines.is_empty() {
                continue;
            }
            let kind = match row.kind {
                NumberKind::Counter => "counter",
                NumberKind::Gauge => "gauge",
            };
            let (name, help) = (&row.metric, escaped_help(&row.words));
            // Ignores the result: writing to a String cannot fail.
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}");
        }
    }
}

fn values(out: &mut String, row: &NumberRow, subject: &Subject, inherited: &str) {
    let mut labels = inherited.to_owned();
    let facts = subject.facts.iter().map(|f| (&f.label, f.value.words()));
    let own = std::iter::once((&subject.label, subject.name.clone())).chain(facts);
    for (label, value) in own.filter(|(label, _)| is_name(label)) {
        let comma = if labels.is_empty() { "" } else { "," };
        let _ = write!(labels, "{comma}{label}=\"{}\"", escaped(&value));
    }
    if let Some(value) = subject.value(&row.name) {
        let value = match row.unit {
            Unit::Count | Unit::Seconds => value.to_string(),
            Unit::Milliseconds => format!("{}.{:03}", value / 1_000, value % 1_000),
            Unit::Microseconds => format!("{}.{:06}", value / 1_000_000, value % 1_000_000),
        };
        let _ = match labels.as_str() {
            "" => writeln!(out, "{} {value}", row.metric),
            labels => writeln!(out, "{}{{{labels}}} {value}", row.metric),
        };
    }
    for child in &subject.children {
        values(out, row, child, &labels);
    }
}

fn is_name(word: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    word.bytes().all(is_part) && word.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// Escapes a text for the quotes of a label.
pub fn escaped(word: &str) -> String {
    escaped_help(word).replace('"', "\\\"")
}

/// Escapes the text of a `HELP` line, in which quotes are not escaped.
fn escaped_help(words: &str) -> String {
    words.replace('\\', "\\\\").replace('\n', "\\n")
}
