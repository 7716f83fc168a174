//! Formats the results of each side as tables: medians, and the ratios between Evenkeel and each
//! peer.

use crate::comparison::median;
use std::fmt::Write;

/// Unit of a number, which determines whether more is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Time that a client waits: less is better.
    Microseconds,
    /// CPU time: less is better.
    Processor,
    /// Memory size: less is better.
    Memory,
    PerSecond,
    Mebibytes,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    unit: Unit,
    /// Values of each side, in the order of the sides.
    values: Vec<Vec<f64>>,
}

/// Rows with the numbers of some sides, of which the last one is Evenkeel.
#[derive(Debug)]
pub struct Table {
    sides: Vec<&'static str>,
    rows: Vec<Row>,
    pub notes: Vec<String>,
}

impl Table {
    pub fn new(sides: Vec<&'static str>) -> Table {
        Table {
            sides,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a number of a side.
    pub fn add(&mut self, side: usize, name: &'static str, unit: Unit, value: f64) {
        let count = self.sides.len();
        let at = self.rows.iter().position(|row| row.name == name);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Row {
                name,
                unit,
                values: vec![Vec::new(); count],
            });
            self.rows.len() - 1
        });
        self.rows[at].values[side].push(value);
    }

    /// Formats the table as Markdown: the medians, and after that of a peer how many times better
    /// Evenkeel is.
    pub fn markdown(&self) -> String {
        let (peers, ours) = self.sides.split_at(self.sides.len().saturating_sub(1));
        let mut text = "| case |".to_owned();
        for side in ours {
            let _ = write!(text, " {side} |");
        }
        for side in peers {
            let _ = write!(text, " {side} | evenkeel better by |");
        }
        text.push_str("\n|---|--:|");
        text.push_str(&"--:|--:|".repeat(peers.len()));
        text.push('\n');
        for row in &self.rows {
            let Some((ours, peers)) = row.values.split_last() else {
                continue;
            };
            let shown = |values: &[f64]| {
                median(values).map_or("-".to_owned(), |value| row.unit.show(value))
            };
            let _ = write!(text, "| {} | {} |", row.name, shown(ours));
            for peer in peers {
                let _ = write!(text, " {} | {} |", shown(peer), row.unit.ratio(ours, peer));
            }
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        text
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Microseconds | Unit::Processor => format!("{value:.0} µs"),
            Unit::Memory => format!("{value:.1} MiB"),
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Mebibytes => format!("{value:.0} MiB/s"),
        }
    }

    fn ratio(self, ours: &[f64], theirs: &[f64]) -> String {
        let better = match self {
            Unit::Microseconds | Unit::Processor | Unit::Memory => (theirs, ours),
            Unit::PerSecond | Unit::Mebibytes => (ours, theirs),
        };
        match (median(better.0), median(better.1)) {
            (Some(more), Some(less)) if less > 0.0 => format!("{:.2}", more / less),
            _ => "-".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_is_in_our_favour_for_times_and_for_rates() {
        let mut table = Table::new(vec!["theirs", "ours"]);
        table.add(0, "p50", Unit::Microseconds, 300.0);
        table.add(1, "p50", Unit::Microseconds, 200.0);
        table.add(0, "rate", Unit::PerSecond, 1000.0);
        for value in [1000.0, 2000.0, 9000.0] {
            table.add(1, "rate", Unit::PerSecond, value);
        }
        let text = table.markdown();
        assert!(text.contains("| p50 | 200 µs | 300 µs | 1.50 |"), "{text}");
        assert!(
            text.ends_with("| rate | 2000/s | 1000/s | 2.00 |\n"),
            "{text}"
        );
    }
}
