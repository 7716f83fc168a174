//! Evaluates the results: ratios round by round, their quartile and median, and the table as text,
//! as Markdown and in docs/benchmarks.md.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::case::{Against, Metric, Unit};
use super::error::BenchError;

const COLUMNS: usize = 8;
const MARK_BEGIN: &str = "<!-- bench -->";
const MARK_END: &str = "<!-- /bench -->";

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    pub metric: &'static Metric,
    /// Numbers of the left side, round by round.
    pub left: Vec<f64>,
    /// Numbers of the right side in the same rounds.
    pub right: Vec<f64>,
    /// Numbers of nginx in the same rounds; empty if it was not measured.
    pub nginx: Vec<f64>,
}

/// Result of a row with respect to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The lower quartile reaches the stretch goal.
    Stretch,
    /// The lower quartile reaches the target.
    Reached,
    /// Only the median reaches the target.
    ByMedian,
    /// Not even the median reaches the target.
    Missed,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Stretch => "yes, and the stretch goal",
            Self::Reached => "yes",
            Self::ByMedian => "by the median only",
            Self::Missed => "no",
        }
    }
}

impl Row {
    pub fn new(metric: &'static Metric) -> Self {
        Self {
            metric,
            left: Vec::new(),
            right: Vec::new(),
            nginx: Vec::new(),
        }
    }

    /// Returns the ratios of all rounds: the number of left, or the better of left and nginx,
    /// divided by that of right. Above 1 the right side costs less.
    pub fn ratios(&self) -> Vec<f64> {
        let nginx = match self.metric.against {
            Against::TheBetter => &self.nginx[..],
            Against::Haproxy => &[],
            Against::One => return self.right.iter().map(|right| 1.0 / right).collect(),
        };
        let nginx = nginx.iter().copied().chain(std::iter::repeat(f64::MAX));
        let theirs = self.left.iter().zip(nginx);
        let theirs = theirs.map(|(left, nginx)| left.min(nginx));
        theirs
            .zip(&self.right)
            .map(|(t, right)| t / right)
            .collect()
    }

    /// Returns the lower quartile and the median of the ratios.
    pub fn ratio(&self) -> (f64, f64) {
        let ratios = self.ratios();
        (quantile(&ratios, 0.25), quantile(&ratios, 0.5))
    }

    /// Compares the lower quartile of the ratios with the goals.
    pub fn verdict(&self) -> Verdict {
        let (quartile, median) = self.ratio();
        let reaches = |ratio: f64, goal: f64| ratio >= goal;
        match self.metric.stretch {
            Some(stretch) if reaches(quartile, stretch) => Verdict::Stretch,
            _ if reaches(quartile, self.metric.target) => Verdict::Reached,
            _ if reaches(median, self.metric.target) => Verdict::ByMedian,
            _ => Verdict::Missed,
        }
    }

    fn cells(&self) -> [String; COLUMNS] {
        let (quartile, median) = self.ratio();
        let target = match self.metric.stretch {
            Some(stretch) => format!("{} ({stretch})", self.metric.target),
            None => self.metric.target.to_string(),
        };
        [
            self.metric.about.to_owned(),
            target,
            in_unit(quantile(&self.left, 0.5), self.metric.unit),
            if self.nginx.is_empty() {
                "-".to_owned()
            } else {
                in_unit(quantile(&self.nginx, 0.5), self.metric.unit)
            },
            in_unit(quantile(&self.right, 0.5), self.metric.unit),
            format!("{quartile:.3}"),
            format!("{median:.3}"),
            self.verdict().text().to_owned(),
        ]
    }
}

