//! Draws the report of a part of the platform, such as volumes or guests: an overview of all
//! subjects on all machines, then each subject in detail.

use super::machine::{self, id, no_machine_text, several};
use super::words::{binary, clean, count, moment, of_part, stamp};
use super::{PageContext, actions, state};
use crate::platform::PlatformMember;
use maud::{Markup, html};
use part::report::{
    Event, Fact, FactValue, Grade, NumberKind, NumberRow, StatusReport, Subject, Unit, span,
};

const SUBJECTS_MAX: usize = 200;
const GLANCE_MAX: usize = 60;
const EVENTS_MAX: usize = 8;
/// Maximum indentation of nested subjects. The depth of a report has its own bound.
const DEPTH_MAX: usize = 6;

pub(super) fn of(shown: &PageContext<'_>, name: &str) -> Markup {
    let mut all = Vec::new();
    for (index, member) in shown.members() {
        let reports = member.look.iter().flat_map(|look| &look.reports);
        let reports: Vec<&StatusReport> = reports.filter(|report| report.part == name).collect();
        if !reports.is_empty() || machine::explain_stale_data(member).is_some() {
            all.push((index, member, reports));
        }
    }
    let is_known = all.iter().any(|(.., reports)| !reports.is_empty());
    html! {
        @if shown.platform.members.is_empty() { (no_machine_text()) }
        @else if !is_known { p.empty { "No machine that responds reports “" (clean(&of_part(name))) "”." } }
        @if all.len() > 1 { (glance(shown, &all)) }
        div.machines {
            @for (index, member, reports) in &all {
                section.machine aria-labelledby={ "m-" (index) } {
                    (machine::heading(shown, *index, member))
                    @for (at, report) in reports.iter().enumerate() {
                        (of_report(shown, member, report, at))
                    }
                }
            }
        }
    }
}

type OfMember<'s> = (usize, &'s PlatformMember, Vec<&'s StatusReport>);

