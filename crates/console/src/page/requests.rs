//! Draws the newest HTTP requests of a machine, one request with the decisions about it, and the
//! last failed requests.

use super::frame::below;
use super::machine::{no_machine_text, stale_data_note};
use super::state::{self, quantity};
use super::words::{clean, count, encode, scaled};
use super::{ConsolePage, PageContext, PageQuery};
use crate::inquiry::request::{FinishedRequest, FinishedRequests};
use crate::inquiry::{ProxyQuery, ProxyResponse, RequestFilter};
use crate::platform::{MemberKind, PlatformMember};
use crate::user::UserRole;
use maud::{Markup, html};
use part::report::Grade;
use std::borrow::Cow;

/// Maximum length of a text in a row, characters.
const SHORT: usize = 64;
const PATH: usize = 128;
const LONG: usize = 4_000;
const LINES_MAX: usize = 40;
/// Maximum length of a text that has a line of its own, such as a failure, characters.
const LINE: usize = 300;
const MEANINGS_MAX: usize = 8;
const BAR: u64 = 1_000;
/// Fields of the form: name, label, and an example.
const FIELDS: [(&str, &str, &str); 6] = [
    ("host", "Host", "shop.example.org"),
    ("path", "Path begins with", "/cart"),
    ("status", "Status", "404 or 5xx"),
    ("client", "Client", "192.0.2.7"),
    ("server", "Server", "app or app/one"),
    ("frontend", "Frontend", "www"),
];

pub(super) fn filter<'s>(shown: &PageContext<'s>) -> Option<&'s RequestFilter> {
    match shown.page_query?.ask {
        ProxyQuery::Requests { filter, .. } => Some(filter),
        ProxyQuery::Request { .. }
        | ProxyQuery::Table { .. }
        | ProxyQuery::Route(_)
        | ProxyQuery::Files
        | ProxyQuery::Metrics => None,
    }
}

pub(super) fn path(filter: Option<&RequestFilter>, member: Option<&str>) -> String {
    let pairs = filter.into_iter().flat_map(RequestFilter::pairs);
    let on = member.map(|name| ("on", name));
    let all = pairs.chain(on);
    let all: Vec<String> = all
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    if all.is_empty() {
        ConsolePage::Requests.path()
    } else {
        format!("{}?{}", ConsolePage::Requests.path(), all.join("&"))
    }
}

pub(super) fn member<'s>(shown: &PageContext<'s>) -> Option<&'s PlatformMember> {
    let members = &shown.platform.members;
    let chosen = shown
        .member
        .and_then(|name| members.iter().find(|one| one.name == name));
    chosen.or(shown.platform.me())
}

