//! Draws the first page: problems that need attention, which machine runs what, and the traffic.

use super::machine::{explain_stale_data, no_machine_text, several};
use super::problems::{self, SharedProblem};
use super::words::{clean, count, counted, list, scaled};
use super::{ConsolePage, PageContext, effects, events, graph, picture, requests, state};
use crate::history::{History, Period};
use crate::look::{MachineReport, grade};
use crate::platform::Platform;
use crate::traffic::{Traffic, TrafficRow, TrafficRowKind};
use maud::{Markup, html};
use part::report::Grade;
use part::status::{CLUSTER, ClusterReport, MEMBER, MemberReport};
use std::collections::{BTreeMap, BTreeSet};

const ORDERS_MAX: usize = 10;
const PROBLEMS_MAX: usize = 20;
const EVENTS: usize = 8;

pub(super) fn parts(shown: &PageContext<'_>) -> Vec<(&'static str, Markup)> {
    vec![
        ("alert", alert(shown)),
        ("attention", attention(shown)),
        ("picture", picture::of(shown.platform)),
        ("numbers", numbers(shown)),
        ("effects", effects::of(shown.platform)),
        ("errors", requests::errors(shown)),
        ("recent", recent(shown)),
    ]
}

fn looks<'s>(shown: &PageContext<'s>) -> impl Iterator<Item = &'s MachineReport> {
    let members = shown.platform.members.iter();
    members.filter_map(|member| member.look.as_deref())
}

/// Draws the text that a screen reader announces when it changes. The text has no times, which
/// change all the time.
fn alert(shown: &PageContext<'_>) -> Markup {
    let all = problems::all(shown.platform);
    let names: Vec<&str> = all
        .iter()
        .map(|known| known.problem.what.as_str())
        .collect();
    html! {
        @match names.len() {
            0 => "Nothing needs attention.",
            _ => { "Attention: " (clean(&list(&names[..names.len().min(PROBLEMS_MAX)]))) "." },
        }
    }
}

fn attention(shown: &PageContext<'_>) -> Markup {
    if shown.platform.members.is_empty() {
        return no_machine_text();
    }
    let all = problems::all(shown.platform);
    let taken_out = taken_out(shown);
    html! {
        @if all.is_empty() {
            p.calm { (state::word(&calm(shown), Grade::Good)) }
        } @else {
            h2 {
                @match all.len() {
                    1 => "1 thing needs attention",
                    number => { (number) " things need attention" },
                }
            }
            ul.problems { @for known in all.iter().take(PROBLEMS_MAX) { (problem(shown, known)) } }
            @if all.len() > PROBLEMS_MAX {
                p.more { "… and " (all.len() - PROBLEMS_MAX) " more." }
            }
        }
        @if taken_out > 0 {
            p.aside {
                (state::word(&format!("{taken_out} in maintenance, draining or paused"), Grade::Busy))
                " · " a href=(ConsolePage::Traffic.path()) { "see the traffic" }
            }
        }
        @for line in partial_orders(shown.platform).chain(different_settings(shown.platform)).take(ORDERS_MAX) {
            p.aside { (clean(&line)) }
        }
    }
}

/// Lists the operators' orders that are in effect on some machines only, a line each. An order by
/// the runtime API or the console changes the proxy of one machine.
fn partial_orders(platform: &Platform) -> impl Iterator<Item = String> {
    let mut out: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut all: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let members = platform.members.iter();
    for member in members.filter(|member| explain_stale_data(member).is_none()) {
        let traffic = member.look.iter().filter_map(|look| look.traffic.as_ref());
        for row in traffic.flat_map(|traffic| &traffic.rows) {
            all.entry(row.named()).or_default().insert(&member.name);
            // Counts a server that is out of service by an order, such as one in maintenance.
            if grade(&row.status) == Grade::Busy {
                out.entry(row.named()).or_default().insert(&member.name);
            }
        }
    }
    out.into_iter().filter_map(move |(name, on)| {
        let elsewhere: Vec<&str> = all.get(&name)?.difference(&on).copied().collect();
        let on: Vec<&str> = on.iter().copied().collect();
        (!elsewhere.is_empty()).then(|| {
            format!(
                "{name} is out of service on {}, and in service on {}: a change at the runtime API affects \
                 one machine only.",
                list(&on),
                list(&elsewhere)
            )
        })
    })
}

