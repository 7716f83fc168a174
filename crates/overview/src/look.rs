//! Describes the state of one machine at one moment by its reports: lists problems and events, and
//! finds the changes between two polls.

use crate::traffic::{Traffic, TrafficRow, TrafficRowKind};
use part::report::{Event, Grade, StatusReport, Subject, span};
use part::status::{ROLE, RoleReport};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

const CHANGES_MAX: usize = 500;
/// Number of servers of a backend whose failure reasons are shown.
const REASONS_MAX: usize = 3;
/// Name of the part that reports the processes, and kind of its subject for the supervisor.
const SUPERVISOR: &str = "supervisor";
const CLUSTER: &str = "cluster";
const FOLLOWED: [&str; 2] = ["member", CLUSTER];
pub const CLUSTER_STATUS: &str = "evenkeel cluster status";

/// State of a machine, as its parts report it.
#[derive(Clone, Debug)]
pub struct MachineReport {
    pub at: Instant,
    pub host: String,
    pub pid: u32,
    /// Statistics of the proxy. None if there is no proxy, or if it does not respond.
    pub traffic: Option<Traffic>,
    pub silent: Option<String>,
    /// Reports of the supervisor about the processes, and of each part except the proxy.
    pub reports: Vec<StatusReport>,
    /// Changes that polls have detected, each with its subject; the newest last.
    pub changes: VecDeque<(String, Event)>,
}

/// A problem that needs attention.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineProblem {
    /// Subject, such as `server app/two`.
    pub what: String,
    /// State and its duration, such as `DOWN for 2 min`.
    pub state: String,
    pub why: String,
    pub next: String,
    pub source: ProblemSource,
}

/// The source of a problem, which has a page of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProblemSource {
    Machine,
    Subject {
        part: String,
        kind: String,
        name: String,
    },
    /// A frontend or backend of the proxy, or its servers.
    Proxy(String),
}

