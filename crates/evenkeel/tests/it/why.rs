//! Tests of `evenkeel why` and `evenkeel watch` with a running instance: explanations of requests,
//! the ways to identify one, and filters.

use crate::harness::{CommandOutput, PATIENCE, evenkeel, run, start_with};
use crate::supervised::{Supervised, origin};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// Returns a configuration with two servers, of which the first does not listen, a cache, and rules
/// that end a request.
fn file(port: u16, closed: u16, open: u16) -> String {
    format!(
        "global
    maxconn 100
    request-history 64
cache pages
    total-max-size 1
    max-age 60
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 1s
frontend web
    bind 127.0.0.1:{port}
    unique-id-format %{{+X}}o%ci-%cp-%rt
    unique-id-header X-Id
    http-request set-header X-Seen yes
    http-request deny if {{ path_beg /admin }}
    http-request redirect location /new if {{ path /old }}
    use_backend dead if {{ path_beg /dead }}
    default_backend app
backend app
    server one 127.0.0.1:{open}
    use-server one if {{ path /mine }}
    http-request cache-use pages if {{ path /kept }}
    http-response set-header Cache-Control max-age=60
    http-response cache-store pages
backend dead
    retries 1
    option redispatch 1
    balance first
    server gone 127.0.0.1:{closed} id 1
    server here 127.0.0.1:{open} id 2
"
    )
}

