//! Tests successful and refused sign-ins to the portal.

use super::*;

/// The users of an LDAP directory that has the groups of users in `seeAlso`.
fn of_directory(slapd: &lab::Slapd) -> List {
    let server = Server {
        name: lab::Slapd::NAME.to_owned(),
        port: slapd.port(),
        addresses: vec![([127, 0, 0, 1], slapd.port()).into()],
        security: Security::StartTls,
    };
    List {
        directory: Some(LdapDirectory {
            authorities: slapd.authority_pem().into(),
            ..directory(server)
        }),
        ..List::default()
    }
}

fn directory(server: Server) -> LdapDirectory {
    LdapDirectory {
        servers: vec![server],
        authorities: Vec::new(),
        base: lab::Slapd::BASE.to_owned(),
        account: Some((lab::Slapd::ACCOUNT.to_owned(), lab::Slapd::PASSWORD.into())),
        filter: "(uid=%u)".to_owned(),
        grouping: Grouping::Attribute("seeAlso".to_owned()),
        only: Vec::new(),
        named: vec!["staff".to_owned()],
        second_factors: [("tina".to_owned(), SecondFactor::Codes(SECRET.to_vec()))].into(),
        second_factor_required: false,
    }
}

#[test]
fn a_second_factor_is_required_and_its_code_works_once() {
    let bed = PortalFixture::new();
    let asked = bed.post("/sign-in", "", "user=tina&password=quince");
    assert_eq!((asked.status, asked.cookies()), (200, String::new()));
    let half = asked.field("half");
    let wrong = bed.post("/sign-in", "", &format!("half={half}&code=000000x"));
    assert_eq!((wrong.status, wrong.cookies()), (403, String::new()));
    let code = second_factor::code(&SECRET, second_factor::step(now_s()));
    let form = format!("half={half}&code={code}");
    let right = bed.post("/sign-in", "", &form);
    assert_eq!(right.status, 303);
    assert_eq!(bed.get("/", &[("cookie", &right.cookies())]).status, 200);
    assert_eq!(bed.post("/sign-in", "", &form).status, 403);
    // The feed does not support codes.
    assert_eq!(bed.program(FEED, "tina:quince", "").status, 403);
}

#[test]
fn users_of_a_directory_sign_in_and_see_what_is_for_their_groups() {
    lab::skip_unless_installed!("slapd");
    let person = |name: &str, more: &str| {
        format!(
            "dn: uid={name},dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\n\
             userPassword: quince\n{more}\n"
        )
    };
    let staff = "seeAlso: cn=Staff,dc=example,dc=org\n";
    let people = [
        person("anna", staff),
        person("bert", ""),
        person("tina", staff),
    ];
    let slapd = lab::Slapd::start(&people.concat()).unwrap();
    let bed = PortalFixture::new();
    let mut farm = farm();
    farm.users = of_directory(&slapd);
    bed.change(&farm);
    let wrong = bed.post("/sign-in", "", "user=anna&password=pear");
    assert_eq!((wrong.status, wrong.cookies()), (403, String::new()));
    let empty = bed.post("/sign-in", "", "user=anna&password=");
    assert_eq!((empty.status, empty.cookies()), (403, String::new()));
    let anna = bed.sign_in("EXAMPLE%5CAnna");
    let list = bed.get("/", &[("cookie", &anna)]);
    assert!(list.text().contains("/start/word.rdp"), "{}", list.text());
    assert_eq!(bed.get("/start/word.rdp", &[("cookie", &anna)]).status, 200);
    let bert = bed.sign_in("bert");
    assert!(!bed.get("/", &[("cookie", &bert)]).text().contains("word"));
    assert_eq!(bed.get("/start/word.rdp", &[("cookie", &bert)]).status, 404);
    // Programs read the feed with the same password. With a second factor they cannot.
    let feed = bed.program(FEED, "EXAMPLE\\anna:quince", "");
    assert!(
        feed.status == 200 && feed.text().contains("word"),
        "{feed:?}"
    );
    assert_eq!(bed.program(FEED, "bert:pear", "").status, 401);
    assert_eq!(bed.program(FEED, "tina:quince", "").status, 403);
    let half = bed
        .post("/sign-in", "", "user=Tina&password=quince")
        .field("half");
    let code = second_factor::code(&SECRET, second_factor::step(now_s()));
    let right = bed.post("/sign-in", "", &format!("half={half}&code={code}"));
    let list = bed.get("/", &[("cookie", &right.cookies())]);
    assert!(list.text().contains("/start/word.rdp"), "{}", list.text());
    // Without the line no LDAP user is signed in, and without a server nobody can sign in.
    drop(slapd);
    assert_eq!(
        bed.post("/sign-in", "", "user=bert&password=quince").status,
        503
    );
    assert_eq!(bed.get("/", &[("cookie", &anna)]).status, 200);
    farm.users = List::default();
    bed.change(&farm);
    assert_eq!(bed.get("/", &[("cookie", &anna)]).status, 303);
}

