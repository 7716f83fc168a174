//! Prints the results of a case: the measured values of each side and the claims that the right
//! side did not meet, as a table and as one line of JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::tally::{Held, RequestFailure, Tally};

#[derive(Debug)]
struct Row {
    name: String,
    shown: String,
    value: Value,
}

/// Measured values of a side, and the claims that it does not meet.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    short: Vec<String>,
    notes: Vec<String>,
}

impl Report {
    /// Adds a row, with its text for people and its value for programs.
    pub fn row(&mut self, name: impl Into<String>, shown: impl Into<String>, value: Value) {
        self.rows.push(Row {
            name: name.into(),
            shown: shown.into(),
            value,
        });
    }

    /// Adds a row with a number.
    pub fn count(&mut self, name: impl Into<String>, value: u64) {
        self.row(name, value.to_string(), json!(value));
    }

    /// Adds a row with milliseconds; None is shown as never.
    pub fn milliseconds(&mut self, name: impl Into<String>, value: Option<f64>) {
        let shown = value.map_or("never".to_owned(), |ms| format!("{ms:.1} ms"));
        self.row(name, shown, json!(value));
    }

    /// Records a claim that the side does not meet, unless it holds.
    pub fn claim(&mut self, holds: bool, claim: impl Into<String>) {
        if !holds {
            self.short.push(claim.into());
        }
    }

    /// Adds a note about the numbers.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds the clients' results, with a prefix for the names.
    pub fn clients(&mut self, prefix: &str, tally: &Tally) {
        self.count(format!("{prefix}requests"), tally.requests);
        self.count(format!("{prefix}failed requests"), tally.all_failed());
        for failure in RequestFailure::ALL {
            let count = tally.of(failure);
            // Hides a kind of failure that did not occur; its value in JSON is 0.
            let name = format!("{prefix}  {}", failure.name());
            let shown = if count == 0 {
                String::new()
            } else {
                count.to_string()
            };
            self.row(name, shown, json!(count));
        }
        self.count(
            format!("{prefix}idle connections closed"),
            tally.closed_idle,
        );
        self.count(
            format!("{prefix}connections closed with notice"),
            tally.closed_announced,
        );
        for held in [Held::WebSocket, Held::Tunnel] {
            self.count(
                format!("{prefix}{} breaks", held.name()),
                tally.breaks(held),
            );
        }
        let ms = tally.slowest.as_secs_f64() * 1e3;
        self.milliseconds(format!("{prefix}slowest request"), Some(ms));
        for example in &tally.examples {
            self.note(format!(
                "{:.3} s, change {}: {} ({})",
                example.at.as_secs_f64(),
                example.change,
                example.what,
                example.times
            ));
        }
    }

    /// Returns whether every claim was met.
    pub fn keeps_claims(&self) -> bool {
        self.short.is_empty()
    }

    fn shown(&self, name: &str) -> Option<&str> {
        let row = self.rows.iter().find(|row| row.name == name);
        row.map(|row| row.shown.as_str())
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter();
        let values: Map<String, Value> = rows
            .map(|row| (row.name.trim().to_owned(), row.value.clone()))
            .collect();
        json!({ "measured": values, "short": self.short, "notes": self.notes })
    }
}

/// Label of a side, and its report.
pub type Labelled = (String, Report);

/// Returns the table of one case as text.
pub fn table(title: &str, sides: &[Labelled]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (_, report) in sides {
        let more = report.rows.iter().map(|row| row.name.as_str());
        for name in more {
            let told = sides
                .iter()
                .any(|(_, report)| report.shown(name).is_some_and(|shown| !shown.is_empty()));
            if told && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let width = |cells: &mut dyn Iterator<Item = &str>| cells.map(str::len).max().unwrap_or(0);
    let first = width(&mut names.iter().copied().chain([title]));
    let mut text = format!("\n{title:<first$}");
    let widths: Vec<usize> = sides
        .iter()
        .map(|(label, report)| {
            let shown = names.iter().filter_map(|name| report.shown(name));
            width(&mut shown.chain([label.as_str()]))
        })
        .collect();
    // Writing to a String cannot fail.
    for ((label, _), width) in sides.iter().zip(&widths) {
        let _ = write!(text, "  {label:>width$}");
    }
    text.push('\n');
    for name in names {
        let _ = write!(text, "{name:<first$}");
        for ((_, report), width) in sides.iter().zip(&widths) {
            let shown = match report.shown(name) {
                Some("") => "0",
                Some(shown) => shown,
                None => "-",
            };
            let _ = write!(text, "  {shown:>width$}");
        }
        text.push('\n');
    }
    for (label, report) in sides {
        for note in &report.notes {
            let _ = writeln!(text, "{label}: {note}");
        }
        for short in &report.short {
            let _ = writeln!(text, "{label} falls short: {short}");
        }
    }
    text
}

/// Returns the results of one case as a line of JSON.
pub fn line(case: &str, sides: &[Labelled], good: bool) -> String {
    let sides: Map<String, Value> = sides
        .iter()
        .map(|(label, report)| (label.clone(), report.json()))
        .collect();
    json!({ "case": case, "good": good, "sides": sides }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides() -> [Labelled; 2] {
        let (mut left, mut right) = (Report::default(), Report::default());
        left.clients("", &Tally::default());
        left.count("only left", 7);
        right.clients("", &Tally::default());
        right.claim(false, "nothing is lost");
        [("left".to_owned(), left), ("right".to_owned(), right)]
    }

    #[test]
    fn the_table_has_a_line_for_everything_that_one_side_tells() {
        let text = table("case", &sides());
        assert!(text.contains("only left"), "{text}");
        assert!(!text.contains("refused"), "{text}");
        assert!(
            text.contains("right falls short: nothing is lost"),
            "{text}"
        );
    }

    #[test]
    fn the_line_is_json_with_every_kind_of_failure() {
        let value: Value = serde_json::from_str(&line("x", &sides(), false)).expect("JSON");
        assert_eq!(value["sides"]["left"]["measured"]["refused"], 0);
        assert_eq!(value["sides"]["right"]["short"][0], "nothing is lost");
    }
}