/// Returns a quantile, interpolated between its neighbours; NaN for no values.
pub fn quantile(values: &[f64], fraction: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = fraction * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// Formats a number with its unit.
pub fn in_unit(value: f64, unit: Unit) -> String {
    match unit {
        Unit::MicrosecondsPerRequest => format!("{value:.2} us"),
        Unit::BytesPerConnection => format!("{value:.0} B"),
        Unit::Milliseconds => format!("{value:.1} ms"),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Times => format!("{value:.2} x"),
        Unit::Mebibytes => format!("{value:.1} MiB"),
    }
}

#[derive(Debug)]
pub struct Table {
    pub left: String,
    pub right: String,
    pub rows: Vec<Row>,
}

impl Table {
    fn heads(&self) -> [String; COLUMNS] {
        let fixed = |text: &str| text.to_owned();
        [
            fixed("case"),
            fixed("target"),
            self.left.clone(),
            fixed("nginx"),
            self.right.clone(),
            fixed("ratio, lower quartile"),
            fixed("ratio, median"),
            fixed("reached"),
        ]
    }

    pub fn text(&self) -> String {
        self.lines(|cells, widths| {
            let mut line = String::new();
            for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
                let gap = if at == 0 { "" } else { "  " };
                // Aligns numbers to the right, and words to the left.
                let _ = if (1..COLUMNS - 1).contains(&at) {
                    write!(line, "{gap}{cell:>width$}")
                } else {
                    write!(line, "{gap}{cell:<width$}")
                };
            }
            line.trim_end().to_owned()
        })
    }

    pub fn markdown(&self) -> String {
        let mut lines = self.lines(|cells, _| format!("| {} |", cells.join(" | ")));
        let rule = "|---|--:|--:|--:|--:|--:|--:|---|\n";
        let end_of_head = lines.find('\n').map_or(lines.len(), |at| at + 1);
        lines.insert_str(end_of_head, rule);
        lines
    }

    fn lines(&self, line: impl Fn(&[String; COLUMNS], &[usize; COLUMNS]) -> String) -> String {
        let mut all = vec![self.heads()];
        all.extend(self.rows.iter().map(Row::cells));
        let mut widths = [0; COLUMNS];
        for cells in &all {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        all.iter().fold(String::new(), |text, cells| {
            text + &line(cells, &widths) + "\n"
        })
    }
}

/// Replaces the text between the two markers of a file by `block`.
pub fn write_between_markers(path: &Path, block: &str) -> Result<(), BenchError> {
    let text = fs::read_to_string(path).map_err(BenchError::file("reading", path))?;
    let text = replaced(&text, block).ok_or_else(|| BenchError::NoMarkers {
        path: path.to_owned(),
    })?;
    fs::write(path, text).map_err(BenchError::file("writing", path))
}

fn replaced(text: &str, block: &str) -> Option<String> {
    let begin = text.find(MARK_BEGIN)? + MARK_BEGIN.len();
    let end = begin + text[begin..].find(MARK_END)?;
    Some(format!(
        "{}\n{}\n{}",
        &text[..begin],
        block.trim_end(),
        &text[end..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    static METRIC: Metric = Metric {
        about: "a case",
        unit: Unit::MicrosecondsPerRequest,
        target: 1.15,
        stretch: Some(1.2),
        against: Against::TheBetter,
    };

    fn row(right: &[f64]) -> Row {
        Row {
            metric: &METRIC,
            left: vec![12.0; right.len()],
            right: right.to_vec(),
            nginx: Vec::new(),
        }
    }

    #[test]
    fn the_better_of_the_two_is_what_counts() {
        let mut row = row(&[10.0, 10.0]);
        row.nginx = vec![11.0, 13.0];
        assert_eq!(row.ratios(), [1.1, 1.2]);
    }

    #[test]
    fn a_quantile_of_nine_is_one_of_them_and_lies_between_otherwise() {
        let nine: Vec<f64> = (1..=9).rev().map(f64::from).collect();
        assert_eq!((quantile(&nine, 0.25), quantile(&nine, 0.5)), (3.0, 5.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.25), 1.25);
        assert_eq!(quantile(&[7.0], 0.25), 7.0);
        assert!(quantile(&[], 0.25).is_nan());
    }

    #[test]
    fn the_verdict_goes_by_the_lower_quartile() {
        let table: &[(&[f64], Verdict)] = &[
            (&[10.0, 10.0, 10.0], Verdict::Stretch),
            (&[10.2, 10.2, 10.2], Verdict::Reached),
            (&[10.2, 10.2, 12.0], Verdict::ByMedian),
            (&[10.2, 12.0, 12.0], Verdict::Missed),
        ];
        for (right, verdict) in table {
            assert_eq!(row(right).verdict(), *verdict, "{right:?}");
        }
    }

    #[test]
    fn the_table_replaces_what_is_between_the_markers_and_nothing_else() {
        let before = "# A\n<!-- bench -->\nold\n<!-- /bench -->\nend\n";
        let after = replaced(before, "| new |\n").expect("markers");
        assert_eq!(
            after,
            "# A\n<!-- bench -->\n| new |\n<!-- /bench -->\nend\n"
        );
        assert_eq!(replaced(&after, "| new |\n").as_ref(), Some(&after));
        assert_eq!(replaced("<!-- /bench --> <!-- bench -->", "x"), None);
    }

    #[test]
    fn both_forms_of_the_table_have_a_line_for_each_row() {
        let table = Table {
            left: "haproxy".to_owned(),
            right: "evenkeel".to_owned(),
            rows: vec![row(&[10.0]), row(&[12.0])],
        };
        assert_eq!(table.text().lines().count(), 3);
        let markdown = table.markdown();
        assert_eq!(markdown.lines().count(), 4);
        assert!(
            markdown
                .lines()
                .all(|line| line.matches('|').count() == COLUMNS + 1)
        );
    }
}
