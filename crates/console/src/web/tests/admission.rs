//! Tests sign-ins at a member whose configuration version no majority has confirmed, and at a
//! removed one.

use super::*;
use crate::access::BY_LINK;
use part::role::{MemberNews, VersionStanding};

const ACT: &str = "what=server&proxy=farm&server=one&do=drain";

/// Creates a console with this report of its control role.
fn member(version: VersionStanding) -> ConsoleFixture {
    let bed = ConsoleFixture::new(vec![issued(TEXT, "anna", Scope::Configure)]);
    hear(&bed, version);
    bed
}

fn hear(bed: &ConsoleFixture, version: VersionStanding) {
    bed.shared.apply_member_news(&MemberNews {
        version,
        ..MemberNews::default()
    });
}

const TEXT: &str = "evk_0123456789";

/// Returns the status codes of all ways to authenticate: a password, a password of a program, and a
/// token.
fn ways_in(bed: &mut ConsoleFixture) -> [u16; 4] {
    let fields = [("user", "anna"), ("password", PASSWORD)];
    let page = bed.form(HOME, "/sign-in", "", &fields);
    let basic = basic("anna", PASSWORD);
    let read = bed.ask("GET", "/api/v1/platform", basic.as_bytes(), "");
    let act = bed.ask("POST", "/api/v1/act", basic.as_bytes(), ACT);
    let bearer = format!("Bearer {TEXT}");
    let token = bed.ask("POST", "/api/v1/act", bearer.as_bytes(), ACT);
    [page.status, read.status, act.status, token.status]
}

fn overview(bed: &mut ConsoleFixture, session: &str) -> TestResponse {
    let cookie = format!("{}={session}", access::COOKIE);
    let request = Request::get("/").header(COOKIE, cookie);
    bed.request(HOME, request.body(Body::empty()).unwrap())
}

const CLOSED: [VersionStanding; 3] = [
    VersionStanding::Unconfirmed,
    VersionStanding::Outdated,
    VersionStanding::Removed,
];

#[test]
fn returned_member_refuses_passwords_and_tokens() {
    for version in CLOSED {
        let mut bed = member(version);
        assert_eq!(ways_in(&mut bed), [503; 4], "{version:?}");
        assert!(bed.ordered.is_empty());
    }
    let mut bed = member(VersionStanding::Current);
    assert_eq!(ways_in(&mut bed), [303, 200, 200, 200]);
}

#[test]
fn refusal_has_its_reason_on_the_page() {
    for (version, reason) in [
        (VersionStanding::Unconfirmed, "no majority of the cluster"),
        (VersionStanding::Outdated, "has accepted another version"),
        (VersionStanding::Removed, "was removed from the cluster"),
    ] {
        let mut bed = member(version);
        let request = Request::get("/sign-in").body(Body::empty()).unwrap();
        let page = bed.request(HOME, request);
        assert_eq!(page.status, 503);
        assert!(page.body.contains(reason), "{}", page.body);
    }
}

#[test]
fn member_that_lost_its_majority_keeps_sign_ins() {
    let mut bed = member(VersionStanding::Current);
    hear(&bed, VersionStanding::Unconfirmed);
    assert_eq!(ways_in(&mut bed), [303, 200, 200, 200]);
}

#[test]
fn sign_in_link_works_unless_the_member_was_removed() {
    for version in CLOSED {
        let mut bed = member(version);
        let secret = lock(&bed.shared.links).make(now_s()).unwrap();
        let used = bed.form(HOME, &format!("/once/{secret}"), "", &[]);
        let is_removed = version == VersionStanding::Removed;
        assert_eq!(used.status, if is_removed { 503 } else { 303 });
        if let Some(session) = used.cookie(access::COOKIE) {
            assert_eq!(overview(&mut bed, &session).status, 200);
        }
    }
}

#[test]
fn removal_ends_all_sessions() {
    let mut bed = member(VersionStanding::Current);
    let sessions = {
        let sessions = lock(&bed.shared.authentication.sessions);
        let config = bed.shared.config();
        [
            sessions.begin(&*config, "anna", now_s()).unwrap(),
            sessions.begin_unlisted(BY_LINK, now_s()).unwrap(),
        ]
    };
    for session in &sessions {
        assert_eq!(overview(&mut bed, session).status, 200);
    }
    hear(&bed, VersionStanding::Removed);
    for session in &sessions {
        assert_eq!(overview(&mut bed, session).status, 303);
    }
}
