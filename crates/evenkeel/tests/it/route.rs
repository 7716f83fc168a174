//! Tests of `evenkeel route`: its prediction of where a request goes, its reasons and its errors,
//! and that the running proxy does the same.

use crate::harness::{CommandOutput, PATIENCE, evenkeel, run};
use crate::supervised::Supervised;
use lab::pki::{Authority, Leaf};
use lab::{OriginServer, ScratchDirectory, eventually, free_port};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Configuration with most kinds of lines that can decide where a request goes.
const SHOP: &str = "\
global
    maxconn 100
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend web
    bind :8080
    bind 127.0.0.1:8081
    acl is_static path_beg /static /images
    acl internal src 10.0.0.0/8
    tcp-request connection reject if { src 203.0.113.0/24 }
    http-request deny if { path_beg /admin } !internal
    http-request set-header X-Proto http
    http-request redirect location https://%[req.hdr(host)]/new if { path /old }
    http-request tarpit if { path /slow }
    http-request silent-drop if { path /drop }
    use_backend static if is_static
    use_backend %[req.hdr(x-to)] if { path_beg /dynamic }
    use_backend empty if { path /empty }
    default_backend app
frontend raw
    mode tcp
    bind :8443
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 }
    use_backend tcpa if { req.ssl_sni -i a.example }
    default_backend tcpb
frontend behind
    bind :9000 accept-proxy
    http-request deny deny_status 429 if { src 198.51.100.7 }
    default_backend app
listen both
    bind :9100
    option http-buffer-request
    http-request deny if { method POST } { req.body -m sub bad }
    server b1 10.0.1.1:80 disabled
    server b2 10.0.1.2:80 backup
backend app
    balance roundrobin
    cookie SRV insert indirect nocache
    http-request set-header X-Backend app unless { method POST }
    use-server a2 if { path /two }
    server a1 10.0.0.1:80 cookie a1
    server a2 10.0.0.2:80 cookie a2
    server a3 10.0.0.3:80 cookie a3 disabled
backend static
    server s1 192.0.2.9:80
backend empty
backend tcpa
    mode tcp
    server t1 192.0.2.10:443
backend tcpb
    mode tcp
    server t2 192.0.2.11:443
";

/// Further cases.
const MORE: &str = "\
frontend balanced
    bind :9001 accept-proxy
    tcp-request connection reject if { src 203.0.113.0/24 }
    default_backend app
frontend six
    bind :::9002 v6only
    default_backend static
frontend four
    bind 0.0.0.0:9002
    default_backend app
frontend unix
    bind /tmp/route.sock
    use_backend app if { src 0.0.0.0/0 }
    default_backend same
frontend plus
    bind :9003
    use_backend gone if { query off }
    default_backend same
frontend old
    bind :9004
    acl static path_beg /static
    reqrep ^([^\\ ]*)\\ /img/(.*) \\1\\ /static/\\2
    reqdeny ^GET\\ /x
    use_backend static if { path_beg /static }
    default_backend app
frontend lines
    bind :9005
    acl many path /one
    acl many src 10.0.0.0/8
    http-request set-header a b if many
    http-request set-header a b if METH_POST
    http-request set-header a b if !{ path_beg /n }
    default_backend tied
frontend keyed
    bind :9006
    default_backend keyed
backend tied
    use-server none if { path /z }
    server app 10.0.3.1:80
    server none 10.0.3.2:80 disabled
backend same
    server s 10.0.2.1:+88
backend gone
    disabled
    server s 10.0.2.1:80
backend keyed
    balance hdr(x-user)
    server k1 10.0.4.1:80
    server k2 10.0.4.2:80
";

fn route(scratch: &ScratchDirectory, words: &[&str]) -> CommandOutput {
    let all = ["route", "a.cfg"].iter().chain(words);
    run(evenkeel(), scratch.path(), all)
}

fn shop() -> ScratchDirectory {
    let scratch = ScratchDirectory::new().unwrap();
    scratch.write("a.cfg", SHOP).unwrap();
    scratch
}

/// Words of the command, its exit code, and its output.
type Row = (&'static [&'static str], i32, &'static [&'static str]);

