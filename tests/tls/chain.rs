//! Tests TLS and HTTP/2 with other programs: nginx and HAProxy as servers, HAProxy as the client,
//! ours on either side.

use crate::program::{Program, evenkeel};
use crate::tls::site::{NAME, Site, all_said, here, much, output, said};
use lab::{Location, OriginServer};
use std::net::SocketAddr;
use std::process::Command;

const DEFAULTS: &str = "
    defaults
        mode http
        timeout client 20s
        timeout server 20s
        timeout connect 5s
";

fn listen(bind: &str, more: &str, server: &str) -> String {
    format!("{DEFAULTS}    listen web\n        bind {bind}\n{more}        server s {server}\n")
}

/// Returns the status of a request through Evenkeel to a server with these options.
fn status_by(words: &str, server: SocketAddr) -> u16 {
    let address = here();
    let config = listen(
        &address.to_string(),
        "        retries 0\n",
        &format!("{server} {words}"),
    );
    let _peer = evenkeel(Location::Here, &config, address).unwrap();
    let mut probe = lab::Probe::new(Location::Here, address).host(NAME);
    probe.get("/small").unwrap().status
}

#[test]
fn server_needs_the_configured_certificate() {
    lab::skip_unless_installed!("nginx");
    let (site, other) = (Site::new(), Site::new());
    let nginx = site.nginx("if ($ssl_server_name = refused.test) { return 421; }");
    let (ca, stranger) = (site.word("ca.pem"), other.word("ca.pem"));
    for (words, status) in [
        (format!("ssl verify required ca-file {ca}"), 200),
        (
            format!("ssl verify required ca-file {ca} verifyhost {NAME}"),
            200,
        ),
        (
            format!("ssl verify required ca-file {ca} verifyhost x.wild.test"),
            200,
        ),
        (
            format!("ssl verify required ca-file {ca} verifyhost other.test"),
            503,
        ),
        (format!("ssl verify required ca-file {stranger}"), 503),
        (
            format!("ssl verify required ca-file {ca} sni str(site.test)"),
            200,
        ),
        (
            format!("ssl verify required ca-file {ca} sni req.hdr(host)"),
            200,
        ),
        (
            format!("ssl verify required ca-file {ca} sni str(other.test)"),
            503,
        ),
        ("ssl verify none".to_owned(), 200),
        ("ssl verify none sni str(refused.test)".to_owned(), 421),
        ("ssl verify none force-tlsv12".to_owned(), 200),
        ("ssl verify none force-tlsv13 alpn http/1.1".to_owned(), 200),
        (
            format!("ssl verify required ca-file {ca} check inter 100ms"),
            200,
        ),
        // Without `ssl` nginx answers 400, in HTTP, to what is no TLS.
        (String::new(), 400),
    ] {
        assert_eq!(status_by(&words, nginx.address()), status, "{words}");
    }
}

#[test]
fn server_gets_the_requested_client_certificate() {
    lab::skip_unless_installed!("nginx");
    let site = Site::new();
    let asks = format!(
        "ssl_client_certificate {}; ssl_verify_client on",
        site.word("ca.pem")
    );
    let nginx = site.nginx(&format!("{asks};"));
    let shown = format!("ssl verify none crt {}", site.word("client.pem"));
    assert_eq!(status_by(&shown, nginx.address()), 200);
    assert_eq!(status_by("ssl verify none", nginx.address()), 400);
}

#[test]
fn sessions_with_a_server_are_resumed() {
    lab::skip_unless_installed!("nginx");
    let site = Site::new();
    let nginx = site.nginx("add_header x-reused $ssl_session_reused always; keepalive_timeout 0;");
    for words in ["", "force-tlsv12", "no-ssl-reuse"] {
        let address = here();
        let server = format!("{} ssl verify none {words}", nginx.address());
        let _peer = evenkeel(
            Location::Here,
            &listen(&address.to_string(), "", &server),
            address,
        );
        let mut probe = lab::Probe::new(Location::Here, address);
        let reused: Vec<String> = (0..12)
            .map(|_| probe.get("/small").unwrap())
            .map(|answer| answer.header("x-reused").unwrap_or_default().to_owned())
            .collect();
        let some = reused.iter().any(|said| said == "r");
        assert_eq!(some, words != "no-ssl-reuse", "{words}: {reused:?}");
    }
}

/// The middle of a chain: options of the first program's server line, and of the second one's
/// `bind`.
const HOPS: &[(&str, &str)] = &[
    ("", ""),
    ("alpn h2", "alpn h2,http/1.1"),
    ("alpn h2,http/1.1", "alpn h2,http/1.1"),
    ("alpn http/1.1", "alpn h2,http/1.1"),
    ("alpn h2,http/1.1", ""),
    ("alpn h2 force-tlsv12", "alpn h2"),
    ("alpn h2 send-proxy-v2", "accept-proxy alpn h2"),
    ("send-proxy", "accept-proxy"),
];

