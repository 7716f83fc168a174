//! All that is shown, at a time.

use super::super::{reload, status};
use super::traffic::{Kind, Row, Traffic};
use crate::identity;
use clap::ArgMatches;
use part::report::{Event, Grade, Report, Subject, span};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a program may take for one answer, so that a hanging one is seen soon.
const LIMIT: Duration = Duration::from_secs(3);
/// Servers of a backend whose reasons are shown.
const REASONS_MAX: usize = 3;

/// What a running program said.
#[derive(Clone, Debug)]
pub struct Look {
    /// When it was asked.
    pub at: Instant,
    /// The machine, and the process of the supervisor.
    pub host: String,
    pub pid: u32,
    /// None: it has no proxy, or that does not respond.
    pub traffic: Option<Traffic>,
    /// Why the proxy does not respond.
    pub silent: Option<String>,
    /// The processes, and each part beside the proxy.
    pub reports: Vec<Report>,
}

/// Something that needs attention.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What: `server app/two`.
    pub what: String,
    /// How it is: `DOWN for 2 min`.
    pub state: String,
    /// Why.
    pub why: String,
    /// The command that says more.
    pub next: String,
}

impl Look {
    /// Asks the program that the options name; if it was started anew, the new one.
    ///
    /// # Errors
    /// Why nobody answers.
    pub fn take(matches: &ArgMatches) -> Result<Look, String> {
        let instance = reload::selected(matches)?;
        let mut reports = Vec::new();
        for part in status::parts() {
            match status::report_within(&instance, part, Some(LIMIT)) {
                Ok(report) => reports.push(report),
                Err(error) if error.is_missing() => {
                    reports.push(Report::silent(part, &error.to_string()));
                }
                // The first part is the supervisor itself: without it nobody is asked.
                Err(error) if reports.is_empty() && !error.has_nothing() => {
                    return Err(format!("the supervisor does not respond: {error}"));
                }
                Err(_) => {}
            }
        }
        let (traffic, silent) = match Traffic::of(&instance, LIMIT) {
            Ok(traffic) => (traffic, None),
            Err(words) => (None, Some(words)),
        };
        Ok(Look {
            at: Instant::now(),
            host: identity::host_name(),
            pid: instance.pid,
            traffic,
            silent,
            reports,
        })
    }

    /// What needs attention, the worst first.
    pub fn problems(&self) -> Vec<Problem> {
        let silent = self.silent.iter().map(|why| Problem {
            what: "the proxy".to_owned(),
            state: "does not respond".to_owned(),
            why: why.clone(),
            next: "evenkeel status supervisor".to_owned(),
        });
        let mut all: Vec<Problem> = silent.collect();
        let rows = self.traffic.iter().flat_map(|traffic| &traffic.rows);
        let rows: Vec<&Row> = rows
            .filter(|row| grade(&row.status) == Grade::Bad)
            .collect();
        // Those of one backend stand together, and with it where it is down.
        let mut servers: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.kind == Kind::Server) {
            servers.entry(&row.proxy).or_default().push(row);
        }
        for row in rows.iter().filter(|row| row.kind != Kind::Server) {
            let of_it = servers.remove(row.proxy.as_str()).unwrap_or_default();
            all.push(Problem {
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

    /// How many frontends, backends and servers are out of service on purpose.
    pub fn taken_out(&self) -> usize {
        let rows = self.traffic.iter().flat_map(|traffic| &traffic.rows);
        rows.filter(|row| grade(&row.status) == Grade::Busy).count()
    }

    /// What happened, by the reports and as it was seen: the newest first, each with what it
    /// happened to.
    pub fn events<'a>(&'a self, seen: &'a VecDeque<(String, Event)>) -> Vec<(String, &'a Event)> {
        let seen = seen.iter().map(|(of, event)| (of.clone(), event));
        let mut all: Vec<_> = seen.collect();
        for report in &self.reports {
            for subject in &report.subjects {
                events_of(subject, &mut all);
            }
        }
        all.sort_by_key(|(_, event)| std::cmp::Reverse(event.at.unix_ms));
        all
    }
}

fn named(subject: &Subject) -> String {
    format!("{} {}", subject.kind, subject.name)
        .trim_end()
        .to_owned()
}

fn problems_of(report: &Report, subject: &Subject, all: &mut Vec<Problem>) {
    if subject.state.grade == Grade::Bad {
        let since = report.since(subject).map(|since| format!(" for {since}"));
        all.push(Problem {
            what: named(subject),
            state: subject.state.word.clone() + &since.unwrap_or_default(),
            why: subject.why.clone(),
            next: format!("evenkeel status {}", report.part),
        });
    }
    for child in &subject.children {
        problems_of(report, child, all);
    }
}

/// A frontend or a backend that is down, or servers of one backend.
fn problem_of_rows(rows: &[&Row]) -> Problem {
    let first = rows.first().copied();
    let name = first.map(|row| match rows.len() {
        1 => row.named(),
        number => format!("{number} servers of {}", row.proxy),
    });
    let since = first.filter(|_| rows.len() == 1).and_then(|row| row.for_s);
    let since = since.map(|s| span(s.saturating_mul(1_000)));
    let state = first.map_or("", |row| row.status.as_str());
    Problem {
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
    }
}

/// Why servers are down, the first of them.
fn reasons(rows: &[&Row]) -> String {
    let reason = |row: &&Row| format!("{} {}", row.name, row.check);
    let first: Vec<String> = rows.iter().take(REASONS_MAX).map(reason).collect();
    let more = if rows.len() > REASONS_MAX {
        ", …"
    } else {
        ""
    };
    first.join(", ") + more
}

/// How good the status of a row is (HAProxy's management guide, 9.1: `status`).
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
pub mod tests {
    use super::super::traffic;
    use super::*;
    use part::report::Moment;

    fn ago(ms: u64) -> Moment {
        Moment {
            boottime_ms: 10_000_000 - ms,
            unix_ms: 1_795_209_453_056 - ms,
        }
    }

    fn event(ms: u64, from: &str, to: &str, why: &str) -> Event {
        Event {
            at: ago(ms),
            from: from.to_owned(),
            to: to.to_owned(),
            why: why.to_owned(),
        }
    }

    /// A node with an address, a guest that failed, and a proxy one of whose servers is down.
    pub fn sample() -> Look {
        let mut www = Subject::new("virtual-ip", "www")
            .state("MASTER", Grade::Good)
            .fact("interface", "eth0");
        www.since = Some(ago(4_000_000));
        www.events = vec![
            event(4_010_000, "INIT", "BACKUP", "it was started"),
            event(4_000_000, "BACKUP", "MASTER", "no master was heard"),
        ];
        let mut mail = Subject::new("guest", "mail").state("failed", Grade::Bad);
        mail.since = Some(ago(65_000));
        mail.why = "its check failed three times:\nport 25 \u{1b}[31mrefuses".to_owned();
        mail.events = vec![event(65_000, "", "it failed", "")];
        let report = |part: &str, subjects| Report {
            part: part.to_owned(),
            at: ago(0),
            subjects,
            rows: Vec::new(),
        };
        Look {
            at: Instant::now(),
            host: "alpha".to_owned(),
            pid: 4711,
            traffic: Some(traffic::tests::sample()),
            silent: None,
            reports: vec![report("address", vec![www]), report("guest", vec![mail])],
        }
    }

    #[test]
    fn what_is_down_is_a_problem_and_the_newest_event_is_the_first() {
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
        let seen = VecDeque::new();
        let events = look.events(&seen);
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
}