const DECISIONS: &[Row] = &[
    (
        &["http://shop:8080/cart"],
        0,
        &[
            "- a.cfg:14  http-request deny",
            "{ path_beg /admin }: false for '/cart'",
            "+ a.cfg:22  default_backend app",
            "leads to backend app",
            "=> server app/a1 (10.0.0.1:80), by balance roundrobin; any of a1, a2 can be chosen",
        ],
    ),
    (
        &["http://shop:8080/admin"],
        0,
        &[
            "!internal: true for '192.0.2.10'",
            "=> the proxy replies 403 Forbidden: by a.cfg:14",
        ],
    ),
    (
        &["http://shop:8080/admin", "--src", "10.1.2.3"],
        0,
        &["!internal: false for '10.1.2.3'", "=> server app/"],
    ),
    (
        &["http://shop:8080/old"],
        0,
        &["=> the proxy replies 302 Found, location https://shop:8080/new: by a.cfg:16"],
    ),
    (
        &["http://shop:8080/images/x"],
        0,
        &["is_static: true for '/images/x'", "=> server static/s1"],
    ),
    (
        &["http://shop:8080/dynamic", "-H", "X-To: static"],
        0,
        &["+ a.cfg:20", "=> server static/s1"],
    ),
    (
        &["http://shop:8080/dynamic", "-H", "X-To: nobody"],
        0,
        &[
            "- a.cfg:20",
            "there is no backend 'nobody'",
            "+ a.cfg:22  default_backend",
            "=> server app/",
        ],
    ),
    (
        &["http://shop:8080/two"],
        0,
        &["=> server app/a2 (10.0.0.2:80), by a use-server rule"],
    ),
    (
        &["http://shop:8080/", "--header", "Cookie: SRV=a2"],
        0,
        &["=> server app/a2 (10.0.0.2:80), by its persistence cookie"],
    ),
    (
        &["http://shop:8080/", "--header", "Cookie: SRV=a3"],
        0,
        &["=> server app/a1", "balance roundrobin"],
    ),
    (
        &["http://shop:8080/empty"],
        3,
        &["=> no reply: the proxy replies 503 Service Unavailable: backend empty has no server"],
    ),
    (
        &["http://shop:8080/", "--src", "203.0.113.9"],
        3,
        &[
            "+ a.cfg:13",
            "=> no reply: the connection is closed or held by a.cfg:13",
        ],
    ),
    (
        &["http://shop:8080/drop"],
        3,
        &["=> no reply: the connection is closed or held by a.cfg:18"],
    ),
    (
        &["https://a.example:8443/"],
        0,
        &[
            "{ req.ssl_sni -i a.example }: true for 'a.example'",
            "=> server tcpa/t1",
        ],
    ),
    (
        &["https://a.example:8443/", "--sni", "b.example"],
        0,
        &["false for 'b.example'", "=> server tcpb/t2"],
    ),
    (
        &["http://shop:9000/", "--src", "198.51.100.7:1234"],
        0,
        &[
            "from 198.51.100.7:1234 to",
            "=> the proxy replies 429 Too Many Requests: by a.cfg:32",
        ],
    ),
    (
        &["http://shop:9100/"],
        0,
        &[
            "=> server both/b2 (10.0.1.2:80), by balance roundrobin, as a backup; no other server is available",
        ],
    ),
    (
        &["POST http://shop:9100/", "--data", "not bad at all"],
        0,
        &["true for 'not bad at all'", "=> the proxy replies 403"],
    ),
    (
        &["http://shop:8080/slow"],
        0,
        &["=> the proxy replies 500 Internal Server Error: by a.cfg:17"],
    ),
    // Address of a client, and of a load balancer through which it connects.
    (
        &["http://shop:9001/", "--src", "203.0.113.9"],
        0,
        &["- more.cfg:3", "=> server app/"],
    ),
    (
        &["http://shop:9001/", "--through", "203.0.113.9"],
        3,
        &["by more.cfg:3"],
    ),
    // Selects a listener by the address family of the URL or of the client.
    (&["http://shop:9002/"], 0, &["=> server app/"]),
    (&["http://192.0.2.7:9002/"], 0, &["=> server app/"]),
    (&["http://[2001:db8::7]:9002/"], 0, &["=> server static/"]),
    (
        &["http://shop:9002/", "--src", "2001:db8::9"],
        0,
        &["=> server static/"],
    ),
    // A connection at a Unix socket has no IP addresses.
    (
        &["http://shop/", "--frontend", "unix"],
        0,
        &[
            "at a Unix socket",
            "{ src 0.0.0.0/0 }: false, there is no value",
            "=> server same/s (10.0.2.1:88)",
        ],
    ),
    (
        &["http://shop:9003/"],
        0,
        &["=> server same/s (10.0.2.1:9091)"],
    ),
    (
        &["http://shop:9003/?off"],
        3,
        &[
            "backend gone is disabled",
            "no reply: the proxy replies 503",
        ],
    ),
    (
        &[
            "POST http://shop:9100/",
            "--data",
            "not bad at all",
            "-H",
            "Expect: 100-continue",
        ],
        0,
        &["=> the proxy replies 403"],
    ),
    // Rules with the syntax of HAProxy 1.x.
    (
        &["http://shop:9004/img/a"],
        0,
        &[
            "+ more.cfg:22",
            "{ path_beg /static }: true for '/static/a'",
            "=> server static/",
        ],
    ),
    (
        &["http://shop:9004/x"],
        0,
        &["=> the proxy replies 403 Forbidden: by more.cfg:23"],
    ),
    // Several lines of one ACL, a `!` without a space, an ACL without a line.
    (
        &["PUT http://shop:9005/q"],
        0,
        &[
            "many: false for '/q', '192.0.2.10'",
            "METH_POST: false for 'PUT'",
            "!{ path_beg /n }: true for '/q'",
        ],
    ),
    (
        &["http://shop:9005/z"],
        0,
        &[
            "no such server, or it is not available",
            "=> server tied/app",
        ],
    ),
    (
        &["http://shop:9006/"],
        0,
        &["by balance hdr, in turn, because the request has no key for it"],
    ),
    (
        &["http://other/", "--frontend", "both"],
        0,
        &["GET http://other/", "=> server both/b2"],
    ),
];