/// Returns the report of the second program about the hop between both.
fn hop(server: &str, bind: &str) -> String {
    let both = |word| server.contains(word) && bind.contains(word);
    let (alpn, major) = match (both("h2"), both("alpn")) {
        (true, _) => ("h2", 2),
        (false, true) => ("http/1.1", 1),
        (false, false) => ("", 1),
    };
    let version = if server.contains("force-tlsv12") {
        "tlsv1.2"
    } else {
        "tlsv1.3"
    };
    format!("x-hop: {alpn},{version},{major}\r\n")
}

/// Checks a chain of both programs with curl over both versions of HTTP.
fn passes(site: &Site, first: Program, second: Program, server: &str, bind: &str) {
    let what = format!("{first:?} {second:?} '{server}' '{bind}'");
    let (ca, crt) = (site.word("ca.pem"), site.word("site.pem"));
    let origin = OriginServer::start_local("web").unwrap();
    let (outer, inner) = (here(), here());
    let tell = "        option forwardfor\n        http-request set-header x-hop %[ssl_fc_alpn],%[ssl_fc_protocol],%[fc_http_major]\n";
    let last = listen(
        &format!("{inner} ssl crt {crt} {bind}"),
        tell,
        &origin.address().to_string(),
    );
    let last = second.start(Location::Here, &last, inner).unwrap();
    let words = format!("{inner} ssl verify required ca-file {ca} verifyhost {NAME} {server}");
    let both = format!("{outer} ssl crt {crt} alpn h2,http/1.1");
    let front = listen(&both, "", &words);
    let front = first.start(Location::Here, &front, outer).unwrap();
    let (url, body) = (
        format!("https://{NAME}:{}/", outer.port()),
        format!("@{}", site.word("body")),
    );
    for flag in ["--http2", "--http1.1"] {
        let asked = [flag, "--fail", "--data-binary", &body, &url, &url];
        let answer = site.curl(outer, &asked);
        assert!(
            answer.status.success() && answer.stdout == b"webweb",
            "{what} {flag}: {}\n{}\n{}",
            all_said(&answer),
            front.output(),
            last.output()
        );
    }
    let heads = origin.take_requests();
    assert_eq!(heads.len(), 4, "{what}: {heads:?}");
    for head in heads {
        let head = head.to_lowercase();
        assert!(head.contains(&hop(server, bind)), "{what}: {head}");
        assert!(
            head.contains("x-forwarded-for: 127.0.0.1"),
            "{what}: {head}"
        );
    }
}

#[test]
fn chains_with_haproxy_pass_requests_and_bodies_by_tls_and_http2_in_both_orders() {
    lab::skip_unless_installed!("haproxy");
    lab::skip_unless_installed!("curl");
    let site = Site::new();
    std::fs::write(site.path("body"), much(1 << 20)).unwrap();
    for (first, second) in [
        (Program::Evenkeel, Program::Haproxy),
        (Program::Haproxy, Program::Evenkeel),
        (Program::Evenkeel, Program::Evenkeel),
    ] {
        for (server, bind) in HOPS {
            passes(&site, first, second, server, bind);
        }
    }
}

#[test]
fn many_streams_pass_a_chain_of_both_programs_without_an_error() {
    lab::skip_unless_installed!("haproxy");
    lab::skip_unless_installed!("nginx");
    lab::skip_unless_installed!("h2load");
    let site = Site::new();
    let nginx = site.nginx("");
    std::fs::write(site.path("www/page"), much(48 << 10)).unwrap();
    let crt = site.word("site.pem");
    for (first, second) in [
        (Program::Evenkeel, Program::Haproxy),
        (Program::Haproxy, Program::Evenkeel),
    ] {
        let (outer, inner) = (here(), here());
        let bind = |address| format!("{address} ssl crt {crt} alpn h2,http/1.1");
        let to = |address| format!("{address} ssl verify none");
        let last = listen(&bind(inner), "", &to(nginx.address()));
        let _last = second.start(Location::Here, &last, inner).unwrap();
        let front = listen(
            &bind(outer),
            "        http-reuse always\n",
            &format!("{} alpn h2", to(inner)),
        );
        let _front = first.start(Location::Here, &front, outer).unwrap();
        for path in ["small", "page"] {
            let url = format!("https://{outer}/{path}");
            let mut load = Command::new("h2load");
            load.args(["-n", "1000", "-c", "5", "-m", "20", &url]);
            let said = said(&output(&mut load));
            let none = "status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx";
            assert!(said.contains(none), "{first:?} {second:?} {path}: {said}");
        }
    }
}
