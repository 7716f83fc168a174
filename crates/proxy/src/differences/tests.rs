//! Tests the table of differences from HAProxy, and the choice of configuration lines to which
//! each applies.

use super::*;
use language::manual::{LoadedFiles, Statement};
use std::collections::HashSet;

#[test]
fn each_difference_has_a_key_of_its_own_and_is_about_something_that_exists() {
    let rows = keyword::registry().documented();
    let mut keys = HashSet::new();
    for difference in DIFFERENCES {
        assert!(keys.insert(difference.key), "{}", difference.key);
        assert_eq!(language::manual::slug(difference.key), difference.key);
        let found = language::manual::look_up(difference.about, &rows);
        for kind in difference.kinds {
            let is_row = found.rows.iter().any(|row| row.kind == *kind);
            assert!(is_row, "no {kind} {}", difference.about);
        }
        assert!(!difference.kinds.is_empty(), "{}", difference.key);
        for text in [difference.haproxy, difference.evenkeel, difference.reason] {
            assert!(text.ends_with('.'), "{}: {text}", difference.key);
        }
    }
}

/// For each difference that applies to lines: a section with such a line, and a similar one
/// that the difference does not affect. A `|` separates lines of different sections.
const LINES: &[(&str, &str, &str)] = &[
    (
        "content-rules-once",
        "frontend|tcp-request inspect-delay 5s",
        "frontend|tcp-request content accept",
    ),
    (
        "http2-host",
        "frontend|bind :443 ssl crt x alpn h2,http/1.1",
        "frontend|bind :443 ssl crt /h2.pem",
    ),
    (
        "http2-header-list",
        "frontend|bind :80 proto h2",
        "backend|server h2 127.0.0.1:1",
    ),
    (
        "resumption-ignored-errors",
        "frontend|bind :443 ssl crt-ignore-err all",
        "frontend|bind :443 ssl",
    ),
    (
        "forward-secrecy",
        "backend|server a 127.0.0.1:1 ssl",
        "backend|server ssl 127.0.0.1:1",
    ),
    (
        "dynamic-servers-kept",
        "global|stats socket /s",
        "global|stats timeout 1m",
    ),
    (
        "dynamic-servers-idle",
        "global|stats socket /s",
        "global|stats timeout 1m",
    ),
    (
        "ticket-keys-admin",
        "global|stats socket /s|bind :1 ssl",
        "global|stats socket /s level admin|bind :1 ssl",
    ),
    (
        "lists-operator",
        "global|stats socket /s level user",
        "global|stats socket /s user root",
    ),
    (
        "secret-values",
        "global|stats socket /s level operator",
        "global|stats socket /s level admin",
    ),
    (
        "redispatch-pause",
        "backend|option redispatch",
        "backend|option httplog",
    ),
    (
        "tables-bytes",
        "backend|stick-table type ip size 1k store gpc0,bytes_in_rate(1m)",
        "backend|stick-table type ip size 1k store gpc0",
    ),
    (
        "tables-oldest",
        "backend|stick-table type ip size 1m",
        "backend|stick-table type ip size 4096",
    ),
    (
        "table-trackers",
        "frontend|http-request deny if { src,table_trackers gt 1 }",
        "frontend|http-request deny if { sc0_trackers gt 1 }",
    ),
    (
        "sc-tracked-table",
        "frontend|acl a sc_tracked(0,t)",
        "frontend|acl a sc_tracked(0)",
    ),
    (
        "sc-tracked-table",
        "frontend|acl a sc0_tracked(t)",
        "frontend|acl a sc0_tracked()",
    ),
    (
        "table-key-text",
        "backend|stick-table type ip size 1k|stats socket /s",
        "backend|stick-table type ip size 1k",
    ),
    (
        "abort-split",
        "backend|option abortonclose",
        "listen|option abortonclose",
    ),
    (
        "slowstart-steps",
        "backend|server a 127.0.0.1:1 slowstart 1m",
        "backend|server a 127.0.0.1:1",
    ),
    (
        "turns-of-weights",
        "backend|server a 127.0.0.1:1 weight 2",
        "backend|server weighty 127.0.0.1:1",
    ),
    (
        "peers-order",
        "peers|peer a 127.0.0.1:1",
        "peers|table t type ip size 1k",
    ),
    (
        "early-data",
        "frontend|bind :443 ssl allow-0rtt",
        "backend|server a 127.0.0.1:1 allow-0rtt",
    ),
    (
        "realm-quotes",
        "frontend|http-request auth realm my\"realm",
        "frontend|http-request auth realm mine",
    ),
    (
        "password-hashes",
        "frontend|http-request deny if !{ http_auth(l) }",
        "frontend|http-request deny",
    ),
    (
        "bearer-header",
        "frontend|http-request deny if !{ http_auth_bearer(x-a) -m found }",
        "frontend|acl a http_auth_bearer -m found",
    ),
    (
        "user-without-password",
        "userlist|user a",
        "userlist|user a password $6$x",
    ),
    (
        "statistics-policy",
        "listen|stats uri /s",
        "global|stats socket /s",
    ),
    (
        "ub64dec",
        "frontend|http-request set-var(txn.a) hdr(a),ub64dec",
        "frontend|http-request set-var(txn.a) hdr(a),b64dec",
    ),
    (
        "port-only",
        "frontend|acl a hdr(host),port_only 80",
        "frontend|acl a hdr(host),host_only a",
    ),
    (
        "json-query-numbers",
        "frontend|acl a req.body,json_query('$.a') 1",
        "frontend|acl a req.body 1",
    ),
    (
        "json-query-unicode",
        "frontend|acl a req.body,json_query('$.a') 1",
        "frontend|acl a req.body 1",
    ),
    (
        "jwt-query-whole",
        "frontend|acl a hdr(a),jwt_payload_query -m found",
        "frontend|acl a hdr(a) -m found",
    ),
    (
        "language-zero",
        "frontend|acl a req.hdr(accept-language),language(de;en) de",
        "frontend|acl language hdr(a) de",
    ),
    (
        "mqtt-properties",
        "frontend|acl a req.payload(0,0),mqtt_field_value(connack,1) 1",
        "frontend|acl a req.payload(0,0),mqtt_is_valid",
    ),
    (
        "fix-empty-value",
        "frontend|acl a req.payload(0,0),fix_is_valid",
        "frontend|acl a req.payload(0,0),fix_tag_value(1) 1",
    ),
    (
        "protobuf-float",
        "frontend|acl a req.body,protobuf(1,float) 1",
        "frontend|acl protobuffer always_true",
    ),
    (
        "ungrpc-compressed",
        "frontend|acl a req.body,ungrpc(1) 1",
        "frontend|acl a req.body 1",
    ),
    (
        "capture-req",
        "frontend|acl a capture.req.uri /",
        "frontend|acl a capture.req.hdr(0) /",
    ),
    (
        "cook-val",
        "frontend|acl a req.cook_val(a) 1",
        "frontend|acl a req.cook(a) 1",
    ),
    (
        "res-cook-cnt",
        "frontend|http-response deny if { res.cook_cnt gt 1 }",
        "frontend|http-response deny if { res.cook(a) 1 }",
    ),
    (
        "url-ip",
        "frontend|acl a url_ip 127.0.0.1",
        "frontend|acl a url /",
    ),
    ("lines-framing", "frontend|reqirep ^a b", "frontend|request"),
    (
        "regex-limit",
        "frontend|reqdeny ^(?!a)",
        "frontend|reqrep ^(a) \\1",
    ),
    ("one-process", "global|nbproc 2", "global|nbthread 2"),
    (
        "hash-redispatch",
        "backend|option redispatch|balance hdr(host)",
        "backend|option redispatch|balance leastconn",
    ),
    (
        "cookie-version-2",
        "backend|cookie A insert",
        "backend|server a 127.0.0.1:1 cookie a",
    ),
    (
        "dispatch-name",
        "listen|dispatch 127.0.0.1:1",
        "listen|server dispatch 127.0.0.1:1",
    ),
    (
        "last-server-full",
        "backend|server a 127.0.0.1:1 maxconn 3",
        "frontend|maxconn 3",
    ),
    (
        "log-forward-lost",
        "log-forward|bind :514",
        "frontend|bind :514",
    ),
    (
        "log-forward-newline",
        "log-forward|dgram-bind :514",
        "log-forward|bind :514",
    ),
    (
        "jwt-key-confusion",
        "frontend|acl a hdr(a),jwt_verify(txn.alg,/k) 1",
        "frontend|acl a hdr(a),jwt_header_query('$.alg') x",
    ),
    (
        "cache-cookie",
        "backend|http-response cache-store c",
        "backend|http-response deny",
    ),
    (
        "cache-request-body",
        "backend|http-request cache-use c",
        "backend|http-request deny",
    ),
    (
        "response-formats",
        "backend|http-response return lf-string %[status]",
        "backend|http-response return string x",
    ),
    (
        "source-header-missing",
        "backend|source 0.0.0.0 usesrc hdr_ip(x-client)",
        "backend|source 0.0.0.0 usesrc clientip",
    ),
    (
        "page-without-length",
        "frontend|errorfile 503 /f",
        "frontend|errorloc 503 http://a/",
    ),
    (
        "method-head",
        "frontend|http-request set-method HEAD",
        "frontend|http-request set-path /",
    ),
    (
        "admin-forms",
        "listen|stats admin if TRUE",
        "listen|stats enable",
    ),
    (
        "early-response",
        "frontend|bind :443 ssl alpn h2",
        "frontend|bind :443 ssl alpn http/1.1",
    ),
    (
        "upgrade-scheme",
        "backend|server a 127.0.0.1:1 proto h2",
        "backend|server a 127.0.0.1:1 proto fcgi",
    ),
    (
        "hash-nodes",
        "backend|hash-type consistent",
        "backend|hash-type map-based",
    ),
    (
        "word-missing",
        "frontend|acl a hdr(a),word(2,:) x",
        "frontend|acl a hdr(password) x",
    ),
    (
        "buffered-abort",
        "frontend|option http-buffer-request",
        "frontend|option httplog",
    ),
    (
        "rewrite-room",
        "frontend|http-request set-header a b",
        "frontend|http-request set-var(txn.a) str(b)",
    ),
    (
        "nolinger-waits",
        "frontend|option nolinger",
        "frontend|no option nolinger",
    ),
];

/// Returns whether the difference applies to a section with these lines.
fn places(one: &Difference, text: &str) -> bool {
    let mut lines = text.split('|');
    let section = lines.next().unwrap();
    let statements: Vec<Statement> = lines
        .map(|line| Statement {
            section: section.to_owned(),
            words: line.split(' ').map(str::to_owned).collect(),
            span: language::Span {
                file: language::source::FileId(0),
                start: 0,
                end: 0,
            },
        })
        .collect();
    let files = LoadedFiles {
        statements: &statements,
        ..LoadedFiles::default()
    };
    one.applies.applicable_lines(&files).is_some()
}

#[test]
fn each_difference_applies_to_its_lines_and_not_to_others() {
    for (key, with, without) in LINES {
        let one = DIFFERENCES.iter().find(|one| one.key == *key).expect(key);
        assert!(places(one, with), "{key}: {with}");
        assert!(!places(one, without), "{key}: {without}");
    }
    for one in DIFFERENCES {
        let has_row = LINES.iter().any(|(key, ..)| *key == one.key);
        let by_lines = matches!(one.applies, Applies::To(_) | Applies::Beside(..));
        assert_eq!(has_row, by_lines, "{}", one.key);
    }
}
