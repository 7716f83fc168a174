//! Records the traffic of each frontend, backend and server in the last hour and the last day, for
//! graphs: the largest value of each interval, in bounded memory.

use crate::traffic::{TrafficRow, TrafficRowKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const STEPS_S: [u64; 2] = [10, 300];
const SAMPLES: [usize; 2] = [360, 288];
/// Maximum number of frontends, backends and servers with a history. A sample takes 8 bytes.
const ROWS_MAX: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    Hour,
    Day,
}

impl Period {
    fn ring(self) -> usize {
        match self {
            Period::Hour => 0,
            Period::Day => 1,
        }
    }
}

/// Traffic of one row in one interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct TrafficSample {
    /// Requests per second; TCP sessions per second in TCP mode.
    pub rate: u32,
    pub takes_ms: u32,
}

impl From<(u32, u32)> for TrafficSample {
    fn from((rate, takes_ms): (u32, u32)) -> TrafficSample {
        TrafficSample { rate, takes_ms }
    }
}

impl From<TrafficSample> for (u32, u32) {
    fn from(sample: TrafficSample) -> (u32, u32) {
        (sample.rate, sample.takes_ms)
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct RowHistory {
    /// Samples of the last hour and of the last day, the newest last.
    rings: [VecDeque<TrafficSample>; 2],
    /// Time of the first poll of the row, by the clock of [`History::add_rows`], seconds.
    #[serde(default)]
    began_s: u64,
}

/// The history of all rows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct History {
    lines: BTreeMap<String, RowHistory>,
    /// Number of the interval of the newest sample in each ring.
    steps: [u64; 2],
    #[serde(default)]
    looked_s: u64,
}

fn key(row: &TrafficRow) -> String {
    let kind = match row.kind {
        TrafficRowKind::Frontend => 'f',
        TrafficRowKind::Backend => 'b',
        TrafficRowKind::Server => 's',
    };
    format!("{kind}{}/{}", row.proxy, row.name)
}

impl History {
    /// Adds the rows of a poll. The time is in seconds of any clock that never goes back. An
    /// interval without a poll has an empty sample; no value is repeated.
    pub fn add_rows(&mut self, rows: &[TrafficRow], now_s: u64) {
        self.looked_s = self.looked_s.max(now_s);
        for ring in 0..STEPS_S.len() {
            let step = now_s / STEPS_S[ring];
            let passed = step.saturating_sub(self.steps[ring]);
            let passed = match self.steps[ring] {
                0 => 1,
                _ => usize::try_from(passed).unwrap_or(usize::MAX),
            };
            self.steps[ring] = self.steps[ring].max(step);
            for line in self.lines.values_mut() {
                line.pass(ring, passed.min(SAMPLES[ring]));
            }
            for row in rows {
                let key = key(row);
                if !self.lines.contains_key(&key) && self.lines.len() >= ROWS_MAX {
                    continue;
                }
                let line = self.lines.entry(key).or_insert_with(|| RowHistory {
                    began_s: now_s,
                    ..RowHistory::default()
                });
                line.note(ring, row);
            }
        }
        let is_empty = |line: &RowHistory| {
            line.rings
                .iter()
                .flatten()
                .all(|s| *s == TrafficSample::default())
        };
        let known: BTreeSet<String> = rows.iter().map(key).collect();
        // Keeps a row that the configuration no longer has as long as one of its samples is not
        // zero.
        self.lines
            .retain(|key, line| known.contains(key) || !is_empty(line));
    }

    /// Returns the samples of a row, the newest last. Empty if it has no history.
    pub fn of(&self, row: &TrafficRow, period: Period) -> Vec<TrafficSample> {
        let line = self.lines.get(&key(row));
        let samples = |line: &RowHistory| line.rings[period.ring()].iter().copied().collect();
        line.map_or_else(Vec::new, samples)
    }

