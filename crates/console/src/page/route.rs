//! Draws the page that predicts the path of a request: the form, and the report with each evaluated
//! configuration line.

use super::frame::below;
use super::machine::{no_machine_text, stale_data_note};
use super::requests::{cut, member};
use super::words::{clean, count};
use super::{ConsolePage, PageContext};
use crate::inquiry::ProxyResponse;
use crate::inquiry::route::{
    ConditionTerm, DescribedRequest, EvaluatedLine, Live, RouteDestination, RouteReport, Server,
};
use crate::platform::MemberKind;
use crate::user::UserRole;
use maud::{Markup, html};
use part::report::{Grade, span};

pub(super) const PATH: &str = "/route";
const TEXT: usize = 600;
const VALUE: usize = 200;
/// Maximum number of evaluated lines that are drawn.
const LINES_MAX: usize = 300;
const TERMS_MAX: usize = 20;
const VALUES_MAX: usize = 8;
const SERVERS_MAX: usize = 40;
const NOTES_MAX: usize = 12;
/// Single-line fields of the form: name, label, and an example.
const FIELDS: [(&str, &str, &str); 4] = [
    ("source", "Source address", "192.0.2.10"),
    ("sni", "TLS name, if not the host", "shop.example.org"),
    ("frontend", "Frontend, if several match", "www"),
    ("to", "Destination address", "203.0.113.1:443"),
];
/// Methods of the selection. Other methods can be given in the URL of the page.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

