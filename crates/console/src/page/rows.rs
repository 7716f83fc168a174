//! Draws tables of frontends, backends and servers, with columns aligned across tables.

use super::state::{self, quantity};
use super::words::{clean, count, scaled};
use super::{ConsolePage, PageContext, actions, graph};
use crate::history::{History, Period};
use crate::look::grade;
use crate::platform::PlatformMember;
use crate::traffic::{Traffic, TrafficRow, TrafficRowKind};
use maud::{Markup, html};
use part::report::{Grade, span};

/// The frontend and the backend with one name, and the servers.
pub(super) struct ProxyGroup<'t> {
    pub name: &'t str,
    pub frontend: Option<&'t TrafficRow>,
    pub backend: Option<&'t TrafficRow>,
    pub servers: Vec<&'t TrafficRow>,
}

impl ProxyGroup<'_> {
    pub(super) fn is_wrong(&self) -> bool {
        let mut all = self
            .frontend
            .iter()
            .chain(&self.backend)
            .chain(&self.servers);
        all.any(|row| grade(&row.status) == Grade::Bad)
    }

    pub(super) fn up(&self) -> usize {
        let up = self.servers.iter();
        up.filter(|row| grade(&row.status) == Grade::Good).count()
    }
}

pub(super) fn proxies(traffic: &Traffic) -> Vec<ProxyGroup<'_>> {
    let mut all: Vec<ProxyGroup<'_>> = Vec::new();
    for row in &traffic.rows {
        if all.last().is_none_or(|last| last.name != row.proxy) {
            all.push(ProxyGroup {
                name: &row.proxy,
                frontend: None,
                backend: None,
                servers: Vec::new(),
            });
        }
        let Some(proxy) = all.last_mut() else {
            continue;
        };
        match row.kind {
            TrafficRowKind::Frontend => proxy.frontend = Some(row),
            TrafficRowKind::Backend => proxy.backend = Some(row),
            TrafficRowKind::Server => proxy.servers.push(row),
        }
    }
    all
}

#[derive(Clone, Copy)]
pub(super) struct RowContext<'p> {
    pub shown: &'p PageContext<'p>,
    pub page: &'p ConsolePage,
    pub member: &'p PlatformMember,
    /// History of the machine that draws the page. None for any other machine.
    pub history: Option<&'p History>,
    /// True if the last health check is shown for healthy servers, too.
    pub checks: bool,
}

impl<'p> RowContext<'p> {
    pub(super) fn new(
        shown: &'p PageContext<'p>,
        page: &'p ConsolePage,
        index: usize,
        member: &'p PlatformMember,
    ) -> Self {
        RowContext {
            shown,
            page,
            member,
            history: (index == 0).then_some(&*shown.platform.history),
            checks: false,
        }
    }

    pub(super) fn has_action_column(&self) -> bool {
        actions::can_show_forms(self.shown, self.member)
    }
}

/// Draws a table of rows of one kind. The caption is for screen readers.
pub(super) fn table(
    place: &RowContext<'_>,
    kind: TrafficRowKind,
    caption: &str,
    rows: &[&TrafficRow],
) -> Markup {
    let acts = place.has_action_column();
    html! {
        table.rows {
            caption.vh { (clean(caption)) }
            thead {
                tr {
                    th scope="col" { (heading(kind)) }
                    th scope="col" { "State" }
                    th scope="col" { "Sessions" }
                    th.c-rate scope="col" { "Rate" }
                    th scope="col" { "Time" }
                    th scope="col" { "Errors" }
                    th scope="col" { abbr title="Responses with a status of 5xx" { "5xx" } }
                    th scope="col" { "Queue" }
                    th scope="col" { "In" }
                    th scope="col" { "Out" }
                    // Draws the column even if it is empty, because it aligns the tables.
                    @match (acts, kind) {
                        (true, TrafficRowKind::Server) => th.c-act scope="col" { span.vh { "Actions" } },
                        _ => td.c-act {},
                    }
                }
            }
            tbody { @for row in rows { (of(place, row)) } }
        }
    }
}

fn short(number: u64) -> String {
    const LONG: u64 = 100_000;
    if number < LONG {
        count(number)
    } else {
        scaled(number, "")
    }
}

fn heading(kind: TrafficRowKind) -> &'static str {
    match kind {
        TrafficRowKind::Frontend => "Frontend",
        TrafficRowKind::Backend => "Backend",
        TrafficRowKind::Server => "Server",
    }
}

fn of(place: &RowContext<'_>, row: &TrafficRow) -> Markup {
    let is_server = row.kind == TrafficRowKind::Server;
    html! {
        tr.bad[grade(&row.status) == Grade::Bad] {
            th scope="row" {
                @match (is_server, place.page) {
                    (true, _) => (clean(&row.name)),
                    (false, ConsolePage::Proxy(_)) => (clean(&row.proxy)),
                    (false, _) => a href=(ConsolePage::Proxy(row.proxy.clone()).path()) { (clean(&row.proxy)) },
                }
            }
            td.c-state { (status(row, place.checks)) }
            (numbers(place, row))
            td.c-act {
                @if is_server { (actions::of_server(place.shown, place.page, place.member, row)) }
            }
        }
    }
}

