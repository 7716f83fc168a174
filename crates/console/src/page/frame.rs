//! Draws the frame of all pages (head, navigation and foot), and the few pages without navigation.

use super::machine::choices;
use super::words::{clean, encode, moment, of_part, zone};
use super::{ConsolePage, PageContext, proxy, requests};
use crate::platform::Platform;
use ::access::page::{self as shared, hidden, mark};
use maud::{DOCTYPE, Markup, html};
use part::report::Grade;

/// Parts of the platform in the order of the navigation. Other parts follow them.
const PARTS: [&str; 6] = [
    "address",
    "volume",
    "guest",
    "farm",
    "cluster",
    "supervisor",
];
const PARTS_MAX: usize = 12;
pub const BRAND: &str = "Evenkeel";

pub(super) fn head(title: &str, script: Option<&str>) -> Markup {
    shared::head(title, BRAND, script)
}

/// Document with the content between the head of the page and its foot.
struct PageDocument<'w> {
    title: &'w str,
    script: Option<&'w str>,
    main: Markup,
    foot: Markup,
}

fn whole(page: &ConsolePage, shown: &PageContext<'_>, whole: PageDocument<'_>) -> Markup {
    let title = match shown.platform.me() {
        Some(me) => format!("{} · {}", whole.title, clean(&me.name)),
        None => whole.title.to_owned(),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title, whole.script))
            body {
                a.skip href="#main" { "Skip to the content" }
                (top(page, shown))
                main #main.(class(page)) tabindex="-1" {
                    @if let Some(told) = shown.outcome {
                        // Focuses the result of an action, so that a screen reader reads it aloud
                        // and keyboard navigation continues from there.
                        p.told role="status" tabindex="-1" autofocus { (clean(told)) }
                    }
                    (whole.main)
                }
                (whole.foot)
            }
        }
    }
}

pub(super) fn document(
    page: &ConsolePage,
    shown: &PageContext<'_>,
    parts: &[(&'static str, Markup)],
) -> Markup {
    let main = html! {
        div.title {
            h1 { (heading(page)) }
            @if let Some(label) = filter(page) { (choices(page, shown, label)) }
        }
        @for (id, html) in parts {
            @let is_alert = *id == "alert";
            div id=(id) class=[is_alert.then_some("vh")] aria-live=[is_alert.then_some("polite")] { (html) }
        }
    };
    let title = page.title();
    let script = Some("/live.js");
    let foot = foot(page, shown);
    whole(
        page,
        shown,
        PageDocument {
            title: &title,
            script,
            main,
            foot,
        },
    )
}

/// Draws a document below a page in the navigation. The document is not updated live.
pub(super) fn below(
    page: &ConsolePage,
    shown: &PageContext<'_>,
    title: &str,
    script: Option<&str>,
    content: &Markup,
) -> Markup {
    let main = html! {
        div.title {
            h1 {
                a.up href=(page.path()) { (page.title()) } " " span.sep aria-hidden="true" { "/" } " "
                (clean(title))
            }
        }
        (content)
    };
    let foot = html! { footer { span { "Times are " (zone()) "." } } };
    whole(
        page,
        shown,
        PageDocument {
            title,
            script,
            main,
            foot,
        },
    )
}

fn heading(page: &ConsolePage) -> Markup {
    html! {
        @if matches!(page, ConsolePage::Proxy(_)) {
            a.up href=(ConsolePage::Traffic.path()) { "Traffic" } " " span.sep aria-hidden="true" { "/" } " "
        }
        (page.title())
    }
}

fn class(page: &ConsolePage) -> &'static str {
    match page {
        ConsolePage::Overview => "overview",
        ConsolePage::Traffic => "of-traffic",
        ConsolePage::Proxy(_) => "of-proxy",
        ConsolePage::Part(_) => "of-part",
        ConsolePage::Requests => "of-requests",
        ConsolePage::Events => "of-events",
        ConsolePage::Configuration => "of-config",
    }
}

fn filter(page: &ConsolePage) -> Option<&'static str> {
    match page {
        ConsolePage::Overview | ConsolePage::Configuration | ConsolePage::Requests => None,
        ConsolePage::Traffic => Some("Name, state or reason"),
        ConsolePage::Proxy(_) => Some("Server, state or check"),
        ConsolePage::Part(_) => Some("Name, state or reason"),
        ConsolePage::Events => Some("Machine, name, state or reason"),
    }
}