impl MachineReport {
    pub fn problems(&self) -> Vec<MachineProblem> {
        let silent = self.silent.iter().map(|why| MachineProblem {
            what: "the proxy".to_owned(),
            state: "does not respond".to_owned(),
            why: why.clone(),
            next: "evenkeel status supervisor".to_owned(),
            source: ProblemSource::Subject {
                part: SUPERVISOR.to_owned(),
                kind: ROLE.to_owned(),
                name: "proxy".to_owned(),
            },
        });
        let mut all: Vec<MachineProblem> = silent.collect();
        let rows = self.traffic.iter().flat_map(|traffic| &traffic.rows);
        let rows: Vec<&TrafficRow> = rows
            .filter(|row| grade(&row.status) == Grade::Bad)
            .collect();
        // Groups the servers of one backend, together with the backend if it is down.
        let mut servers: BTreeMap<&str, Vec<&TrafficRow>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.kind == TrafficRowKind::Server) {
            servers.entry(&row.proxy).or_default().push(row);
        }
        for row in rows.iter().filter(|row| row.kind != TrafficRowKind::Server) {
            let of_it = servers.remove(row.proxy.as_str()).unwrap_or_default();
            all.push(MachineProblem {
                why: reasons(&of_it),
                ..problem_of_rows(&[row])
            });
        }
        for report in &self.reports {
            for subject in &report.subjects {
                problems_of(report, subject, &mut all);
            }
        }
        all.extend(servers.values().map(|rows| problem_of_rows(rows)));
        all
    }

    /// Counts the frontends, backends and servers that are in maintenance, drained or paused, or
    /// get no new clients (`NOLB`).
    pub fn taken_out(&self) -> usize {
        let rows = self.traffic.iter().flat_map(|traffic| &traffic.rows);
        rows.filter(|row| grade(&row.status) == Grade::Busy).count()
    }

    /// Returns the events in the reports and the changes that polls have detected, each with its
    /// subject; the newest first.
    pub fn events(&self) -> Vec<(String, &Event)> {
        let seen = self.changes.iter().map(|(of, event)| (of.clone(), event));
        let mut all: Vec<_> = seen.collect();
        all.extend(self.reported());
        all.sort_by_key(|(_, event)| std::cmp::Reverse(event.at.unix_ms));
        all
    }

    /// Copies the changes of the earlier state `before`, and adds the changes between the two
    /// states.
    pub fn merge_changes(&mut self, before: &MachineReport) {
        self.changes.clone_from(&before.changes);
        self.keep_reported_events(before);
        for one in find_state_changes(before, self) {
            self.note(one);
        }
        self.add_status_changes(before);
    }

    /// Keeps the events that no report contains any longer: a part drops its events when its
    /// process ends or it has too many.
    fn keep_reported_events(&mut self, before: &MachineReport) {
        let now: BTreeSet<_> = self
            .reported()
            .into_iter()
            .map(|(of, event)| key(&of, event))
            .collect();
        self.changes
            .retain(|(of, event)| !now.contains(&key(of, event)));
        let seen = self.changes.iter().map(|(of, event)| key(of, event));
        let known: BTreeSet<_> = now.into_iter().chain(seen).collect();
        let gone = before.reported().into_iter();
        let mut new: Vec<_> = gone
            .filter(|(of, event)| !known.contains(&key(of, event)))
            .map(|(of, event)| (of, event.clone()))
            .collect();
        new.sort_by_key(|(_, event)| event.at.unix_ms);
        new.into_iter().for_each(|one| self.note(one));
    }

    fn reported(&self) -> Vec<(String, &Event)> {
        let mut all = Vec::new();
        for subject in self.reports.iter().flat_map(|report| &report.subjects) {
            events_of(subject, &mut all);
        }
        all
    }

    fn add_status_changes(&mut self, before: &MachineReport) {
        let (Some(old), Some(new)) = (&before.traffic, &self.traffic) else {
            return;
        };
        // Uses the time of the first report for all changes: all reports were made at the same
        // time, and there is always one from the supervisor.
        let at = self.reports.first().map(|report| report.at);
        let id = |row: &TrafficRow| (row.kind, row.proxy.clone(), row.name.clone());
        let old = old.rows.iter().map(|row| (id(row), status(row)));
        let old: BTreeMap<_, String> = old.collect();
        let changed = new.rows.iter().filter_map(|row| {
            let is = status(row);
            let was = old.get(&id(row)).filter(|was| **was != is)?;
            let event = Event {
                at: at.unwrap_or_default(),
                from: was.clone(),
                to: is,
                why: row.check.clone(),
            };
            Some((row.named(), event))
        });
        let changed: Vec<_> = changed.collect();
        changed.into_iter().for_each(|one| self.note(one));
    }

    /// Adds an event with its subject. Drops the oldest event if there are more than `CHANGES_MAX`.
    pub fn note(&mut self, one: (String, Event)) {
        if self.changes.len() >= CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(one);
    }
}

/// Returns whether the configuration has a proxy: otherwise the supervisor lists no such role. True
/// without a report of the supervisor, because there may be one.
pub fn has_proxy(reports: &[StatusReport]) -> bool {
    let mut processes = reports.iter().filter(|one| one.part == SUPERVISOR);
    let known = processes.find(|one| one.of_kind(SUPERVISOR).next().is_some());
    known.is_none_or(|report| report.find("role", "proxy").is_some())
}

/// Returns the status of a row without a count of checks: `UP` for `UP 1/3`.
fn status(row: &TrafficRow) -> String {
    match grade(&row.status) {
        Grade::Unknown => row.status.clone(),
        _ => row.status.split(' ').next().unwrap_or_default().to_owned(),
    }
}

fn key(of: &str, event: &Event) -> (u64, String, String, String) {
    let (from, to) = (event.from.clone(), event.to.clone());
    (event.at.unix_ms, of.to_owned(), from, to)
}

