//! Tests users and pages of a site: a page that only one frontend may serve, one with a customer's
//! password, and statistics with one user who may look and one who may act. The responses, byte for
//! byte, and the effects of actions are compared with HAProxy.

use crate::program::Program;
use base64::prelude::{BASE64_STANDARD, Engine};
use lab::{Location, OriginServer, Peer, ScratchDirectory, free_port};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

const CONFIG: &str = r#"
    defaults
        mode http
        timeout client 10s
        timeout server 10s
        timeout connect 2s
    userlist watchers
        group masters users root
        user root password $6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.
        user guest insecure-password look
    userlist customer
        user ann insecure-password hello
        user bob password $1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1
    http-errors site
        errorfile 404 @PAGE@
        errorfile 408 /dev/null
    listen statistics
        bind @STATISTICS@
        stats enable
        stats uri /haproxy?stats
        stats refresh 60s
        stats show-node
        stats show-legends
        stats scope farm
        stats scope .
        acl known http_auth(watchers)
        acl master http_auth_group(watchers) masters
        stats http-request deny if { src 192.0.2.0/24 }
        stats http-request auth realm Site-Statistics unless known
        stats admin if master
    frontend public
        bind @PUBLIC@
        id 80
        default_backend farm
    frontend inside
        bind @INSIDE@
        id 8443
        option http-use-proxy-header
        monitor-uri /alive
        monitor fail if { nbsrv(farm) lt 1 }
        default_backend farm
    backend farm
        errorfiles site
        errorloc303 429 http://other.example/slow
        http-error status 410 content-type text/plain lf-string "%[path] is gone" hdr x-was here
        acl from_inside fe_id 8443
        acl is_office path_beg -i /office
        http-request deny if is_office !from_inside
        acl is_customer path_beg -i /customer
        http-request auth realm Customer if is_customer !{ http_auth(customer) }
        http-request auth if { path /default-realm }
        http-request deny deny_status 404 if { path /none }
        http-request deny deny_status 429 if { path /slow }
        http-request deny deny_status 410 if { path /gone }
        http-request return status 404 errorfiles site if { path /by-rule }
        http-request return status 200 content-type text/plain lf-string "%[http_auth_user]:%[http_auth_type]:%[http_auth_bearer]" if { path /who }
        server a @A@
        server b @B@
    backend hidden
        server h @A@
"#;

const PAGE: &str =
    "HTTP/1.1 404 Nothing here\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nnone";

/// The address of a request, and its text.
type Asked = (fn(&UsersProxy) -> SocketAddr, String);

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

struct UsersProxy {
    statistics: SocketAddr,
    public: SocketAddr,
    inside: SocketAddr,
    _peer: Peer,
    _origins: [OriginServer; 2],
    _scratch: ScratchDirectory,
}

impl UsersProxy {
    fn start(program: Program) -> UsersProxy {
        let origins = ["a", "b"].map(|name| OriginServer::start_local(name).unwrap());
        let scratch = ScratchDirectory::new().unwrap();
        let page = scratch.write("404.http", PAGE).unwrap();
        let (statistics, public, inside) = (here(), here(), here());
        let mut config = CONFIG.replace("@PAGE@", &page.display().to_string());
        for (mark, address) in [
            ("@STATISTICS@", statistics),
            ("@PUBLIC@", public),
            ("@INSIDE@", inside),
            ("@A@", origins[0].address()),
            ("@B@", origins[1].address()),
        ] {
            config = config.replace(mark, &address.to_string());
        }
        let _peer = program.start(Location::Here, &config, public).unwrap();
        UsersProxy {
            statistics,
            public,
            inside,
            _peer,
            _origins: origins,
            _scratch: scratch,
        }
    }

