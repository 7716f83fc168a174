//! Tests the pages and the API for requests.

use super::*;

#[test]
fn an_operator_sees_requests_and_a_viewer_the_required_role() {
    let mut bed = bed();
    let [olga, vera] = ["olga", "vera"].map(|user| session_of(&bed, user));
    let page = get(&mut bed, &olga, "/requests?host=shop&status=5xx");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("/requests/0x2f1c"), "{page:?}");
    assert!(page.body.contains("name=\"host\" value=\"shop\""));
    assert!(
        page.body
            .contains("/requests?host=shop&amp;status=5xx\">Reload"),
        "{page:?}"
    );
    let one = get(&mut bed, &olga, "/requests/0x2f1c");
    for words in [
        "connection refused",
        "site.cfg:14",
        "class=\"bar\"",
        "/cart/checkout",
    ] {
        assert!(one.body.contains(words), "{words}: {one:?}");
    }
    for path in ["/requests", "/requests/0x2f1c", "/", "/traffic/www"] {
        let page = get(&mut bed, &vera, path);
        assert_eq!(page.status, 200);
        assert!(!page.body.contains(":41814"), "{path}");
    }
    assert!(
        get(&mut bed, &vera, "/requests")
            .body
            .contains("require the role operator")
    );
    // The newest errors appear on the pages of the traffic.
    for path in ["/", "/traffic/www", "/traffic/shop"] {
        let page = get(&mut bed, &olga, path);
        assert!(page.body.contains("Newest errors"), "{path}");
        assert!(page.body.contains("/requests?"), "{path}");
    }
    let page = get(&mut bed, &olga, "/traffic/shop");
    assert!(
        page.body.contains("server=shop&amp;outcome=failed"),
        "{page:?}"
    );
}

#[test]
fn missing_requests_are_reported() {
    let mut bed = bed();
    let olga = session_of(&bed, "olga");
    let off = get(&mut bed, &olga, "/requests?host=off");
    assert!(off.body.contains("request-history 1024"), "{off:?}");
    let late = get(&mut bed, &olga, "/requests?host=late");
    assert!(late.body.contains("too late"), "{late:?}");
    let missing = get(&mut bed, &olga, "/requests/0x0");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("No such request"), "{missing:?}");
    for wrong in [
        "/requests/x",
        "/requests/0x",
        "/requests/0x+1",
        "/requests/0x11111111111111111",
    ] {
        assert_eq!(get(&mut bed, &olga, wrong).status, 404, "{wrong}");
    }
    let away = get(&mut bed, &olga, "/requests?on=beta");
    assert!(
        away.body.contains("no connection to the console of beta"),
        "{away:?}"
    );
    let unknown = get(&mut bed, "a=b", "/requests/0x1?on=beta");
    assert_eq!(
        unknown.all(axum::http::header::LOCATION),
        ["/sign-in?next=%2Frequests%2F0x1%3Fon%3Dbeta"]
    );
}

#[test]
fn the_api_returns_the_proxy_response_or_the_failure() {
    let mut bed = bed();
    for (path, status, words) in [
        ("/api/v1/requests?max=2", 200, "\"0x2f1b\""),
        ("/api/v1/requests?max=0", 400, "from 1 to 500"),
        ("/api/v1/requests?host=off", 409, "No requests are kept"),
        (
            "/api/v1/requests?on=beta",
            409,
            "no connection to the console of beta",
        ),
        ("/api/v1/requests/0x2f1c", 200, "\"failed_tries\""),
        ("/api/v1/requests/0x0", 404, "No such request"),
        ("/api/v1/requests/1", 400, "as 0x1f"),
    ] {
        let reply = bed.ask("GET", path, b"Bearer right", "");
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(reply.body.contains(words), "{path}: {reply:?}");
        let _: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    }
}