fn top(page: &ConsolePage, shown: &PageContext<'_>) -> Markup {
    html! {
        header.top {
            a.brand href="/" { (mark()) "Evenkeel" }
            nav.pages aria-label="Pages" { ul #nav { (entries(page, shown)) } }
            div.who {
                span.viewer { (clean(&shown.viewer.name)) " " span.kind { (shown.viewer.role.word()) } }
                form method="post" action="/sign-out" {
                    (hidden("csrf", &shown.viewer.csrf))
                    button.quiet type="submit" { "Sign out" }
                }
            }
        }
    }
}

pub(super) fn entries(page: &ConsolePage, shown: &PageContext<'_>) -> Markup {
    let parts = parts(shown.platform);
    let is_here = |one: &ConsolePage| match (one, page) {
        (ConsolePage::Traffic, ConsolePage::Proxy(_)) => true,
        (one, page) => one == page,
    };
    let entry = |one: &ConsolePage, words: &str, is_bad: bool| {
        html! {
            li {
                a href=(one.path()) aria-current=[is_here(one).then_some("page")] {
                    (words)
                    @if is_bad { span.s.bad { span.vh { " needs attention" } } }
                }
            }
        }
    };
    html! {
        (entry(&ConsolePage::Overview, "Overview", false))
        (entry(&ConsolePage::Traffic, "Traffic", false))
        (entry(&ConsolePage::Requests, "Requests", false))
        @for (part, is_bad) in parts {
            (entry(&ConsolePage::Part(part.to_owned()), &of_part(part), is_bad))
        }
        (entry(&ConsolePage::Configuration, "Configuration", false))
        (entry(&ConsolePage::Events, "Events", false))
    }
}

/// Lists the parts of the platform that any machine reports, and whether each has a problem.
fn parts(platform: &Platform) -> Vec<(&str, bool)> {
    let looks = platform
        .members
        .iter()
        .filter_map(|member| member.look.as_ref());
    let mut all: Vec<(&str, bool)> = Vec::new();
    for report in looks.flat_map(|look| &look.reports) {
        let is_bad = report
            .subjects
            .iter()
            .any(|one| one.state.grade == Grade::Bad);
        match all.iter_mut().find(|(part, _)| *part == report.part) {
            Some((_, known)) => *known |= is_bad,
            None => all.push((&report.part, is_bad)),
        }
    }
    let place = |part: &str| PARTS.iter().position(|one| *one == part);
    all.sort_by_key(|(part, _)| place(part).unwrap_or(PARTS.len()));
    all.truncate(PARTS_MAX);
    all
}

fn foot(page: &ConsolePage, shown: &PageContext<'_>) -> Markup {
    let me = shown.platform.me();
    let now_ms = me.map(proxy::now_ms).filter(|now_ms| *now_ms > 0);
    let path = match page {
        ConsolePage::Requests => requests::path(requests::filter(shown), shown.member),
        page => page.path() + &shown.query(shown.filter, shown.member),
    };
    html! {
        footer {
            // Contains the live status of the page, which the script writes.
            span #live role="status" {
                @if let Some(now_ms) = now_ms { "As of " (moment(now_ms).1) ". " }
                a href=(path) { "Reload" } " to see the newest."
            }
            span { "Times are " (zone()) "." }
            @if let Some(me) = me { span { "Drawn by " (clean(&me.name)) "." } }
        }
    }
}

/// Draws the page of a link that signs in once. A person presses the button; a program that only
/// follows links does not.
pub fn once(secret: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Sign in", None))
            body.alone {
                main.card {
                    h1 { (mark()) "Evenkeel" }
                    p { "This link signs you in once, in this browser." }
                    form method="post" action={ "/once/" (encode(secret)) } {
                        button.first type="submit" autofocus { "Sign in" }
                    }
                }
            }
        }
    }
}

pub fn failure(status: u16, words: &str) -> Markup {
    shared::failure(BRAND, status, words, "To the overview")
}