    /// Returns the number of seconds that each sample of a row covers. The oldest interval may have
    /// begun late, and the newest one is not over.
    pub fn seconds(&self, row: &TrafficRow, period: Period) -> Vec<u64> {
        let Some(line) = self.lines.get(&key(row)) else {
            return Vec::new();
        };
        let (ring, step_s) = (period.ring(), STEPS_S[period.ring()]);
        let number = line.rings[ring].len() as u64;
        let first = (self.steps[ring] + 1).saturating_sub(number);
        let seconds = (first..=self.steps[ring]).map(|step| {
            let from = (step * step_s).max(line.began_s);
            let to = ((step + 1) * step_s).min(self.looked_s);
            // Counts at least one second for a poll.
            to.saturating_sub(from).max(1)
        });
        seconds.collect()
    }

    pub fn length(period: Period) -> usize {
        match period {
            Period::Hour => SAMPLES[0],
            Period::Day => SAMPLES[1],
        }
    }
}

impl RowHistory {
    /// Appends empty samples for the intervals that have passed.
    fn pass(&mut self, ring: usize, steps: usize) {
        for _ in 0..steps {
            let ring_of = &mut self.rings[ring];
            if ring_of.len() >= SAMPLES[ring] {
                ring_of.pop_front();
            }
            ring_of.push_back(TrafficSample::default());
        }
    }

    /// Keeps the largest value of an interval, so that no peak between two samples is lost.
    fn note(&mut self, ring: usize, row: &TrafficRow) {
        let ring = &mut self.rings[ring];
        if ring.is_empty() {
            ring.push_back(TrafficSample::default());
        }
        if let Some(last) = ring.back_mut() {
            let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
            last.rate = last.rate.max(small(row.rate));
            last.takes_ms = last.takes_ms.max(small(row.takes_ms.unwrap_or_default()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::ANSWER;
    use crate::traffic::Traffic;

    #[test]
    fn the_maximum_of_a_step_is_kept_and_a_gap_is_empty() {
        let mut rows = Traffic::read(ANSWER).rows;
        rows.truncate(1);
        let mut history = History::default();
        for (at, rate) in [(1_000, 5), (1_004, 9), (1_009, 2), (1_040, 7)] {
            rows[0].rate = rate;
            history.add_rows(&rows, at);
        }
        let rates = |period| {
            let samples = history.of(&rows[0], period);
            samples.iter().map(|one| one.rate).collect::<Vec<_>>()
        };
        assert_eq!(rates(Period::Hour), [9, 0, 0, 0, 7]);
        assert_eq!(rates(Period::Day), [9]);
    }

    #[test]
    fn a_partial_step_is_weighted_by_its_duration() {
        let rows = &Traffic::read(ANSWER).rows[..1];
        let mut history = History::default();
        // The polls cover ten seconds of the first five-minute interval, all of the second, and two
        // minutes of the third.
        for at in (1_000_190..=1_000_620).step_by(10) {
            history.add_rows(rows, at);
        }
        assert_eq!(history.seconds(&rows[0], Period::Day), [10, 300, 120]);
        let hour = history.seconds(&rows[0], Period::Hour);
        assert_eq!(hour.len(), history.of(&rows[0], Period::Hour).len());
        assert_eq!(hour.first(), Some(&10));
    }

    #[test]
    fn the_history_is_bounded_and_drops_removed_series() {
        let one = Traffic::read(ANSWER).rows.swap_remove(0);
        let rows: Vec<TrafficRow> = (0..1_100)
            .map(|number| TrafficRow {
                proxy: format!("f{number}"),
                ..one.clone()
            })
            .collect();
        let mut history = History::default();
        history.add_rows(&rows, 1_000);
        assert_eq!(history.lines.len(), ROWS_MAX);
        for step in 0..400 {
            history.add_rows(&[], 1_000 + step * 10);
        }
        history.add_rows(&[], 1_000_000);
        assert!(history.lines.is_empty());
        for step in 0..400 {
            history.add_rows(&rows[..1], 2_000_000 + step * 10);
        }
        let hour = history.of(&rows[0], Period::Hour);
        assert_eq!(hour.len(), History::length(Period::Hour));
    }
}
