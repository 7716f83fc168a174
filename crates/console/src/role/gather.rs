//! One look after the other: what is asked of whom, and when all answers are there. A value without
//! I/O.

use crate::look::Look;
use crate::traffic::Traffic;
use part::report::Report;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// How long answers are waited for, milliseconds.
const LIMIT_MS: u64 = 3_000;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// The report of a part.
    Report(&'static str),
    /// The traffic.
    Traffic,
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The report of a part.
    Report(Report),
    /// What the proxy serves.
    Traffic(Box<Traffic>),
    /// There is nothing of it.
    Nothing,
    /// It does not say how it is, and why not.
    Silent(String),
}

/// What is known of a look so far.
#[derive(Debug, Default)]
pub struct Gather {
    /// Questions without an answer, by their numbers.
    open: BTreeMap<u64, Ask>,
    until: u64,
    reports: BTreeMap<&'static str, Report>,
    traffic: Option<Traffic>,
    silent: Option<String>,
}

impl Gather {
    /// Begins a look with these questions and their numbers.
    pub fn begin(questions: impl IntoIterator<Item = (u64, Ask)>, now: u64) -> Gather {
        Gather {
            open: questions.into_iter().collect(),
            until: now.saturating_add(LIMIT_MS),
            ..Gather::default()
        }
    }

    /// When it ends in any case, milliseconds.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Takes an answer in. Late ones, and those to nothing, are ignored.
    pub fn take(&mut self, number: u64, answer: Answer) {
        let Some(ask) = self.open.remove(&number) else {
            return;
        };
        match (ask, answer) {
            (Ask::Report(part), Answer::Report(report)) => {
                self.reports.insert(part, report);
            }
            (Ask::Report(part), Answer::Silent(words)) => {
                self.reports.insert(part, Report::silent(part, &words));
            }
            (Ask::Traffic, Answer::Traffic(traffic)) => self.traffic = Some(*traffic),
            (Ask::Traffic, Answer::Silent(words)) => self.silent = Some(words),
            _ => {}
        }
    }

    /// Whether everybody has answered, or had the time.
    pub fn is_complete(&self, now: u64) -> bool {
        self.open.is_empty() || now >= self.until
    }

    /// The look, in the order of these parts.
    pub fn end(mut self, host: &str, pid: u32, order: &[&'static str]) -> Look {
        for (number, ask) in std::mem::take(&mut self.open) {
            let words = "it did not answer in time".to_owned();
            self.open.insert(number, ask);
            self.take(number, Answer::Silent(words));
        }
        let reports = order.iter().filter_map(|part| self.reports.remove(part));
        Look {
            changes: VecDeque::new(),
            at: Instant::now(),
            host: host.to_owned(),
            pid,
            reports: reports.collect(),
            traffic: self.traffic,
            silent: self.silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(part: &str) -> Report {
        Report {
            part: part.to_owned(),
            ..Report::default()
        }
    }

    #[test]
    fn it_ends_with_the_last_answer_or_with_the_time() {
        let ask = || {
            [
                (7, Ask::Report("guest")),
                (8, Ask::Report("address")),
                (9, Ask::Traffic),
            ]
        };
        let mut gather = Gather::begin(ask(), 1_000);
        gather.take(7, Answer::Report(report("guest")));
        gather.take(7, Answer::Silent("twice".to_owned()));
        gather.take(99, Answer::Nothing);
        gather.take(9, Answer::Nothing);
        assert!(!gather.is_complete(1_001));
        gather.take(8, Answer::Report(report("address")));
        assert!(gather.is_complete(1_001));
        let look = gather.end("alpha", 1, &["address", "guest"]);
        let parts: Vec<&str> = look.reports.iter().map(|one| &*one.part).collect();
        assert_eq!(parts, ["address", "guest"]);
        assert_eq!((look.silent, look.traffic), (None, None));

        let gather = Gather::begin(ask(), 1_000);
        assert!(gather.is_complete(1_000 + LIMIT_MS));
        let look = gather.end("alpha", 1, &["address", "guest"]);
        assert_eq!(look.problems().len(), 3);
        assert!(look.silent.is_some());
    }
}
