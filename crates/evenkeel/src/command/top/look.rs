//! All that is shown, at a time.

use super::super::{reload, status};
use super::traffic::{Kind, Row, Traffic};
use clap::ArgMatches;
use part::report::{Event, Grade, Report, Subject};
use std::time::Instant;

/// What a running program said.
#[derive(Clone, Debug)]
pub struct Look {
    /// When it was asked.
    pub at: Instant,
    /// The process of its supervisor.
    pub pid: u32,
    /// None: it has no proxy.
    pub traffic: Option<Traffic>,
    /// The processes, and each part beside the proxy.
    pub reports: Vec<Report>,
}

/// Something that needs attention.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub grade: Grade,
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
            match status::report(&instance, part) {
                Ok(report) => reports.push(report),
                Err(error) if error.is_missing() => {
                    reports.push(Report::silent(part, &error.to_string()));
                }
                Err(_) => {}
            }
        }
        let traffic = Traffic::of(&instance).map_err(|error| error.to_string())?;
        if reports.is_empty() && traffic.is_none() {
            return Err(format!("process {} does not respond", instance.pid));
        }
        Ok(Look {
            at: Instant::now(),
            pid: instance.pid,
            traffic,
            reports,
        })
    }

    /// What needs attention, the worst first.
    pub fn problems(&self) -> Vec<Problem> {
        let mut all = Vec::new();
        for report in &self.reports {
            for subject in &report.subjects {
                problems_of(report, subject, &mut all);
            }
        }
        let rows = self.traffic.iter().flat_map(|traffic| &traffic.rows);
        all.extend(rows.filter_map(problem_of_row));
        all.sort_by_key(|problem| std::cmp::Reverse(problem.grade));
        all
    }

    /// What happened, the newest first, each with what it happened to.
    pub fn events(&self) -> Vec<(String, &Event)> {
        let mut all = Vec::new();
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
            grade: Grade::Bad,
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

/// What is down, and what an operator has taken out.
fn problem_of_row(row: &Row) -> Option<Problem> {
    let grade = match row.kind {
        Kind::Frontend => Grade::Good,
        Kind::Backend | Kind::Server => grade(&row.status),
    };
    let what = match row.kind {
        Kind::Server => format!("server {}/{}", row.proxy, row.name),
        _ => format!("backend {}", row.proxy),
    };
    let since = row.for_s.map(|s| s.saturating_mul(1_000));
    let since = since.map(|ms| format!(" for {}", part::report::span(ms)));
    (grade > Grade::Standby).then(|| Problem {
        grade,
        what,
        state: row.status.clone() + &since.unwrap_or_default(),
        why: row.check.clone(),
        next: String::new(),
    })
}

/// How good the status of a row is (HAProxy's management guide, 9.1: `status`).
pub fn grade(status: &str) -> Grade {
    let word = status.split(' ').next().unwrap_or_default();
    match word {
        "UP" | "OPEN" | "no" => Grade::Good,
        "DOWN" | "STOP" | "FULL" => Grade::Bad,
        "MAINT" | "DRAIN" | "NOLB" => Grade::Busy,
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
            pid: 4711,
            traffic: Some(traffic::tests::sample()),
            reports: vec![report("address", vec![www]), report("guest", vec![mail])],
        }
    }

    #[test]
    fn what_is_down_is_a_problem_and_the_newest_event_is_the_first() {
        let look = sample();
        let problems = look.problems();
        let what: Vec<&str> = problems.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(what, ["guest mail", "server app/two"]);
        assert_eq!(problems[0].state, "failed for 65 s");
        assert_eq!(problems[1].state, "DOWN for 95 s");
        assert_eq!(problems[1].why, "L4CON Connection refused");
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
}