pub(super) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    let text = clean(text);
    match text.char_indices().nth(max) {
        None => text,
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

pub(super) fn wanted(shown: &PageContext<'_>) -> Markup {
    let none = RequestFilter::default();
    let now = filter(shown).unwrap_or(&none);
    let value = |name: &str| {
        let mut pairs = now.pairs();
        pairs
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    };
    let members = &shown.platform.members;
    let here = member(shown).map(|one| one.name.as_str());
    html! {
        (super::route::link(shown))
        @if shown.viewer.role >= UserRole::Operator {
            form.filter role="search" method="get" action=(ConsolePage::Requests.path()) {
                @for (name, label, example) in FIELDS {
                    label {
                        span { (label) }
                        input name=(name) value=(value(name)) placeholder=(example) autocomplete="off"
                            autocapitalize="none" spellcheck="false" maxlength="200";
                    }
                }
                @if let Some(member) = shown.member { input type="hidden" name="on" value=(member); }
                div.go {
                    label.tick {
                        input type="checkbox" name="outcome" value="failed" checked[now.outcome == "failed"];
                        span { "Only errors" }
                    }
                    button type="submit" { "Filter" }
                    @if *now != none { a.clear href=(path(None, shown.member)) { "Show all" } }
                }
            }
        }
        @if members.len() > 1 {
            nav.pick aria-label="Machine" {
                // Lists only nodes, because an arbiter has no proxy.
                @for (at, one) in members.iter().enumerate().filter(|(_, one)| one.kind == MemberKind::Node) {
                    a href=(path(Some(now), (at > 0).then_some(one.name.as_str())))
                        aria-current=[(here == Some(&*one.name)).then_some("true")] { (clean(&one.name)) }
                }
            }
        }
    }
}

fn refusal(shown: &PageContext<'_>) -> Option<Markup> {
    let Some(member) = member(shown) else {
        return Some(no_machine_text());
    };
    if shown.viewer.role < UserRole::Operator {
        return Some(html! {
            p.empty {
                "Requests require the role operator: they contain client addresses and paths."
            }
        });
    }
    match shown.page_query.and_then(|asked| asked.answer) {
        None => Some(
            html! { (stale_data_note(member)) p.empty { "The proxy has not been queried yet." } },
        ),
        Some(ProxyResponse::Off(_)) => Some(explain_disabled_history(member)),
        Some(ProxyResponse::Missing(words)) => Some(html! { p.empty { (clean(words)) } }),
        Some(ProxyResponse::Failed(words)) => Some(html! {
            (stale_data_note(member))
            p.note.old { "No requests of " (clean(&member.name)) ": " (clean(words)) }
        }),
        Some(
            ProxyResponse::Requests(_)
            | ProxyResponse::Request(_)
            | ProxyResponse::Table(_)
            | ProxyResponse::Route(_)
            | ProxyResponse::Files(_),
        ) => None,
    }
}

fn explain_disabled_history(member: &PlatformMember) -> Markup {
    html! {
        div.subject {
            h2 { "The proxy of " (clean(&member.name)) " keeps no requests" }
            p { "Add this line to the section " code { "global" } ", and reload:" }
            pre { code { "request-history 1024" } }
            p.aside {
                "Each thread of the proxy then keeps its newest 1,024 requests. That takes about 0.4 MiB a thread, \
                 and 0.1 to 0.25 microseconds of each request. Query strings, bodies, and headers but the host \
                 are not kept."
            }
        }
    }
}

pub(super) fn of(shown: &PageContext<'_>) -> Markup {
    if let Some(refusal) = refusal(shown) {
        return refusal;
    }
    let (
        Some(PageQuery {
            answer: Some(ProxyResponse::Requests(found)),
            ..
        }),
        Some(member),
    ) = (shown.page_query, member(shown))
    else {
        return html! {};
    };
    let is_filtered = filter(shown).is_some_and(|filter| filter.pairs().next().is_some());
    html! {
        (stale_data_note(member))
        @if found.requests.is_empty() {
            p.empty {
                @if is_filtered { "No stored request matches the filter." }
                @else { "No request has ended since the proxy began to store them." }
            }
        } @else {
            (table(shown, found, &format!("Newest requests of {}", member.name)))
            p.more { (oldest(found)) }
        }
    }
}

fn oldest(found: &FinishedRequests) -> Markup {
    let oldest = found.oldest.as_deref().unwrap_or_default();
    html! {
        "The newest " (found.requests.len()) " that match, the newest first."
        @if let (Some(day), Some(time)) = (oldest.get(..10), oldest.get(11..19)) {
            " The oldest stored request ended at " (clean(day)) " " (clean(time)) "."
        }
    }
}

/// Draws the last failed requests for a card. Empty where requests are not kept or the viewer may
/// not see them.
pub(super) fn errors(shown: &PageContext<'_>) -> Markup {
    let answer = shown.page_query.and_then(|asked| asked.answer);
    let may = shown.viewer.role >= UserRole::Operator;
    let (Some(ProxyResponse::Requests(found)), true, Some(member)) = (answer, may, member(shown))
    else {
        return html! {};
    };
    html! {
        h2 {
            "Newest errors"
            @if super::machine::several(shown) { " " span.kind { "on " (clean(&member.name)) } }
        }
        @if found.requests.is_empty() {
            p.empty { "None of the stored requests failed." }
        } @else {
            (table(shown, found, "Newest errors"))
        }
        p.aside { a href=(path(filter(shown), shown.member)) { "All stored errors" } }
    }
}

fn table(shown: &PageContext<'_>, found: &FinishedRequests, caption: &str) -> Markup {
    html! {
        table.list {
            caption.vh { (clean(caption)) }
            thead {
                tr {
                    th scope="col" { "Ended" }
                    th scope="col" { "Status" }
                    th scope="col" { "Request" }
                    th scope="col" { "Client" }
                    th scope="col" { "Server" }
                    th.num scope="col" { "Time" }
                    th.num scope="col" { "Bytes" }
                    th scope="col" { abbr title="Termination state, as in the log" { "End" } }
                }
            }
            tbody { @for one in &found.requests { (row(shown, one)) } }
        }
    }
}

fn own(shown: &PageContext<'_>, one: &FinishedRequest) -> String {
    let on = shown.member.map(|name| format!("?on={}", encode(name)));
    format!("/requests/{}{}", encode(&one.id), on.unwrap_or_default())
}

fn grade(one: &FinishedRequest) -> Grade {
    match one.status {
        _ if one.has_failed() => Grade::Bad,
        Some(400..) => Grade::Busy,
        Some(_) => Grade::Good,
        None => Grade::Unknown,
    }
}

fn status(one: &FinishedRequest) -> Markup {
    let words = match (one.status, one.line.mode.as_str()) {
        (Some(status), _) => status.to_string(),
        (None, "tcp") => "TCP".to_owned(),
        (None, _) => "none".to_owned(),
    };
    state::word(&words, grade(one))
}

fn row(shown: &PageContext<'_>, one: &FinishedRequest) -> Markup {
    let some = |text: &Option<String>, max| text.as_deref().map(|text| cut(text, max).into_owned());
    let (line, course) = (&one.line, &one.course);
    let time = one.ended.get(11..23).unwrap_or(&one.ended);
    html! {
        // Sets the id, by which a row keeps its identity and the focus while newer rows are
        // inserted above.
        tr.bad[one.has_failed()] id={ "q-" (cut(&one.id, SHORT)) } {
            th.time scope="row" {
                a href=(own(shown, one)) { time datetime=(cut(&one.ended, SHORT)) { (cut(time, SHORT)) } }
            }
            td.c-status { (status(one)) }
            td.what {
                @if let Some(method) = some(&line.method, 12) { b { (method) } " " }
                @if let Some(path) = some(&line.path, PATH) { (path) }
                @if let Some(host) = some(&line.host, SHORT) { div.why { (host) } }
            }
            td.client { (cut(&one.client, SHORT)) }
            td.server { (server(&some(&course.frontend, SHORT), course, SHORT)) }
            td.num { @if let Some(ms) = one.timers.active { (quantity(&format!("{} ms", count(ms)))) } }
            td.num { (quantity(&scaled(one.bytes_out, "B"))) }
            td.end { code title=(cut(&one.meaning.join("; "), LINE)) { (cut(&one.termination, 8)) } }
        }
    }
}

fn server(
    frontend: &Option<String>,
    course: &crate::inquiry::request::RequestPath,
    max: usize,
) -> Markup {
    let backend = course.backend.as_deref().map(|name| cut(name, max));
    let server = course.server.as_deref().map(|name| cut(name, max));
    html! {
        @match (backend, server) {
            (Some(backend), Some(server)) => { (backend) "/" (server) },
            (Some(backend), None) => { (backend) " " span.muted { "(no server)" } },
            (None, _) => span.muted { "none" },
        }
        @if let Some(frontend) = frontend { div.why { (frontend) } }
    }
}

pub fn one(shown: &PageContext<'_>, id: u64) -> Markup {
    let title = format!("{id:#x}");
    let found = shown.page_query.and_then(|asked| asked.answer);
    let content = match (refusal(shown), found) {
        (Some(refusal), _) => html! { div #request { (refusal) } },
        (None, Some(ProxyResponse::Request(one))) => account(shown, one),
        (None, _) => html! {},
    };
    below(&ConsolePage::Requests, shown, &title, None, &content)
}

fn account(shown: &PageContext<'_>, one: &FinishedRequest) -> Markup {
    let (line, course) = (&one.line, &one.course);
    let text = |text: &Option<String>| text.as_deref().map(|text| cut(text, LONG).into_owned());
    let method = text(&line.method).unwrap_or_else(|| "TCP session".to_owned());
    html! {
        div #request.subject.bad[one.has_failed()] {
            h2.asked { (method) " " (text(&line.path).unwrap_or_default()) }
            p { (status(one)) " " span.muted { "ended " (cut(&one.ended, SHORT)) } }
            @for meaning in one.meaning.iter().take(MEANINGS_MAX) { p.why { (cut(meaning, LINE)) } }
            (bar(one))
            dl.facts {
                (fact("host", text(&line.host)))
                (fact("client", Some(cut(&one.client, SHORT).into_owned())))
                (fact("unique id", text(&line.unique_id)))
                (fact("frontend", text(&course.frontend)))
                (fact("backend", text(&course.backend)))
                (fact("chosen by", text(&course.backend_by)))
                (fact("server", text(&course.server)))
                (fact("chosen by", text(&course.server_by)))
                (fact("server said", course.server_status.map(|status| format!("status {status}"))))
                (fact("response", text(&course.page).or(course.cached.then(|| "from the cache".to_owned()))))
                (fact("bytes", Some(format!("{} from the client, {} to it", scaled(one.bytes_in, "B"), scaled(one.bytes_out, "B")))))
                (fact("retries", (course.retries > 0).then(|| count(course.retries))))
                (fact("queue", queue(course)))
                (fact("end", Some(cut(&one.termination, 8).into_owned())))
            }
        }
        (rules(one))
        (tries(one))
        p.aside { a href=(path(None, shown.member)) { "The newest requests" } }
    }
}

fn fact(name: &str, value: Option<String>) -> Markup {
    html! { @if let Some(value) = value { div { dt { (name) } dd { (value) } } } }
}

fn queue(course: &crate::inquiry::request::RequestPath) -> Option<String> {
    let (server, backend) = (course.server_queue, course.backend_queue);
    (server + backend > 0)
        .then(|| format!("behind {server} of the server, {backend} of the backend"))
}

fn step(name: &str) -> usize {
    let known = ["request", "queue", "connect", "response"];
    known
        .iter()
        .position(|known| *known == name)
        .unwrap_or(known.len())
}

fn bar(one: &FinishedRequest) -> Markup {
    let (timers, steps) = (&one.timers, one.steps());
    let sum = steps
        .iter()
        .fold(0_u64, |sum, (_, ms)| sum.saturating_add(*ms));
    let mut from = 0_u64;
    let mut parts = Vec::new();
    for (name, ms) in &steps {
        let at = step(name);
        let to = from.saturating_add(*ms);
        let [x, end] =
            [from, to].map(|at| u128::from(at) * u128::from(BAR) / u128::from(sum.max(1)));
        parts.push((at, x, end - x));
        from = to;
    }
    html! {
        @if sum > 0 {
            svg.bar viewBox={ "0 0 " (BAR) " 10" } preserveAspectRatio="none" aria-hidden="true" {
                @for (at, x, width) in parts {
                    rect class={ "step-" (at) } x=(x) y="0" width=(width) height="10" {}
                }
            }
        }
        dl.steps {
            @for (at, (name, ms)) in steps.iter().enumerate() {
                div.z[*ms == 0] { dt class={ "step-" (at) } { (name) } dd { (quantity(&format!("{} ms", count(*ms)))) } }
            }
            div { dt { "all" } dd { (quantity(&format!("{} ms", count(timers.active.unwrap_or(sum))))) } }
        }
    }
}

fn rules(one: &FinishedRequest) -> Markup {
    html! {
        @if !one.rules.is_empty() {
            section.subject {
                h2 { "Rules that took effect" }
                ol.lines {
                    @for rule in one.rules.iter().take(LINES_MAX) {
                        li {
                            code { (cut(rule.text.as_deref().unwrap_or(&rule.rule), 2 * LINE)) }
                            @if rule.ends { " " b { "ended the rules" } }
                            @if let (Some(file), Some(line)) = (&rule.file, rule.line) {
                                div.why { (cut(file, LINE)) ":" (line) }
                            }
                        }
                    }
                }
                @if one.rules_left_out > 0 { p.more { "… and " (count(one.rules_left_out)) " more." } }
            }
        }
    }
}

fn tries(one: &FinishedRequest) -> Markup {
    html! {
        @if !one.failed_tries.is_empty() {
            section.subject {
                h2 { "Failed attempts" }
                ol.lines {
                    @for each in one.failed_tries.iter().take(LINES_MAX) {
                        li {
                            b { "server " (cut(&each.server, SHORT)) } " " (cut(&each.failure, LINE))
                            " " span.muted { "after " (count(each.after_ms)) " ms" }
                        }
                    }
                }
            }
        }
    }
}