/// Finds the subjects that became bad or good again between two polls, and the processes that were
/// restarted, where the report itself has no event for that.
fn find_state_changes(before: &MachineReport, now: &MachineReport) -> Vec<(String, Event)> {
    let mut all = Vec::new();
    for report in &now.reports {
        let Some(old) = before.reports.iter().find(|old| old.part == report.part) else {
            continue;
        };
        for subject in &report.subjects {
            // Skips members and the cluster: the console role detects their changes itself, even
            // across polls to which the cluster part did not respond.
            if report.part == CLUSTER && FOLLOWED.contains(&subject.kind.as_str()) {
                continue;
            }
            let Some(was) = old.find(&subject.kind, &subject.name) else {
                continue;
            };
            let event = |from: &str, to: &str, why: &str| Event {
                at: report.at,
                from: from.to_owned(),
                to: to.to_owned(),
                why: why.to_owned(),
            };
            let is_bad = |one: &Subject| one.state.grade == Grade::Bad;
            let has_said = subject.events.len() != was.events.len()
                || subject.events.last() != was.events.last();
            if is_bad(was) != is_bad(subject) && !has_said {
                let (from, to) = (&was.state.word, &subject.state.word);
                all.push((named(subject), event(from, to, &subject.why)));
            } else if !has_said
                && subject.kind == ROLE
                && let (Some(old), Some(new)) = (process(was), process(subject))
                && old != new
            {
                let why = format!("process {new} replaced process {old}");
                all.push((named(subject), event("", "restarted", &why)));
            }
        }
    }
    all
}

fn process(role: &Subject) -> Option<u32> {
    RoleReport::of(role).process
}

fn named(subject: &Subject) -> String {
    format!("{} {}", subject.kind, subject.name)
        .trim_end()
        .to_owned()
}

fn problems_of(report: &StatusReport, subject: &Subject, all: &mut Vec<MachineProblem>) {
    if subject.state.grade == Grade::Bad {
        let since = report.since(subject).map(|since| format!(" for {since}"));
        all.push(MachineProblem {
            what: named(subject),
            state: subject.state.word.clone() + &since.unwrap_or_default(),
            why: subject.why.clone(),
            next: match report.part.as_str() {
                CLUSTER => CLUSTER_STATUS.to_owned(),
                part => format!("evenkeel status {part}"),
            },
            source: ProblemSource::Subject {
                part: report.part.clone(),
                kind: subject.kind.clone(),
                name: subject.name.clone(),
            },
        });
    }
    for child in &subject.children {
        problems_of(report, child, all);
    }
}

fn problem_of_rows(rows: &[&TrafficRow]) -> MachineProblem {
    let first = rows.first().copied();
    let name = first.map(|row| match rows.len() {
        1 => row.named(),
        number => format!("{number} servers of {}", row.proxy),
    });
    let since = first.filter(|_| rows.len() == 1).and_then(|row| row.for_s);
    let since = since.map(|s| span(s.saturating_mul(1_000)));
    let state = first.map_or("", |row| row.status.as_str());
    MachineProblem {
        what: name.unwrap_or_default(),
        state: match since {
            Some(since) => format!("{state} for {since}"),
            None => state.to_owned(),
        },
        why: match rows {
            [row] => row.check.clone(),
            rows => reasons(rows),
        },
        next: String::new(),
        source: ProblemSource::Proxy(first.map_or_else(String::new, |row| row.proxy.clone())),
    }
}

/// Lists the reasons why servers are down, for the first [`REASONS_MAX`] of them.
fn reasons(rows: &[&TrafficRow]) -> String {
    let reason = |row: &&TrafficRow| format!("{} {}", row.name, row.check);
    let first: Vec<String> = rows.iter().take(REASONS_MAX).map(reason).collect();
    let more = if rows.len() > REASONS_MAX {
        ", …"
    } else {
        ""
    };
    first.join(", ") + more
}

/// Grades the first word of a row's status (HAProxy's management guide, 9.1: `status`).
pub fn grade(status: &str) -> Grade {
    let word = status.split(' ').next().unwrap_or_default();
    match word {
        "UP" | "OPEN" | "no" => Grade::Good,
        "DOWN" | "STOP" | "FULL" => Grade::Bad,
        "MAINT" | "DRAIN" | "NOLB" | "PAUSED" => Grade::Busy,
        _ => Grade::Unknown,
    }
}

