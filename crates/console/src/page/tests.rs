//! Tests every page with every sample.

use super::*;
use crate::sample;
use crate::user::UserRole;
use ::part::report::{Grade, Subject};
use std::collections::BTreeSet;
use std::sync::Arc;

fn viewer(role: UserRole) -> Viewer {
    Viewer {
        name: "anna".to_owned(),
        token: None,
        role,
        csrf: "token-of-anna".to_owned(),
    }
}

fn pages() -> Vec<ConsolePage> {
    let parts = [
        "address",
        "volume",
        "guest",
        "farm",
        "cluster",
        "supervisor",
        "nobody",
    ];
    let parts = parts.map(|part| ConsolePage::Part(part.to_owned()));
    let proxies = ["www", "shop", "no such"].map(|name| ConsolePage::Proxy(name.to_owned()));
    let first = [
        ConsolePage::Overview,
        ConsolePage::Traffic,
        ConsolePage::Requests,
        ConsolePage::Events,
    ]
    .into_iter();
    first.chain(proxies).chain(parts).collect()
}

fn ids(html: &str) -> Vec<&str> {
    let parts = html.split(" id=\"").skip(1);
    parts.filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_page_of_every_sample_draws_with_ids_that_are_unique() {
    let admin = viewer(UserRole::Admin);
    let all = [
        Platform::default(),
        sample::alone(),
        sample::platform(),
        sample::broken(),
        sample::desktops(),
    ];
    for platform in &all {
        for page in pages() {
            let html = document(&page, &PageContext::all(platform, &admin)).into_string();
            let ids = ids(&html);
            let distinct: BTreeSet<&&str> = ids.iter().collect();
            assert_eq!(distinct.len(), ids.len(), "{page:?}: {ids:?}");
            assert!(html.len() < 100_000, "{page:?}: {} bytes", html.len());
            assert!(!html.contains("style=\""), "the policy forbids it");
        }
    }
}

#[test]
fn an_empty_platform_says_so() {
    let (platform, viewer) = (Platform::default(), viewer(UserRole::Viewer));
    for page in pages() {
        let html = document(&page, &PageContext::all(&platform, &viewer)).into_string();
        assert!(html.contains("No machine has reported yet"), "{page:?}");
    }
}

#[test]
fn drawn_pieces_exist_in_the_document() {
    let viewer = viewer(UserRole::Operator);
    let platform = sample::platform();
    for page in pages() {
        let shown = PageContext::all(&platform, &viewer);
        let html = document(&page, &shown).into_string();
        let pieces = pieces(&page, &shown);
        assert!(pieces.len() > 1);
        for (id, piece) in pieces {
            assert!(html.contains(&format!("id=\"{id}\"")), "{page:?}: {id}");
            assert!(html.contains(&piece), "{page:?}: {id}");
        }
    }
}

#[test]
fn forms_of_an_operator_have_the_token_and_a_viewer_has_none_that_act() {
    let platform = sample::platform();
    let (operator, viewer) = (viewer(UserRole::Operator), viewer(UserRole::Viewer));
    for page in pages() {
        let html = document(&page, &PageContext::all(&platform, &operator)).into_string();
        for form in html.split("<form").skip(1) {
            let form = form.split("</form>").next().unwrap();
            let is_post = form.contains("method=\"post\"");
            let token = form.contains("name=\"csrf\" value=\"token-of-anna\"");
            assert_eq!(is_post, token, "{page:?}: {form}");
        }
        let html = document(&page, &PageContext::all(&platform, &viewer)).into_string();
        assert!(!html.contains("/act"), "{page:?}");
    }
    let traffic = document(
        &ConsolePage::Traffic,
        &PageContext::all(&platform, &operator),
    )
    .into_string();
    assert!(traffic.contains("value=\"drain\""));
    assert!(traffic.contains("name=\"back\" value=\"/traffic\""));
    // A machine that does not respond offers no actions.
    let broken = sample::broken();
    let traffic =
        document(&ConsolePage::Traffic, &PageContext::all(&broken, &operator)).into_string();
    assert!(!traffic.contains("name=\"on\" value=\"beta\""));
}

/// Appends a hostile ending to every text of a platform.
fn hostile(platform: &mut Platform) {
    const EVIL: &str = "\"><script>alert(1)</script>'\u{202e}\u{1b}[31m";
    for member in &mut platform.members {
        for text in [&mut member.name, &mut member.why, &mut member.if_it_fails] {
            text.push_str(EVIL);
        }
        member.state.word.push_str(EVIL);
        member.state.grade = Grade::Bad;
        let look = member.look.as_mut().map(std::sync::Arc::make_mut);
        let Some(look) = look else { continue };
        for row in look
            .traffic
            .iter_mut()
            .flat_map(|traffic| &mut traffic.rows)
        {
            for text in [
                &mut row.proxy,
                &mut row.name,
                &mut row.status,
                &mut row.check,
            ] {
                text.push_str(EVIL);
            }
            (row.rate, row.sessions, row.errors) = (u64::MAX, u64::MAX, u64::MAX);
            (row.for_s, row.takes_ms, row.failed) =
                (Some(u64::MAX), Some(u64::MAX), Some(u64::MAX));
            row.bytes = [u64::MAX; 2];
        }
        for report in &mut look.reports {
            report.part.push_str(EVIL);
            report.at.boottime_ms = 0;
            for subject in &mut report.subjects {
                for text in [&mut subject.kind, &mut subject.name, &mut subject.why] {
                    text.push_str(EVIL);
                }
                for (_, number) in &mut subject.numbers {
                    *number = u64::MAX;
                }
                for event in &mut subject.events {
                    event.to.push_str(EVIL);
                    event.at.unix_ms = u64::MAX;
                }
            }
        }
    }
}

#[test]
fn hostile_names_are_escaped() {
    let mut platform = sample::platform();
    hostile(&mut platform);
    let mut operator = viewer(UserRole::Admin);
    operator.name.push_str("<b>");
    let member = &platform.members[0];
    let look = member.look.as_ref().unwrap();
    let proxies = look.traffic.as_ref().unwrap();
    let mut pages = pages();
    pages.push(ConsolePage::Proxy(proxies.rows[3].proxy.clone()));
    pages.push(ConsolePage::Part(look.reports[1].part.clone()));
    for page in pages {
        let shown = PageContext {
            outcome: Some("20:31:05: <i>"),
            ..PageContext::all(&platform, &operator)
        };
        let html = document(&page, &shown).into_string();
        for evil in [
            "<script>", "\u{202e}", "\u{1b}", "<i>", "<b>anna", "anna<b>",
        ] {
            // Texts that the browser sends back unchanged occur only in values of hidden fields.
            let html = match evil {
                "\u{202e}" | "\u{1b}" => html
                    .split("<input")
                    .map(|one| one.split_once('>').map_or(one, |two| two.1))
                    .collect(),
                _ => html.clone(),
            };
            let at = html.find(evil);
            assert!(
                at.is_none(),
                "{page:?}: {:?}",
                at.and_then(|at| html.get(at.saturating_sub(200)..at + 9))
            );
        }
        let distinct: BTreeSet<&str> = ids(&html).into_iter().collect();
        assert_eq!(distinct.len(), ids(&html).len(), "{page:?}");
    }
    let filtered = PageContext {
        filter: "<script>\"",
        member: Some("<script>"),
        ..PageContext::all(&platform, &operator)
    };
    for page in super::tests::pages() {
        let html = document(&page, &filtered).into_string();
        assert!(!html.contains("<script>"), "{page:?}");
    }
    for html in [
        ::access::page::sign_in(BRAND, Some("<script>"), "\"><script>"),
        ::access::page::sign_in_as(BRAND, "\"><script>", None, "/"),
        failure(404, "<script>"),
        once("\"><script>"),
    ] {
        assert!(!html.into_string().contains("<script>"));
    }
}

#[test]
fn the_result_of_an_action_has_the_focus() {
    let (platform, viewer) = (sample::platform(), viewer(UserRole::Operator));
    let shown = PageContext {
        outcome: Some("20:31:05: server app/two: ready"),
        ..PageContext::all(&platform, &viewer)
    };
    let html = document(&ConsolePage::Traffic, &shown).into_string();
    let told = "<p class=\"told\" role=\"status\" tabindex=\"-1\" autofocus>20:31:05: server";
    assert!(html.contains(told), "{html}");
}

#[test]
fn a_page_of_a_thousand_servers_is_bounded() {
    let platform = sample::many();
    let operator = viewer(UserRole::Operator);
    for page in [
        ConsolePage::Overview,
        ConsolePage::Traffic,
        ConsolePage::Proxy("backend-with-a-long-name-07".to_owned()),
    ] {
        let html = document(&page, &PageContext::all(&platform, &operator)).into_string();
        assert!(html.len() < 400_000, "{page:?}: {} bytes", html.len());
    }
    // A failed server is shown, however many other servers there are.
    let html = document(
        &ConsolePage::Traffic,
        &PageContext::all(&platform, &operator),
    )
    .into_string();
    assert!(html.contains("server-07-21"));
    let filtered = PageContext {
        filter: "server-24-39",
        ..PageContext::all(&platform, &operator)
    };
    let html = document(&ConsolePage::Traffic, &filtered).into_string();
    assert!(html.contains("server-24-39") && !html.contains("server-24-38"));
}

#[test]
fn a_path_parses_to_the_page_that_made_it() {
    for page in pages()
        .into_iter()
        .chain([ConsolePage::Proxy("a/b ?#%".to_owned())])
    {
        assert_eq!(ConsolePage::of_path(&page.path()), Some(page.clone()));
        assert_eq!(ConsolePage::of_path(&(page.path() + "?q=a/b")), Some(page));
    }
    for wrong in ["", "/x", "/part/", "/traffic/a/b", "/traffic/%zz"] {
        assert_eq!(ConsolePage::of_path(wrong), None, "{wrong}");
    }
}

#[test]
fn one_machine_alone_is_shown_where_it_is_chosen() {
    let (platform, viewer) = (sample::platform(), viewer(UserRole::Operator));
    let only = PageContext {
        member: Some("beta"),
        ..PageContext::all(&platform, &viewer)
    };
    let html = document(&ConsolePage::Traffic, &only).into_string();
    assert!(html.contains("Servers of backend shop on beta"));
    assert!(!html.contains("on alpha"));
    assert!(html.contains("value=\"/traffic?on=beta\""));
}

#[test]
fn old_data_is_marked_as_old() {
    let (platform, viewer) = (sample::broken(), viewer(UserRole::Viewer));
    for page in [
        ConsolePage::Overview,
        ConsolePage::Traffic,
        ConsolePage::Part("cluster".to_owned()),
        ConsolePage::Events,
    ] {
        let html = document(&page, &PageContext::all(&platform, &viewer)).into_string();
        assert!(
            html.contains("beta does not respond: connection timed out"),
            "{page:?}"
        );
    }
    let html = document(
        &ConsolePage::Part("cluster".to_owned()),
        &PageContext::all(&platform, &viewer),
    )
    .into_string();
    assert!(html.contains("the data of gamma is 29 s old"));
}

#[test]
fn the_script_is_small_and_nothing_comes_from_elsewhere() {
    assert!(SCRIPT.len() < 4_600, "{}", SCRIPT.len());
    for text in [SCRIPT, STYLE] {
        assert!(!text.contains("http") && !text.contains("@import"));
    }
}

/// Draws the page for this response of the proxy and checks it.
fn requests(reply: &str) -> String {
    let (platform, operator) = (sample::platform(), viewer(UserRole::Operator));
    let (ask, answer) = sample::asked(Ok(reply));
    let asked = Some(PageQuery {
        ask: &ask,
        answer: Some(&answer),
    });
    let shown = PageContext {
        page_query: asked,
        ..PageContext::all(&platform, &operator)
    };
    let list = document(&ConsolePage::Requests, &shown).into_string();
    let card = document(&ConsolePage::Overview, &shown).into_string();
    assert!(card.contains("Newest errors"));
    list
}

#[test]
fn requests_of_hostile_clients_are_escaped_on_the_page() {
    let evil = "\"><script>alert(1)</script>'\u{202e}\u{1b}[31m";
    for path in [
        evil.to_owned(),
        "a".repeat(8_000),
        "&<\">".repeat(2_000),
        "\u{202e}".repeat(8_000),
    ] {
        let reply = sample::requests(60, &path, &path);
        let html = requests(&reply);
        assert!(html.len() < 100_000, "{path:.20}: {}", html.len());
        for wrong in ["<script>", "\u{202e}", "\u{1b}"] {
            assert!(!html.contains(wrong), "{path:.20}: {wrong:?}");
        }
        let ids = ids(&html);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        // Every text of the request is replaced by the hostile one.
        let mut value: serde_json::Value = serde_json::from_str(sample::REQUEST).unwrap();
        poison(&mut value, &path);
        let ask = ProxyQuery::Request { id: 7 };
        let answer = ProxyResponse::read(&ask, Ok(&value.to_string()));
        assert!(matches!(answer, ProxyResponse::Request(_)), "{answer:?}");
        let (platform, operator) = (sample::platform(), viewer(UserRole::Operator));
        let asked = Some(PageQuery {
            ask: &ask,
            answer: Some(&answer),
        });
        let shown = PageContext {
            page_query: asked,
            ..PageContext::all(&platform, &operator)
        };
        let html = request(&shown, 7).into_string();
        assert!(html.len() < 300_000, "{}", html.len());
        for wrong in ["<script>", "\u{202e}", "\u{1b}"] {
            assert!(!html.contains(wrong), "{path:.20}: {wrong:?}");
        }
    }
}

fn poison(value: &mut serde_json::Value, text: &str) {
    match value {
        serde_json::Value::String(one) => text.clone_into(one),
        serde_json::Value::Array(all) => all.iter_mut().for_each(|one| poison(one, text)),
        serde_json::Value::Object(all) => all.values_mut().for_each(|one| poison(one, text)),
        _ => {}
    }
}

#[test]
fn the_bar_of_a_request_accepts_any_timers() {
    let huge = format!(
        "\"TR\":{0},\"Tw\":{0},\"Tc\":{0},\"Tr\":{0},\"Ta\":{0}",
        u64::MAX
    );
    let text =
        sample::REQUEST.replace("\"TR\":3,\"Tw\":12,\"Tc\":401,\"Tr\":500,\"Ta\":916", &huge);
    assert!(text.contains(&huge));
    let ask = ProxyQuery::Request { id: 7 };
    let ProxyResponse::Request(one) = ProxyResponse::read(&ask, Ok(&text)) else {
        panic!("a request");
    };
    assert_eq!(one.steps()[4].1, 0);
    let ProxyResponse::Request(one) = ProxyResponse::read(&ask, Ok(sample::REQUEST)) else {
        panic!("a request");
    };
    let whole: Vec<u64> = one.steps().iter().map(|(_, ms)| *ms).collect();
    assert_eq!(whole, [3, 12, 401, 500, 0]);
    assert!(one.has_failed());
}

#[test]
fn the_time_of_a_failed_request_is_that_of_the_step_in_which_it_failed() {
    use crate::inquiry::request::{FinishedRequest, RequestTimers};
    let steps = |termination: &str, [request, queue, connect, response]: [Option<u64>; 4]| {
        let one = FinishedRequest {
            termination: termination.to_owned(),
            timers: RequestTimers {
                request,
                queue,
                connect,
                response,
                active: Some(2_004),
            },
            ..FinishedRequest::default()
        };
        let steps = one.steps();
        let steps = steps.iter().map(|(name, ms)| format!("{name} {ms}"));
        steps.collect::<Vec<_>>().join(", ")
    };
    let some = Some(1);
    for (termination, timers, expected) in [
        (
            "SC--",
            [some, some, None, None],
            "request 1, queue 1, connect 2002",
        ),
        ("sQ--", [some, None, None, None], "request 1, queue 2003"),
        (
            "sH--",
            [some, some, some, None],
            "request 1, queue 1, connect 1, response 2001",
        ),
        ("cR--", [None, None, None, None], "request 2004"),
        ("PR--", [some, None, None, None], "request 1, proxy 2003"),
        ("SC--", [some, None, None, None], "request 1, proxy 2003"),
        (
            "sD--",
            [some, some, some, some],
            "request 1, queue 1, connect 1, response 1, data 2000",
        ),
    ] {
        assert_eq!(steps(termination, timers), expected, "{termination}");
    }
}

#[test]
fn hostile_entries_are_escaped_and_unnameable_keys_have_no_button() {
    let (platform, operator) = (sample::platform(), viewer(UserRole::Operator));
    let evil = "\"><script>alert(1)</script>'\u{202e}\u{1b}[31m";
    for key in [evil.to_owned(), "a".repeat(8_000), "&<\">".repeat(2_000)] {
        let mut value: serde_json::Value =
            serde_json::from_str(&sample::entries(500, &key)).unwrap();
        value["entries"][0]["plain"] = false.into();
        poison(&mut value["columns"][0]["name"], &key);
        let ask = ProxyQuery::table("shop", &[("has".to_owned(), key.clone())]);
        let answer = ProxyResponse::read(&ask, Ok(&value.to_string()));
        assert!(matches!(answer, ProxyResponse::Table(_)), "{answer:?}");
        let asked = Some(PageQuery {
            ask: &ask,
            answer: Some(&answer),
        });
        let shown = PageContext {
            page_query: asked,
            ..PageContext::all(&platform, &operator)
        };
        let html = table(&shown, &key).into_string();
        assert!(html.len() < 200_000, "{}", html.len());
        assert!(!html.contains("<script>"));
        let forms = html.matches("value=\"entry\"").count();
        assert!(forms < html.matches("<tr").count() - 1, "{forms}");
    }
}

#[test]
fn a_cut_link_is_a_problem_of_its_own_once_for_both_ends() {
    let mut platform = sample::platform();
    let why = "alpha and beta reach each other through gamma: volumes have one copy";
    for (member, cut) in platform.members.iter_mut().zip(["48 s", "47 s"]) {
        let look = Arc::make_mut(member.look.as_mut().unwrap());
        let mut reports = look.reports.iter_mut();
        let cluster = reports.find(|report| report.part == "cluster").unwrap();
        let word = format!("cut for {cut}");
        let mut link = Subject::new("link", "alpha-beta").state(&word, Grade::Bad);
        link.why = why.to_owned();
        cluster.subjects.push(link);
    }
    let all = super::problems::all(&platform);
    let links: Vec<_> = all
        .iter()
        .filter(|known| known.problem.what == "link alpha-beta")
        .collect();
    assert_eq!(links.len(), 1);
    let link = links[0];
    assert_eq!(
        (link.problem.state.as_str(), &*link.problem.why),
        ("cut for 48 s", why)
    );
    assert_eq!(link.on, ["alpha", "beta"]);
    assert_eq!(link.problem.next, "evenkeel cluster status");
    assert_eq!(link.page, Some(ConsolePage::Part("cluster".to_owned())));
}

#[test]
fn percentiles_are_numbers_of_the_page() {
    let mut platform = sample::platform();
    let member = &mut platform.members[0];
    let look = std::sync::Arc::make_mut(member.look.as_mut().unwrap());
    for row in &mut look.traffic.as_mut().unwrap().rows {
        row.percentiles_ms = Some([7, 23, 895]);
        row.takes_ms = None;
    }
    let operator = viewer(UserRole::Operator);
    let page = document(
        &ConsolePage::Traffic,
        &PageContext::all(&platform, &operator),
    )
    .into_string();
    let plain: String = page
        .split('<')
        .filter_map(|piece| Some(piece.split_once('>')?.1))
        .collect();
    let has = |words: &str| plain.replace('\u{202f}', "").contains(words);
    assert!(has("p50 7 msp95 23 msp99 895 ms"), "{plain}");
}

#[test]
fn a_display_has_an_exit_key_and_a_notice_without_scripts() {
    let platform = sample::platform();
    let operator = viewer(UserRole::Operator);
    let [display, ..] = &::screen::kind::KINDS;
    assert!(display.hint.contains("Ctrl-Alt-Home leaves it"));
    let page = screen::document(
        &platform,
        &operator,
        "guest",
        "guest mail",
        display,
        "/screen/guest/guest/mail/screen",
        true,
    );
    let page = page.into_string();
    assert!(
        !page.contains("Connecting…") && page.contains("<noscript>"),
        "{page}"
    );
}

#[test]
fn a_request_row_keeps_its_id_when_others_are_inserted() {
    let page = requests(&sample::requests(3, "/a", "shop"));
    let ids = page.matches(" id=\"q-0x").count();
    assert_eq!(ids, page.matches("<th class=\"time\"").count(), "{page}");
    assert!(ids > 1);
}