/// Requests a path on a new connection, and returns the client's port.
fn get(port: u16, path: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let own = stream.local_addr().unwrap().port();
    let head = format!("GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert!(reply.starts_with(b"HTTP/1.1 "), "{path}");
    own
}

fn served() -> (ScratchDirectory, u16, Supervised) {
    let scratch = ScratchDirectory::new().unwrap();
    let (port, closed) = (free_port().unwrap(), free_port().unwrap());
    scratch
        .write("a.cfg", file(port, closed, origin("one")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(eventually(PATIENCE, answers));
    (scratch, port, supervised)
}

fn listed(scratch: &ScratchDirectory, arguments: &[&str]) -> Vec<String> {
    let command = ["watch", "--once"].iter().chain(arguments);
    let outcome = run(evenkeel(), scratch.path(), command);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    outcome.stdout.lines().map(str::to_owned).collect()
}

fn why(scratch: &ScratchDirectory, request: &str) -> CommandOutput {
    run(evenkeel(), scratch.path(), ["why", request])
}

/// Returns the explanation of the only request with a path.
#[track_caller]
fn account(scratch: &ScratchDirectory, path: &str) -> String {
    let lines = listed(scratch, &["--path", path]);
    let [line] = &lines[..] else {
        panic!("{path}: {lines:?}");
    };
    let outcome = why(scratch, line.split(' ').next().unwrap());
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    outcome.stdout
}

#[test]
fn why_shows_each_decision_with_line_and_reason() {
    let (scratch, port, supervised) = served();
    for path in ["/plain?token=secret", "/admin", "/old", "/mine", "/dead/1"] {
        get(port, path);
    }
    for (path, words) in [
        (
            "/plain",
            &[
                "GET /plain (host shop)",
                "rule http-request set-header (a.cfg:16)\n              http-request set-header ",
                "backend app, by default_backend (a.cfg:20)",
                "server app/one, by balance roundrobin",
                "response headers complete: status 200\n            rule http-response set-header (a.cfg:25)\n",
                "end: status 200",
                "termination state ----",
                "Normal end",
            ][..],
        ),
        (
            "/admin",
            &[
                "rule http-request deny (a.cfg:17): ended the rules",
                "status 403",
                "termination state PR--",
            ],
        ),
        (
            "/old",
            &[
                "rule http-request redirect (a.cfg:18): ended the rules",
                "status 302",
                "LR--",
            ],
        ),
        (
            "/mine",
            &["server app/one, by a use-server rule (a.cfg:23)"],
        ),
        (
            "/dead",
            &[
                "backend dead, by use_backend (a.cfg:19)",
                "server gone failed: connection refused",
                "server dead/here, by balance first; redispatched after a failed try",
                "1 retry",
            ],
        ),
    ] {
        let text = account(&scratch, path);
        for one in words {
            assert!(text.contains(one), "{path}: no '{one}' in:\n{text}");
        }
        assert!(!text.contains("secret"), "{text}");
    }
    // The cache responds to the second request, once the first response is stored.
    let from_cache = || {
        get(port, "/kept");
        let line = listed(&scratch, &["--path", "/kept"]).pop().unwrap();
        let text = why(&scratch, line.split(' ').next().unwrap()).stdout;
        let words = [
            "rule http-request cache-use (a.cfg:24): ended the rules",
            "response from the cache",
        ];
        words.iter().all(|one| text.contains(one))
    };
    assert!(eventually(PATIENCE, from_cache));
    supervised.end(Signal::SIGTERM);
}

#[test]
fn a_request_is_found_by_its_unique_id_and_by_a_line_of_a_log() {
    let (scratch, port, supervised) = served();
    let client = get(port, "/plain");
    let line = listed(&scratch, &["--path", "/plain"]).remove(0);
    let id = line.rsplit(' ').next().unwrap();
    assert!(id.starts_with("7F000001-"), "{line}");
    let by_id = why(&scratch, id);
    assert!(by_id.stdout.contains("GET /plain"), "{by_id:?}");
    // A log line of another program that contains the id.
    let of_log = format!("app[3]: \"request\" {{\"id\": \"{id}\"}} took 3 ms; done");
    assert_eq!(why(&scratch, &of_log).stdout, by_id.stdout);
    // Searches by a line of httplog, which does not contain the id.
    let json = run(evenkeel(), scratch.path(), ["why", "--format", "json", id]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["client"], format!("127.0.0.1:{client}"));
    assert_eq!(json["rules"][0]["line"], 16);
    let text = json["rules"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("http-request set-header "), "{json}");
    let date = log_date(json["began"].as_str().unwrap());
    let http = |date: &str| {
        format!(
            "Nov 27 07:16:39 lb haproxy[9]: 127.0.0.1:{client} [{date}] web app/one 0/0/0/0/0 200 9 - - ---- \
             1/1/0/0/0 0/0 \"GET /plain HTTP/1.1\""
        )
    };
    assert_eq!(why(&scratch, &http(&date)).stdout, by_id.stdout);
    for unknown in [
        &http("27/Nov/2001:07:16:39.000"),
        "0xfffffff",
        "; show env <<",
        "\u{1b}[2J",
    ] {
        let outcome = why(&scratch, unknown);
        assert_eq!(outcome.code(), Some(1), "{}", outcome.stdout);
        let words = "No such request among the ";
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("the oldest one ended at 2"),
            "{}",
            outcome.stderr
        );
    }
    // A new configuration keeps the entries; one without a history frees them.
    let text = std::fs::read_to_string(scratch.path().join("a.cfg")).unwrap();
    scratch
        .write("a.cfg", text.replace("history 64", "history 0"))
        .unwrap();
    assert_eq!(supervised.reload().code(), Some(0));
    let off = why(&scratch, id);
    assert_eq!(off.code(), Some(1));
    assert!(
        off.stderr.contains("request-history 1024"),
        "{}",
        off.stderr
    );
    supervised.end(Signal::SIGTERM);
}

/// Converts an ISO 8601 time into the format of a log.
fn log_date(iso: &str) -> String {
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month: usize = iso[5..7].parse().unwrap();
    format!(
        "{}/{}/{}:{}",
        &iso[8..10],
        months[month - 1],
        &iso[..4],
        &iso[11..23]
    )
}

#[test]
fn watch_prints_ended_requests_with_filters() {
    let (scratch, port, supervised) = served();
    get(port, "/before/admin");
    let seen = Arc::<Mutex<String>>::default();
    let mut child = start_with(
        evenkeel(),
        scratch.path(),
        ["watch", "--status", "4xx"],
        &[],
    );
    let (mut stdout, sees) = (child.stdout.take().unwrap(), Arc::clone(&seen));
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stdout.read(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
            sees.lock().unwrap().push_str(&text);
        }
    });
    // `watch` prints requests that end after its start, which is at an unknown moment.
    let has = |words: &str| seen.lock().unwrap().contains(words);
    assert!(eventually(PATIENCE, || {
        get(port, "/plain");
        get(port, "/admin/1");
        has("/admin/1")
    }));
    get(port, "/admin/last");
    assert!(eventually(PATIENCE, || has(" GET shop /admin/last ")));
    assert!(!has("/plain"), "{}", seen.lock().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let wrong = run(
        evenkeel(),
        scratch.path(),
        ["watch", "--once", "--status", "6xx"],
    );
    assert_eq!(wrong.code(), Some(1));
    assert!(
        wrong.stderr.contains("expected a number or 1xx to 5xx"),
        "{}",
        wrong.stderr
    );
    supervised.end(Signal::SIGTERM);
}