fn events_of<'a>(subject: &'a Subject, all: &mut Vec<(String, &'a Event)>) {
    all.extend(subject.events.iter().map(|event| (named(subject), event)));
    for child in &subject.children {
        events_of(child, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;
    use part::report::Moment;

    #[test]
    fn failures_are_problems_and_newest_events_come_first() {
        let look = sample();
        let mut look = look;
        look.silent = Some("time out".to_owned());
        let problems = look.problems();
        let what: Vec<&str> = problems.iter().map(|one| one.what.as_str()).collect();
        let expected = "the proxy,backend dead,guest mail,2 servers of app";
        assert_eq!(what, expected.split(',').collect::<Vec<_>>());
        assert_eq!(problems[2].state, "failed for 65 s");
        assert_eq!(
            problems[3].why,
            "two L4CON \"Connection refused\", three L7STS \"no disk\""
        );
        assert_eq!(problems[1].why, "s1 L4TOUT");
        assert_eq!(look.taken_out(), 1);
        let events = look.events();
        let of: Vec<&str> = events.iter().map(|(of, _)| of.as_str()).collect();
        assert_eq!(of, ["guest mail", "virtual-ip www", "virtual-ip www"]);
        assert_eq!(events[1].1.to, "MASTER");
    }

    #[test]
    fn a_status_has_a_grade() {
        for (status, is) in [
            ("UP 1/3", Grade::Good),
            ("no check", Grade::Good),
            ("DOWN 1/2", Grade::Bad),
            ("MAINT (via a/b)", Grade::Busy),
            ("", Grade::Unknown),
        ] {
            assert_eq!(grade(status), is, "{status}");
        }
    }

    fn event(ms: u64, to: &str) -> Event {
        Event {
            at: Moment {
                unix_ms: ms,
                ..Moment::default()
            },
            to: to.to_owned(),
            ..Event::default()
        }
    }

    /// Makes a state with one report: a subject in this state with these events.
    fn with(state: (&str, Grade), process: &str, events: &[Event]) -> MachineReport {
        let mut subject = Subject::new("role", "guest")
            .state(state.0, state.1)
            .publish(&part::status::RoleReport {
                process: process.parse().ok(),
                ..Default::default()
            });
        subject.events = events.to_vec();
        MachineReport {
            reports: vec![StatusReport {
                part: "supervisor".to_owned(),
                subjects: vec![subject],
                ..StatusReport::default()
            }],
            changes: VecDeque::new(),
            traffic: None,
            silent: None,
            ..sample()
        }
    }

    fn told(look: &MachineReport) -> Vec<String> {
        let events = look.events();
        events.iter().map(|(_, event)| event.to.clone()).collect()
    }

    #[test]
    fn events_survive_their_process_without_duplicates() {
        let good = ("running", Grade::Good);
        let first = with(good, "7", &[event(1, "moved"), event(2, "screen")]);
        // Simulates that the supervisor does not respond to one poll: the known events stay.
        let mut silent = with(good, "7", &[]);
        silent.reports = vec![StatusReport::silent("supervisor", "it did not respond")];
        silent.merge_changes(&first);
        assert_eq!(told(&silent), ["screen", "moved"]);
        let mut again = with(good, "7", &[event(1, "moved"), event(2, "screen")]);
        again.merge_changes(&silent);
        assert_eq!(told(&again), ["screen", "moved"]);
        assert!(again.changes.is_empty());
        let mut anew = with(good, "8", &[event(3, "started")]);
        anew.merge_changes(&again);
        // Adds no event about the replaced process, because the report contains an event of the new
        // process itself.
        assert_eq!(told(&anew), ["started", "screen", "moved"]);
        let mut reloaded = with(good, "9", &[event(3, "started")]);
        reloaded.merge_changes(&anew);
        assert_eq!(
            reloaded.changes.back().unwrap().1.why,
            "process 9 replaced process 8"
        );
    }

    #[test]
    fn state_changes_are_events_unless_already_reported() {
        let (good, bad) = (("voter", Grade::Good), ("away", Grade::Bad));
        let first = with(good, "7", &[]);
        let mut second = with(bad, "7", &[]);
        second.merge_changes(&first);
        assert_eq!(told(&second), ["away"]);
        let mut third = with(good, "7", &[event(9, "voter")]);
        third.merge_changes(&second);
        assert_eq!(told(&third), ["voter", "away"]);
    }
}