pub fn route(shown: &PageContext<'_>, question: &DescribedRequest) -> Markup {
    let content = match (member(shown), shown.viewer.role >= UserRole::Operator) {
        (None, _) => no_machine_text(),
        (Some(_), false) => html! {
            p.empty {
                "This requires the role operator: the report contains addresses and the contents of maps \
                 and tables."
            }
        },
        (Some(member), true) => html! {
            (stale_data_note(member))
            (form(shown, question))
            (answer(shown))
        },
    };
    let title = "Where a request would go";
    below(
        &ConsolePage::Traffic,
        shown,
        title,
        None,
        &html! { div #route { (content) } },
    )
}

pub(super) fn link(shown: &PageContext<'_>) -> Markup {
    html! {
        @if shown.viewer.role >= UserRole::Operator {
            p.aside { a href=(PATH) { "Where would a request go?" } }
        }
    }
}

fn form(shown: &PageContext<'_>, question: &DescribedRequest) -> Markup {
    let value = |name: &str| {
        let mut pairs = question.pairs();
        pairs
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    };
    let nodes = shown.platform.members.iter();
    let nodes: Vec<_> = nodes.filter(|one| one.kind == MemberKind::Node).collect();
    let here = member(shown).map(|one| one.name.as_str());
    let is_listed = METHODS.contains(&question.method.as_str());
    html! {
        form.filter method="get" action=(PATH) {
            label {
                span { "Method" }
                select name="method" {
                    @for method in METHODS { option selected[method == question.method] { (method) } }
                    @if !is_listed { option selected { (clean(&question.method)) } }
                }
            }
            label.wide {
                span { "URL" }
                input name="url" type="url" required value=(question.url) placeholder="https://shop.example.org/cart"
                    autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="8000";
            }
            @for (name, label, example) in FIELDS {
                label {
                    span { (label) }
                    input name=(name) value=(value(name)) placeholder=(example) autocomplete="off"
                        autocapitalize="none" spellcheck="false" maxlength="300";
                }
            }
            @if nodes.len() > 1 {
                label {
                    span { "Node" }
                    select name="on" {
                        @for one in &nodes {
                            option value=(one.name) selected[here == Some(&*one.name)] { (clean(&one.name)) }
                        }
                    }
                }
            }
            label.wide {
                span { "Headers, one per line" }
                textarea name="header" rows="3" placeholder="Cookie: SRV=app1" autocomplete="off" spellcheck="false" {
                    (question.headers.join("\n"))
                }
            }
            div.go { button type="submit" { "Evaluate" } a.clear href=(PATH) { "Clear" } }
        }
        p.aside {
            "The request is evaluated in a separate process, with the served configuration and the current \
             state of the proxy. No server is contacted, and nothing changes. Response rules are not \
             evaluated. The values of the form are in the URL of this page."
        }
    }
}

fn answer(shown: &PageContext<'_>) -> Markup {
    match shown.page_query.map(|asked| asked.answer) {
        None => html! {},
        Some(Some(ProxyResponse::Route(report))) => drawn(report),
        Some(Some(
            ProxyResponse::Failed(words)
            | ProxyResponse::Missing(words)
            | ProxyResponse::Off(words),
        )) => html! {
            p.note.old role="status" { "No report: " (cut(words, TEXT)) }
        },
        Some(_) => html! { p.note.old role="status" { "The proxy was not queried." } },
    }
}

fn drawn(report: &RouteReport) -> Markup {
    let lines = &report.lines[..report.lines.len().min(LINES_MAX)];
    let left_out = report.left_out + (report.lines.len() - lines.len()) as u64;
    html! {
        section.subject {
            h2.asked { (cut(&report.request, TEXT)) }
            p.muted {
                @match (&report.source, &report.destination) {
                    (Some(source), Some(to)) => { "from " (cut(source, VALUE)) " to " (cut(to, VALUE)) }
                    _ => "at a Unix socket",
                }
                @if let Some(tls) = &report.tls {
                    ", TLS " @if tls.name.is_empty() { "without a name" } @else { "name " (cut(&tls.name, VALUE)) }
                    @if !tls.certificate.is_empty() {
                        ", certificate " (cut(&tls.certificate.join(", "), VALUE))
                    }
                }
                @if let Some(live) = &report.live { ", at " (cut(&live.at, VALUE)) }
            }
            (outcome(&report.outcome))
            @if let Some(live) = &report.live { (state(live)) }
        }
        section.subject {
            h2 { "Lines that were evaluated" }
            @if lines.is_empty() { p.empty { "No line of " (cut(&report.frontend, VALUE)) " was evaluated." } }
            @for section in lines.chunk_by(|one, next| one.section == next.section) {
                h3 { (cut(&section[0].section, VALUE)) }
                ol.lines { @for one in section { (line(one)) } }
            }
            @if left_out > 0 { p.more { (count(left_out)) " further lines are not shown." } }
        }
    }
}

fn outcome(outcome: &RouteDestination) -> Markup {
    let (grade, words, why) = match outcome {
        RouteDestination::Server {
            backend,
            server,
            address,
            why,
        } => {
            let at = if address.is_empty() {
                String::new()
            } else {
                format!(" ({address})")
            };
            (Grade::Good, format!("server {backend}/{server}{at}"), why)
        }
        RouteDestination::Reply {
            status,
            location,
            why,
        } => {
            let status = if status.is_empty() {
                "something"
            } else {
                status
            };
            let to = location.as_ref().map(|to| format!(", location {to}"));
            let words = format!("the proxy replies {status}{}", to.unwrap_or_default());
            (Grade::Standby, words, why)
        }
        RouteDestination::Queue {
            backend,
            server,
            why,
        } => {
            let of = match server {
                Some(server) => format!("server {backend}/{server}"),
                None => format!("backend {backend}"),
            };
            (Grade::Busy, format!("waits in the queue of {of}"), why)
        }
        RouteDestination::Nothing { why } => (Grade::Bad, "no response".to_owned(), why),
    };
    html! {
        p.goes { (super::state::word(&cut(&words, TEXT), grade)) }
        p.why { (cut(why, TEXT)) }
    }
}

fn state(live: &Live) -> Markup {
    let left_out = live.servers.len().saturating_sub(SERVERS_MAX);
    html! {
        ul.lines {
            @for one in live.servers.iter().take(SERVERS_MAX) { li { (server(one)) } }
            @for note in live.notes.iter().take(NOTES_MAX) { li.muted { (cut(note, TEXT)) } }
        }
        @if left_out > 0 { p.more { "… and " (left_out) " more servers." } }
    }
}

fn server(one: &Server) -> Markup {
    html! {
        b { (cut(&one.name, VALUE)) } " is " (cut(&one.status, VALUE)) " for " (span(one.since_ms))
        @if !one.check.is_empty() { " (" (cut(&one.check, VALUE)) ")" }
        ", " (count(one.sessions.into()))
        @if one.limit > 0 { " of " (count(one.limit.into())) }
        @if one.sessions == 1 && one.limit == 0 { " session" } @else { " sessions" }
        @if one.waiting > 0 { ", " (waiting(one.waiting)) " for it" }
        ", weight " (one.weight)
    }
}

fn waiting(number: u32) -> String {
    match number {
        1 => "1 request waits".to_owned(),
        number => format!("{} requests wait", count(number.into())),
    }
}

fn line(one: &EvaluatedLine) -> Markup {
    let has_effect = one.applies || (one.met == Some(true) && one.fails.is_none());
    let (mark, words) = match (has_effect, one.met) {
        (true, Some(_)) => (Grade::Good, "met"),
        (true, None) => (Grade::Good, "applies"),
        (false, Some(true)) => (Grade::Busy, "met, without effect"),
        (false, _) => (Grade::Unknown, "not met"),
    };
    html! {
        li {
            code { (cut(&one.text, TEXT)) } " " (super::state::word(words, mark))
            @if one.ends { ", " b { "ends these rules" } }
            @if let Some(backend) = &one.backend { ", " b { "leads to backend " (cut(backend, VALUE)) } }
            @for each in one.terms.iter().take(TERMS_MAX) { div.why { (term(each)) } }
            @if let Some(why) = &one.fails { div.why { (cut(why, TEXT)) } }
            div.why { (cut(&one.file, TEXT)) ":" (one.line) }
        }
    }
}

fn term(one: &ConditionTerm) -> Markup {
    html! {
        code { (cut(&one.term, TEXT)) } @if one.met { ": true" } @else { ": false" }
        @if one.values.is_empty() { ", there is no value" } @else {
            " for "
            @for (at, value) in one.values.iter().take(VALUES_MAX).enumerate() {
                @if at > 0 { ", " }
                code { "'" (cut(value, VALUE)) "'" }
            }
        }
    }
}
