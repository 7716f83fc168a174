//! Formats the results of all turns as a table: medians, the worst values, and the targets.

use crate::comparison::{Unit, median, worst};
use std::fmt::Write;

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row {
    pub name: &'static str,
    pub unit: Unit,
    /// Maximum permitted median; None without a target.
    pub target: Option<f64>,
    /// Row with which this one is compared, and the maximum permitted ratio to it.
    pub base: Option<(&'static str, Option<f64>)>,
}

/// Creates a row without a row to compare with.
pub const fn row(name: &'static str, unit: Unit, target: Option<f64>) -> Row {
    Row {
        name,
        unit,
        target,
        base: None,
    }
}

/// A number of one turn.
pub type Sample = (Row, f64);

/// All rows in the order of their first appearance.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<(Row, Vec<f64>)>,
    pub notes: Vec<String>,
}

impl Table {
    /// Adds the numbers of one turn.
    pub fn add(&mut self, samples: &[Sample]) {
        for (row, value) in samples {
            match self
                .rows
                .iter_mut()
                .find(|(known, _)| known.name == row.name)
            {
                Some((_, values)) => values.push(*value),
                None => self.rows.push((*row, vec![*value])),
            }
        }
    }

    /// Returns the median of the row with this name.
    fn median_of(&self, name: &str) -> Option<f64> {
        let (_, values) = self.rows.iter().find(|(row, _)| row.name == name)?;
        median(values)
    }

    /// Returns the median of a row divided by that of the row it is compared with.
    fn ratio(&self, row: &Row, values: &[f64]) -> Option<f64> {
        let of = self.median_of(row.base?.0).filter(|of| *of > 0.0)?;
        Some(median(values)? / of)
    }

    /// Formats the table as Markdown, with the median of each row divided by that of the row it is
    /// compared with.
    pub fn markdown(&self) -> String {
        let mut text =
            "| case | median | worst | target | / direct |\n|---|--:|--:|--:|--:|\n".to_owned();
        for (row, values) in &self.rows {
            let show = |value: Option<f64>| value.map_or("-".to_owned(), |v| row.unit.show(v));
            let ratio = self.ratio(row, values).map(|ratio| format!("{ratio:.2}"));
            let times = row.base.and_then(|(_, most)| most);
            let times = times.map(|times| format!("{times:.2} x direct"));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                row.name,
                show(median(values)),
                show(worst(values)),
                times.unwrap_or_else(|| show(row.target)),
                ratio.as_deref().unwrap_or("-"),
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        text
    }

    /// Returns whether each row with a target has a median within it.
    pub fn meets(&self) -> bool {
        let is_within = |value: Option<f64>, most: Option<f64>| {
            value.zip(most).is_none_or(|(v, most)| v <= most)
        };
        self.rows.iter().all(|(row, values)| {
            let most = row.base.and_then(|(_, most)| most);
            is_within(median(values), row.target) && is_within(self.ratio(row, values), most)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_medians_targets_and_ratios() {
        let row = |name, target, base| Row {
            base,
            ..row(name, Unit::Milliseconds, target)
        };
        let mut table = Table::default();
        let gateway = row("gateway", Some(200.0), Some(("direct", None)));
        let farm = row("farm", None, Some(("direct", Some(1.5))));
        for value in [100.0, 300.0, 110.0] {
            let direct = row("direct", None, Some(("direct", None)));
            table.add(&[(direct, value), (gateway, 2.0 * value), (farm, value)]);
        }
        table.add(&[(row("other", None, None), 7.0)]);
        let text = table.markdown();
        for line in [
            "| direct | 110 ms | 300 ms | - | 1.00 |\n",
            "| gateway | 220 ms | 600 ms | 200 ms | 2.00 |\n",
            "| farm | 110 ms | 300 ms | 1.50 x direct | 1.00 |\n",
            "| other | 7 ms | 7 ms | - | - |\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!table.meets());
        table.add(&[(gateway, 1.0), (gateway, 1.0)]);
        assert!(table.meets());
        table.add(&[(farm, 900.0), (farm, 900.0)]);
        assert!(!table.meets());
    }
}
