//! Tests the console from the view of programs and of browsers without scripts: sign-in, sessions,
//! forms, the API, and the permissions of each role.

use crate::console::site::{ANNA, Console, OLGA, Response, SOON, VERA, VERA_LINE};
use lab::{Location, Probe, Signal, eventually};
use rustix::process::{Pid, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Interval between requests to the proxy while the console dies.
const PACE: Duration = Duration::from_millis(5);
/// Tries with a wrong password until they must have been refused.
const TRIES_MAX: usize = 50;

/// Returns curl's arguments for a form that drains a server.
fn drain<'w>(server: &'w str, csrf: &'w str) -> [String; 2] {
    let form = format!("csrf={csrf}&what=server&proxy=app&server={server}&do=drain&back=/traffic");
    ["-d".to_owned(), form]
}

/// Sends a POST with curl's arguments and the cookie of a session.
fn post(console: &Console, cookie: &str, words: &[&str], path: &str) -> Response {
    console.get(&[&["-X", "POST", "-H", cookie], words, &[path]].concat())
}

/// Waits until a server has a state in the API.
fn wait_for_state(console: &Console, server: &str, state: &str) {
    let has = || console.server(server) == state;
    assert!(eventually(SOON, has), "{server}: {}", console.platform());
}

/// Returns whether an event of a server has these words.
fn has_event(console: &Console, server: &str, words: &[&str]) -> bool {
    let of = format!("app/{server}");
    let events = console.events();
    let mut texts = events.iter().map(Value::to_string);
    texts.any(|text| text.contains(&of) && words.iter().all(|word| text.contains(word)))
}

#[test]
fn a_password_signs_in_and_wrong_ones_are_refused_and_then_limited() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    // Without a session, nobody sees anything.
    for path in [
        "/",
        "/traffic",
        "/events",
        "/part/supervisor",
        "/no/such/page",
    ] {
        let response = console.get(&[path]);
        assert_eq!(response.status, 303, "{path}");
        assert!(
            response.header("location").starts_with("/sign-in"),
            "{path}"
        );
    }
    assert_eq!(console.get(&["/live?page=/"]).status, 401);
    let right = console.try_to_sign_in(OLGA[0], OLGA[1]);
    assert_eq!(right.status, 303);
    let cookie = right.header("set-cookie");
    let attributes: BTreeSet<&str> = cookie.split(';').skip(1).map(str::trim).collect();
    let expected = [
        "HttpOnly",
        "Max-Age=43200",
        "Path=/",
        "SameSite=Strict",
        "Secure",
    ];
    assert_eq!(attributes, BTreeSet::from(expected), "{cookie}");
    assert!(cookie.starts_with("__Host-evenkeel="), "{cookie}");
    assert!(console.sees(&right.cookie()));
    let policy = right.header("content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{right:?}");
    assert_eq!(right.header("cache-control"), "no-store");

    for (name, password) in [
        ("olga", "wrong"),
        ("nobody", "kiwi"),
        ("olga", ""),
        ("", ""),
    ] {
        let wrong = console.try_to_sign_in(name, password);
        assert_eq!(wrong.status, 403, "{name}:{password}");
        assert_eq!(wrong.header("set-cookie"), "");
        // A successful sign-in resets the failures of its address.
        assert_eq!(console.try_to_sign_in(OLGA[0], OLGA[1]).status, 303);
    }
    // After too many failures, a correct password is refused as well; otherwise it could be
    // guessed. Attempts become available again over time, so the test repeats until there are none
    // left.
    let mut tries = (0..TRIES_MAX).map(|_| {
        let wrong = console.try_to_sign_in(OLGA[0], "wrong");
        (wrong.status == 429).then(|| (wrong, console.try_to_sign_in(OLGA[0], OLGA[1])))
    });
    let limited = tries.find_map(|tried| tried.filter(|(_, right)| right.status == 429));
    let (wrong, right) = limited.expect("too many attempts are refused");
    for response in [&wrong, &right] {
        let seconds: u64 = response.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{response:?}");
        assert_eq!(response.header("set-cookie"), "");
    }
    // A signed-in user is not affected, and the next attempt succeeds in the end.
    assert!(console.sees(&cookie_of(cookie)));
    let again = || console.try_to_sign_in(OLGA[0], OLGA[1]).status == 303;
    assert!(eventually(SOON, again));
}

fn cookie_of(set: &str) -> String {
    format!("Cookie: {}", set.split(';').next().unwrap_or_default())
}

