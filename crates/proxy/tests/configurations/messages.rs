//! Tests the messages about typical mistakes in a configuration: all of them in short form, some
//! as a terminal shows them. A mistake is reported once, at its word, with the next step for the
//! operator.

use crate::corpus::load_text;
use language::render::{self, RenderOptions};

const DEFAULTS: &str = "defaults\n    mode http\n    timeout client 5s\n    timeout connect 5s\n    timeout server 5s\n";

/// Mistakes in a line of an otherwise valid `listen` section.
const MISTAKES: &[&str] = &[
    "defualt_backend app",
    "option httplogs",
    "timeout clients 5s",
    "Maxconn 5",
    "maxconn",
    "maxconn 5 6",
    "maxconn = 5",
    "maxconn: 5",
    "maxconn\u{a0}5",
    "no maxconn 5",
    "daemon",
    "vrrp_instance VI_1 {",
    "timeout client soon",
    "timeout client 1.5s",
    "timeout client 5 s",
    "timeout client 99d",
    "balance RoundRobin",
    "mode htp",
    "bind",
    "bind 8080",
    "bind 127.0.0.1",
    "bind :90-80",
    "bind :70000",
    "bind :8081 accept-prox",
    "bind :8081 ssl crt /etc/ssl/site.pem",
    "server b",
    "server b 127.0.0.300:80",
    "server b 127.0.0.1:80 chek",
    "server b 127.0.0.1:80 check inter fast",
    "server b 127.0.0.1:80 weight 300",
    "server a 127.0.0.1:81",
    "server b/c 127.0.0.1:80",
    "server b 127.0.0.1 check",
    "use_backend ap if TRUE",
    "use_backend app of TRUE",
    "use_backend app { path /x }",
    "use_backend app if is_apy",
    "use_backend app if { path /x",
    "use_backend app if {path /x}",
    "use_backend app if is_api and TRUE",
    "use_backend app if not is_api",
    "default_backend app if TRUE",
    "default_backend site",
    "if { path /x }",
    "acl x hdrs(host) a",
    "acl x hdr(host a",
    "acl x path_reg ^/(a",
    "acl x src 10.0.0.0/33",
    "acl x path,lowercase a",
    "acl or path /x",
    "http-request set-heder X 1",
    "http-request set-header X-Forwarded-Proto",
    "http-request set-header X %[path",
    "http-request deny deny_status 999",
    "http-response set-path /x",
    "log 127.0.0.1 local8",
    "option httpchk GET / HTTP/1.1 Host:x",
    "errorfile 503 /nonexistent/503.http",
    "description \"the site",
    "acl x path ^/a\\xz",
    "reqrep ^GET POST",
    "stick-table type ipp size 1m",
];

fn file(line: &str) -> String {
    format!(
        "{DEFAULTS}listen site\n    bind 127.0.0.1:8080\n    acl is_api path_beg /api\n    server a 127.0.0.1:9000\n    \
         http-request deny if is_api\n    {line}\nbackend app\n    server a 127.0.0.1:9001\n"
    )
}

#[test]
fn typical_mistakes_are_reported_in_one_line_each() {
    let mut all = String::new();
    for line in MISTAKES {
        let loaded = load_text("site.cfg", file(line).as_bytes());
        all += &format!("{line}\n");
        let told = render::concise(&loaded.sources, &loaded.diagnostics, false);
        all.extend(
            told.lines()
                .map(|told| format!("    {}\n", told.trim_start_matches("site.cfg:"))),
        );
    }
    insta::assert_snapshot!(all);
}

#[test]
fn mistake_is_reported_once_on_its_own_line() {
    for line in MISTAKES {
        let loaded = load_text("site.cfg", file(line).as_bytes());
        let told: Vec<_> = loaded.diagnostics.iter().collect();
        assert_eq!(told.len(), 1, "{line}: {told:?}");
        let span = told[0].primary.expect("a place");
        assert_eq!(loaded.sources.position(span).line, 11, "{line}");
        assert!(
            !told[0].message.ends_with('.'),
            "{line}: {}",
            told[0].message
        );
    }
}

#[test]
fn mistakes_are_shown_with_their_line_and_the_next_step() {
    let shown = [
        "option httplogs",
        "bind 8080",
        "server b 127.0.0.1:80 chek",
        "server a 127.0.0.1:81",
        "use_backend ap if TRUE",
        "use_backend app { path /x }",
        "use_backend app if {path /x}",
        "timeout client 1.5s",
        "http-request set-header X %[path",
        "description \"the site",
    ];
    let mut all = String::new();
    for line in shown {
        let loaded = load_text("site.cfg", file(line).as_bytes());
        all += &render::full(
            &loaded.sources,
            &loaded.diagnostics,
            &RenderOptions {
                width: 100,
                ..RenderOptions::default()
            },
        );
        all.push('\n');
    }
    insta::assert_snapshot!(all);
}

#[test]
fn file_of_another_program_is_reported_in_one_line() {
    for text in [
        "vrrp_instance VI_1 {\n    state MASTER\n    interface eth0\n}\n",
        "server {\n    listen 80;\n}\n",
    ] {
        let loaded = load_text("other.conf", text.as_bytes());
        assert!(loaded.diagnostics.errors() <= 2, "{:?}", loaded.diagnostics);
    }
}