#[test]
fn each_kind_of_decision_is_shown_with_its_reason() {
    let scratch = shop();
    scratch.write("more.cfg", MORE).unwrap();
    for (words, code, expected) in DECISIONS {
        let said = route(&scratch, &[words, &["-f", "more.cfg"][..]].concat());
        let text = format!("{words:?}\n{}{}", said.stdout, said.stderr);
        assert_eq!(said.code(), Some(*code), "{text}");
        for one in *expected {
            assert!(said.stdout.contains(one), "{one}\n{text}");
        }
    }
}

#[test]
fn invalid_route_requests_are_refused_with_help() {
    let scratch = shop();
    let table: &[(&[&str], &str)] = &[
        (&["/cart"], "write 'GET https://host/path'"),
        (
            &["http://shop/"],
            "no frontend listens on port 80 without TLS; frontends: web (*:8080), web (127.0.0.1:8081), raw (*:8443)",
        ),
        (
            &["https://shop:8080/"],
            "no frontend listens on port 8080 with TLS",
        ),
        (
            &["http://shop/", "--frontend", "wbe"],
            "no frontend is named 'wbe'; frontends: web, raw, behind, both",
        ),
        (
            &["https://shop/", "--frontend", "both"],
            "frontend both does not listen with TLS; frontends: both (*:9100)",
        ),
        (
            &["http://127.0.0.3:8081/"],
            "no frontend listens at 127.0.0.3:8081 without TLS",
        ),
        (
            &["http://shop:8080/", "--src", "here"],
            "--src: 'here' is not an IP address",
        ),
        (
            &["http://shop:8080/", "-H", "Cookie"],
            "'Cookie' is not a header",
        ),
        (
            &["https://a.example:8443/", "--sni", "a b"],
            "'a b' is not a server name",
        ),
    ];
    for (words, expected) in table {
        let said = route(&scratch, words);
        assert_eq!(said.code(), Some(1), "{words:?} {}", said.stdout);
        assert!(said.stderr.contains(expected), "{words:?}\n{}", said.stderr);
    }
    scratch
        .write("a.cfg", "frontend f\n    bnid :80\n")
        .unwrap();
    let said = route(&scratch, &["http://a/"]);
    assert_eq!(said.code(), Some(1));
    assert!(
        said.stderr.contains("did you mean 'bind'?"),
        "{}",
        said.stderr
    );
    scratch.write("a.cfg", "").unwrap();
    let said = route(&scratch, &["http://a/"]);
    assert_eq!(said.code(), Some(1));
    assert!(
        said.stderr.contains("no frontend listens on port 80"),
        "{}",
        said.stderr
    );
}

#[test]
fn certificate_is_chosen_by_server_name() {
    let scratch = ScratchDirectory::new().unwrap();
    let authority = Authority::new("Test CA").unwrap();
    for name in ["one.test", "two.test"] {
        let leaf = Leaf {
            names: &[name],
            ..Leaf::default()
        };
        let issued = authority.issue(&leaf).unwrap();
        scratch
            .write(&format!("{name}.pem"), issued.bundle())
            .unwrap();
    }
    let at = scratch.path().display();
    let text = format!(
        "defaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\nfrontend web\n    \
         bind :443 ssl crt {at}/one.test.pem crt {at}/two.test.pem\n    use_backend two if {{ ssl_fc_sni two.test }}\n    \
         default_backend one\nbackend one\n    server a 192.0.2.1:80\nbackend two\n    server b 192.0.2.2:80\n"
    );
    scratch.write("a.cfg", text).unwrap();
    let json = |words: &[&str]| -> Value {
        let said = route(&scratch, &[words, &["--json"]].concat());
        serde_json::from_str(&said.stdout)
            .unwrap_or_else(|_| panic!("{}{}", said.stdout, said.stderr))
    };
    for (words, certificate, server) in [
        (&["https://one.test/"][..], "one.test", "a"),
        (&["https://two.test/"], "two.test", "b"),
        (
            &["https://192.0.2.7/", "--sni", "two.test"],
            "two.test",
            "b",
        ),
        (&["https://192.0.2.7/"], "one.test", "a"),
    ] {
        let told = json(words);
        assert_eq!(told["tls"]["certificate"][0], certificate, "{told}");
        assert_eq!(told["outcome"]["server"], server, "{told}");
    }
}

