//! Draws the traffic page: per machine its frontends, and its backends with their servers.

use super::machine::{self, id, no_machine_text};
use super::rows::{ProxyGroup, RowContext, line, proxies, status, table};
use super::words::clean;
use super::{ConsolePage, PageContext, state, table as tables};
use crate::look::grade;
use crate::platform::{MemberKind, PlatformMember};
use crate::traffic::{Traffic, TrafficRow, TrafficRowKind};
use maud::{Markup, html};
use part::report::Grade;
use std::cmp::Reverse;

const TABLE_MAX: usize = 40;
/// Maximum number of servers on the whole page. For further backends the page has only links to
/// their own pages.
const SERVERS_MAX: usize = 80;
const BACKENDS_MAX: usize = 200;
/// Number of servers up to which the page shows all backends of a machine expanded.
const FEW: usize = 24;

pub(super) fn of(shown: &PageContext<'_>) -> Markup {
    let mut left = SERVERS_MAX;
    let members: Vec<_> = shown.members().collect();
    html! {
        @if members.is_empty() { (no_machine_text()) }
        @for (index, member) in members {
            // Draws no section for an arbiter, which has no proxy.
            @if member.kind == MemberKind::Node || traffic_of(member).is_some() {
                section.machine aria-labelledby={ "m-" (index) } {
                    (machine::heading(shown, index, member))
                    (of_member(shown, index, member, &mut left))
                }
            }
        }
    }
}

fn traffic_of(member: &PlatformMember) -> Option<&Traffic> {
    member.look.as_ref()?.traffic.as_ref()
}

fn of_member(
    shown: &PageContext<'_>,
    index: usize,
    member: &PlatformMember,
    left: &mut usize,
) -> Markup {
    let Some(traffic) = traffic_of(member) else {
        let silent = member.look.as_ref().and_then(|look| look.silent.as_ref());
        return html! {
            @match (silent, &member.look) {
                (Some(why), _) => p.note.old { "The proxy does not respond: " (clean(why)) "." },
                (None, Some(_)) => p.empty { "No proxy is configured on this machine." },
                (None, None) => {}
            }
        };
    };
    let page = ConsolePage::Traffic;
    let place = RowContext::new(shown, &page, index, member);
    let all = proxies(traffic);
    let number: usize = all.iter().map(|proxy| proxy.servers.len()).sum();
    let found: Vec<MatchingRows<'_>> = all.iter().filter_map(|proxy| found(shown, proxy)).collect();
    let frontends: Vec<&TrafficRow> = found.iter().filter_map(|one| one.frontend).collect();
    let backends: Vec<&MatchingRows<'_>> =
        found.iter().filter(|one| one.backend.is_some()).collect();
    html! {
        @if found.is_empty() {
            p.empty {
                @if shown.filter.is_empty() { "No frontend and no backend is configured." }
                @else { "Nothing here has “" (clean(shown.filter)) "”." }
            }
        } @else {
            div.scroll.acts[place.has_action_column()] tabindex="0" role="group" aria-label={ "Traffic of " (clean(&member.name)) } {
                @if !frontends.is_empty() { (frontends_of(&place, &frontends)) }
                @if !backends.is_empty() { (backends_of(&place, &backends, number, left)) }
            }
            @if shown.filter.is_empty() { (tables::list(member, index, traffic, None)) }
        }
    }
}

/// The rows of a proxy that match the filter.
struct MatchingRows<'t> {
    proxy: &'t ProxyGroup<'t>,
    frontend: Option<&'t TrafficRow>,
    backend: Option<&'t TrafficRow>,
    servers: Vec<&'t TrafficRow>,
}

fn found<'t>(shown: &PageContext<'_>, proxy: &'t ProxyGroup<'t>) -> Option<MatchingRows<'t>> {
    let has = |row: &TrafficRow| shown.matches(&[&row.named(), &row.status, &row.check]);
    let frontend = proxy.frontend.filter(|row| has(row));
    let is_found = proxy.backend.is_some_and(has);
    let servers = proxy.servers.iter().copied();
    let servers: Vec<&TrafficRow> = servers.filter(|row| is_found || has(row)).collect();
    let backend = proxy.backend.filter(|_| is_found || !servers.is_empty());
    (frontend.is_some() || backend.is_some()).then_some(MatchingRows {
        proxy,
        frontend,
        backend,
        servers,
    })
}