#[test]
fn a_session_survives_a_killed_console_and_nothing_else_notices() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let (kept, ended) = (console.sign_in(OLGA), console.sign_in(VERA));
    let csrf = console.get(&["-H", &ended, "/"]).csrf();
    let form = format!("csrf={csrf}");
    let out = post(&console, &ended, &["-d", &form], "/sign-out");
    assert_eq!(out.status, 303, "{out:?}");
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
    assert!(!console.sees(&ended) && console.sees(&kept));
    let pids = |names: [&str; 2]| names.map(|name| console.role(name).expect("a role"));
    let [first, proxy] = pids(["console", "proxy"]);
    let load = Probe::new(Location::Here, console.web).timeout(SOON);
    let load = load.steadily("/", PACE);

    let pid = Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let is_back = || console.role("console").is_some_and(|pid| pid != first) && console.sees(&kept);
    assert!(eventually(SOON, is_back));
    assert!(!console.sees(&ended), "a session that has ended is back");
    let records = load.stop();
    assert!(!records.is_empty());
    let failed = records.iter().find(|record| record.outcome != Ok(200));
    assert!(failed.is_none(), "{failed:?}");
    assert_eq!(console.role("proxy"), Some(proxy));
    // The supervisor reports how the previous process ended.
    let why = format!("process {first} was killed by SIGKILL");
    let is_told = || {
        let events = console.events();
        let mut events = events.iter();
        events.any(|one| one["of"] == "role console" && one["why"] == why.as_str())
    };
    assert!(eventually(SOON, is_told));
    // The new process shows and does the same.
    wait_for_state(&console, "one", "UP");
    let csrf = console.get(&["-H", &kept, "/"]).csrf();
    let [flag, form] = drain("one", &csrf);
    assert_eq!(post(&console, &kept, &[&flag, &form], "/act").status, 303);
    wait_for_state(&console, "one", "DRAIN");
}

#[test]
fn a_user_whom_a_reload_removes_is_out_at_once() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let (olga, vera) = (console.sign_in(OLGA), console.sign_in(VERA));
    let mut live = Command::new("curl");
    live.args(["-skN", "-H", &vera, &console.url("/live?page=/traffic")]);
    live.stdin(Stdio::null());
    let live = Location::Here.spawn(live).unwrap();
    let is_watched = || {
        let status: Value =
            serde_json::from_str(&console.command(&["status", "console", "--json"])).unwrap();
        status[0]["subjects"][0]["numbers"]["live"] == 1
    };
    assert!(eventually(SOON, is_watched));

    console.reload(|config| config.replace(VERA_LINE, ""));
    assert!(
        !console.sees(&vera),
        "the session of a removed user goes on"
    );
    assert!(console.sees(&olga));
    assert_eq!(console.api(VERA, &["/api/v1/platform"]).status, 401);
    assert!(live.wait(SOON).is_some(), "a removed user watches on");
    // Another password ends the sessions of its user; another role does not.
    console.reload(|config| {
        config.replace(
            "user olga insecure-password kiwi",
            "user olga insecure-password lime",
        )
    });
    assert!(!console.sees(&olga));
    let olga = console.sign_in(["olga", "lime"]);
    assert!(
        console
            .get(&["-H", &olga, "/traffic"])
            .body
            .contains("action=\"/act\"")
    );
    console.reload(|config| {
        let config = config.replace(
            "user olga insecure-password kiwi",
            "user olga insecure-password lime",
        );
        config.replace("role operator group ops", "role viewer group ops")
    });
    let page = console.get(&["-H", &olga, "/traffic"]);
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("action=\"/act\""));
}

#[test]
fn a_link_signs_in_once() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let told = console.command(&["console", "link"]);
    let url = told.lines().next().unwrap_or_default();
    let path = url
        .strip_prefix(&console.url(""))
        .unwrap_or_else(|| panic!("{told}"));
    assert!(told.contains("certificate (SHA-256): "), "{told}");
    // Programs that preview links do not use them up, and neither do other sites.
    for _ in 0..3 {
        let shown = console.get(&[path]);
        assert_eq!((shown.status, shown.header("set-cookie")), (200, ""));
    }
    let foreign = console.get(&["-X", "POST", "-H", "Origin: https://evil.example", path]);
    assert_eq!((foreign.status, foreign.header("set-cookie")), (403, ""));
    let used = console.get(&["-X", "POST", path]);
    assert_eq!(used.status, 303, "{used:?}");
    let page = console.get(&["-H", &used.cookie(), "/"]);
    assert!(page.body.contains("administrator"), "{page:?}");
    for words in [&["-X", "POST", path][..], &[path]] {
        let again = console.get(words);
        assert_eq!((again.status, again.header("set-cookie")), (410, ""));
    }
    assert_eq!(
        console.get(&["-X", "POST", "/once/no-such-link"]).status,
        410
    );
}

