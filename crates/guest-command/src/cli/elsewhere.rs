//! Completes the local report for `evenkeel guest list` and `show`: requests the state of guests on
//! other nodes from those nodes, and replaces what this node reports about them.

use super::order;
use guest::message::{GuestOrder, GuestResponse};
use guest::role::report::{GUEST, RUNNING};
use part::report::{Grade, Moment, StatusReport, Subject, span};
use part::status::{GuestReport, GuestState};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;
use supervisor::directory::Instance;

const LIMIT: Duration = Duration::from_secs(3);
const CANNOT: &str = "whose state cannot be queried";
pub(super) const UNKNOWN: &str = "unknown";
/// Name of the report's number with the process ID of QEMU, valid on the reporting node.
const PROCESS: &str = "process";
/// Name of the fact with the directory of a guest, valid on its own node.
const FILES: &str = "files";
/// Name of the fact that marks a subject as another node's report.
const SHOWN_BY: &str = "shown by";

/// Report of another node, or why there is none.
struct RemoteGuestReport {
    report: Option<StatusReport>,
    age_ms: u64,
    /// Reason why the node cannot be queried now; empty if it can.
    trouble: String,
}

/// Replaces the data about guests on other nodes by the reports of those nodes, for the named guest
/// or for all. Returns the guests about which their own node should report something and does not.
pub(super) fn complete(
    instance: &Instance,
    report: &mut StatusReport,
    name: Option<&str>,
) -> BTreeSet<String> {
    let is_named = |one: &&Subject| name.is_none_or(|name| one.name == name);
    let nodes = report.of_kind(GUEST).filter(is_named);
    let nodes: BTreeSet<String> = nodes.filter_map(other_node).collect();
    let seen = &*report;
    // Queries all nodes at the same time, so silent ones take the time of one.
    let shown: BTreeMap<String, RemoteGuestReport> = thread::scope(|scope| {
        let query = |node: String| {
            scope.spawn(move || {
                let shown = ask(instance, seen, &node, name.unwrap_or_default());
                (node, shown)
            })
        };
        let queries: Vec<_> = nodes.into_iter().map(query).collect();
        let answers = queries.into_iter().filter_map(|query| query.join().ok());
        answers.collect()
    });
    let now_ms = report.at.boottime_ms;
    let mut silent = BTreeSet::new();
    for subject in report.subjects.iter_mut().filter(|one| one.kind == GUEST) {
        if let Some(node) = other_node(subject)
            && let Some(shown) = shown.get(&node)
            && !take_over(subject, &node, shown, now_ms)
        {
            silent.insert(subject.name.clone());
        }
    }
    silent
}

/// Returns the other node on which a guest is; None: it is on this node, or on none.
fn other_node(subject: &Subject) -> Option<String> {
    let guest = GuestReport::of(subject);
    let is_elsewhere = guest.state == GuestState::Elsewhere && !guest.node.is_empty();
    is_elsewhere.then_some(guest.node)
}

fn ask(instance: &Instance, report: &StatusReport, node: &str, name: &str) -> RemoteGuestReport {
    let is_away = order::is_away(report, node);
    let (node, name) = (node.to_owned(), name.to_owned());
    let answer = if is_away {
        order::query_order(instance, &GuestOrder::Remembered { node, name })
    } else {
        let order = Box::new(GuestOrder::Shown { name });
        order::answer_within(instance, &GuestOrder::At { node, order }, LIMIT)
    };
    let answer = answer.unwrap_or_else(|words| GuestResponse::of(Err(words)));
    let trouble = match (answer.good, answer.waits, is_away) {
        (_, _, true) => "it is away".to_owned(),
        (_, 1.., _) => format!("it did not respond within {} s", LIMIT.as_secs()),
        (true, 0, _) => String::new(),
        (false, 0, _) => answer.words,
    };
    RemoteGuestReport {
        report: StatusReport::decode(&answer.bytes).ok(),
        age_ms: answer.age_ms,
        trouble,
    }
}

