//! Compares the same requests through the same file: the server and the client must receive the
//! same bytes as with HAProxy.

use crate::program::Program;
use lab::{Behaviour, Location, OriginServer, Peer, free_port};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

const CONFIG: &str = r#"
    defaults
        mode http
        timeout client 2s
        timeout server 2s
        timeout connect 2s
        retries 0
    frontend web
        bind @WEB@
        option forwardfor except 10.0.0.0/8
        acl api hdr(host) -i api.example
        acl shop hdr_dom(host) -i shop
        acl static path_beg /static /images
        acl static path_end .png .css
        acl numbered path_reg ^/[0-9]+$
        acl asked url_param(q) -m found
        acl mobile hdr_sub(user-agent) -i mobile android
        acl known cook(id) -m len 4
        acl local src 127.0.0.0/8
        acl far src 192.0.2.0/24
        http-request set-var(txn.path) path
        http-request set-var(req.host) req.hdr(host),lower
        http-request deny if { path_beg /private } !{ hdr(x-key) secret }
        http-request deny deny_status 429 if { path /busy }
        http-request deny status 404 content-type text/plain string gone if { path /gone }
        http-request redirect scheme https code 301 if { path /scheme }
        http-request redirect prefix http://other.example drop-query append-slash if { path_beg /prefix }
        http-request redirect location /to?%[query] code 303 set-cookie SEEN=1 if { path /location }
        http-request redirect location / clear-cookie USERID= if { path /clear }
        http-request return status 200 content-type text/plain lf-string "%[src] %[method] %[path]\n" hdr x-own %[var(txn.path)] if { path_beg /own }
        http-request return status 503 if { path /maintenance }
        http-request set-header x-client %[src]
        http-request set-header x-path %[var(txn.path)]
        http-request set-header x-host "%[var(req.host)]"
        http-request add-header x-two a
        http-request add-header x-two b
        http-request del-header x-secret
        http-request del-header x-many-.* -m reg
        http-request replace-header cookie (.*)id=[^;]*(.*) \1id=x\2
        http-request replace-value x-list a+ A
        http-request set-header x-mobile yes if mobile
        http-request set-header x-asked %[url_param(q)] if asked
        http-request set-header x-known %[req.cook(id),upper] if known
        http-request set-header x-far yes if far or !local
        http-request set-header x-sum %[req.hdr(x-list),length,add(1)]
        http-request set-header x-b64 %[path,base64]
        http-request set-header x-field %[req.hdr(x-list),field(2,\,)]
        http-request set-header x-word %[path,word(2,/)]
        http-request set-header x-sub %[path,regsub(/o,/0,g)]
        http-request set-header x-url %[base] if { path_beg /base }
        http-request set-path /new%[path] if { path_beg /old }
        http-request replace-path (.*)\.php \1.html
        http-request set-query a=1&%[query] if { path /query }
        http-request set-uri /uri?x=%[method] if { path /uri }
        http-request set-method PUT if { path /method }
        http-request set-pathq /pathq?p=%[path] if { path /pathq }
        http-response set-header x-status %[status] if { var(txn.path) -m beg /status }
        http-response del-header x-origin if api
        http-response add-header x-answer "%[var(txn.path),url_dec]"
        http-response replace-value content-type plain html if static
        http-response deny if { var(txn.path) -m str /refused-answer }
        http-response set-status 418 reason "Short and stout" if { var(txn.path) -m str /teapot }
        use_backend api if api
        use_backend shop if shop || { path_beg /shop }
        use_backend numbers if numbered
        use_backend none if { path_beg /none }
        default_backend app
    backend app
        server s @APP@
    backend api
        http-request set-header x-backend api
        option http-server-close
        server s @APP@
    backend shop
        option httpclose
        option forwardfor header x-shop-client if-none
        http-response set-header x-backend shop
        server s @APP@
    backend numbers
        http-request deny if { path /13 }
        server one @APP@
    backend none
        errorfile 503 @ERRORS@
        server s @APP@ disabled
"#;

const ERROR_PAGE: &str =
    "HTTP/1.0 503 Nothing here\r\nContent-Type: text/plain\r\nX-Page: own\r\n\r\nown\n";

/// Observed traffic of one request.
#[derive(PartialEq, Eq)]
struct Seen {
    server: Vec<String>,
    client: String,
}

struct ComparedProxy {
    origin: OriginServer,
    web: SocketAddr,
    _peer: Peer,
    _scratch: lab::ScratchDirectory,
}