    /// Returns everything that the server sends until it closes the connection.
    fn ask(&self, at: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn csv(&self) -> String {
        let answer = self.ask(self.statistics, &get("/haproxy?stats;csv", "guest:look"));
        let start = answer
            .find("# pxname")
            .unwrap_or_else(|| panic!("{answer}"));
        answer[start..].to_owned()
    }

    /// Returns the states of the farm's servers.
    fn states(&self) -> Vec<String> {
        let csv = self.csv();
        let rows = csv.lines().filter(|line| line.starts_with("farm,"));
        let servers = rows.filter(|line| !line.contains(",BACKEND,"));
        servers
            .map(|line| line.split(',').nth(17).unwrap_or_default().to_owned())
            .collect()
    }

    /// Returns the location in the response to the form of the page.
    fn act(&self, credentials: &str, body: &str) -> String {
        let answer = self.ask(
            self.statistics,
            &format!(
                "POST /haproxy?stats HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{body}",
                basic("Authorization", credentials),
                body.len()
            ),
        );
        let location = answer.lines().find(|line| line.starts_with("location: "));
        location.unwrap_or(&answer).to_owned()
    }
}

fn basic(header: &str, credentials: &str) -> String {
    match credentials {
        "" => String::new(),
        text => format!("{header}: Basic {}\r\n", BASE64_STANDARD.encode(text)),
    }
}

fn request(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n")
}

fn get(target: &str, credentials: &str) -> String {
    request(target, &basic("Authorization", credentials))
}

/// Returns the part that has to be equal byte for byte: of responses of servers and of the page
/// itself only the beginning.
fn seen(answer: String) -> String {
    if answer.starts_with("HTTP/1.1 200 ") && !answer.contains("text/plain") {
        "200".to_owned()
    } else {
        answer
    }
}

#[test]
fn users_and_pages_of_a_site_are_haproxys() {
    lab::skip_unless_installed!("haproxy");
    let [ours, theirs] = Program::BOTH.map(UsersProxy::start);
    let asked: &[Asked] = &[
        // Requests a page that only one frontend serves.
        (|s| s.public, get("/office/x", "")),
        (|s| s.inside, get("/office/x", "")),
        // The customer's page, by passwords in clear and with a hash.
        (|s| s.public, get("/Customer", "")),
        (|s| s.public, get("/customer", "ann:hello")),
        (|s| s.public, get("/customer", "ann:Hello")),
        (|s| s.public, get("/customer", "bob:secret")),
        (|s| s.public, get("/customer", "bob:secret")),
        (|s| s.public, get("/customer", "bob:wrong")),
        (|s| s.public, get("/customer", "nobody:secret")),
        (|s| s.public, get("/customer", "root:secret")),
        (
            |s| s.public,
            request("/customer", "Authorization: Bearer x\r\n"),
        ),
        (|s| s.public, get("/default-realm", "")),
        // Requests with headers for a proxy.
        (|s| s.inside, get("http://h/customer", "ann:hello")),
        (
            |s| s.inside,
            request(
                "http://h/customer",
                &basic("Proxy-Authorization", "ann:hello"),
            ),
        ),
        // Requests that are answered with error pages.
        (|s| s.public, get("/none", "")),
        (|s| s.public, get("/slow", "")),
        (|s| s.public, get("/gone", "")),
        (|s| s.public, get("/by-rule", "")),
        // Requests whose credentials a rule shows.
        (|s| s.public, get("/who", "x:y")),
        (
            |s| s.public,
            request("/who", "Authorization: bearer tok en\r\n"),
        ),
        (|s| s.public, get("/who", "")),
        // Requests for the statistics, with users and passwords.
        (|s| s.statistics, get("/haproxy?stats", "")),
        (|s| s.statistics, get("/haproxy?stats", "guest:wrong")),
        (|s| s.statistics, get("/haproxy?stats", "root:look")),
        (|s| s.statistics, get("/haproxy?stats", "guest:look")),
        (|s| s.statistics, get("/haproxy?stats", "root:secret")),
        (|s| s.inside, get("/alive", "")),
    ];
    for (at, request) in asked {
        let [ours, theirs] = [&ours, &theirs].map(|site| seen(site.ask(at(site), request)));
        assert_eq!(ours, theirs, "{request}");
    }
}

#[test]
fn actions_of_the_statistics_page_act_for_its_administrators() {
    lab::skip_unless_installed!("haproxy");
    let sites = Program::BOTH.map(UsersProxy::start);
    let steps = [
        ("guest:look", "s=a&action=maint&b=farm"),
        ("", "s=a&action=maint&b=farm"),
        ("root:secret", "s=a&action=maint&b=farm"),
        ("root:secret", "s=b&action=drain&b=farm"),
        ("root:secret", "s=a&s=b&action=ready&b=farm"),
        ("root:secret", "s=a&s=nosuch&action=drain&b=farm"),
        ("root:secret", "s=a&action=ready&b=farm"),
        ("root:secret", "s=a&action=dhlth&b=farm"),
        ("root:secret", "s=a&action=eagent&b=farm"),
        ("root:secret", "s=a&action=shutdown&b=farm"),
        ("root:secret", "s=a&action=disable&b=farm"),
        ("root:secret", "s=a&action=enable&b=farm"),
        ("root:secret", "s=a&action=nonsense&b=farm"),
        ("root:secret", "action=maint&b=farm"),
    ];
    for (credentials, body) in steps {
        let [ours, theirs] = sites
            .each_ref()
            .map(|site| (site.act(credentials, body), site.states()));
        assert_eq!(ours, theirs, "{credentials} {body}");
    }
    // Compares the names that both pages show, and checks that actions have an effect for clients.
    let [ours, theirs] = sites.each_ref().map(|site| {
        let csv = site.csv();
        csv.lines()
            // Leaves out the framing of the response's chunks.
            .filter(|line| line.contains(','))
            .filter_map(|line| line.split(',').next().map(str::to_owned))
            .collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(ours, theirs);
    for site in &sites {
        site.act("root:secret", "s=a&s=b&action=maint&b=farm");
        let answer = site.ask(site.public, &get("/", ""));
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let answer = site.ask(site.inside, &get("/alive", ""));
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
}