#[test]
fn deciding_rule_is_shown_after_any_number_of_rules() {
    let scratch = ScratchDirectory::new().unwrap();
    let rules = "    http-request deny if { path /a }\n".repeat(10_050);
    let text = format!(
        "defaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\nlisten web\n    \
         bind :80\n{rules}    server s 192.0.2.1:80\n"
    );
    scratch.write("a.cfg", text).unwrap();
    let said = route(&scratch, &["http://h/b\u{9b}", "--json"]);
    assert_eq!(said.code(), Some(1), "{}", said.stdout);
    let said = route(&scratch, &["http://h/b", "-H", "x: \u{9b}31m"]);
    assert_eq!(said.code(), Some(0), "{}", said.stderr);
    assert!(
        said.stdout.contains("50 further steps are not shown"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.ends_with(
        "=> server web/s (192.0.2.1:80), by balance roundrobin; no other server is available\n"
    ));
}

#[test]
fn route_agrees_with_the_running_proxy() {
    let scratch = ScratchDirectory::new().unwrap();
    let origins = ["one", "two"].map(|name| OriginServer::start_local(name).unwrap());
    let port = free_port().unwrap();
    let [one, two] = origins
        .each_ref()
        .map(|origin| origin.address().to_string());
    let text = format!(
        "global\n    maxconn 100\ndefaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n    \
         timeout connect 5s\nfrontend web\n    bind 127.0.0.1:{port}\n    acl long path_len gt 10\n    \
         http-request set-path /short if long {{ path_end z }}\n    http-request deny deny_status 410 if {{ url_param(x) -m int gt 5 }}\n    \
         http-request return status 418 content-type text/plain string tea if {{ hdr_cnt(a) ge 2 }}\n    \
         use_backend two if {{ path /short }} or {{ hdr_beg(host) two }}\n    default_backend one\n\
         backend one\n    server one {one}\nbackend two\n    server two {two}\n"
    );
    scratch.write("a.cfg", text).unwrap();
    let _program = Supervised::run(&scratch, "a.cfg");
    let serves = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(eventually(PATIENCE, serves));
    let paths = [
        "/",
        "/short",
        "/long/enough",
        "/long/enough/z",
        "/?x=5",
        "/?x=6",
        "/?x=-6",
        "/?x=y",
    ];
    let hosts = ["one", "two.example"];
    let headers = ["", "A: 1", "A: 1,2"];
    let mut seen = std::collections::BTreeSet::new();
    for path in paths {
        for host in hosts {
            for header in headers {
                let url = format!("http://127.0.0.1:{port}{path}");
                let host = format!("Host: {host}");
                let mut words = vec![&*url, "--json", "--src", "127.0.0.1", "-H", &host];
                if !header.is_empty() {
                    words.extend(["-H", header]);
                }
                let said = route(&scratch, &words);
                let told: Value = serde_json::from_str(&said.stdout).unwrap();
                let outcome = match told["outcome"]["kind"].as_str() {
                    Some("server") => told["outcome"]["server"].clone(),
                    _ => told["outcome"]["status"].clone(),
                };
                let real = really(port, path, &[&host, header]);
                let outcome = outcome.as_str().unwrap().to_owned();
                assert_eq!(outcome.split(' ').next(), Some(&*real), "{words:?}\n{told}");
                seen.insert(real);
            }
        }
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["410", "418", "one", "two"]
    );
}

/// Returns the actual result of a request: the name of a server, or the status.
fn really(port: u16, path: &str, headers: &[&str]) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let lines: String = headers
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\r\n"))
        .collect();
    let request = format!("GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    let status = reply.split(' ').nth(1).unwrap_or_default();
    let body = reply.split("\r\n\r\n").nth(1).unwrap_or_default();
    match status {
        "200" => body.trim().to_owned(),
        other => other.to_owned(),
    }
}