/// Replaces this node's data about a guest by those of the guest's node. Without a report of that
/// node, keeps the data and returns false if the node cannot be queried.
fn take_over(own: &mut Subject, node: &str, shown: &RemoteGuestReport, now_ms: u64) -> bool {
    let report = shown.report.as_ref();
    let theirs = report.and_then(|report| report.find(GUEST, &own.name));
    let cannot = match shown.trouble.strip_prefix(&format!("node {node}: ")) {
        Some(words) => words,
        None => &shown.trouble,
    };
    let (Some(theirs), Some(report)) = (theirs, report) else {
        if !cannot.is_empty() {
            own.why = format!("on {node}, {CANNOT}: {cannot}");
        }
        return cannot.is_empty();
    };
    let mut status = GuestReport::of(theirs);
    // Clears the path of the files, which is valid only on their own node.
    status.files.clear();
    let age_ms = if cannot.is_empty() { 0 } else { shown.age_ms };
    let at_ms = now_ms.saturating_sub(age_ms);
    // Converts the times, because each machine has a clock of its own.
    let here = |moment: Moment| Moment {
        boottime_ms: at_ms.saturating_sub(report.at.boottime_ms.saturating_sub(moment.boottime_ms)),
        ..moment
    };
    let numbers = std::mem::take(&mut own.numbers);
    let is_local = |name: &str| name == RUNNING || name == PROCESS;
    let local = numbers.into_iter().filter(|(name, _)| is_local(name));
    let theirs_too = theirs.numbers.iter().filter(|(name, _)| !is_local(name));
    own.numbers = theirs_too.cloned().chain(local).collect();
    own.state = theirs.state.clone();
    own.since = theirs.since.map(here);
    own.why = theirs.why.clone();
    own.facts.clone_from(&theirs.facts);
    own.facts.retain(|fact| fact.name != FILES);
    own.events.clone_from(&theirs.events);
    for event in &mut own.events {
        event.at = here(event.at);
    }
    let mut by = node.to_owned();
    if !cannot.is_empty() {
        status.state = GuestState::Unknown;
        by = format!("{node}, {} ago", span(age_ms));
        let was = match own.why.as_str() {
            "" => own.state.word.clone(),
            why => format!("{} ({why})", own.state.word),
        };
        own.state = Subject::new(GUEST, "").state(UNKNOWN, Grade::Bad).state;
        own.why = format!(
            "{was} as {node} showed it {} ago; it cannot be queried now: {cannot}",
            span(age_ms)
        );
    }
    let subject = std::mem::take(own);
    *own = subject.fact(SHOWN_BY, by).publish(&status);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest::role::report::{ELSEWHERE, ON};
    use part::report::{Event, Grade};

    fn own() -> Subject {
        Subject::new(GUEST, "mail")
            .state(ELSEWHERE, Grade::Standby)
            .fact(ON, "beta")
            .number(RUNNING, 0)
            .number(PROCESS, 0)
    }

    fn at(boottime_ms: u64) -> Moment {
        Moment {
            boottime_ms,
            unix_ms: 7,
        }
    }

    fn shown(trouble: &str, age_ms: u64) -> RemoteGuestReport {
        let mut theirs = Subject::new(GUEST, "mail")
            .state("running", Grade::Bad)
            .fact(ON, "beta")
            .fact(FILES, "/run/evenkeel/guest-mail")
            .number(RUNNING, 1)
            .number("memory", 4)
            .number(PROCESS, 4711);
        theirs.since = Some(at(90_000));
        theirs.why = "its check fails: refused".to_owned();
        theirs.events.push(Event {
            at: at(80_000),
            ..Event::default()
        });
        RemoteGuestReport {
            report: Some(StatusReport {
                at: at(100_000),
                subjects: vec![theirs],
                ..StatusReport::default()
            }),
            age_ms,
            trouble: trouble.to_owned(),
        }
    }

    #[test]
    fn a_guest_elsewhere_is_shown_as_its_own_node_shows_it() {
        let mut subject = own();
        take_over(&mut subject, "beta", &shown("", 0), 500_000);
        assert_eq!(subject.state.word, "running");
        assert_eq!(subject.why, "its check fails: refused");
        // Times are converted to the clock of this machine.
        assert_eq!(subject.since, Some(at(490_000)));
        assert_eq!(subject.events[0].at, at(480_000));
        // The numbers `running` and `process` stay those of this node.
        assert_eq!(
            (subject.value(RUNNING), subject.value(PROCESS)),
            (Some(0), Some(0))
        );
        assert_eq!(subject.value("memory"), Some(4));
        assert_eq!(subject.words(SHOWN_BY).as_deref(), Some("beta"));
        assert_eq!(subject.words(FILES), None);
    }

    #[test]
    fn a_node_that_cannot_be_asked_is_named_with_the_age_of_what_is_shown() {
        let mut subject = own();
        let shown = shown("node beta: it did not respond in time", 60_000);
        take_over(&mut subject, "beta", &shown, 500_000);
        assert_eq!(
            subject.why,
            "running (its check fails: refused) as beta showed it 60 s ago; it cannot be queried now: it \
             did not respond in time"
        );
        assert_eq!(subject.state.word, UNKNOWN);
        assert_eq!(subject.since, Some(at(430_000)));
        let nothing = RemoteGuestReport {
            report: None,
            age_ms: 0,
            trouble: "it is away".to_owned(),
        };
        let mut subject = own();
        take_over(&mut subject, "beta", &nothing, 500_000);
        assert_eq!(subject.state.word, ELSEWHERE);
        assert_eq!(
            subject.why,
            "on beta, whose state cannot be queried: it is away"
        );
    }
}
