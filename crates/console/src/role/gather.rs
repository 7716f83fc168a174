//! Tracks one poll of the machine: the queries that were sent to its processes, and the responses
//! so far. Does no I/O.

use crate::look::{MachineReport, has_proxy};
use crate::platform::PATIENCE_MS;
use crate::traffic::Traffic;
use part::report::StatusReport;
use part::status::{ROLE, RoleReport};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

const LIMIT_MS: u64 = PATIENCE_MS;

const PROXY: &str = "proxy";
/// Status of a frontend that is paused.
const PAUSED: &str = "PAUSED";
const UPGRADED: &str = "OPEN (upgrade)";

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PollQuery {
    Report(&'static str),
    Traffic,
}

#[derive(Clone, Debug)]
pub enum PollResponse {
    Report(StatusReport),
    Traffic(Box<Traffic>),
    Nothing,
    Silent(String),
}

#[derive(Debug, Default)]
pub struct PollProgress {
    open: BTreeMap<u64, PollQuery>,
    until: u64,
    reports: BTreeMap<&'static str, StatusReport>,
    traffic: Option<Traffic>,
    silent: Option<String>,
}

impl PollProgress {
    /// Begins a poll with these queries, each with its number.
    pub fn begin(questions: impl IntoIterator<Item = (u64, PollQuery)>, now: u64) -> PollProgress {
        PollProgress {
            open: questions.into_iter().collect(),
            until: now.saturating_add(LIMIT_MS),
            ..PollProgress::default()
        }
    }

    /// Returns the deadline of the poll, milliseconds.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Adds a response. Responses that are late or belong to no query are ignored.
    pub fn add_response(&mut self, number: u64, answer: PollResponse) {
        let Some(ask) = self.open.remove(&number) else {
            return;
        };
        match (ask, answer) {
            (PollQuery::Report(part), PollResponse::Report(report)) => {
                self.reports.insert(part, report);
            }
            (PollQuery::Report(part), PollResponse::Silent(words)) => {
                self.reports
                    .insert(part, StatusReport::silent(part, &words));
            }
            (PollQuery::Traffic, PollResponse::Traffic(traffic)) => self.traffic = Some(*traffic),
            (PollQuery::Traffic, PollResponse::Silent(words)) => self.silent = Some(words),
            _ => {}
        }
    }

    /// Returns whether all responses have arrived or the deadline has passed.
    pub fn is_complete(&self, now: u64) -> bool {
        self.open.is_empty() || now >= self.until
    }

    /// Returns the state of the machine, with the reports in the order of these parts.
    pub fn into_report(mut self, host: &str, pid: u32, order: &[&'static str]) -> MachineReport {
        for (number, ask) in std::mem::take(&mut self.open) {
            let words = "it did not respond in time".to_owned();
            self.open.insert(number, ask);
            self.add_response(number, PollResponse::Silent(words));
        }
        let reports = order.iter().filter_map(|part| self.reports.remove(part));
        let reports: Vec<StatusReport> = reports.collect();
        if !has_proxy(&reports) {
            // Drops the error, because a proxy that is not configured does not respond, which is no
            // problem.
            self.silent = None;
        }
        if let (Some(traffic), Some(successor)) = (&mut self.traffic, successor(&reports)) {
            serves_elsewhere(traffic, successor);
        }
        MachineReport {
            changes: VecDeque::new(),
            at: Instant::now(),
            host: host.to_owned(),
            pid,
            reports,
            traffic: self.traffic,
            silent: self.silent,
        }
    }
}

/// Returns the process that serves while the queried proxy process is paused for an upgrade,
/// according to the supervisor.
fn successor(reports: &[StatusReport]) -> Option<u32> {
    let mut proxies = reports.iter().filter_map(|report| report.find(ROLE, PROXY));
    proxies.find_map(|role| RoleReport::of(role).successor)
}

fn serves_elsewhere(traffic: &mut Traffic, successor: u32) {
    for row in traffic.rows.iter_mut().filter(|row| row.status == PAUSED) {
        UPGRADED.clone_into(&mut row.status);
        row.check = format!(
            "process {successor} of the new program serves it; the numbers are from its predecessor, which \
             is paused"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::report::Subject;

    fn report(part: &str) -> StatusReport {
        StatusReport {
            part: part.to_owned(),
            ..StatusReport::default()
        }
    }

    #[test]
    fn gathering_ends_with_the_last_response_or_the_timeout() {
        let ask = || {
            [
                (7, PollQuery::Report("guest")),
                (8, PollQuery::Report("address")),
                (9, PollQuery::Traffic),
            ]
        };
        let mut gather = PollProgress::begin(ask(), 1_000);
        gather.add_response(7, PollResponse::Report(report("guest")));
        gather.add_response(7, PollResponse::Silent("twice".to_owned()));
        gather.add_response(99, PollResponse::Nothing);
        gather.add_response(9, PollResponse::Nothing);
        assert!(!gather.is_complete(1_001));
        gather.add_response(8, PollResponse::Report(report("address")));
        assert!(gather.is_complete(1_001));
        let look = gather.into_report("alpha", 1, &["address", "guest"]);
        let parts: Vec<&str> = look.reports.iter().map(|one| &*one.part).collect();
        assert_eq!(parts, ["address", "guest"]);
        assert_eq!((look.silent, look.traffic), (None, None));

        let gather = PollProgress::begin(ask(), 1_000);
        assert!(gather.is_complete(1_000 + LIMIT_MS));
        let look = gather.into_report("alpha", 1, &["address", "guest"]);
        assert_eq!(look.problems().len(), 3);
        assert!(look.silent.is_some());
    }

    #[test]
    fn an_unconfigured_proxy_is_not_silent() {
        let silent = |subjects: Vec<Subject>| {
            let mut gather = PollProgress::begin(
                [
                    (1, PollQuery::Traffic),
                    (2, PollQuery::Report("supervisor")),
                ],
                0,
            );
            gather.add_response(1, PollResponse::Silent("there is no proxy".to_owned()));
            let report = StatusReport {
                subjects,
                ..report("supervisor")
            };
            gather.add_response(2, PollResponse::Report(report));
            gather
                .into_report("alpha", 1, &["supervisor"])
                .silent
                .is_some()
        };
        let own = || Subject::new("supervisor", "77");
        let role = |name| Subject::new(ROLE, name);
        assert!(!silent(vec![own(), role("console")]));
        assert!(silent(vec![own(), role("console"), role(PROXY)]));
        assert!(silent(
            StatusReport::silent("supervisor", "time out").subjects
        ));
    }

    #[test]
    fn a_frontend_that_an_upgraded_process_serves_is_not_shown_as_paused() {
        let paused = || {
            let mut traffic = Traffic::read(crate::sample::ANSWER);
            PAUSED.clone_into(&mut traffic.rows[0].status);
            traffic
        };
        let shown = |proxy: Subject| {
            let mut gather = PollProgress::begin(
                [
                    (1, PollQuery::Traffic),
                    (2, PollQuery::Report("supervisor")),
                ],
                0,
            );
            gather.add_response(1, PollResponse::Traffic(Box::new(paused())));
            let report = StatusReport {
                subjects: vec![proxy],
                ..report("supervisor")
            };
            gather.add_response(2, PollResponse::Report(report));
            let look = gather.into_report("alpha", 1, &["supervisor"]);
            let row = look.traffic.unwrap().rows.swap_remove(0);
            (row.status, row.check)
        };
        let proxy = || Subject::new(ROLE, PROXY);
        // Without a successor, an operator has paused the frontend.
        assert_eq!(shown(proxy()).0, PAUSED);
        let (status, check) = shown(proxy().publish(&part::status::RoleReport {
            successor: Some(77),
            ..Default::default()
        }));
        assert_eq!(status, UPGRADED);
        assert!(check.contains("process 77"), "{check}");
        assert_eq!(crate::look::grade(&status), part::report::Grade::Good);
    }
}