impl ComparedProxy {
    fn start(program: Program) -> Self {
        let origin = OriginServer::start_local("app").unwrap();
        let scratch = lab::ScratchDirectory::new().unwrap();
        let page = scratch.write("503.http", ERROR_PAGE).unwrap();
        let web = here();
        let config = CONFIG
            .replace("@WEB@", &web.to_string())
            .replace("@ERRORS@", &page.display().to_string())
            .replace("@APP@", &origin.address().to_string());
        let _peer = program.start(Location::Here, &config, web).unwrap();
        ComparedProxy {
            origin,
            web,
            _peer,
            _scratch: scratch,
        }
    }

    fn send(&self, request: &[u8]) -> Seen {
        let mut stream = TcpStream::connect(self.web).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let _ = stream.write_all(request);
        let mut said = Vec::new();
        // A reset ends the connection as well as an orderly close.
        let _ = stream.read_to_end(&mut said);
        let own = self.web.to_string();
        let plain = |text: &str| text.replace(&own, "web").replace("\r\n", "\n");
        let said = String::from_utf8_lossy(&said).into_owned();
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
        let mut lines: Vec<&str> = head.split("\r\n").collect();
        // Pages of the program's own have their headers in another order, and
        // some of haproxy's in capitals.
        let own_answer = !head.contains("x-answer");
        let mut lower = Vec::new();
        if own_answer && lines.len() > 1 {
            lower = lines[1..]
                .iter()
                .map(|line| line.to_ascii_lowercase())
                .collect();
            lower.sort_unstable();
            lines.truncate(1);
        }
        lines.extend(lower.iter().map(String::as_str));
        Seen {
            server: self
                .origin
                .take_requests()
                .iter()
                .map(|head| plain(head))
                .collect(),
            client: plain(&format!("{}\n\n{body}", lines.join("\n"))),
        }
    }
}

/// Requests of which everything but the first lines is the same.
const LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET /old/page?x=1 HTTP/1.1",
    "GET /old HTTP/1.1",
    "GET /index.php?a=b.php HTTP/1.1",
    "GET /query?z=9 HTTP/1.1",
    "GET /query HTTP/1.1",
    "GET /uri HTTP/1.1",
    "POST /method HTTP/1.1",
    "GET /pathq?x HTTP/1.1",
    "GET /base/x?y HTTP/1.1",
    "GET /private/x HTTP/1.1",
    "GET /busy HTTP/1.1",
    "GET /gone HTTP/1.1",
    "GET /scheme?x=1 HTTP/1.1",
    "GET /prefix/a?b HTTP/1.1",
    "GET /prefix/a/ HTTP/1.1",
    "GET /location?k=v&l HTTP/1.1",
    "GET /clear HTTP/1.1",
    "GET /own/x HTTP/1.1",
    "HEAD /own/x HTTP/1.1",
    "GET /maintenance HTTP/1.1",
    "GET /status HTTP/1.1",
    "GET /teapot HTTP/1.1",
    "GET /refused-answer HTTP/1.1",
    "GET /static/a.css HTTP/1.1",
    "GET /a.png HTTP/1.1",
    "GET /shop/x HTTP/1.1",
    "GET /12 HTTP/1.1",
    "GET /13 HTTP/1.1",
    "GET /none HTTP/1.1",
    "GET /%41%2f?q=a%20b HTTP/1.1",
    "GET //double//slash HTTP/1.1",
    "GET /?q= HTTP/1.1",
    "GET /?q=1&q=2 HTTP/1.1",
    "GET /a;b=c?d;e HTTP/1.1",
    "GET http://api.example/abs HTTP/1.1",
    "GET http://web/abs?x HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "OPTIONS / HTTP/1.1",
    "DELETE /x HTTP/1.1",
    "FOO /x HTTP/1.1",
    "HEAD / HTTP/1.1",
    "GET / HTTP/1.0",
    "HEAD / HTTP/1.0",
    "GET /x",
    "GET /#fragment HTTP/1.1",
    "GET /a b HTTP/1.1",
    "GET  /two-spaces HTTP/1.1",
    "get /lower HTTP/1.1",
    "GET /x HTTP/2.0",
    "GET /x HTTP/1.9",
    "GET /x HTTPS/1.1",
    "GET x HTTP/1.1",
];