#[test]
fn guessing_is_limited_for_pages_and_the_feed_together() {
    let bed = PortalFixture::new();
    for turn in 0..5 {
        let status = match turn % 2 {
            0 => bed.post("/sign-in", "", "user=anna&password=pear").status,
            _ => bed.program(FEED, "anna:pear", "").status,
        };
        assert!(matches!(status, 401 | 403), "{turn} {status}");
    }
    assert_eq!(
        bed.post("/sign-in", "", "user=anna&password=quince").status,
        429
    );
    assert_eq!(bed.program(FEED, "anna:quince", "").status, 429);
}

#[test]
fn why_shows_sign_ins_and_refusals() {
    let bed = PortalFixture::new();
    let steps = |name: &str| {
        let asked = bed.portal.site.why(&FarmUser::named(name).unwrap());
        let steps = asked.map(|asked| asked.steps).unwrap_or_default();
        let words = |one: &crate::history::HistoryStep| {
            format!("{} {}: {}: {}", one.from, one.asked, one.got, one.why)
        };
        steps.iter().map(words).collect::<Vec<_>>()
    };
    let wrong =
        "192.0.2.1 portal: refused: wrong name or password, or in no group that may sign in";
    bed.post("/sign-in", "", "user=bert&password=wrong");
    bed.program(FEED, "bert:wrong", "");
    bed.sign_in("bert");
    let right = "192.0.2.1 portal: signed in: correct password";
    assert_eq!(steps("bert"), [wrong, wrong, right]);
    let asks = bed.post("/sign-in", "", "user=tina&password=quince");
    let form = format!("half={}&code=000000", asks.field("half"));
    bed.post("/sign-in", "", &form);
    let code = "192.0.2.1 portal: refused: correct password, but wrong or already used code";
    assert_eq!(steps("tina"), [code]);
    // Neither attempts that have to wait nor impossible passwords displace the others from the
    // history.
    let long = format!("user=mallory&password={}", "x".repeat(600));
    for _ in 0..100 {
        bed.post("/sign-in", "", "user=mallory&password=wrong");
        assert_eq!(bed.post("/sign-in", "", &long).status, 403);
    }
    assert!(steps("mallory").len() < 20);
}

#[test]
fn the_report_names_the_server_of_the_directory_that_does_not_answer() {
    let bed = PortalFixture::new();
    let mut farm = farm();
    let dead = Server {
        name: "dc1.example.org".to_owned(),
        port: 636,
        addresses: vec![SocketAddr::from((
            [127, 0, 0, 1],
            lab::free_port().unwrap(),
        ))],
        security: Security::Tls,
    };
    farm.users = List {
        directory: Some(directory(dead)),
        ..List::default()
    };
    farm.hosts = crate::directory::tests::farm(Balance::Load, &[1]).hosts;
    bed.change(&farm);
    let report = || bed.portal.site.subject();
    assert_eq!(report().why, "");
    let refused = bed.post("/sign-in", "", "user=anna&password=quince");
    assert_eq!(refused.status, 503);
    let Subject { state, why, .. } = report();
    assert_eq!(state.word, "degraded");
    assert!(
        why.starts_with("LDAP server dc1.example.org (127.0.0.1:"),
        "{why}"
    );
    assert!(why.ends_with("Connection refused"), "{why}");
}

#[test]
fn an_empty_password_is_never_right() {
    let bed = PortalFixture::new();
    let mut farm = farm();
    farm.users.users[1].account.password = Password::Clear(Vec::new());
    bed.change(&farm);
    let got = bed.post("/sign-in", "", "user=bert&password=");
    assert_eq!((got.status, got.cookies()), (403, String::new()));
    let feed = bed.program("/RDWeb/FeedLogin/WebFeedLogin.aspx", "bert:", "");
    assert_eq!(feed.status, 401);
}
