//! Tests HTTP requests to the portal and their responses.

mod guests;
mod sign_in;

use super::*;
use crate::collection::{Assignee, CollectionId};
use crate::config::{App, Balance, Bind, Check, Desktop, Tokens};
use crate::directory::DirectoryId;
use crate::site::SharingParameters;
use access::ldap::{Grouping, LdapDirectory, Security, Server};
use access::second_factor;
use access::user::AuthorizedUser as Listed;
use configuration::{Account, Password};
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{
    CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, ORIGIN, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use lab::pki::{Authority, Leaf};
use part::codec;
use part::report::{Moment, Subject};
use part::role::{MemberNews, Membership, VersionStanding};
use screen::library::Libraries;
use std::net::SocketAddr;
use tokio::sync::watch;

const HOME: &str = "192.0.2.1";
const SECRET: [u8; 20] = [7; 20];

fn verify(account: &Account, password: &[u8]) -> bool {
    matches!(&account.password, Password::Clear(clear) if clear == password)
}

fn user(name: &str, groups: &[&str]) -> Listed {
    Listed::new(Account {
        name: name.to_owned(),
        groups: groups.iter().map(|one| (*one).to_owned()).collect(),
        password: Password::Clear(b"quince".to_vec()),
    })
}

fn app(name: &str, title: &str, groups: &[&str]) -> App {
    App {
        name: name.to_owned(),
        title: title.to_owned(),
        path: format!("||{name}"),
        args: String::new(),
        icon: Vec::new(),
        groups: groups.iter().map(|one| (*one).to_owned()).collect(),
        hosts: Default::default(),
    }
}

fn farm() -> Farm {
    let leaf = Leaf {
        names: &["desktop.example.org"],
        ..Leaf::default()
    };
    let pem = Authority::new("Test CA")
        .unwrap()
        .issue(&leaf)
        .unwrap()
        .bundle();
    let mut totp = user("tina", &[]);
    totp.second_factor = SecondFactor::Codes(SECRET.to_vec());
    Farm {
        name: "desktop.example.org".to_owned(),
        binds: vec![Bind {
            address: "127.0.0.1:3390".parse().unwrap(),
            pem: pem.clone().into_bytes(),
            accepts_proxy: false,
        }],
        hosts: Default::default(),
        balance: Balance::Load,
        check: Check::default(),
        sessions: config::Sessions::default(),
        tokens: Tokens {
            key: vec![7; 32],
            ..Tokens::default()
        },
        maxconn: 100,
        web: Vec::new(),
        gateway: None,
        agents: Default::default(),
        proxies: Default::default(),
        users: List {
            users: vec![user("anna", &["staff"]), user("bert", &[]), totp],
            ..List::default()
        },
        portal: Some(config::Portal {
            authority: "desktop.example.org".to_owned(),
            desktop: Some(Desktop {
                title: "Full desktop".to_owned(),
                groups: Vec::new(),
                hosts: Default::default(),
            }),
            apps: vec![
                app("word", "Word <script>alert(1)</script>", &["staff"]),
                app("calc", "Calculator", &[]),
            ],
            consoles: Vec::new(),
            signs: pem.into_bytes(),
        }),
    }
}

/// A portal, and requests to it.
struct PortalFixture {
    portal: Arc<Portal>,
}

#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: hyper::header::HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Cookies that a browser has after the response.
    fn cookies(&self) -> String {
        let all = self.headers.get_all(SET_COOKIE).iter();
        let pairs = all.map(|one| one.to_str().unwrap().split(';').next().unwrap());
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn field(&self, name: &str) -> String {
        let (_, rest) = self
            .text()
            .split_once(&format!("name=\"{name}\" value=\""))
            .unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

async fn got(portal: &Arc<Portal>, request: Request<Full<Bytes>>) -> Got {
    let reply: Response<_> = portal.respond(HOME.parse().unwrap(), request).await;
    let (head, body) = reply.into_parts();
    Got {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

impl PortalFixture {
    fn new() -> PortalFixture {
        let farm = farm();
        let site = Arc::new(FarmState::new("office", farm.clone(), &[7; 32], None));
        let guests = Guests::new(Libraries::default()).unwrap();
        let portal = Portal::new(site, None, verify, Arc::new(guests)).unwrap();
        PortalFixture {
            portal: Arc::new(portal),
        }
    }

    /// Creates a node of a cluster, with the saved state of the previous process.
    fn node(number: u64, kept: Option<SavedSessions>) -> PortalFixture {
        let shared = SharingParameters {
            origin: DirectoryId(number),
            bell: Arc::new(watch::Sender::new(0)),
        };
        let site = Arc::new(FarmState::new("office", farm(), &[7; 32], Some(shared)));
        let guests = Guests::new(Libraries::default()).unwrap();
        let portal = Portal::new(site, kept, verify, Arc::new(guests)).unwrap();
        PortalFixture {
            portal: Arc::new(portal),
        }
    }

    /// Delivers the messages of this node to another node, as the link does.
    fn says_to(&self, other: &PortalFixture) {
        while let Some(message) = self.portal.site.next_message("other") {
            let origin = self.portal.site.origin();
            other.portal.site.handle("one", origin, message).unwrap();
        }
        assert!(!self.portal.site.has_message("other"));
    }

    fn change(&self, farm: &Farm) {
        self.portal.site.change(farm.clone(), &[7; 32]);
        self.portal.change().unwrap();
    }

    fn send(&self, request: Request<Full<Bytes>>) -> Got {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(got(&self.portal, request))
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = Request::get(path).header("host", "desktop.example.org");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::default()).unwrap())
    }

    fn post(&self, path: &str, cookie: &str, form: &str) -> Got {
        let request = Request::post(path).header("host", "desktop.example.org");
        let request = request
            .header(ORIGIN, "https://desktop.example.org")
            .header(COOKIE, cookie);
        self.send(request.body(Full::from(form.to_owned())).unwrap())
    }

    /// Returns the cookies of a user who signs in.
    fn sign_in(&self, name: &str) -> String {
        let got = self.post("/sign-in", "", &format!("user={name}&password=quince"));
        assert_eq!((got.status, got.header(LOCATION)), (303, "/"), "{got:?}");
        got.cookies()
    }

    fn program(&self, path: &str, pair: &str, accept: &str) -> Got {
        let basic = format!("Basic {}", BASE64.encode(pair));
        self.get(path, &[("authorization", &basic), ("accept", accept)])
    }
}

#[test]
fn users_sign_in_see_their_programs_and_sign_out() {
    let bed = PortalFixture::new();
    let first = bed.get("/", &[]);
    assert_eq!((first.status, first.header(LOCATION)), (303, "/sign-in"));
    assert_eq!(bed.get("/sign-in", &[]).status, 200);
    let wrong = bed.post("/sign-in", "", "user=anna&password=pear");
    assert_eq!((wrong.status, wrong.cookies()), (403, String::new()));
    assert!(
        wrong.text().contains("value=\"anna\" required"),
        "{wrong:?}"
    );
    let form = "user=%22%3E%3Cscript%3E&password=pear";
    let page = bed.post("/sign-in", "", form);
    let page = page.text();
    assert!(
        page.contains("value=\"&quot;&gt;&lt;script&gt;\""),
        "{page}"
    );
    let anna = bed.sign_in("anna");
    let list = bed.get("/", &[("cookie", &anna)]);
    assert!(list.text().contains("/start/word.rdp"), "{}", list.text());
    assert!(list.text().contains("Word &lt;script&gt;"));
    assert!(
        list.header(CONTENT_SECURITY_POLICY)
            .starts_with("default-src 'none'")
    );
    let bert = bed.sign_in("bert");
    let list_of_bert = bed.get("/", &[("cookie", &bert)]);
    assert!(list_of_bert.text().contains("/start/calc.rdp"));
    assert!(!list_of_bert.text().contains("word"));
    let csrf = list.field("csrf");
    assert_eq!(bed.post("/sign-out", &anna, "csrf=x").status, 403);
    assert_eq!(
        bed.post("/sign-out", &anna, &format!("csrf={csrf}")).status,
        303
    );
    assert_eq!(bed.get("/", &[("cookie", &anna)]).status, 303);
}

#[test]
fn an_rdp_file_starts_its_program_with_a_routing_token() {
    let bed = PortalFixture::new();
    let bert = bed.sign_in("bert");
    let file = bed.get("/start/calc.rdp", &[("cookie", &bert)]);
    assert_eq!(file.header(CONTENT_TYPE), "application/x-rdp");
    assert_eq!(
        file.header(CONTENT_DISPOSITION),
        "attachment; filename=\"calc.rdp\""
    );
    let line = |name: &str| {
        let found = file.text().lines().find_map(|line| line.strip_prefix(name));
        found
            .unwrap_or_else(|| panic!("{name} {}", file.text()))
            .to_owned()
    };
    assert_eq!(line("full address:s:"), "desktop.example.org:3390");
    assert_eq!(line("username:s:"), "bert");
    let key = crate::token::Key::new(&[7; 32]);
    let office = crate::token::NameId::of("office");
    let claims = key
        .read(line("loadbalanceinfo:s:").as_bytes(), office, now_s())
        .unwrap();
    assert_eq!(claims.user, FarmUser::named("bert").unwrap().id);
    assert_eq!(claims.host, None);
    for (path, status) in [
        ("/start/word.rdp", 404),
        ("/start/none.rdp", 404),
        ("/start/desktop.rdp", 200),
        ("/icon/calc.png", 200),
        ("/icon/calc.ico", 200),
        ("/icon/word.png", 404),
        ("/icon/calc.gif", 404),
    ] {
        assert_eq!(bed.get(path, &[("cookie", &bert)]).status, status, "{path}");
        assert_ne!(bed.get(path, &[]).status, 200, "{path}");
    }
}

#[test]
fn an_rdp_file_has_the_gateway_and_its_cookie() {
    let bed = PortalFixture::new();
    let mut farm = farm();
    farm.gateway = Some(config::Gateway {
        name: "gate.example.org".to_owned(),
        port: 8443,
        idle_ms: None,
        session_ms: None,
    });
    bed.change(&farm);
    let anna = bed.sign_in("anna");
    let file = bed.get("/start/desktop.rdp", &[("cookie", &anna)]);
    let line = |name: &str| {
        let found = file.text().lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_default().to_owned()
    };
    assert_eq!(line("gatewayhostname:s:"), "gate.example.org:8443");
    let user = bed.portal.site.cookie_user(&line("gatewayaccesstoken:s:"));
    assert_eq!(user, Ok("anna".to_owned()));
    // After a change of the password, neither the gateway's cookie nor the browser's is valid.
    assert_eq!(bed.get("/", &[("cookie", &anna)]).status, 200);
    for listed in &mut farm.users.users {
        listed.account.password = Password::Clear(b"another".to_vec());
    }
    bed.change(&farm);
    let user = bed.portal.site.cookie_user(&line("gatewayaccesstoken:s:"));
    assert_eq!(user, Err(crate::cookie::CookieError::Forged));
    assert_eq!(bed.get("/", &[("cookie", &anna)]).status, 303);
    // The gateway's cookie and the browser's session stay invalid when the old password is set
    // again, but new ones are valid.
    for listed in &mut farm.users.users {
        listed.account.password = Password::Clear(b"secret".to_vec());
    }
    bed.change(&farm);
    let user = bed.portal.site.cookie_user(&line("gatewayaccesstoken:s:"));
    assert_eq!(user, Err(crate::cookie::CookieError::Forged));
    assert_eq!(bed.get("/", &[("cookie", &anna)]).status, 303);
    let new = bed.portal.site.gateway_cookie("anna");
    assert_eq!(bed.portal.site.cookie_user(&new), Ok("anna".to_owned()));
}

#[test]
fn programs_read_the_feed_by_password_and_by_the_cookie_that_they_get() {
    let bed = PortalFixture::new();
    let led = bed.get("/RDWeb/Feed/webfeed.aspx", &[]);
    assert_eq!(
        (led.status, led.header(LOCATION)),
        (302, "/RDWeb/FeedLogin/WebFeedLogin.aspx")
    );
    let asked = bed.get(led.header(LOCATION), &[]);
    assert_eq!(asked.status, 401);
    assert!(asked.header(WWW_AUTHENTICATE).starts_with("Basic "));
    let token = bed.program(led.header(LOCATION), "EXAMPLE\\anna:quince", "");
    assert_eq!(
        token.header(CONTENT_TYPE),
        "application/x-msts-webfeed-login"
    );
    let cookie = format!(".ASPXAUTH={}", token.text());
    let accept = "application/x-msts-radc+xml; radc_schema_version=2.0";
    let feed = bed.get(
        "/RDWeb/Feed/webfeed.aspx",
        &[("cookie", &cookie), ("accept", accept)],
    );
    assert_eq!(feed.status, 200);
    assert!(
        feed.text().contains("SchemaVersion=\"2.0\""),
        "{}",
        feed.text()
    );
    let document = roxmltree::Document::parse(feed.text()).unwrap();
    let urls = document
        .descendants()
        .filter_map(|node| node.attribute("URL").or_else(|| node.attribute("FileURL")));
    let urls: Vec<&str> = urls.collect();
    assert_eq!(urls.len(), 9, "{urls:?}");
    for url in urls {
        assert_eq!(bed.get(url, &[("cookie", &cookie)]).status, 200, "{url}");
    }
    let direct = bed.program(FEED, "bert:quince", "");
    assert!(direct.text().contains("SchemaVersion=\"1.1\""));
    assert!(!direct.text().contains("word"));
    assert_eq!(bed.program(FEED, "bert:pear", "").status, 401);
}

#[test]
fn forms_of_other_sites_and_oversize_bodies_are_refused() {
    let bed = PortalFixture::new();
    for origin in [
        "https://evil.example",
        "http://desktop.example.org",
        "ftp://desktop.example.org",
        "null",
    ] {
        let request = Request::post("/sign-in").header("host", "desktop.example.org");
        let request = request.header(ORIGIN, origin);
        let form = Full::from("user=anna&password=quince");
        assert_eq!(
            bed.send(request.body(form).unwrap()).status,
            403,
            "{origin}"
        );
    }
    let large = format!("user=anna&password={}", "x".repeat(20_000));
    assert_eq!(bed.post("/sign-in", "", &large).status, 413);
}

#[test]
fn hostile_paths_and_headers_are_refused() {
    let bed = PortalFixture::new();
    let anna = bed.sign_in("anna");
    for path in [
        "/start/../../etc/passwd.rdp",
        "/start/%2e%2e.rdp",
        "/start/.rdp",
        "/icon/.png",
        "/icon/",
        "//evil.example/",
        "/rdweb/feed/",
        "/%00",
        &format!("/{}", "a".repeat(4_000)),
    ] {
        assert_eq!(
            bed.get(path, &[("cookie", &anna)]).status,
            404,
            "{path:.40}"
        );
    }
    for method in ["PUT", "DELETE", "PROPFIND", "RDG_OUT_DATA"] {
        let request = Request::builder().method(method).uri("/");
        assert_eq!(bed.send(request.body(Full::default()).unwrap()).status, 405);
    }
    for value in [
        "Basic",
        "Basic !!!",
        "Basic YQ==",
        "Bearer x",
        "Negotiate AAAA",
    ] {
        assert_eq!(
            bed.get(FEED, &[("authorization", value)]).status,
            401,
            "{value}"
        );
    }
    for cookie in [
        "__Host-evenkeel-desktop=a.b",
        ".ASPXAUTH=",
        "__Host-evenkeel-desktop",
    ] {
        assert_eq!(bed.get("/", &[("cookie", cookie)]).status, 303, "{cookie}");
    }
}

#[test]
fn a_session_counts_at_every_node_with_the_key_until_its_user_is_removed() {
    let bed = PortalFixture::new();
    let anna = bed.sign_in("anna");
    let other = PortalFixture::new();
    assert_eq!(other.get("/", &[("cookie", &anna)]).status, 200);
    let mut farm = farm();
    farm.users.users.remove(0);
    other.change(&farm);
    assert_eq!(other.get("/", &[("cookie", &anna)]).status, 303);
    farm.portal = None;
    other.change(&farm);
    assert_eq!(other.get("/sign-in", &[]).status, 404);
}

#[test]
fn a_sign_out_is_saved_and_applies_on_both_nodes() {
    let (one, other) = (PortalFixture::node(1, None), PortalFixture::node(2, None));
    let anna = one.sign_in("anna");
    let list = other.get("/", &[("cookie", &anna)]);
    assert_eq!(list.status, 200);
    assert!(!one.portal.guests.take_save_request());
    let form = format!("csrf={}", list.field("csrf"));
    assert_eq!(one.post("/sign-out", &anna, &form).status, 303);
    assert!(one.portal.guests.take_save_request());
    assert!(one.portal.site.has_message("other"));
    one.says_to(&other);
    let is_out = |bed: &PortalFixture| bed.get("/", &[("cookie", &anna)]).status == 303;
    assert!(is_out(&other));
    // The next process knows the sign-out from the saved state, or from the other node.
    let kept = codec::decode(&codec::encode(&one.portal.state_to_save())).unwrap();
    assert!(is_out(&PortalFixture::node(3, Some(kept))));
    let next = PortalFixture::node(4, None);
    assert!(!is_out(&next));
    other.says_to(&next);
    assert!(is_out(&next));
    // A node with a new connection gets all sign-outs.
    let late = PortalFixture::node(5, None);
    other.portal.site.linked("other", DirectoryId(5));
    other.says_to(&late);
    assert!(is_out(&late));
}

#[test]
fn the_list_shows_the_notice_of_a_drained_host_to_its_users() {
    let bed = PortalFixture::new();
    let anna = bed.sign_in("anna");
    let mut farm = farm();
    let host = config::SessionHost {
        address: "127.0.0.1:1".parse().unwrap(),
        weight: 1,
        drained: false,
    };
    farm.hosts.insert("ts1".to_owned(), host);
    farm.agents.notice = "Save <your> work".to_owned();
    let site = &bed.portal.site;
    site.change(farm, &[7; 32]);
    let routed = crate::site::Routed {
        id: FarmUser::named("anna").unwrap().id.into(),
        host: "ts1".to_owned(),
        address: host.address,
    };
    let shows = || {
        let list = bed.get("/", &[("cookie", &anna)]);
        list.text().contains("Save &lt;your&gt; work")
    };
    assert!(site.drain("ts1", true) && !shows(), "it is not her host");
    site.begins(&routed, HOME.parse().unwrap(), false);
    assert!(shows());
    site.drain("ts1", false);
    assert!(!shows());
}

#[test]
fn the_list_omits_sessions_without_an_entry() {
    let bed = PortalFixture::new();
    let anna = bed.sign_in("anna");
    let mut farm = farm();
    for (name, address) in [("ts1", "127.0.0.1:1"), ("ts2", "127.0.0.1:2")] {
        let host = config::SessionHost {
            address: address.parse().unwrap(),
            weight: 1,
            drained: false,
        };
        farm.hosts.insert(name.to_owned(), host);
    }
    farm.gateway = Some(config::Gateway {
        name: "gate.example.org".to_owned(),
        port: 443,
        idle_ms: None,
        session_ms: None,
    });
    bed.change(&farm);
    let id = FarmUser::named("anna").unwrap().id;
    // Opens a session in the collection of the portal's desktop, and another in that of a single
    // host.
    let of_one = CollectionId::of(&["ts2".to_owned()].into());
    for (host, collection) in [("ts1", CollectionId::ALL), ("ts2", of_one)] {
        let routed = crate::site::Routed {
            id: Assignee::new(id, collection),
            host: host.to_owned(),
            address: farm.hosts[host].address,
        };
        let site = &bed.portal.site;
        let (number, _) = site.begins(&routed, HOME.parse().unwrap(), false);
        site.proves(number);
        site.ends(number);
    }
    let list = bed.get("/", &[("cookie", &anna)]);
    for words in [
        "Your session at <b>ts1</b> has been without a connection for less than a minute. Start the same \
         entry again to",
        "Your session at <b>ts2</b> has been without a connection for less than a minute. No entry below \
         leads there: connect to <b>ts2</b> through the gateway <b>gate.example.org</b> to return to it.",
    ] {
        assert!(list.text().contains(words), "{words}: {}", list.text());
    }
}

#[test]
fn the_list_names_the_session_of_its_user() {
    let bed = PortalFixture::new();
    let anna = bed.sign_in("anna");
    let mut farm = farm();
    let host = config::SessionHost {
        address: "127.0.0.1:1".parse().unwrap(),
        weight: 1,
        drained: false,
    };
    farm.hosts.insert("ts1".to_owned(), host);
    bed.portal.site.change(farm, &[7; 32]);
    let routed = crate::site::Routed {
        id: FarmUser::named("anna").unwrap().id.into(),
        host: "ts1".to_owned(),
        address: host.address,
    };
    let (number, _ends) = bed
        .portal
        .site
        .begins(&routed, HOME.parse().unwrap(), false);
    let list = bed.get("/", &[("cookie", &anna)]);
    assert!(
        list.text().contains("You have a session at <b>ts1</b>"),
        "{}",
        list.text()
    );
    bed.portal.site.ends(number);
    let list = bed.get("/", &[("cookie", &anna)]);
    let kept = "Your session host <b>ts1</b> is reserved for ";
    assert!(list.text().contains(kept), "{}", list.text());
    let (number, _) = bed
        .portal
        .site
        .begins(&routed, HOME.parse().unwrap(), false);
    bed.portal.site.proves(number);
    bed.portal.site.ends(number);
    let list = bed.get("/", &[("cookie", &anna)]);
    assert!(
        list.text().contains("for less than a minute"),
        "{}",
        list.text()
    );
}

#[test]
fn the_list_marks_programs_that_cannot_start_now() {
    let bed = PortalFixture::new();
    let mut farm = farm();
    let host = config::SessionHost {
        address: ([10, 0, 0, 2], 3389).into(),
        weight: 1,
        drained: false,
    };
    farm.hosts = ["ts1", "ts2"].map(|name| (name.to_owned(), host)).into();
    let portal = farm.portal.as_mut().unwrap();
    portal.apps[1].hosts.insert("ts2".to_owned());
    bed.change(&farm);
    let [anna, bert] = ["anna", "bert"].map(|name| bed.sign_in(name));
    let closed = "Its hosts accept no new users now.";
    let count = |cookie: &str| {
        let list = bed.get("/", &[("cookie", cookie)]);
        list.text().matches(closed).count()
    };
    assert_eq!(count(&anna), 0);
    let collection = farm.collection(&farm.portal.as_ref().unwrap().apps[1].hosts);
    let routed = crate::site::Routed {
        id: Assignee::new(FarmUser::named("anna").unwrap().id, collection),
        host: "ts2".to_owned(),
        address: host.address,
    };
    bed.portal
        .site
        .begins(&routed, HOME.parse().unwrap(), false);
    assert!(bed.portal.site.drain("ts2", true));
    // Anna has a session at that host.
    assert_eq!([&anna, &bert].map(|cookie| count(cookie)), [0, 1]);
    // The file contains the collection, and so does its token.
    let file = bed.get("/start/calc.rdp", &[("cookie", &bert)]);
    let line = file
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("loadbalanceinfo:s:"));
    let key = crate::token::Key::new(&[7; 32]);
    let office = crate::token::NameId::of("office");
    let claims = key.read(line.unwrap().as_bytes(), office, now_s());
    assert_eq!(claims.unwrap().collection, collection);
}

/// Reports the membership, as the control role does, to the node of a portal.
fn report(bed: &PortalFixture, membership: &mut Membership, news: &MemberNews) {
    let now_ns = Moment::now().boottime_ms * 1_000_000;
    membership.apply_report(news, now_ns);
    bed.portal.site.set_membership(membership.clone());
}

#[test]
fn a_returned_node_refuses_sign_ins_until_confirmed() {
    let bed = PortalFixture::new();
    let anna = bed.sign_in("anna");
    let mut membership = Membership::new(true);
    let unconfirmed = MemberNews::default();
    report(&bed, &mut membership, &unconfirmed);
    let refused = bed.post("/sign-in", "", "user=anna&password=quince");
    assert_eq!((refused.status, refused.cookies()), (503, String::new()));
    assert!(refused.text().contains("has just returned"), "{refused:?}");
    assert!(!refused.header(RETRY_AFTER).is_empty());
    // Another node has begun this session.
    let list = bed.get("/start/calc.rdp", &[("cookie", &anna)]);
    assert_eq!(list.status, 503);
    let feed = bed.program("/RDWeb/Feed/webfeed.aspx", "anna:quince", "");
    assert_eq!(feed.status, 503);
    assert!(!feed.text().contains('<'), "{feed:?}");
    let current = MemberNews {
        version: VersionStanding::Current,
        ..MemberNews::default()
    };
    report(&bed, &mut membership, &current);
    bed.sign_in("anna");
    // The majority is lost.
    report(&bed, &mut membership, &unconfirmed);
    bed.sign_in("anna");
}

#[test]
fn lone_node_lets_users_in_after_a_minute() {
    let bed = PortalFixture::new();
    let mut membership = Membership::new(true);
    let now_ns = Moment::now().boottime_ms * 1_000_000;
    let alone = |seconds: u64| MemberNews {
        alone_since_ns: now_ns.saturating_sub(seconds * 1_000_000_000).max(1),
        ..MemberNews::default()
    };
    report(&bed, &mut membership, &alone(1));
    assert_eq!(bed.get("/sign-in", &[]).status, 503);
    report(&bed, &mut membership, &alone(61));
    bed.sign_in("anna");
}

#[test]
fn removed_node_lets_nobody_in_and_ends_sessions() {
    let bed = PortalFixture::new();
    let anna = bed.sign_in("anna");
    let mut membership = Membership::new(true);
    let removed = MemberNews {
        version: VersionStanding::Removed,
        alone_since_ns: 1,
        ..MemberNews::default()
    };
    report(&bed, &mut membership, &removed);
    assert!(bed.portal.site.is_removed());
    let list = bed.get("/", &[("cookie", &anna)]);
    assert_eq!(list.status, 503);
    assert!(list.text().contains("was removed from its cluster"));
    let refused = bed.post("/sign-in", "", "user=anna&password=quince");
    assert_eq!((refused.status, refused.cookies()), (503, String::new()));
}