/// Requests of which the headers are of interest.
const HEADERS: &[&str] = &[
    "",
    "Host: api.example\r\n",
    "Host: www.shop.example:80\r\n",
    "Host: API.example\r\nX-Secret: 1\r\nX-Many-A: 1\r\nx-many-b: 2\r\n",
    "Host: a\r\nCookie: id=1234; other=2\r\n",
    "Host: a\r\nCookie: a=b\r\nCookie: id=12\r\n",
    "Host: a\r\nX-List: a,aa,b\r\n",
    "Host: a\r\nX-List: a\r\nX-List: aa, caa\r\n",
    "Host: a\r\nUser-Agent: Some Mobile Thing\r\n",
    "Host: a\r\nX-Forwarded-For: 192.0.2.1\r\n",
    "Host: www.shop.example\r\nX-Shop-Client: 192.0.2.1\r\n",
    "Host: a\r\nX-Client: forged\r\nX-Client: twice\r\n",
    "Host: a\r\nX-Two: own\r\n",
    "Host: a\r\nContent-Length: 0\r\n",
    "Host: a\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n",
    "Host: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "Host: a\r\nX-Empty:\r\nX-Spaces:   b   \r\nX-Tab:\tc\t\r\n",
    "Host: a\r\nX-High: \u{e9}\r\n",
    "HOST: a\r\nx-UPPER: Value\r\n",
    "Host: a\r\nHost: a\r\n",
    "Host: a\r\nHost: b\r\n",
    "Host: a\r\nExpect: 100-continue\r\n",
    "Host: a\r\nAuthorization: Basic YTpi\r\nReferer: /x\r\nAccept: */*\r\n",
    "Host: a:70000\r\n",
    "Host:\r\n",
    "Host: a b\r\n",
];

/// Intended difference: HTTP/1 has no version 2.
const STRICTER_LINES: &[&str] = &["GET /x HTTP/2.0"];

/// Intended difference: an upgrade that `connection` does not name is ignored, and a host with a
/// space is invalid.
const STRICTER_HEADERS: &[&str] = &[
    "GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: h2c",
    "GET /x HTTP/1.1\r\nHost: a b",
];

fn compare(requests: impl Iterator<Item = String>, differs: &[&str]) {
    let sides = Program::BOTH.map(ComparedProxy::start);
    let mut wrong = String::new();
    for request in requests {
        let name = request.escape_default().to_string();
        let [ours, theirs] = [0, 1].map(|n| sides[n].send(request.as_bytes()));
        let known = differs.iter().any(|start| request.starts_with(start));
        if (ours != theirs) != known {
            wrong += &format!(
                "== {name}\n-- haproxy\n{}{}\n-- evenkeel\n{}{}\n",
                theirs.server.join(""),
                theirs.client,
                ours.server.join(""),
                ours.client
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn request_lines_pass_rules_as_in_haproxy() {
    lab::skip_unless_installed!("haproxy");
    let close = |line: &&str| {
        if line.contains("HTTP/1.1") {
            format!("{line}\r\nHost: web\r\nConnection: close\r\n\r\n")
        } else {
            format!("{line}\r\n\r\n")
        }
    };
    compare(LINES.iter().map(close), STRICTER_LINES);
}

#[test]
fn headers_pass_rules_as_in_haproxy() {
    lab::skip_unless_installed!("haproxy");
    let close = |headers: &&str| format!("GET /x HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    compare(HEADERS.iter().map(close), STRICTER_HEADERS);
}

#[test]
fn responses_of_every_status_pass_as_in_haproxy() {
    lab::skip_unless_installed!("haproxy");
    let sides = Program::BOTH.map(ComparedProxy::start);
    let mut wrong = String::new();
    for status in [
        200, 201, 204, 206, 301, 304, 400, 401, 404, 418, 500, 502, 503, 599,
    ] {
        for origin in [&sides[0].origin, &sides[1].origin] {
            let body = if matches!(status, 204 | 304) {
                ""
            } else {
                "content-length: 2\r\n\r\nab"
            };
            let end = if body.is_empty() { "\r\n" } else { "" };
            let answer = format!(
                "HTTP/1.1 {status} Any Reason\r\nServer: X\r\nX-TWO: 1\r\nx-two: 2\r\n{body}{end}"
            );
            origin.set_behaviour(Behaviour::Raw(answer.into_bytes()));
        }
        for method in ["GET", "HEAD"] {
            if method == "HEAD" && status != 304 && status != 204 {
                continue;
            }
            let request = format!("{method} /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
            let [ours, theirs] = [0, 1].map(|n| sides[n].send(request.as_bytes()));
            if ours != theirs {
                wrong += &format!(
                    "== {status} {method}\n-- haproxy\n{}\n-- evenkeel\n{}\n",
                    theirs.client, ours.client
                );
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