#[test]
fn a_form_of_another_site_changes_nothing() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let (olga, other) = (console.sign_in(OLGA), console.sign_in(OLGA));
    let csrf = console.get(&["-H", &olga, "/"]).csrf();
    let of_other = console.get(&["-H", &other, "/"]).csrf();
    assert_ne!(csrf, of_other);
    let refused: [(&str, &[&str]); 7] = [
        ("", &[]),
        ("wrong", &[]),
        (&of_other, &[]),
        (&csrf, &["-H", "Origin: https://evil.example"]),
        (&csrf, &["-H", "Origin: null"]),
        (&csrf, &["-H", "Sec-Fetch-Site: cross-site"]),
        (&csrf, &["-H", "Sec-Fetch-Site: same-site"]),
    ];
    for (csrf, headers) in refused {
        let [flag, form] = drain("one", csrf);
        for path in ["/act", "/sign-out"] {
            for version in ["--http1.1", "--http2"] {
                let words = [headers, &[version, &flag, &form]].concat();
                let response = post(&console, &olga, &words, path);
                assert_eq!(response.status, 403, "{path} {csrf:?} {headers:?}");
            }
        }
    }
    let [flag, form] = drain("one", &csrf);
    assert_eq!(
        console
            .get(&["-G", &flag, &form, "-H", &olga, "/act"])
            .status,
        405
    );
    // The API does not accept the cookie that a browser sends.
    assert_eq!(
        post(&console, &olga, &[&flag, &form], "/api/v1/act").status,
        401
    );
    let unsigned = console.get(&[&flag, &form, "/act"]);
    assert_eq!(unsigned.status, 303);
    assert!(unsigned.header("location").starts_with("/sign-in"));
    assert!(console.sees(&olga));
    // A refused action is not executed later either: it would be executed before this one.
    let [flag, form] = drain("two", &csrf);
    let own = format!("Origin: {}", console.url(""));
    assert_eq!(
        post(&console, &olga, &["-H", &own, &flag, &form], "/act").status,
        303
    );
    wait_for_state(&console, "two", "DRAIN");
    assert_eq!(console.server("one"), "UP");
    assert_eq!(console.admin_state("one"), 0);
    assert!(!has_event(&console, "one", &["olga"]));
}

#[test]
fn an_operator_acts_and_a_viewer_looks() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let (olga, vera) = (console.sign_in(OLGA), console.sign_in(VERA));
    let page = console.get(&["-H", &vera, "/traffic"]);
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("action=\"/act\""));
    let [flag, form] = drain("one", &page.csrf());
    assert_eq!(post(&console, &vera, &[&flag, &form], "/act").status, 403);
    assert_eq!(
        console.api(VERA, &[&flag, &form, "/api/v1/act"]).status,
        403
    );

    let page = console.get(&["-H", &olga, "/traffic"]);
    assert!(page.body.contains("action=\"/act\""));
    let [flag, form] = drain("two", &page.csrf());
    let done = post(&console, &olga, &[&flag, &form], "/act");
    assert_eq!(done.status, 303, "{done:?}");
    let back = console.get(&["-H", &olga, done.header("location")]);
    let (told, what) = ("autofocus>", ": server app/two");
    assert!(
        back.body.contains(told) && back.body.contains(what),
        "{back:?}"
    );
    // Text that the console did not write is not shown.
    let forged = console.get(&["-H", &olga, "/traffic?told=evil&seal=x"]);
    assert!(!forged.body.contains("evil"));
    wait_for_state(&console, "two", "DRAIN");
    assert_ne!(console.admin_state("two"), 0);
    for _ in 0..10 {
        assert_eq!(console.served_by(), "one");
    }
    assert!(eventually(SOON, || has_event(
        &console,
        "two",
        &["drain", "by olga"]
    )));
    let events = console.get(&["-H", &vera, "/events"]).body;
    assert!(
        events.contains("app/two") && events.contains("by olga"),
        "{events}"
    );

    let ready = [
        "-d",
        "what=server&proxy=app&server=two&do=ready",
        "/api/v1/act",
    ];
    let done = console.api(OLGA, &ready);
    assert_eq!(done.status, 200, "{done:?}");
    wait_for_state(&console, "two", "UP");
    assert_eq!(console.admin_state("two"), 0);
    assert!(eventually(SOON, || has_event(
        &console,
        "two",
        &["ready", "by olga"]
    )));
    let missing = [
        "-d",
        "what=server&proxy=app&server=three&do=drain",
        "/api/v1/act",
    ];
    let missing = console.api(OLGA, &missing);
    assert_eq!(missing.status, 409, "{missing:?}");
    // The order of the viewer had no effect.
    assert_eq!(console.server("one"), "UP");
    assert_eq!(console.admin_state("one"), 0);
    assert!(!has_event(&console, "one", &["vera"]));
}

