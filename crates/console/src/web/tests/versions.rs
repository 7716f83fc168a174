//! Tests configuration changes by programs, and their outcomes.

use super::*;
use serde_json::Value;

fn apply(bed: &mut ConsoleFixture, text: &str, message: &str, further: &str) -> (u16, Value) {
    let body = format!("of=1&path=/a.cfg&text={text}&message={message}{further}");
    let reply = bed.ask("POST", "/api/v1/apply", b"Bearer right", &body);
    let value = serde_json::from_str(&reply.body).unwrap();
    (reply.status, value)
}

#[test]
fn a_waiting_request_gets_the_outcome_of_the_version() {
    let mut bed = ConsoleFixture::new(vec![issued("right", "anna", Scope::Configure)]);
    for (message, status, outcome) in [
        ("accepted", 200, "accepted"),
        ("confirm", 200, "awaits confirmation"),
        ("refused", 422, "refused"),
        ("rolled+back", 409, "rolled back"),
    ] {
        let (is, body) = apply(&mut bed, "global", message, "&wait=300");
        assert_eq!((is, &body["outcome"]), (status, &outcome.into()), "{body}");
        let words = message.replace('+', " ");
        assert_eq!(body["why"], format!("why {words}"), "{body}");
        assert_eq!(body["nodes"][0]["node"], "beta", "{body}");
        assert_eq!(body["nodes"][0]["says"], format!("beta {words}"), "{body}");
        assert_eq!(body["error"].is_null(), status == 200, "{body}");
    }
    let (is, body) = apply(&mut bed, "global", "slow", "&wait=1");
    assert_eq!(
        (is, &body["outcome"]),
        (202, &"in progress".into()),
        "{body}"
    );
    assert_eq!(body["version"], 6);
    // Without `wait` the response comes as soon as the configuration version is proposed.
    let (is, body) = apply(&mut bed, "global", "refused", "");
    assert_eq!((is, &body["version"]), (200, &4.into()), "{body}");
    assert_eq!(body["done"], "apply");
}

#[test]
fn an_unservable_version_is_refused_with_its_diagnostics() {
    let mut bed = ConsoleFixture::new(vec![issued("right", "anna", Scope::Configure)]);
    for further in ["", "&wait=9"] {
        let (is, body) = apply(&mut bed, "wrong", "accepted", further);
        assert_eq!(is, 422, "{body}");
        assert_eq!(body["findings"]["all"][0]["code"], "E0303", "{body}");
        assert_eq!(body["findings"]["all"][0]["line"], 1, "{body}");
        assert!(
            body["error"]
                .as_str()
                .unwrap()
                .contains("nothing was changed")
        );
    }
    for wrong in ["x", "301", "-1"] {
        let (is, body) = apply(&mut bed, "global", "accepted", &format!("&wait={wrong}"));
        assert_eq!(is, 400, "{body}");
    }
    assert!(bed.ordered.is_empty(), "{:?}", bed.ordered);
}

/// Posts a form of the editor as an administrator.
fn edit(bed: &mut ConsoleFixture, to: &str, fields: &[(&str, &str)]) -> TestResponse {
    let anna = session_of(bed, "anna");
    let csrf = get(bed, &anna, "/config/edit?path=/a.cfg").hidden("csrf");
    let common = [("csrf", csrf.as_str()), ("path", "/a.cfg")];
    let fields: Vec<_> = common.iter().chain(fields).copied().collect();
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = Request::post(to)
        .header(COOKIE, anna)
        .header("origin", "https://alpha")
        .header("host", "alpha");
    bed.request(HOME, request.body(Body::from(form)).unwrap())
}

#[test]
fn an_outdated_edit_shows_the_changes_and_keeps_the_text() {
    let mut bed = bed();
    let text = "global\n    maxconn 4711\n";
    let fields = [("text", text), ("do", "review")];
    let stale = edit(
        &mut bed,
        "/config/edit",
        &[&fields[..], &[("of", "1")]].concat(),
    );
    assert_eq!(stale.status, 200, "{stale:?}");
    for words in [
        "Version 2 was accepted while you edited version 1",
        "maxconn 4711",
        "-old line",
        "+new line",
        "Other files that changed: /b.cfg",
        "text of two",
        "name=\"onto\" value=\"2\"",
        "name=\"of\" value=\"1\"",
    ] {
        assert!(stale.body.contains(words), "{words}: {stale:?}");
    }
    assert!(!stale.body.contains("/config/apply"), "{stale:?}");
    assert!(!stale.body.contains("value=\"review\""), "{stale:?}");
    // The script of the editor gets the notice, too.
    let found = edit(&mut bed, "/config/check", &[("text", text), ("of", "1")]);
    assert!(found.body.contains("Version 2 of "), "{found:?}");
    let found = edit(&mut bed, "/config/check", &[("text", text), ("of", "2")]);
    assert!(!found.body.contains("was accepted"), "{found:?}");
    // After a merge the edit continues from the newer configuration version.
    let merged = [("text", text), ("of", "1"), ("onto", "2")];
    let merged = edit(&mut bed, "/config/edit", &merged);
    assert!(
        merged.body.contains("name=\"of\" value=\"2\""),
        "{merged:?}"
    );
    assert!(!merged.body.contains("was accepted while"), "{merged:?}");
    let review = edit(
        &mut bed,
        "/config/edit",
        &[&fields[..], &[("of", "2")]].concat(),
    );
    assert!(review.body.contains("/config/apply"), "{review:?}");
    // An application that comes too late leads to the same page.
    let late = [("text", text), ("of", "1"), ("message", "")];
    let late = edit(&mut bed, "/config/apply", &late);
    for words in [
        "Enter a reason",
        "maxconn 4711",
        "name=\"onto\" value=\"2\"",
    ] {
        assert!(late.body.contains(words), "{words}: {late:?}");
    }
    assert!(bed.ordered.is_empty(), "{:?}", bed.ordered);
}
