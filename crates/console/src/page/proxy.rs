//! Draws the page of a frontend or backend: its traffic of a day, and its servers with their last
//! health checks.

use super::graph::{LargeGraph, large};
use super::machine::{self, no_machine_text};
use super::rows::{ProxyGroup, RowContext, proxies, table, times};
use super::words::clean;
use super::{ConsolePage, PageContext, table as tables};
use crate::history::{History, Period, TrafficSample};
use crate::look::grade;
use crate::platform::PlatformMember;
use crate::traffic::{TrafficRow, TrafficRowKind};
use maud::{Markup, html};
use part::report::Grade;
use std::cmp::Reverse;

const SERVERS_MAX: usize = 200;
const TIMED_MAX: usize = 42;

pub(super) fn of(shown: &PageContext<'_>, name: &str) -> Markup {
    let page = ConsolePage::Proxy(name.to_owned());
    let mut all = Vec::new();
    for (index, member) in shown.members() {
        let traffic = member.look.as_ref().and_then(|look| look.traffic.as_ref());
        let found = traffic.map(proxies).unwrap_or_default();
        let found = found.into_iter().find(|proxy| proxy.name == name);
        if found.is_some() || machine::explain_stale_data(member).is_some() {
            all.push((index, member, found));
        }
    }
    let is_known = all.iter().any(|(.., found)| found.is_some());
    html! {
        @if shown.platform.members.is_empty() { (no_machine_text()) }
        @else if !is_known {
            p.empty {
                "No machine that responds has a frontend or backend “" (clean(name)) "”. "
                a href=(ConsolePage::Traffic.path()) { "All traffic" }
            }
        }
        @for (index, member, found) in &all {
            section.machine aria-labelledby={ "m-" (index) } {
                (machine::heading(shown, *index, member))
                @if let Some(found) = found { (of_member(shown, &page, *index, member, found)) }
            }
        }
    }
}

fn of_member(
    shown: &PageContext<'_>,
    page: &ConsolePage,
    index: usize,
    member: &PlatformMember,
    found: &ProxyGroup<'_>,
) -> Markup {
    let place = RowContext {
        checks: true,
        ..RowContext::new(shown, page, index, member)
    };
    let has = |row: &&TrafficRow| shown.matches(&[&row.name, &row.status, &row.check]);
    let mut servers: Vec<&TrafficRow> = found.servers.iter().copied().filter(has).collect();
    if servers.len() > SERVERS_MAX {
        servers.sort_by_key(|row| Reverse(grade(&row.status) == Grade::Bad));
    }
    let rest = servers.len().saturating_sub(SERVERS_MAX);
    servers.truncate(SERVERS_MAX);
    let own = [
        (TrafficRowKind::Frontend, found.frontend),
        (TrafficRowKind::Backend, found.backend),
    ];
    let caption = |what: &str| format!("{what} {} on {}", found.name, member.name);
    let sides = own.iter().filter_map(|(_, row)| *row);
    let timed: Vec<&TrafficRow> = sides
        .chain(servers.iter().copied())
        .take(TIMED_MAX)
        .collect();
    html! {
        div.scroll.acts[place.has_action_column()] tabindex="0" role="group" aria-label=(clean(&caption("Numbers of"))) {
            @for (kind, row) in own {
                @if let Some(row) = row {
                    (table(&place, kind, &caption("Frontend or backend"), &[row]))
                }
            }
            @if !servers.is_empty() {
                h3 { "Servers" }
                (table(&place, TrafficRowKind::Server, &caption("Servers of"), &servers))
            } @else if !found.servers.is_empty() {
                p.empty { "No server here has “" (clean(shown.filter)) "”." }
            } @else if found.backend.is_some() {
                p.empty { "This backend has no servers." }
            }
            @if rest > 0 { p.more { "… and " (rest) " more: filter to see them." } }
        }
        (times(&caption("Times of"), &timed))
        @if let Some(traffic) = member.look.as_ref().and_then(|look| look.traffic.as_ref()) {
            (tables::list(member, index, traffic, Some(found.name)))
        }
        @if let Some(history) = place.history {
            @for (_, row) in own {
                @if let Some(row) = row { (graphs(history, row, now_ms(member))) }
            }
        }
    }
}

/// Returns the time of the last poll of a machine according to its reports, milliseconds since
/// 1970. 0 if there is no report.
pub(super) fn now_ms(member: &PlatformMember) -> u64 {
    let reports = member.look.iter().flat_map(|look| &look.reports);
    let times = reports.map(|report| report.at.unix_ms);
    times.max().unwrap_or_default()
}

fn graphs(history: &History, row: &TrafficRow, now_ms: u64) -> Markup {
    let of = |period, title, unit, value: fn(&TrafficSample) -> u32| {
        let (words, seconds) = match period {
            Period::Hour => ("last hour", 3_600),
            Period::Day => ("last day", 86_400),
        };
        let length = History::length(period);
        let large_of = LargeGraph {
            title,
            unit,
            period: words,
            seconds,
            length,
        };
        let samples = history.of(row, period);
        let of_s = history.seconds(row, period);
        large(&large_of, &samples, &of_s, value, now_ms)
    };
    let what = match row.kind {
        TrafficRowKind::Frontend => "Frontend",
        _ => "Backend",
    };
    html! {
        h3 { (what) " over time" }
        div.graphs {
            @for period in [Period::Hour, Period::Day] {
                (of(period, "Rate", "/s", |sample| sample.rate))
            }
            @if row.kind != TrafficRowKind::Frontend {
                @for period in [Period::Hour, Period::Day] {
                    (of(period, "Time", "ms", |sample| sample.takes_ms))
                }
            }
        }
    }
}
