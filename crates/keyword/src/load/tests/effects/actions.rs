//! Tests the diagnostics about invalid rules, and accepted rules.

use crate::testing::{codes_of, load_text};

#[test]
fn rules_that_haproxy_takes_are_taken() {
    let lines = [
        "http-request deny",
        "http-request deny deny_status 429",
        "http-request deny status 418",
        "http-request deny status 400 content-type text/plain string \"x %[src]\" hdr X-A %[path]",
        "http-request tarpit deny_status 429",
        "http-request return",
        "http-request return status 204 hdr X-B c",
        "http-request return status 200 default-errorfiles",
        "http-request redirect prefix http://h drop-query append-slash",
        "http-request redirect location /x code 301 ignore-empty set-cookie A=1 clear-cookie B=",
        "http-request set-header a %[req.hdr(host),lower]",
        "http-request del-header x- -m beg",
        "http-request del-header ^x- -m reg",
        "http-request replace-header cookie foo=([^;]*);(.*) foo=\\1;ip=%bi;\\2",
        "http-request set-var(txn.a,ifnotexists,ifnotempty) src",
        "http-request set-var-fmt(sess.from) %[src]:%[src_port]",
        "http-request unset-var(txn.a)",
        "http-request set-log-level silent",
        "http-request wait-for-body time 1s at-least 1k",
        "http-request set-src hdr(x-forwarded-for)",
        "http-request strict-mode off",
        "http-response set-status 503 reason \"Slow down\"",
        "http-response set-header a %[res.hdr(server)]",
        "http-response redirect location /x",
        "http-after-response del-header server",
        "tcp-request content accept",
        "tcp-request content set-log-level silent",
        "tcp-request inspect-delay 5s",
        "http-request early-hint link %[src]",
        "http-request normalize-uri path-strip-dotdot full",
        "http-request set-timeout server 5s",
        "http-request set-timeout tunnel req.hdr_val(x)",
        "http-request set-priority-class int(-5)",
        "http-request set-retries 2",
        "http-request set-tos 0x20",
        "http-request set-mark 5",
        "http-request set-bc-tos src_port",
        "http-request disable-l7-retry",
        "http-request use-service prometheus-exporter if { path /m }",
        "http-response silent-drop if { status 500 }",
        "http-response set-nice 1",
        "tcp-response content close",
        "tcp-response content set-var(txn.a) res.payload(0,3)",
        "tcp-response inspect-delay 5s",
        "option forwarded proto host by_port for-expr src,xxh32,hex for_port",
        "option originalto except 10.0.0.0/8 header x-to",
        "option http-restrict-req-hdr-names reject",
        "redirect scheme https code 301 if { path /x }",
    ];
    for line in lines {
        assert_eq!(codes_of(&format!("mode http\n{line}")), [""; 0], "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_told_by_its_code() {
    let rows = [
        ("http-request", "E0201"),
        ("http-request fooo", "E0501"),
        ("http-request set-status 200", "E0502"),
        ("http-after-response deny", "E0502"),
        ("http-request cache-use x", "E0446"),
        ("http-request set-map %[src] a", "E0201"),
        ("http-request set-timeout foo 5s", "E0207"),
        ("http-request set-timeout server 0", "E0207"),
        ("http-request set-tos 256", "E0207"),
        ("http-request set-mark x", "E0207"),
        ("http-request normalize-uri foo", "E0207"),
        ("http-request use-service foo", "E0207"),
        ("http-request use-service lua.x", "E0433"),
        ("tcp-request content use-service x", "E0103"),
        ("option forwarded foo", "E0207"),
        ("option originalto if-none", "E0207"),
        ("http-request deny foo", "E0414"),
        ("http-request deny { path /x }", "E0414"),
        ("http-request deny status 99", "E0505"),
        ("http-request return status 1000", "E0505"),
        ("http-request deny status 418 default-errorfiles", "E0505"),
        ("http-request deny errorfiles x", "E0445"),
        ("http-request return string a", "E0506"),
        ("http-request return content-type", "E0201"),
        (
            "http-request return content-type a/b string x string y",
            "E0507",
        ),
        ("http-request return errorfile /nope", "E0111"),
        ("http-request return hdr a", "E0201"),
        ("http-request redirect foo /x", "E0207"),
        ("http-request redirect location", "E0201"),
        ("http-request redirect code 301", "E0201"),
        ("http-request redirect location /x code 305", "E0505"),
        ("http-request set-header a", "E0201"),
        ("http-request set-header a:b c", "E0513"),
        ("http-request set-header a %[foo]", "E0401"),
        ("http-request set-header a %[res.hdr(x)]", "E0405"),
        ("http-request set-header a %foo", "E0504"),
        ("http-request set-header a b c", "E0414"),
        ("http-request replace-header a ( b", "E0411"),
        ("http-request del-header a -m foo", "E0207"),
        ("http-request set-var src", "E0201"),
        ("http-request set-var(foo) src", "E0416"),
        ("http-request set-var(txn.a,foo) src", "E0207"),
        ("http-request set-var(txn.a) nosuch", "E0401"),
        ("http-request set-log-level foo", "E0207"),
        ("http-request strict-mode maybe", "E0207"),
        ("http-request wait-for-body", "E0201"),
        ("http-request capture src len 10", "E0207"),
        ("tcp-request content foo", "E0501"),
        ("tcp-request inspect-delay", "E0201"),
        ("redirect location /x set-cookie", "E0201"),
        ("http-request deny\nhttp-request allow", "W0110"),
        ("http-request set-header content-length 5", "W0504"),
        ("http-response del-header Transfer-Encoding", "W0504"),
    ];
    for (line, code) in rows {
        assert_eq!(codes_of(&format!("mode http\n{line}")), [code], "{line}");
    }
}

#[test]
fn rules_of_a_defaults_need_its_name() {
    let loaded = load_text("defaults\nmode http\nhttp-request deny\n");
    assert!(loaded.diagnostics.iter().any(|d| d.code.id == "E0510"));
    let text = "defaults d\nmode http\nhttp-request deny\nfrontend f from d\nbind 127.0.0.1:1\nhttp-request allow\n";
    let config = load_text(text).config.unwrap();
    assert_eq!(config.proxies[0].http_request.len(), 2);
}

/// Rules of a `defaults` and sections that inherit them, and the codes of the expected diagnostics.
const INHERITED_RULES: &[(&str, &str)] = &[
    ("http-request deny\nfrontend f from d\nbind 127.0.0.1:1", ""),
    (
        "http-response deny\nfrontend f from d\nbind 127.0.0.1:1",
        "",
    ),
    ("http-request deny\nbackend b from d", ""),
    ("http-request deny\nbackend b from d\nbackend c from d", ""),
    ("tcp-response content accept\nbackend b from d", ""),
    (
        "tcp-request connection accept\nfrontend f from d\nbind 127.0.0.1:1",
        "",
    ),
    (
        "acl a path /a\noption httplog\nlisten l from d\nbind 127.0.0.1:1",
        "",
    ),
    (
        "tcp-request inspect-delay 5s\nlisten l from d\nbind 127.0.0.1:1",
        "",
    ),
    (
        "http-request deny\ndefaults e\nmode http\nlisten l\nbind 127.0.0.1:1",
        "",
    ),
    (
        "http-request deny\ndefaults e from d",
        "another `defaults` section",
    ),
    (
        "tcp-response content accept\ndefaults from d",
        "another `defaults` section",
    ),
    (
        "http-after-response allow\nlisten l from d\nbind 127.0.0.1:1",
        "a `listen` section",
    ),
    (
        "http-request deny\nlisten l\nbind 127.0.0.1:1",
        "a `listen` section",
    ),
    (
        "tcp-request content accept\nfrontend f from d\nbind 127.0.0.1:1\nbackend b from d",
        "both frontends and backends",
    ),
    (
        "tcp-request connection accept\nbackend b from d",
        "a backend, which has no",
    ),
    (
        "tcp-request session accept\nbackend b from d",
        "a backend, which has no",
    ),
    (
        "tcp-response content accept\nfrontend f from d\nbind 127.0.0.1:1",
        "a frontend, which has no",
    ),
];

#[test]
fn rules_of_defaults_are_inherited_where_haproxy_inherits_them() {
    for (lines, wrong) in INHERITED_RULES {
        let loaded = load_text(&format!("defaults d\nmode http\n{lines}\n"));
        let mut errors = loaded.diagnostics.iter().filter(|d| d.code.id == "E0510");
        match errors.next() {
            None => assert_eq!(*wrong, "", "{lines}"),
            Some(found) => {
                let by = format!("cannot be inherited by {wrong}");
                assert!(
                    !wrong.is_empty() && found.message.contains(&by),
                    "{lines}: {found:?}"
                );
                assert_eq!(found.secondary.len(), 1);
            }
        }
        assert!(errors.next().is_none(), "{lines}");
    }
}

#[test]
fn server_in_a_rule_of_defaults_needs_its_backend() {
    for (server, refused) in [("srv", true), ("b/srv", false)] {
        let loaded = load_text(&format!(
            "defaults d\nmode http\nhttp-request deny if {{ srv_conn({server}) gt 1 }}\n\
             backend b from d\nserver srv 127.0.0.1:1\n"
        ));
        let errors = loaded.diagnostics.iter().filter(|d| d.code.id == "E0415");
        assert_eq!(errors.count(), usize::from(refused), "{server}");
    }
}

#[test]
fn the_nearest_action_is_offered() {
    let loaded = load_text("listen l\nmode http\nhttp-request set-hedaer a b\n");
    let error = loaded
        .diagnostics
        .iter()
        .find(|d| d.code.id == "E0501")
        .unwrap();
    assert_eq!(error.help.as_deref(), Some("did you mean 'set-header'?"));
    assert_eq!(error.fix.as_ref().unwrap().replacement, "set-header");
}

#[test]
fn every_example_of_an_action_and_an_alias_loads() {
    for row in model::rules::documented()
        .iter()
        .filter(|row| row.built && !matches!(row.kind, "fetch" | "converter"))
    {
        // Uses a frontend for most actions: an unconditional response of a `listen` would make its
        // other rules unreachable.
        let section = match row.places {
            ["tcp-response content"] => "listen",
            _ => "frontend",
        };
        let text = format!(
            "{section} f\nbind 127.0.0.1:1\nmode http\nlog stdout local0\n{}\n\
             userlist staff\nuser tiger insecure-password elgato\ncache pictures\ntotal-max-size 4\n",
            row.example
        );
        let loaded = load_text(&text);
        let errors: Vec<&str> = loaded
            .diagnostics
            .iter()
            .map(|d| d.code.id)
            // Fails as well for a condition that can never match.
            .filter(|id| id.starts_with('E') || *id == "W0401")
            .collect();
        assert_eq!(errors, [""; 0], "{}", row.example);
        assert!(row.doc.ends_with('.'), "{}", row.name);
        assert!(
            row.syntax.contains(row.name),
            "{}: {}",
            row.name,
            row.syntax
        );
    }
}
