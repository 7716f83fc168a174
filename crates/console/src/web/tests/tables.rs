//! Tests stick tables: their entries, and the removal of an entry.

use super::*;

#[test]
fn an_operator_sees_entries_and_a_viewer_only_the_header() {
    let mut bed = bed();
    let [olga, vera] = ["olga", "vera"].map(|user| session_of(&bed, user));
    for path in ["/traffic", "/traffic/shop"] {
        let page = get(&mut bed, &vera, path);
        assert!(page.body.contains("/tables/shop"), "{path}");
    }
    assert!(
        !get(&mut bed, &vera, "/traffic/www")
            .body
            .contains("/tables/")
    );
    let page = get(&mut bed, &olga, "/tables/shop?by=gpc0&has=192");
    assert_eq!(page.status, 200);
    for words in [
        "192.0.2.1",
        "http_req_rate",
        "name=\"has\" value=\"192\"",
        "Remove…",
        // The filter is preserved after a removal.
        "name=\"back\" value=\"/tables/shop?by=gpc0&amp;has=192\"",
    ] {
        assert!(page.body.contains(words), "{words}: {page:?}");
    }
    let head = get(&mut bed, &vera, "/tables/shop");
    assert!(!head.body.contains("192.0.2.1") && !head.body.contains("Remove"));
    assert!(head.body.contains("214 of"), "{head:?}");
    let slash = get(&mut bed, &vera, "/tables/mesh%2Fsessions");
    assert!(slash.body.contains("12 of"), "{slash:?}");
    assert_eq!(get(&mut bed, &olga, "/tables/none").status, 404);
    assert_eq!(get(&mut bed, &olga, "/tables/a%0Ab").status, 404);
}

#[test]
fn unknown_objects_are_not_found_unless_a_machine_is_silent() {
    let mut bed = bed();
    let vera = session_of(&bed, "vera");
    let status = |bed: &mut ConsoleFixture, path: &str| get(bed, &vera, path).status;
    for (path, expected) in [
        ("/traffic/shop", 200),
        ("/traffic/nosuch", 404),
        ("/tables/shop", 200),
        ("/tables/nosuch", 404),
    ] {
        assert_eq!(status(&mut bed, path), expected, "{path}");
    }
    let mut platform = sample::platform();
    platform.members[1].silent = Some("it is off".to_owned());
    bed.shared.platform.send_replace(Arc::new(platform));
    for path in ["/traffic/nosuch", "/tables/nosuch"] {
        assert_eq!(status(&mut bed, path), 200, "{path}");
    }
}

#[test]
fn only_an_operator_removes_an_entry_after_confirmation() {
    let mut bed = bed();
    for (user, status) in [("vera", 403), ("olga", 200)] {
        let cookie = session_of(&bed, user);
        let csrf = get(&mut bed, &cookie, "/traffic").hidden("csrf");
        let form = [
            ("csrf", csrf.as_str()),
            ("what", "entry"),
            ("table", "shop"),
            ("key", "192.0.2.1"),
            ("back", "/tables/shop"),
        ];
        let asked = bed.form(HOME, "/act", &cookie, &form);
        assert_eq!(asked.status, status, "{asked:?}");
        assert!(bed.ordered.is_empty());
        if status == 200 {
            assert!(asked.body.contains("Remove the entry?"), "{asked:?}");
            let sure = [&form[..], &[("sure", "yes")]].concat();
            let done = bed.form(HOME, "/act", &cookie, &sure);
            assert_eq!(done.status, 303, "{done:?}");
            // The message begins with the time, such as 20:31:05.
            let to = done.headers["location"].to_str().unwrap();
            let (_, told) = to.split_once("?told=").unwrap();
            let time: String = told.chars().take(12).collect();
            let shape = time.replace(|c: char| c.is_ascii_digit(), "9");
            assert_eq!(shape, "99%9A99%9A99", "{to}");
            let page = get(&mut bed, &cookie, to);
            assert!(page.body.contains("<p class=\"told\""), "{page:?}");
            let what = "entry 192.0.2.1 of table shop removed".to_owned();
            assert_eq!(bed.ordered, [("olga".to_owned(), UserRole::Operator, what)]);
        }
    }
}

#[test]
fn programs_list_tables_see_entries_and_remove_one() {
    let mut bed = bed();
    for (method, path, status, words) in [
        ("GET", "/api/v1/tables", 200, "\"mesh/sessions\""),
        ("GET", "/api/v1/tables?on=nobody", 200, "[]"),
        ("GET", "/api/v1/tables/shop", 200, "\"entries\""),
        ("GET", "/api/v1/tables/none", 404, "No such table"),
        ("GET", "/api/v1/tables/a%20b", 400, "not the name"),
        ("DELETE", "/api/v1/tables/shop", 400, "not a key"),
        ("DELETE", "/api/v1/tables/shop?key=a%0Ab", 400, "not a key"),
    ] {
        let reply = bed.ask(method, path, b"Bearer right", "");
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(reply.body.contains(words), "{path}: {reply:?}");
    }
    assert!(bed.ordered.is_empty());
    let path = "/api/v1/tables/mesh%2Fsessions?key=abc";
    assert_eq!(bed.ask("DELETE", path, b"Bearer right", "").status, 200);
    let what = "entry abc of table mesh/sessions removed";
    assert_eq!(bed.ordered[0].2, what);
}