fn frontends_of(place: &RowContext<'_>, frontends: &[&TrafficRow]) -> Markup {
    let caption = format!("Frontends of {}", place.member.name);
    let shown = &frontends[..frontends.len().min(BACKENDS_MAX)];
    html! {
        h3 { "Frontends" }
        (table(place, TrafficRowKind::Frontend, &caption, shown))
        (more(frontends.len() - shown.len()))
    }
}

fn backends_of(
    place: &RowContext<'_>,
    backends: &[&MatchingRows<'_>],
    number: usize,
    left: &mut usize,
) -> Markup {
    let shown = &backends[..backends.len().min(BACKENDS_MAX)];
    // Reserves space for backends with problems, which take precedence if not all backends fit.
    let wrong = shown.iter().filter(|one| one.proxy.is_wrong());
    let mut reserved: usize = wrong.map(|one| one.servers.len().min(TABLE_MAX)).sum();
    let is_few = number <= FEW || !place.shown.filter.is_empty();
    let mut drawn = Vec::new();
    for one in shown {
        let is_wrong = one.proxy.is_wrong();
        let wanted = one.servers.len().min(TABLE_MAX);
        let room = if is_wrong {
            *left
        } else {
            left.saturating_sub(reserved)
        };
        let is_drawn = wanted <= room;
        if is_wrong {
            reserved = reserved.saturating_sub(wanted);
        }
        if is_drawn {
            *left = left.saturating_sub(wanted);
        }
        drawn.push((one, is_drawn, is_wrong || is_few));
    }
    html! {
        h3 { "Backends" }
        @for (one, is_drawn, is_open) in drawn { (backend(place, one, is_drawn, is_open)) }
        (more(backends.len() - shown.len()))
    }
}

fn more(number: usize) -> Markup {
    html! { @if number > 0 { p.more { "… and " (number) " more: filter to see them." } } }
}

fn backend(
    place: &RowContext<'_>,
    found: &MatchingRows<'_>,
    is_drawn: bool,
    is_open: bool,
) -> Markup {
    let (name, member) = (found.proxy.name, place.member);
    let Some(row) = found.backend else {
        return html! {};
    };
    let own = ConsolePage::Proxy(name.to_owned()).path();
    let head = html! {
        span.name { b { (clean(name)) } " " (up(found.proxy)) }
        span.st { (status(row, false)) }
        (line(place, row))
    };
    html! {
        div.backend {
            @if is_drawn && !found.servers.is_empty() {
                details id=(id("b", member, name)) open[is_open] {
                    summary.line { (head) }
                    (servers(place, found, &own))
                }
            } @else {
                div.line { (head) }
            }
            // Draws the link next to the summary, which handles clicks itself and cannot contain a
            // link.
            a.own href=(own) aria-label={ "Details of backend " (clean(name)) } { "Details" }
        }
    }
}

fn up(proxy: &ProxyGroup<'_>) -> Markup {
    let words = match proxy.servers.len() {
        0 => "no servers".to_owned(),
        all => format!("{} of {all} up", proxy.up()),
    };
    let has_bad = proxy
        .servers
        .iter()
        .any(|row| grade(&row.status) == Grade::Bad);
    if has_bad {
        state::word(&words, Grade::Bad)
    } else {
        html! { span.muted { (words) } }
    }
}

fn servers(place: &RowContext<'_>, found: &MatchingRows<'_>, own: &str) -> Markup {
    let mut servers = found.servers.clone();
    if servers.len() > TABLE_MAX {
        // Moves servers that are down to the front, so that they are cut off last.
        servers.sort_by_key(|row| Reverse(grade(&row.status) == Grade::Bad));
        servers.truncate(TABLE_MAX);
    }
    let rest = found.servers.len() - servers.len();
    let caption = format!(
        "Servers of backend {} on {}",
        found.proxy.name, place.member.name
    );
    html! {
        (table(place, TrafficRowKind::Server, &caption, &servers))
        @if rest > 0 {
            p.more { "… and " (rest) " more: " a href=(own) { "show all" } ", or filter." }
        }
    }
}
