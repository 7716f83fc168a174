//! Provides the common code of comparisons of two programs: the command line, the errors, and the
//! table of both sides' results (medians, the worst values, and their ratios), which can also be
//! written into a document.

mod error;
pub mod options;

pub use error::Error;
pub use options::Case;

use std::fmt::{self, Write};
use std::fs;
use std::io;
use std::path::Path;

/// A number of one turn, with the row that it belongs to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    pub row: &'static str,
    pub unit: Unit,
    pub value: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Milliseconds,
    /// Milliseconds, printed with two decimal places.
    Latency,
    Mebibytes,
    Times,
    Percent,
}

/// The numbers of both sides for one row.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    unit: Unit,
    left: Vec<f64>,
    right: Vec<f64>,
}

/// All rows in the order of their first appearance.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    pub notes: Vec<String>,
}

impl Table {
    /// Adds the numbers of one turn of a side.
    pub fn add(&mut self, samples: &[Sample], is_left: bool) {
        for sample in samples {
            let at = self.rows.iter().position(|row| row.name == sample.row);
            let at = at.unwrap_or_else(|| {
                self.rows.push(Row {
                    name: sample.row,
                    unit: sample.unit,
                    left: Vec::new(),
                    right: Vec::new(),
                });
                self.rows.len() - 1
            });
            let row = &mut self.rows[at];
            let side = if is_left {
                &mut row.left
            } else {
                &mut row.right
            };
            side.push(sample.value);
        }
    }

    /// Formats the table as Markdown, which is also readable on a terminal.
    pub fn markdown(&self, left: &str, right: &str) -> String {
        let mut text = format!(
            "| case | {left}: median | worst | {right}: median | worst | {left} / {right} |\n\
             |---|--:|--:|--:|--:|--:|\n"
        );
        for row in &self.rows {
            let shown = |values: &[f64]| {
                let of = |value: Option<f64>| value.map_or("-".to_owned(), |v| row.unit.show(v));
                (of(median(values)), of(worst(values)))
            };
            let (l, r) = (shown(&row.left), shown(&row.right));
            let ratio = ratio(&row.left, &row.right);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {ratio} |",
                row.name, l.0, l.1, r.0, r.1
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        text
    }
}

impl Unit {
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Milliseconds => format!("{value:.0} ms"),
            Unit::Latency => format!("{value:.2} ms"),
            Unit::Percent => format!("{value:.1} %"),
            Unit::Mebibytes => format!("{value:.1} MiB"),
            Unit::Times if value.fract() == 0.0 => format!("{value:.0}"),
            Unit::Times => format!("{value:.1}"),
        }
    }
}

/// Returns the ratio of the medians; `-` if there is nothing to divide by.
fn ratio(left: &[f64], right: &[f64]) -> String {
    match (median(left), median(right)) {
        (Some(l), Some(r)) if r > 0.0 => format!("{:.2}", l / r),
        _ => "-".to_owned(),
    }
}

/// Reason why a text was not written into its document.
#[derive(Debug)]
pub enum WriteError {
    /// The file cannot be read or written.
    File {
        doing: &'static str,
        source: io::Error,
    },
    /// The document has no markers for the text.
    NoMarkers,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::File { doing, source } => write!(f, "{doing} it: {source}"),
            WriteError::NoMarkers => f.write_str("it has no markers for the table"),
        }
    }
}

impl std::error::Error for WriteError {}

/// Replaces the text between the markers of a file: `<!-- NAME -->` and `<!-- /NAME -->`.
pub fn write_between(path: &Path, name: &str, text: &str) -> Result<(), WriteError> {
    let failed = |doing| move |source| WriteError::File { doing, source };
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let old = fs::read_to_string(path).map_err(failed("reading"))?;
    let parts = old
        .split_once(&begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.ok_or(WriteError::NoMarkers)?;
    let new = format!("{before}{begin}\n{}\n{end}{after}", text.trim_end());
    fs::write(path, new).map_err(failed("writing"))
}

pub fn worst(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(middle.checked_sub(1)?)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_medians_worsts_and_a_ratio() {
        let mut table = Table::default();
        let sample = |value, unit| Sample {
            row: "gap",
            unit,
            value,
        };
        for value in [40.0, 60.0, 300.0] {
            table.add(&[sample(value, Unit::Milliseconds)], true);
        }
        for value in [20.0, 40.0] {
            table.add(&[sample(value, Unit::Milliseconds)], false);
        }
        let text = table.markdown("theirs", "ours");
        assert!(
            text.ends_with("| gap | 60 ms | 300 ms | 30 ms | 40 ms | 2.00 |\n"),
            "{text}"
        );
    }

    #[test]
    fn a_text_goes_between_its_markers_and_nowhere_else() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let old = "one\n<!-- x -->\nold\n<!-- /x -->\ntwo\n";
        let path = scratch.write("page", old).unwrap();
        write_between(&path, "x", "new\n").unwrap();
        let now = fs::read_to_string(&path).unwrap();
        assert_eq!(now, "one\n<!-- x -->\nnew\n<!-- /x -->\ntwo\n");
        let other = write_between(&path, "y", "new");
        assert!(matches!(other, Err(WriteError::NoMarkers)));
    }

    #[test]
    fn what_never_happened_has_no_ratio() {
        assert_eq!(ratio(&[3.0], &[0.0]), "-");
        assert_eq!(ratio(&[], &[1.0]), "-");
    }
}