/// Lists the settings that differ between machines with the same configuration version, a line
/// each: a command of the runtime API has changed them on some machines.
fn different_settings(platform: &Platform) -> impl Iterator<Item = String> {
    let members = platform.members.iter();
    let members = members
        .filter(|member| explain_stale_data(member).is_none() && serves_one_version(platform));
    let mut values: BTreeMap<(String, String), BTreeMap<&str, String>> = BTreeMap::new();
    let mut holders: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for member in members {
        let Some(traffic) = member.look.as_ref().and_then(|look| look.traffic.as_ref()) else {
            continue;
        };
        let rows = traffic
            .rows
            .iter()
            .map(|row| (row.named(), row.settings.clone()));
        let all = rows.chain([("the proxy".to_owned(), traffic.settings())]);
        for (name, settings) in all {
            for (setting, value) in settings {
                let of_machines = values.entry((name.clone(), setting)).or_default();
                of_machines.insert(&member.name, value);
            }
            holders.entry(name).or_default().push(&member.name);
        }
    }
    values
        .into_iter()
        .filter_map(move |((name, setting), values)| {
            let mut by_value: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for member in holders.get(&name)? {
                let value = values.get(member).map_or("as in the file", String::as_str);
                by_value.entry(value).or_default().push(member);
            }
            let machines = by_value
                .iter()
                .map(|(value, on)| format!("{value} on {}", list(on)));
            let machines: Vec<String> = machines.collect();
            (machines.len() > 1).then(|| {
                format!(
                    "the {setting} of {name} is {}: a change at the runtime API affects one machine only.",
                    machines.join(" and ")
                )
            })
        })
}

/// Returns whether all nodes serve the same configuration version, as far as the machines report,
/// and no rollout is in progress.
fn serves_one_version(platform: &Platform) -> bool {
    let reports = platform.members.iter().flat_map(|one| &one.look);
    let subjects = reports
        .flat_map(|look| &look.reports)
        .filter(|report| report.part == CLUSTER)
        .flat_map(|report| &report.subjects);
    let mut served = BTreeSet::new();
    for subject in subjects {
        if subject.kind == CLUSTER {
            if ClusterReport::of(subject).version_in_progress.is_some() {
                return false;
            }
        } else if subject.kind == MEMBER {
            let member = MemberReport::of(subject);
            if member.serves_nothing || member.served_version.is_some() {
                served.insert((member.served_version, member.is_candidate));
            }
        }
    }
    served.len() <= 1
}

/// Counts the frontends, backends and servers that an operator has taken out of service. If one is
/// on several machines, it counts once.
fn taken_out(shown: &PageContext<'_>) -> usize {
    let traffic = looks(shown).filter_map(|look| look.traffic.as_ref());
    let rows = traffic.flat_map(|traffic| &traffic.rows);
    let out = rows.filter(|row| grade(&row.status) == Grade::Busy);
    out.map(TrafficRow::named)
        .collect::<BTreeSet<String>>()
        .len()
}

fn problem(shown: &PageContext<'_>, known: &SharedProblem<'_>) -> Markup {
    let problem = &known.problem;
    html! {
        li {
            div.what {
                b { (clean(&problem.what)) } " " (state::word(&problem.state, Grade::Bad))
                @if several(shown) && !known.on.is_empty() {
                    " " span.muted { "on " (clean(&list(&known.on))) }
                }
            }
            @if !problem.why.is_empty() { div.why { (clean(&problem.why)) } }
            @if known.page.is_some() || !problem.next.is_empty() {
                div.next {
                    @if let Some(page) = &known.page {
                        a href=(page.path()) { "See " (link_words(page)) }
                    }
                    @if known.page.is_some() && !problem.next.is_empty() { " or run " }
                    @if known.page.is_none() { "Run " }
                    @if !problem.next.is_empty() { code { (clean(&problem.next)) } }
                }
            }
        }
    }
}