pub(super) fn status(row: &TrafficRow, always_why: bool) -> Markup {
    let grade = grade(&row.status);
    let is_well = grade == Grade::Good && !row.status.contains(['/', '(']);
    let why = !row.check.is_empty() && (always_why || !is_well);
    html! {
        (state::word(&row.status, grade))
        @if let Some(for_s) = row.for_s { " " span.for { (span(for_s.saturating_mul(1000))) } }
        @if why { div.why { (clean(&row.check)) } }
    }
}

fn rates(place: &RowContext<'_>, row: &TrafficRow) -> Vec<u32> {
    let samples = place.history.map(|history| history.of(row, Period::Hour));
    let samples = samples.unwrap_or_default();
    samples.iter().map(|sample| sample.rate).collect()
}

fn numbers(place: &RowContext<'_>, row: &TrafficRow) -> Markup {
    let cell = |number: u64| html! { td.z[number == 0] { (quantity(&short(number))) } };
    let some = |number: Option<u64>| match number {
        Some(number) => cell(number),
        None => html! { td {} },
    };
    html! {
        (cell(row.sessions))
        td.c-rate.z[row.rate == 0] { (rate(place, row)) }
        td title=[percentiles(row)] {
            @if let Some(ms) = row.takes_ms { (quantity(&format!("{} ms", count(ms)))) }
            @if let Some(all) = row.percentiles_ms {
                @for (name, ms) in PERCENTILES.iter().zip(all) {
                    div.why { span.u { (name) } " " (quantity(&format!("{} ms", count(ms)))) }
                }
            }
        }
        (cell(row.errors))
        (some(row.failed))
        (some(row.queued))
        @for bytes in row.bytes { td.z[bytes == 0] { (quantity(&scaled(bytes, "B"))) } }
    }
}

const PERCENTILES: [&str; 3] = ["p50", "p95", "p99"];

/// Describes the 50th, 95th and 99th percentile of the duration of the last requests of a row.
fn percentiles(row: &TrafficRow) -> Option<String> {
    let [p50, p95, p99] = row.percentiles_ms?.map(count);
    Some(format!("p50 {p50} ms, p95 {p95} ms, p99 {p99} ms"))
}

/// Draws a table with the percentiles of the duration of the last requests. Empty if no row has had
/// any request.
pub(super) fn times(caption: &str, rows: &[&TrafficRow]) -> Markup {
    let known = rows
        .iter()
        .filter_map(|row| Some((*row, row.percentiles_ms?)));
    let known: Vec<(&TrafficRow, [u64; 3])> = known.collect();
    html! {
        @if !known.is_empty() {
            h3 { "How long the last requests took" }
            table.entries.of-times {
                caption.vh { (clean(caption)) }
                thead {
                    tr {
                        th scope="col" { "Of" }
                        @for name in PERCENTILES { th.num scope="col" { (name) } }
                    }
                }
                tbody {
                    @for (row, all) in &known {
                        tr {
                            th scope="row" {
                                @match row.kind {
                                    TrafficRowKind::Server => (clean(&row.name)),
                                    kind => (heading(kind)),
                                }
                            }
                            @for ms in all { td.num { (quantity(&format!("{} ms", count(*ms)))) } }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn rate(place: &RowContext<'_>, row: &TrafficRow) -> Markup {
    html! {
        (graph::small(&rates(place, row), History::length(Period::Hour)))
        span { (count(row.rate)) span.u { "/s" } }
    }
}

/// Draws the numbers of a backend in the line that is visible while the backend is collapsed.
pub(super) fn line(place: &RowContext<'_>, row: &TrafficRow) -> Markup {
    let ms = row.takes_ms.map(|ms| format!("{} ms", count(ms)));
    let some = |number: Option<u64>| number.map(short).unwrap_or_default();
    let plain = [
        ("errors", short(row.errors)),
        ("responses with 5xx", some(row.failed)),
        ("in the queue", some(row.queued)),
    ];
    html! {
        span.n.z[row.sessions == 0] { (quantity(&short(row.sessions))) span.vh { " sessions" } }
        span.n.c-rate.z[row.rate == 0] { (rate(place, row)) }
        span.n title=[percentiles(row)] {
            @if let Some(ms) = ms { (quantity(&ms)) }
            @if let Some([_, p95, _]) = row.percentiles_ms {
                span.why { span.u { " p95 " } (quantity(&format!("{} ms", count(p95)))) }
            }
        }
        @for (of, number) in plain { span.n.z[number == "0"] { (quantity(&number)) span.vh { " " (of) } } }
        @for (bytes, of) in row.bytes.into_iter().zip(["in", "out"]) {
            span.n.z[bytes == 0] { (quantity(&scaled(bytes, "B"))) span.vh { " " (of) } }
        }
    }
}