/// Returns a value that a property of the description allows.
fn example(name: &str, schema: &Value) -> String {
    let named = match name {
        "proxy" => "app",
        "server" => "one",
        "of" | "version" => "1",
        _ => "x",
    };
    let of_enum = schema["enum"].get(0).and_then(Value::as_str);
    let value = schema["const"].as_str().or(of_enum);
    value.unwrap_or(named).to_owned()
}

/// Returns a body that the description of an operation allows.
fn body(operation: &Value) -> String {
    let content = &operation["requestBody"]["content"]["application/x-www-form-urlencoded"];
    let schema = &content["schema"];
    let required = schema["required"].as_array();
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    let fields = names.map(|name| format!("{name}={}", example(name, &schema["properties"][name])));
    fields.collect::<Vec<_>>().join("&")
}

/// Returns the path of an operation, with what it requires in the path and in the query.
fn address(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array();
    let required = parameters
        .into_iter()
        .flatten()
        .filter(|one| one["required"] == true);
    required.fold(path.to_owned(), |path, one| {
        let name = one["name"].as_str().expect("a name");
        let example = &one["example"];
        let example = example
            .as_str()
            .map_or_else(|| example.to_string(), str::to_owned);
        if one["in"] == "path" {
            return path.replace(&format!("{{{name}}}"), &example);
        }
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("{path}{mark}{name}={example}")
    })
}

#[test]
fn everything_of_the_api_is_refused_without_credentials_and_without_the_role() {
    lab::skip_unless_installed!("curl");
    let console = Console::member();
    let description = console.get(&["/api/v1"]);
    assert_eq!(description.status, 200);
    let description = description.json();
    let paths = description["paths"].as_object().expect("paths");
    let (mut reads, mut acts) = (0, 0);
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            let (method, body) = (method.to_uppercase(), body(operation));
            let path = &address(path, operation);
            let words = ["-X", &method, "-d", &body, path];
            // curl would send a body, and another method, with `-d` alone.
            let words = if method == "GET" {
                &words[4..]
            } else {
                &words[..]
            };
            let without = console.get(words);
            assert_eq!(without.status, 401, "{method} {path}: {without:?}");
            let challenge = without.header("www-authenticate");
            assert!(
                challenge.starts_with("Basic "),
                "{method} {path}: {without:?}"
            );
            let bearer = [&["-H", "Authorization: Bearer x"], words].concat();
            // Attempts with wrong tokens are limited in the end.
            let status = console.get(&bearer).status;
            assert!([401, 429].contains(&status), "{method} {path}: {status}");
            let wrong = console.api(["vera", "wrong"], words);
            assert_eq!(wrong.status, 401, "{method} {path}");
            let role = operation["x-role"].as_str().expect("x-role");
            let viewer = console.api(VERA, words);
            match role {
                "viewer" => assert_eq!(viewer.status, 200, "{method} {path}"),
                _ => assert_eq!(viewer.status, 403, "{method} {path}: {viewer:?}"),
            }
            let admin = console.api(ANNA, words);
            assert!(admin.status < 500, "{method} {path}: {admin:?}");
            assert!(![401, 403].contains(&admin.status), "{method} {path}");
            match role {
                "viewer" => reads += 1,
                _ => acts += 1,
            }
        }
    }
    assert!(reads >= 3 && acts >= 1, "{description}");
}

#[test]
fn metrics_and_the_platform_are_for_programs() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let metrics = console.api(VERA, &["/metrics"]);
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(
        metrics.body.contains("evenkeel_role_up{role=\"proxy\"} 1"),
        "{metrics:?}"
    );
    let platform = console.api(VERA, &["/api/v1/platform"]);
    assert_eq!(platform.header("content-type"), "application/json");
    let platform = platform.json();
    let me = &platform["members"][0];
    assert_eq!(me["problems"], serde_json::json!([]), "{platform}");
    let reports = me["reports"].as_array().expect("reports");
    assert!(reports.iter().any(|report| report["part"] == "supervisor"));
    // A program may send many requests at once, because it knows its password.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || console.api(VERA, &["/api/v1/platform"]).status;
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(statuses, vec![200; statuses.len()]);
}