fn glance(shown: &PageContext<'_>, all: &[OfMember<'_>]) -> Markup {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for subject in all
        .iter()
        .flat_map(|(.., reports)| reports)
        .flat_map(|report| &report.subjects)
    {
        let name = (subject.kind.as_str(), subject.name.as_str());
        if has(shown, subject) && !names.contains(&name) && names.len() < GLANCE_MAX {
            names.push(name);
        }
    }
    // Drops names that only one machine has, such as those of processes, because they cannot be
    // compared.
    let is_on = |name: &(&str, &str), reports: &[&StatusReport]| {
        let (kind, name) = *name;
        find(reports, kind, name).is_some()
    };
    names.retain(|name| {
        all.iter()
            .filter(|(.., reports)| is_on(name, reports))
            .count()
            > 1
    });
    html! {
        @if !names.is_empty() {
            div.scroll tabindex="0" role="group" aria-label="At a glance" {
                table.glance {
                    caption.vh { "The state of each on every machine" }
                    thead {
                        tr {
                            th scope="col" { "Name" }
                            @for (_, member, _) in all {
                                th scope="col" {
                                    (clean(&member.name))
                                    @if machine::explain_stale_data(member).is_some() {
                                        " " span.for { "as it was " (span(member.age_ms)) " ago" }
                                    }
                                }
                            }
                        }
                    }
                    tbody {
                        @for (kind, name) in names {
                            tr {
                                th scope="row" { span.kind { (clean(kind)) } " " (clean(name)) }
                                @for (_, member, reports) in all {
                                    td {
                                        @if let Some((report, one)) = find(reports, kind, name) {
                                            @if machine::explain_stale_data(member).is_some() {
                                                (state::word(&one.state.word, Grade::Unknown))
                                            } @else { (draw_state(report, one)) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn find<'r>(
    reports: &[&'r StatusReport],
    kind: &str,
    name: &str,
) -> Option<(&'r StatusReport, &'r Subject)> {
    let mut found = reports
        .iter()
        .filter_map(|report| Some((*report, report.find(kind, name)?)));
    found.next()
}

fn draw_state(report: &StatusReport, subject: &Subject) -> Markup {
    html! {
        (state::word(&subject.state.word, subject.state.grade))
        @if let Some(since) = report.since(subject) { " " span.for { (since) } }
    }
}

fn has(shown: &PageContext<'_>, subject: &Subject) -> bool {
    shown.matches(&[
        &subject.kind,
        &subject.name,
        &subject.state.word,
        &subject.why,
    ]) || subject.children.iter().any(|child| has(shown, child))
}

fn of_report(
    shown: &PageContext<'_>,
    member: &PlatformMember,
    report: &StatusReport,
    at: usize,
) -> Markup {
    let found: Vec<&Subject> = report
        .subjects
        .iter()
        .filter(|one| has(shown, one))
        .collect();
    let drawn = &found[..found.len().min(SUBJECTS_MAX)];
    html! {
        @if report.subjects.is_empty() { p.empty { "Nothing is configured." } }
        @else if found.is_empty() { p.empty { "Nothing here has “" (clean(shown.filter)) "”." } }
        @for (number, subject) in drawn.iter().enumerate() {
            @let place = SubjectContext { shown, member, report, id: format!("{at}.{number}") };
            (of_subject(&place, subject, 0))
        }
        @if found.len() > drawn.len() {
            p.more { "… and " (found.len() - drawn.len()) " more: filter to see them." }
        }
    }
}

struct SubjectContext<'p> {
    shown: &'p PageContext<'p>,
    member: &'p PlatformMember,
    report: &'p StatusReport,
    id: String,
}

fn of_subject(place: &SubjectContext<'_>, subject: &Subject, depth: usize) -> Markup {
    let (shown, report) = (place.shown, place.report);
    let is_bad = subject.state.grade == Grade::Bad;
    html! {
        div.subject.child[depth > 0].bad[is_bad] {
            div.head {
                @if depth == 0 {
                    h3 { span.kind { (clean(&subject.kind)) } " " (clean(&subject.name)) }
                } @else {
                    b { span.kind { (clean(&subject.kind)) } " " (clean(&subject.name)) }
                }
                span.st { (draw_state(report, subject)) }
                (actions::of_subject(shown, &super::ConsolePage::Part(report.part.clone()), place.member, &report.part, subject))
            }
            @if !subject.why.is_empty() { p.why { (clean(&subject.why)) } }
            @if !subject.facts.is_empty() { dl.facts { @for fact in &subject.facts { (of_fact(fact)) } } }
            (numbers(report, subject))
            @if depth < DEPTH_MAX {
                @for (at, child) in subject.children.iter().enumerate() {
                    @let place = SubjectContext { id: format!("{}.{at}", place.id), ..*place };
                    (of_subject(&place, child, depth + 1))
                }
            }
            (events(place, subject))
        }
    }
}

fn of_fact(fact: &Fact) -> Markup {
    html! {
        div {
            dt { (clean(&fact.name)) }
            @match &fact.value {
                FactValue::Text(text) => dd { (clean(text)) },
                FactValue::List(words) => dd { (clean(&words.join(", "))) },
                FactValue::Lines(lines) => @for line in lines { dd { (clean(line)) } },
            }
        }
    }
}

fn numbers(report: &StatusReport, subject: &Subject) -> Markup {
    let row = |name: &str| report.rows.iter().find(|row| row.name == name);
    let known = subject.numbers.iter();
    let known: Vec<_> = known
        .filter_map(|(name, value)| Some((row(name)?, *value)))
        .collect();
    html! {
        @if !known.is_empty() {
            dl.values {
                @for (row, value) in known {
                    div {
                        dt title=(clean(&row.words)) { (clean(label(row))) }
                        dd { (state::quantity(&with_unit(row, value))) }
                    }
                }
            }
        }
    }
}

/// Returns the label of a number. A counter is named after what it counts, as in `evenkeel status`;
/// the unit follows the value instead of the name.
fn label(row: &NumberRow) -> &str {
    let name = match row.kind {
        NumberKind::Counter => row.words.trim_end_matches('.'),
        NumberKind::Gauge => &row.name,
    };
    let unit = match row.unit {
        Unit::Microseconds => " us",
        Unit::Milliseconds => " ms",
        Unit::Count if is_bytes(row) => " bytes",
        Unit::Count | Unit::Seconds => return name,
    };
    name.strip_suffix(unit).unwrap_or(name)
}

fn is_bytes(row: &NumberRow) -> bool {
    row.metric.trim_end_matches("_total").ends_with("_bytes")
}

fn with_unit(row: &NumberRow, value: u64) -> String {
    /// Lower bound from which seconds are a Unix time and not a duration: September 2001.
    const TIMES_FROM: u64 = 1_000_000_000;
    match row.unit {
        Unit::Count if row.is_flag && value == 0 => "no".to_owned(),
        Unit::Count if row.is_flag && value == 1 => "yes".to_owned(),
        Unit::Seconds if value >= TIMES_FROM => {
            let (day, time) = moment(value.saturating_mul(1000));
            format!("{day} {time}")
        }
        Unit::Seconds => span(value.saturating_mul(1000)),
        Unit::Milliseconds => format!("{} ms", count(value)),
        Unit::Microseconds if value >= 10_000 => format!("{} ms", count(value / 1000)),
        Unit::Microseconds => format!("{} µs", count(value)),
        Unit::Count if is_bytes(row) => binary(value),
        Unit::Count => count(value),
    }
}

fn events(place: &SubjectContext<'_>, subject: &Subject) -> Markup {
    let (shown, report) = (place.shown, place.report);
    let all = subject.events.iter().rev().take(EVENTS_MAX);
    html! {
        @if !subject.events.is_empty() {
            details.past id=(id("e", place.member, &format!("{}.{}", report.part, place.id))) open[!several(shown)] {
                summary { "Events" }
                ol { @for event in all { li { (of_event(report, event)) } } }
            }
        }
    }
}

fn of_event(report: &StatusReport, event: &Event) -> Markup {
    let ago = report.at.boottime_ms.checked_sub(event.at.boottime_ms);
    let time = moment(event.at.unix_ms);
    html! {
        time datetime=(stamp(event.at.unix_ms)) title={ (time.0) " " (time.1) } {
            @match ago { Some(ago) => { (span(ago)) " ago" }, None => (time.1) }
        }
        " " (super::events::change(event))
        @if !event.why.is_empty() { " " span.because { (clean(&event.why)) } }
    }
}