fn link_words(page: &ConsolePage) -> String {
    match page {
        ConsolePage::Part(_) => page.title().to_lowercase(),
        page => page.title(),
    }
}

/// Returns the sentence for a state without problems, with the numbers of machines and servers that
/// it covers.
fn calm(shown: &PageContext<'_>) -> String {
    let members = shown.platform.members.len();
    let mut up = 0;
    for look in looks(shown) {
        let rows = look.traffic.iter().flat_map(|traffic| &traffic.rows);
        let servers = rows.filter(|row| row.kind == TrafficRowKind::Server);
        up += servers
            .filter(|row| grade(&row.status) == Grade::Good)
            .count();
    }
    let machines = match members {
        1 => "1 machine responds".to_owned(),
        number => format!("{} respond", counted(number, "machine")),
    };
    let servers = match (up, members) {
        (0, _) => String::new(),
        (1, 1) => ", 1 server is up".to_owned(),
        (number, 1) => format!(", {} are up", counted(number, "server")),
        _ => ", all servers are up".to_owned(),
    };
    format!("All is well: {machines}{servers}.")
}

fn numbers(shown: &PageContext<'_>) -> Markup {
    // Excludes machines that no longer respond, whose last numbers are not their current traffic.
    let members = shown.platform.members.iter();
    let fresh = members.filter(|member| explain_stale_data(member).is_none());
    let looks = fresh.filter_map(|member| member.look.as_deref());
    let all: Vec<&Traffic> = looks.filter_map(|look| look.traffic.as_ref()).collect();
    if shown.platform.members.is_empty() {
        return html! {};
    }
    if all.is_empty() {
        return html! {
            h2 { "Traffic" }
            p.empty { "No machine that responds has a proxy." }
        };
    }
    // Saturates the sum, because a compromised role may report any number.
    let sum = |of: fn(&TrafficRow) -> u64| {
        let rows = all.iter().flat_map(|traffic| traffic.frontends());
        rows.map(of).fold(0, u64::saturating_add)
    };
    let [rate, sessions] = [sum(|row| row.rate), sum(|row| row.sessions)];
    let [errors, failed] = [
        sum(|row| row.errors),
        sum(|row| row.failed.unwrap_or_default()),
    ];
    let out = all
        .iter()
        .filter_map(|traffic| traffic.fact("BytesOutRate").parse::<u64>().ok());
    let bits: Option<u64> = out
        .map(|bytes| bytes.saturating_mul(8))
        .reduce(u64::saturating_add);
    let old = shown
        .platform
        .members
        .iter()
        .filter(|one| one.look.is_some() && explain_stale_data(one).is_some());
    let old: Vec<&str> = old.map(|member| member.name.as_str()).collect();
    html! {
        h2 { "Traffic" }
        dl.numbers {
            div.main {
                dt { "Requests" }
                dd { (count(rate)) span.u { "/s" } }
                dd.trend { (hour(shown)) }
            }
            div { dt { "Sessions" } dd { (count(sessions)) } }
            @if let Some(bits) = bits {
                div { dt { "To clients" } dd { (state::quantity(&scaled(bits, "bit/s"))) } }
            }
            div { dt { "Errors " span.muted { "since the start" } } dd { (count(errors)) } }
            div { dt { "5xx " span.muted { "since the start" } } dd { (count(failed)) } }
        }
        @if !old.is_empty() { p.aside { "Without " (clean(&list(&old))) "." } }
        p.aside { a href=(ConsolePage::Traffic.path()) { "Frontends, backends and servers" } }
    }
}