#[test]
fn a_live_page_is_refused_with_too_many_pending_requests() {
    let mut bed = bed();
    let olga = session_of(&bed, "olga");
    let asks = (0..99).map_while(|id| bed.shared.inquiries.follow("", &ProxyQuery::Request { id }));
    let kept: Vec<_> = asks.collect();
    assert!(kept.len() < 99);
    let live = |bed: &mut ConsoleFixture| {
        let request = Request::get("/live?page=%2Frequests%3Fhost%3Da").header(COOKIE, &olga);
        let mut router =
            router(Arc::clone(&bed.shared)).layer(axum::Extension(ClientAddress(HOME)));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let request = request.body(Body::empty()).unwrap();
        runtime.block_on(async { router.call(request).await.unwrap().status() })
    };
    assert_eq!(live(&mut bed), StatusCode::SERVICE_UNAVAILABLE);
    drop(kept);
    assert_eq!(live(&mut bed), StatusCode::OK);
}

#[test]
fn a_form_shows_where_a_request_would_go_and_keeps_its_values() {
    let mut bed = bed();
    let [olga, vera] = ["olga", "vera"].map(|user| session_of(&bed, user));
    let form = get(&mut bed, &olga, "/route");
    assert_eq!(form.status, 200);
    assert!(form.body.contains("name=\"url\""), "{form:?}");
    assert!(!form.body.contains("No report"), "{form:?}");
    let path = "/route?method=POST&url=https://shop.example.org/cart&source=192.0.2.9&header=Cookie:+a=b%0D%0AX:+%3Cy%3E";
    let page = get(&mut bed, &olga, path);
    for words in [
        "server shop/web1 (10.0.0.1:80)",
        "use_backend shop if { path_beg /cart }",
        "path_beg</code>: true",
        "site.cfg:14",
        "leads to backend shop",
        "4 of 100 sessions",
        "value=\"https://shop.example.org/cart\"",
        "value=\"192.0.2.9\"",
        "<option selected>POST</option>",
        "Cookie: a=b\nX: &lt;y&gt;",
    ] {
        assert!(page.body.contains(words), "{words}: {page:?}");
    }
    for (host, words) in [
        ("none.example", "no listener takes it"),
        ("crash.example", "ended without a report"),
    ] {
        let page = get(&mut bed, &olga, &format!("/route?url=http://{host}/"));
        assert!(page.body.contains(words), "{words}: {page:?}");
    }
    let away = get(&mut bed, &olga, "/route?url=http://a/&on=beta");
    assert!(
        away.body.contains("no connection to the console of beta"),
        "{away:?}"
    );
    let page = get(&mut bed, &vera, path);
    assert!(page.body.contains("requires the role operator"), "{page:?}");
    assert!(!page.body.contains("10.0.0.1"), "{page:?}");
    for path in ["/traffic", "/requests"] {
        let link = "href=\"/route\"";
        assert!(get(&mut bed, &olga, path).body.contains(link), "{path}");
        assert!(!get(&mut bed, &vera, path).body.contains(link), "{path}");
    }
    let long = format!("/route?url=http://a/{}", "b".repeat(17_000));
    assert_eq!(get(&mut bed, &olga, &long).status, 400);
}

#[test]
fn the_api_evaluates_the_route_of_a_request() {
    let mut bed = bed();
    for (path, status, words) in [
        (
            "/api/v1/route?url=https://shop.example.org/",
            200,
            "\"shop\"",
        ),
        ("/api/v1/route?url=http://none.example/", 409, "no listener"),
        ("/api/v1/route", 400, "`url` is missing"),
    ] {
        let reply = bed.ask("GET", path, b"Bearer right", "");
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(reply.body.contains(words), "{path}: {reply:?}");
    }
}

#[test]
fn a_machine_without_a_cluster_shows_the_files_that_it_serves() {
    let mut bed = bed();
    let vera = session_of(&bed, "vera");
    let all = get(&mut bed, &vera, "/config/served");
    assert_eq!(all.status, 200);
    assert!(
        all.body.contains("path=%2Fetc%2Fevenkeel%2Fsite.cfg"),
        "{all:?}"
    );
    assert!(all.body.contains("a secret of 9 bytes"), "{all:?}");
    let one = get(
        &mut bed,
        &vera,
        "/config/served?path=/etc/evenkeel/site.cfg",
    );
    assert_eq!(one.status, 200);
    assert!(
        one.body.contains("id=\"L2\"") && one.body.contains("&lt;b&gt;"),
        "{one:?}"
    );
    let none = get(&mut bed, &vera, "/config/served?path=/etc/shadow");
    assert_eq!(none.status, 404);
}
