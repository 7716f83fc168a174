//! Tests the lines about health checks and the diagnostics about wrong ones. No check runs here.

use crate::testing::{backend, codes_of, load_text};
use model::config::CheckKind;

#[test]
fn the_last_of_the_options_counts() {
    for (lines, kind) in [
        ("option httpchk\noption tcp-check", CheckKind::Tcp),
        ("option httpchk\noption ssl-hello-chk", CheckKind::TlsHello),
        ("option redis-check\noption httpchk", CheckKind::Http),
        ("option httpchk\noption ldap-check", CheckKind::Ldap),
        (
            "option smtpchk EHLO a.example",
            CheckKind::Smtp((*b"EHLO a.example").into()),
        ),
        ("option mysql-check", CheckKind::MySql(None)),
        (
            "option pgsql-check user bob",
            CheckKind::PostgreSql((*b"bob").into()),
        ),
    ] {
        assert_eq!(backend(lines).check.kind, kind, "{lines}");
    }
}

#[test]
fn mistakes_are_told_by_what_they_are() {
    let tcp = |lines: &str| format!("option tcp-check\n{lines}");
    let http = |lines: &str| format!("option httpchk\n{lines}");
    for (lines, want) in [
        ("option httpchk GET / HTTP/1.1 x".to_owned(), "E0202"),
        ("no option httpchk".to_owned(), "E0109"),
        ("option tcp-check x".to_owned(), "E0202"),
        ("option ssl-hello-chk x".to_owned(), "E0202"),
        ("option redis-check x".to_owned(), "E0202"),
        ("option smtpchk HELO a b".to_owned(), "E0202"),
        ("option pgsql-check".to_owned(), "E0201"),
        ("option pgsql-check usr x".to_owned(), "E0207"),
        ("option mysql-check user x post-42".to_owned(), "E0207"),
        ("no option smtpchk".to_owned(), "E0109"),
        (http("http-check expect"), "E0201"),
        (http("http-check expect status"), "E0201"),
        (http("http-check expect status 2x"), "E0207"),
        (http("http-check expect status 300-200"), "E0207"),
        (http("http-check expect statos 200"), "E0207"),
        (http("http-check expect rstring ("), "E0207"),
        (http("http-check expect binary 41"), "E0207"),
        (http("http-check expect hdr x"), "E0207"),
        (http("http-check expect hdr name x -m foo y"), "E0207"),
        (http("http-check expect hdr name-lf -m reg x"), "E0207"),
        (http("http-check expect string-lf %[foo]"), "E0401"),
        (http("http-check send hdr x"), "E0201"),
        (http("http-check send foo"), "E0207"),
        (http("http-check send-state x"), "E0202"),
        (http("http-check comment"), "E0201"),
        (http("http-check send\nhttp-check send"), "E0480"),
        (
            http("http-check expect status 200\nhttp-check send"),
            "E0480",
        ),
        (
            http("http-check connect\nhttp-check expect status 200"),
            "E0480",
        ),
        (http("http-check connect proto foo"), "E0207"),
        (tcp("tcp-check send a\ntcp-check connect"), "E0480"),
        (tcp("tcp-check connect foo"), "E0207"),
        (tcp("tcp-check connect port 0"), "E0204"),
        (tcp("tcp-check connect port 70000"), "E0204"),
        (tcp("tcp-check connect proto h2"), "E0207"),
        (tcp("tcp-check expect status 200"), "E0207"),
        (tcp("tcp-check expect binary 4"), "E0207"),
        (tcp("tcp-check expect string a b"), "E0207"),
        (tcp("tcp-check expect ok-status L7STS string a"), "E0207"),
        (tcp("tcp-check send"), "E0201"),
        (tcp("tcp-check send a b"), "E0207"),
        (tcp("tcp-check send-binary 4g"), "E0207"),
        (tcp("tcp-check set-var(check.a)"), "E0201"),
        (tcp("tcp-check unset-var"), "E0201"),
        (
            "server s 127.0.0.1:1 check healthcheck x".to_owned(),
            "E0481",
        ),
    ] {
        assert_eq!(codes_of(&lines), [want], "{lines}");
    }
}

#[test]
fn steps_of_a_section_replace_those_of_its_defaults() {
    let text = "defaults\n option tcp-check\n tcp-check send a\nlisten own\n bind 127.0.0.1:1\n tcp-check send b\n\
                listen inherits\n bind 127.0.0.1:2\n";
    let config = load_text(text).config.expect("the file is good");
    let sent = |n: usize| format!("{:?}", config.proxies[n].check.script.steps);
    assert!(sent(0).contains("tcp-check send b") || sent(0).contains("98"));
    assert_eq!(config.proxies[0].check.script.steps.len(), 2);
    assert_eq!(config.proxies[1].check.script.steps.len(), 2);
    assert_ne!(sent(0), sent(1));
}

#[test]
fn a_server_is_asked_what_its_section_says() {
    let text = "listen l\n bind 127.0.0.1:1\n server s 127.0.0.1:2 check healthcheck web\n server t 127.0.0.1:3 check\n\
                healthcheck web\n type httpchk GET /alive\n http-check expect status 204\n";
    let config = load_text(text).config.expect("the file is good");
    let servers = &config.proxies[0].servers;
    let named = servers[0].options.health_check.as_ref().expect("a section");
    assert_eq!(named.check.kind, CheckKind::Http);
    assert_eq!(named.check.script.steps.len(), 3);
    assert!(servers[1].options.health_check.is_none());
}

#[test]
fn a_script_with_ports_needs_none_of_the_server() {
    let script = |lines: &str| format!("option tcp-check\n{lines}\nserver s 127.0.0.1 check");
    assert!(codes_of(&script("tcp-check connect port 80")).is_empty());
    assert_eq!(
        codes_of(&script("tcp-check connect port 80\ntcp-check connect")),
        ["E0201"]
    );
    assert_eq!(codes_of(&script("tcp-check connect")), ["E0201"]);
}

#[test]
fn steps_that_are_never_done_are_told() {
    for (lines, told) in [
        ("tcp-check send x", true),
        ("http-check send", true),
        ("option httpchk\ntcp-check send x", true),
        ("option tcp-check\ntcp-check send x", false),
        ("option httpchk\nhttp-check send", false),
    ] {
        let loaded = load_text(&format!("backend b\n{lines}\n"));
        let idle = loaded.diagnostics.iter().any(|d| d.code.id == "W0601");
        assert_eq!(idle, told, "{lines}");
    }
}