fn hour(shown: &PageContext<'_>) -> Markup {
    let me = shown.platform.me();
    let traffic = me.and_then(|me| me.look.as_ref()?.traffic.as_ref());
    let mut sum: Vec<u32> = Vec::new();
    for row in traffic.iter().flat_map(|traffic| traffic.frontends()) {
        let samples = shown.platform.history.of(row, Period::Hour);
        // Aligns the samples at the end, because all of them end now and shorter series began
        // later.
        if samples.len() > sum.len() {
            sum.splice(0..0, std::iter::repeat_n(0, samples.len() - sum.len()));
        }
        let from = sum.len() - samples.len();
        for (sum, sample) in sum[from..].iter_mut().zip(&samples) {
            *sum = sum.saturating_add(sample.rate);
        }
    }
    let drawn = graph::small(&sum, History::length(Period::Hour));
    html! {
        @if sum.iter().any(|rate| *rate > 0) {
            (drawn)
            span.muted {
                "last hour"
                @if let Some(me) = me.filter(|_| several(shown)) { " on " (clean(&me.name)) }
            }
        }
    }
}

fn recent(shown: &PageContext<'_>) -> Markup {
    let all = events::all(&PageContext {
        filter: "",
        member: None,
        ..*shown
    });
    let first: Vec<_> = all.iter().take(EVENTS).collect();
    if shown.platform.members.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Last events" }
        @if first.is_empty() {
            p.empty { "No change is known." }
        } @else {
            (events::table(&first, "the last ones", several(shown), true))
            p.aside { a href=(ConsolePage::Events.path()) { "All events" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use std::sync::Arc;

    #[test]
    fn server_state_that_differs_between_machines_is_reported() {
        let mut platform = sample::platform();
        assert_eq!(partial_orders(&platform).count(), 0);
        let alpha = Arc::make_mut(platform.members[0].look.as_mut().unwrap());
        let rows = &mut alpha.traffic.as_mut().unwrap().rows;
        let web1 = rows
            .iter_mut()
            .find(|row| row.named() == "server shop/web1");
        web1.unwrap().status = "MAINT".to_owned();
        assert_eq!(
            partial_orders(&platform).collect::<Vec<_>>(),
            [
                "server shop/web1 is out of service on alpha, and in service on beta: a change at the \
                 runtime API affects one machine only."
            ]
        );
    }

    #[test]
    fn settings_that_differ_between_machines_are_reported() {
        let mut platform = sample::platform();
        let lines = |platform: &Platform| different_settings(platform).collect::<Vec<_>>();
        assert_eq!(lines(&platform), Vec::<String>::new());
        let alpha = Arc::make_mut(platform.members[0].look.as_mut().unwrap());
        let traffic = alpha.traffic.as_mut().unwrap();
        let rate = ("ConnRateLimit".to_owned(), "3".to_owned());
        traffic.facts.extend([rate]);
        let rows = traffic.rows.iter_mut();
        let mut web1 = rows.filter(|row| row.named() == "server shop/web1");
        let weight = ("weight".to_owned(), "200".to_owned());
        web1.next().unwrap().settings.extend([weight]);
        assert_eq!(
            lines(&platform),
            [
                "the weight of server shop/web1 is 200 on alpha and as in the file on beta: a change at the \
                 runtime API affects one machine only.",
                "the limit of connections per second of the proxy is 3 on alpha and as in the file on beta: \
                 a change at the runtime API affects one machine only.",
            ]
        );
        // Uses different configuration versions, with which machines may have different weights.
        let alpha = Arc::make_mut(platform.members[0].look.as_mut().unwrap());
        alpha.reports.push(part::report::StatusReport {
            part: "cluster".to_owned(),
            subjects: vec![part::report::Subject::new("cluster", "shop").publish(
                &part::status::ClusterReport {
                    version_in_progress: Some(4),
                    ..Default::default()
                },
            )],
            ..Default::default()
        });
        assert_eq!(lines(&platform), Vec::<String>::new());
    }
}
