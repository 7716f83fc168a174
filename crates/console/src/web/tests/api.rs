//! Tests tokens and passwords at the API.

use super::*;
use serde_json::Value;
use std::collections::BTreeSet;

const DESCRIPTION: &str = include_str!("../openapi.json");
const ROUTES: &str = include_str!("../mod.rs");

/// Returns a value that the schema of a property allows.
fn example(name: &str, schema: &Value) -> String {
    let of_enum = schema["enum"].get(0).and_then(Value::as_str);
    let of_examples = schema["examples"].get(0).and_then(Value::as_str);
    let value = schema["const"].as_str().or(of_enum).or(of_examples);
    value.unwrap_or(name).to_owned()
}

fn body(operation: &Value) -> String {
    let content = &operation["requestBody"]["content"]["application/x-www-form-urlencoded"];
    let schema = &content["schema"];
    let required = schema["required"].as_array();
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    let fields = names.map(|name| format!("{name}={}", example(name, &schema["properties"][name])));
    fields.collect::<Vec<_>>().join("&")
}

/// Lists all operations of the description: method, path, body, and the role that each needs.
fn operations() -> Vec<(String, String, String, UserRole)> {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let mut all = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let word = operation["x-role"].as_str().expect("x-role");
            let role = UserRole::ALL.into_iter().find(|role| role.word() == word);
            let (role, method) = (role.expect("a role"), method.to_uppercase());
            let parameters = operation["parameters"].as_array();
            let required = parameters.into_iter().flatten();
            let mut path = path.clone();
            for one in required.filter(|one| one["required"] == true) {
                let (name, example) = (one["name"].as_str().unwrap(), &one["example"]);
                let example = example.as_str().map_or(example.to_string(), str::to_owned);
                match one["in"].as_str() {
                    Some("path") => path = path.replace(&format!("{{{name}}}"), &example),
                    _ => path += &format!("?{name}={example}"),
                }
            }
            all.push((method, path, body(operation), role));
        }
    }
    assert!(all.len() >= 4, "{all:?}");
    all
}

#[test]
fn every_route_of_the_api_is_described_with_the_scope_that_it_takes() {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let described: BTreeSet<&str> = description["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let routes = ROUTES.split(".route(").skip(1);
    let routes = routes.filter_map(|rest| rest.split('"').nth(1));
    // The description itself needs no authentication.
    let routes: BTreeSet<&str> = routes
        .filter(|path| path.starts_with("/api/") && *path != "/api/v1")
        .chain(["/metrics"])
        .collect();
    assert_eq!(described, routes);
    for methods in description["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let role = operation["x-role"].as_str().unwrap();
            let scope = Scope::ALL
                .into_iter()
                .find(|one| one.at_most().word() == role);
            let scope = scope.expect("a scope").word();
            let expected = serde_json::json!([{ "password": [] }, { "token": [scope] }]);
            assert_eq!(operation["security"], expected, "{operation}");
        }
    }
    let schemes = &description["components"]["securitySchemes"];
    assert_eq!(schemes["token"]["scheme"], "bearer");
    assert_eq!(schemes["password"]["scheme"], "basic");
}

#[test]
fn a_page_of_another_site_cannot_act_with_a_password_that_the_browser_has_kept() {
    let mut bed = ConsoleFixture::new(Vec::new());
    let (_, path, body, _) = operations()
        .into_iter()
        .find(|(_, path, ..)| path.ends_with("/act"))
        .expect("an action");
    let foreign = [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    let own = [("host", "console.example"), ("sec-fetch-site", "none")];
    let mut send = |(name, value): (&'static str, &str)| {
        let request = Request::post(&path).header(name, value);
        let request = request.header(AUTHORIZATION, basic("anna", PASSWORD));
        let reply = bed.request(HOME, request.body(Body::from(body.clone())).unwrap());
        let acted = !std::mem::take(&mut bed.ordered).is_empty();
        (reply.status, acted)
    };
    for header in foreign {
        assert_eq!(send(header), (403, false), "{header:?}");
    }
    for header in own {
        assert_eq!(send(header), (200, true), "{header:?}");
    }
}

#[test]
fn a_token_does_what_its_scope_and_the_role_of_its_user_both_allow() {
    let mut tokens = Vec::new();
    for (user, _) in USERS {
        for scope in Scope::ALL {
            tokens.push(issued(&format!("{user} {}", scope.word()), user, scope));
        }
    }
    let mut bed = ConsoleFixture::new(tokens);
    let mut refused = 0;
    for (method, path, body, needs) in operations() {
        for (user, role) in USERS {
            for scope in Scope::ALL {
                let credentials = format!("Bearer {user} {}", scope.word());
                bed.ordered.clear();
                let reply = bed.ask(&method, &path, credentials.as_bytes(), &body);
                let of = format!("{method} {path} {user} {scope:?}: {reply:?}");
                if role.min(scope.at_most()) >= needs {
                    assert_eq!(reply.status, 200, "{of}");
                    let by = format!("{user} (token {user}-{})", scope.word());
                    assert!(bed.ordered.iter().all(|(one, ..)| *one == by), "{of}");
                    // A check changes nothing, but is expensive. A read-only operation sends no
                    // order.
                    let orders =
                        needs != UserRole::Viewer && method != "GET" && !path.ends_with("/check");
                    assert_eq!(bed.ordered.is_empty(), !orders, "{of}");
                } else {
                    assert_eq!(reply.status, 403, "{of}");
                    assert!(bed.ordered.is_empty(), "{of}");
                    refused += 1;
                }
            }
        }
    }
    // Of the nine combinations, five cannot act or see requests and entries: all of the viewer, and
    // those with the scope `read`. Eight cannot change the configuration.
    assert_eq!(refused, 6 * 5 + 3 * 8);
}

#[test]
fn invalid_tokens_are_refused_at_every_operation() {
    let mut expired = issued("expired", "anna", Scope::Configure);
    expired.until_s = Some(1);
    let removed = issued("removed", "carl", Scope::Configure);
    let mut lasting = issued("lasting", "anna", Scope::Read);
    lasting.until_s = Some(u64::MAX);
    let mut bed = ConsoleFixture::new(vec![expired, removed, lasting]);
    let reply = bed.ask("GET", "/metrics", b"bearer   lasting ", "");
    assert_eq!(reply.status, 200, "{reply:?}");
    let huge = format!("Bearer {}", "x".repeat(100_000));
    for (method, path, body, _) in operations() {
        for (credentials, status, why) in [
            (&b"Bearer unknown"[..], 401, "unknown"),
            (b"Bearer", 401, "unknown"),
            (b"Bearer ", 401, "unknown"),
            (b"Bearer expired", 401, "has expired"),
            (b"Bearer removed", 401, "was removed"),
            (b"Bearer \xff\xfe", 400, "`Bearer` or `Basic`"),
            (b"", 400, "`Bearer` or `Basic`"),
            (b"Digest x", 400, "`Bearer` or `Basic`"),
            (b"Basic !", 400, "Base64"),
            (huge.as_bytes(), 401, "unknown"),
        ] {
            *lock(&bed.shared.authentication.limiter) = Default::default();
            let reply = bed.ask(&method, &path, credentials, &body);
            assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
            assert!(reply.body.contains(why), "{method} {path}: {reply:?}");
            let challenges = reply.all(WWW_AUTHENTICATE);
            assert_eq!(challenges.is_empty(), status == 400, "{reply:?}");
        }
        let request = Request::builder().method(&*method).uri(&path);
        let nothing = bed.request(HOME, request.body(Body::from(body)).unwrap());
        assert_eq!(nothing.status, 401);
        assert_eq!(nothing.all(WWW_AUTHENTICATE).len(), 2);
    }
    assert!(bed.ordered.is_empty(), "{:?}", bed.ordered);
}

#[test]
fn wrong_tokens_are_limited_and_affect_no_other_user() {
    let mut bed = ConsoleFixture::new(vec![issued("right", "anna", Scope::Read)]);
    for _ in 0..MANY {
        let reply = bed.ask("GET", "/metrics", b"Bearer wrong", "");
        assert!([401, 429].contains(&reply.status));
    }
    let limited = bed.ask("GET", "/metrics", b"Bearer wrong", "");
    assert_eq!(limited.status, 429);
    assert_eq!(limited.all(RETRY_AFTER).len(), 1);
    // Guessing 256 bits is impossible, so the correct token and passwords from this address remain
    // valid.
    assert_eq!(bed.ask("GET", "/metrics", b"Bearer right", "").status, 200);
    let password = basic("anna", PASSWORD);
    assert_eq!(
        bed.ask("GET", "/metrics", password.as_bytes(), "").status,
        200
    );
}

#[test]
fn a_password_with_a_second_factor_is_refused_with_the_reason_and_a_token_is_not() {
    let mut bed = ConsoleFixture::new(vec![issued("right", "anna", Scope::Operate)]);
    for second in [SecondFactor::Codes(SECRET.to_vec()), SecondFactor::Missing] {
        bed.set_second_factor("anna", second);
        for (method, path, body, _) in operations() {
            let reply = bed.ask(&method, &path, basic("anna", PASSWORD).as_bytes(), &body);
            assert_eq!(reply.status, 403, "{reply:?}");
            assert!(reply.body.contains("evenkeel console token"), "{reply:?}");
            assert!(bed.ordered.is_empty(), "{:?}", bed.ordered);
        }
        assert_eq!(bed.ask("GET", "/metrics", b"Bearer right", "").status, 200);
    }
}

#[test]
fn a_session_cookie_can_read_but_not_act() {
    let mut bed = ConsoleFixture::new(Vec::new());
    let token = {
        let config = bed.shared.config();
        lock(&bed.shared.authentication.sessions).begin(&*config, "anna", now_s())
    };
    let cookie = format!("{}={}", access::COOKIE, token.unwrap());
    for (method, path, body, needs) in operations() {
        let request = Request::builder().method(&*method).uri(&path);
        let request = request.header(COOKIE, &cookie);
        let reply = bed.request(HOME, request.body(Body::from(body)).unwrap());
        let expected = if needs == UserRole::Viewer { 200 } else { 401 };
        assert_eq!(reply.status, expected, "{method} {path}: {reply:?}");
    }
    assert!(bed.ordered.is_empty(), "{:?}", bed.ordered);
}

#[test]
fn a_viewer_session_gets_a_role_error_and_no_challenge() {
    let mut bed = ConsoleFixture::new(Vec::new());
    let vera = session_of(&bed, "vera");
    for (method, path, body, needs) in operations() {
        let request = Request::builder().method(&*method).uri(&path);
        let request = request.header(COOKIE, &vera);
        let reply = bed.request(HOME, request.body(Body::from(body)).unwrap());
        let expected = if needs == UserRole::Viewer { 200 } else { 403 };
        assert_eq!(reply.status, expected, "{method} {path}: {reply:?}");
    }
    assert!(bed.ordered.is_empty(), "{:?}", bed.ordered);
}

#[test]
fn unknown_parameters_are_refused_after_authentication() {
    let mut bed = bed();
    for (method, path, body, named) in [
        ("GET", "/api/v1/platform?verbose=1", "", "`verbose`"),
        ("GET", "/api/v1/events?a", "", "`a`"),
        ("GET", "/api/v1/requests?hots=a", "", "`hots`"),
        ("GET", "/api/v1/tables/shop?key=a", "", "`key`"),
        ("GET", "/metrics?x=1", "", "`x`"),
        ("POST", "/api/v1/act", "what=server&sever=one", "`sever`"),
    ] {
        let reply = bed.ask(method, path, b"Bearer right", body);
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
        assert!(reply.body.contains(named), "{path}: {reply:?}");
    }
    let stranger = bed.ask("GET", "/api/v1/platform?verbose=1", b"Bearer wrong", "");
    assert_eq!(stranger.status, 401);
}

#[test]
fn metrics_include_the_proxy_and_the_other_parts() {
    let mut bed = bed();
    let reply = bed.ask("GET", "/metrics", b"Bearer right", "");
    assert_eq!(reply.status, 200);
    assert!(
        reply.body.contains("evenkeel_guest_running"),
        "{}",
        reply.body
    );
    assert!(
        reply.body.ends_with("\nhaproxy_server_status 1\n"),
        "{}",
        reply.body
    );
}

#[test]
fn unknown_api_paths_are_not_found_without_a_challenge() {
    let mut bed = ConsoleFixture::new(Vec::new());
    for path in ["/api", "/api/", "/api/v1/none", "/api/v2/platform"] {
        let reply = bed.ask("GET", path, b"Bearer nobody", "");
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert!(reply.body.starts_with("{\"error\":"), "{path}: {reply:?}");
    }
}
