//! Tests the sign-in of users of an LDAP directory: with OpenLDAP's `slapd`, and with servers that
//! misbehave.

use super::*;
use crate::limiter::Key;
use crate::proof::{Authenticator, SignInError, SignInOrigin};
use crate::session::Sessions;
use crate::user::{AuthorizedUser, List};
use configuration::{Account, Password};
use lab::{Slapd, skip_unless_installed};
use part::lock;
use protocol::ldap::request;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::task::JoinSet;

const PEOPLE: &str = "dn: uid=anna,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: Anna\ncn: Anna A\nsn: A\n\
    mail: a.first@mail.example.org\nuserPassword: quince\nseeAlso: cn=Desktop\\, all,dc=example,dc=org\n\
    seeAlso: cn=other,dc=example,dc=org\n\n\
    dn: uid=bert,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: bert\ncn: Bert\nsn: B\nuserPassword: medlar\n\n\
    dn: uid=two,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: two\ncn: Two\nsn: T\nuserPassword: one\n\n\
    dn: cn=again,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: two\ncn: again\nsn: T\nuserPassword: one\n\n\
    dn: cn=staff,dc=example,dc=org\nobjectClass: groupOfNames\ncn: staff\nmember: uid=anna,dc=example,dc=org\n\n\
    dn: cn=apart,dc=example,dc=org\nobjectClass: groupOfNames\ncn: apart\nmember: uid=bert,dc=example,dc=org\n";

fn verify(_: &Account, _: &[u8]) -> bool {
    false
}

fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(what)
}

fn server(port: u16, security: Security) -> Server {
    Server {
        name: Slapd::NAME.to_owned(),
        port,
        addresses: vec![SocketAddr::from(([127, 0, 0, 1], port))],
        security,
    }
}

fn directory(servers: Vec<Server>) -> LdapDirectory {
    LdapDirectory {
        servers,
        authorities: Vec::new(),
        base: Slapd::BASE.to_owned(),
        account: Some((Slapd::ACCOUNT.to_owned(), Slapd::PASSWORD.into())),
        filter: "(|(uid=%u)(mail=%n))".to_owned(),
        grouping: Grouping::Attribute("seeAlso".to_owned()),
        only: Vec::new(),
        named: vec![
            "desktop, ALL".to_owned(),
            "apart".to_owned(),
            "staff".to_owned(),
        ],
        second_factors: BTreeMap::new(),
        second_factor_required: false,
    }
}

fn of(slapd: &Slapd) -> LdapDirectory {
    LdapDirectory {
        authorities: slapd.authority_pem().into(),
        ..directory(vec![server(slapd.port(), Security::StartTls)])
    }
}

fn list(directory: LdapDirectory) -> List {
    List {
        directory: Some(directory),
        ..List::default()
    }
}

fn desk() -> Authenticator {
    Authenticator::new("test", Sessions::new(None).unwrap(), verify)
}

fn found(
    directory: &LdapDirectory,
    asked: &TypedName,
) -> Result<(BindConnection, Option<DirectoryUser>), String> {
    let found = run(directory.find(asked, &LdapAvailability::new("test")));
    found.map_err(|unfound| unfound.words)
}

fn tried(
    desk: &Authenticator,
    list: &List,
    from: u8,
    name: &str,
    password: &str,
) -> Result<AuthorizedUser, SignInError> {
    let client = SignInOrigin::program(IpAddr::from([192, 0, 2, from]));
    run(desk.password(list, &client, name, password))
}

#[test]
fn a_slapd_user_signs_in_with_the_own_password_only() {
    skip_unless_installed!("slapd");
    let slapd = Slapd::start(PEOPLE).unwrap();
    let of_tls = LdapDirectory {
        servers: vec![server(slapd.tls_port(), Security::Tls)],
        ..of(&slapd)
    };
    for directory in [of(&slapd), of_tls] {
        let (desk, list) = (desk(), list(directory));
        // All forms of a name sign in the same user, under the name in the directory.
        for (from, name) in [
            "anna",
            " ANNA",
            "EXAMPLE\\Anna",
            "anna@example.org",
            "a.first@mail.example.org",
        ]
        .into_iter()
        .enumerate()
        {
            let user = tried(&desk, &list, from as u8, name, "quince").unwrap();
            assert_eq!(user.account.name, "anna", "{name}");
            assert_eq!(user.account.groups, ["desktop, ALL"]);
            assert_eq!(user.account.password, Password::Directory);
        }
        // Refuses wrong passwords, wildcards, a name with two entries, filter syntax, and an
        // unknown user.
        for (from, (name, password)) in [
            ("anna", "medlar"),
            ("anna", ""),
            ("anna", "\0"),
            ("*", "quince"),
            ("ann*", "quince"),
            ("anna)(uid=*", "quince"),
            ("x)(|(uid=anna", "quince"),
            ("two", "one"),
            ("nobody", "quince"),
            ("", "quince"),
            ("cn=reader", Slapd::PASSWORD),
        ]
        .into_iter()
        .enumerate()
        {
            let from = 100 + from as u8;
            let refused = tried(&desk, &list, from, name, password);
            let is_tried = !name.is_empty() && !matches!(password, "" | "\0");
            let expected = if is_tried {
                SignInError::Wrong
            } else {
                SignInError::NoTry
            };
            assert_eq!(refused, Err(expected), "{name} {password}");
            lock(&desk.limiter).reset(&[Key::For("anna".to_owned())], 0);
        }
    }
}

#[test]
fn groups_of_a_filter_decide_who_may_sign_in() {
    skip_unless_installed!("slapd");
    let slapd = Slapd::start(PEOPLE).unwrap();
    let by_search = LdapDirectory {
        grouping: Grouping::Filter("(&(objectClass=groupOfNames)(member=%d))".to_owned()),
        only: vec!["staff".to_owned()],
        ..of(&slapd)
    };
    let (desk, list) = (desk(), list(by_search));
    let anna = tried(&desk, &list, 1, "anna", "quince").unwrap();
    assert_eq!(anna.account.groups, ["staff"]);
    assert_eq!(
        tried(&desk, &list, 2, "bert", "medlar"),
        Err(SignInError::Wrong)
    );
}

#[test]
fn a_server_that_is_not_the_right_one_gets_no_password() {
    skip_unless_installed!("slapd");
    let slapd = Slapd::start(PEOPLE).unwrap();
    let asked = TypedName::parse_name("anna").unwrap();
    let why = |directory: LdapDirectory| found(&directory, &asked).err().unwrap();
    // Tests the errors for a server with a certificate of another CA or for another name, without
    // TLS, and for a wrong password of the search account.
    let other = lab::pki::Authority::new("Other CA").unwrap();
    let of_other = LdapDirectory {
        authorities: other.certificate_pem().into(),
        ..of(&slapd)
    };
    assert!(why(of_other).contains("TLS: invalid peer certificate: UnknownIssuer"));
    let mut renamed = of(&slapd);
    renamed.servers[0].name = "dc1.example.org".to_owned();
    assert!(why(renamed).contains("not valid for name"));
    let mut plain = of(&slapd);
    plain.servers[0].security = Security::Plain;
    assert!(why(plain).contains("result code 13: confidentiality required"));
    let mut account = of(&slapd);
    account.account = Some((Slapd::ACCOUNT.to_owned(), b"wrong".into()));
    let told = why(account);
    assert!(
        told.contains("bind-dn cn=reader,dc=example,dc=org: result code 49"),
        "{told}"
    );
}

#[test]
fn the_next_server_is_queried_when_one_is_silent() {
    skip_unless_installed!("slapd");
    let slapd = Slapd::start(PEOPLE).unwrap();
    let closed = server(lab::free_port().unwrap(), Security::StartTls);
    // Creates a server that accepts connections and sends nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = server(silent.local_addr().unwrap().port(), Security::Tls);
    let mut nowhere = closed.clone();
    nowhere.addresses.clear();
    // Gives the server a name that no nameserver has (RFC 6761, section 6.4).
    nowhere.name = "dc.invalid".to_owned();
    let mut directory = of(&slapd);
    let good = directory.servers.remove(0);
    directory.servers = vec![nowhere.clone(), closed.clone(), silent, good];
    let (desk, with) = (desk(), list(directory.clone()));
    assert!(tried(&desk, &with, 1, "anna", "quince").is_ok());
    // Lists the three servers that gave no result, and tries them after the others from now on.
    let told = desk.standing().failed_servers();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.iter()
            .any(|one| one.ends_with("no response within 2 s"))
    );
    let standing = desk.standing();
    let (first, _) = standing.order(&directory.servers)[0];
    assert_eq!(
        first.addresses,
        [SocketAddr::from(([127, 0, 0, 1], slapd.port()))]
    );
    directory.servers = vec![nowhere, closed];
    let without = list(directory.clone());
    // An attempt whose password no server verified never counts.
    for _ in 0..9 {
        assert_eq!(
            tried(&desk, &without, 2, "anna", "quince"),
            Err(SignInError::Unavailable)
        );
    }
    assert!(tried(&desk, &with, 2, "anna", "quince").is_ok());
    let told = found(&directory, &TypedName::parse_name("anna").unwrap())
        .err()
        .unwrap();
    assert!(
        told.contains("dc.invalid: the name does not resolve to an address; localhost (127.0.0.1:"),
        "{told}"
    );
}

#[test]
fn waiting_requests_for_a_silent_directory_are_bounded() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let port = silent.local_addr().unwrap().port();
    let list = Arc::new(list(directory(vec![server(port, Security::Tls)])));
    let desk = Arc::new(desk());
    let outcomes = run(async {
        let mut all = JoinSet::new();
        for from in 1..=100 {
            let (desk, list) = (Arc::clone(&desk), Arc::clone(&list));
            all.spawn(async move {
                let client = SignInOrigin::program(IpAddr::from([192, 0, 2, from]));
                let name = format!("user{from}");
                desk.password(&*list, &client, &name, "quince").await
            });
        }
        all.join_all().await
    });
    assert_eq!(outcomes.len(), 100);
    for outcome in outcomes {
        assert_eq!(outcome, Err(SignInError::Unavailable));
    }
    let asked = std::iter::from_fn(|| silent.accept().ok()).count();
    assert_eq!(asked, 4);
}

#[test]
fn many_users_of_one_address_sign_in_at_once() {
    skip_unless_installed!("slapd");
    let slapd = Slapd::start(PEOPLE).unwrap();
    let list = Arc::new(list(of(&slapd)));
    let desk = Arc::new(desk());
    let outcomes = run(async {
        let mut all = JoinSet::new();
        for number in 0..30 {
            let (desk, list) = (Arc::clone(&desk), Arc::clone(&list));
            let (name, password) = [("anna", "quince"), ("bert", "medlar")][number % 2];
            all.spawn(async move {
                let client = SignInOrigin::program(IpAddr::from([192, 0, 2, 1]));
                desk.password(&*list, &client, name, password).await
            });
        }
        all.join_all().await
    });
    for outcome in outcomes {
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}

#[test]
fn a_failed_bind_is_retried_at_the_next_server() {
    skip_unless_installed!("slapd");
    let slapd = Slapd::start(PEOPLE).unwrap();
    let user = [entry(2, "Anna"), outcome(2, 0x65, 0)].concat();
    // The server closes the connection when the user's bind arrives.
    let (bad, serve) = scripted(vec![outcome(1, 0x61, 0), user]);
    let mut directory = of(&slapd);
    directory.servers = [bad.servers, directory.servers].concat();
    let bad_port = directory.servers[0].addresses[0].port();
    let (desk, list) = (desk(), list(directory));
    assert!(tried(&desk, &list, 1, "anna", "quince").is_ok());
    serve.join().unwrap();
    let (told, at) = (desk.standing().failed_servers(), bad_port.to_string());
    assert!(told[0].contains(&at) && told.len() == 1, "{told:?}");
    assert_eq!(
        tried(&desk, &list, 2, "anna", "medlar"),
        Err(SignInError::Wrong)
    );
}

#[test]
fn an_abandoned_sign_in_counts_as_an_attempt() {
    // The server finds the user and never responds to the bind.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, judges) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        for stream in listener.incoming() {
            let (mut stream, mut bytes) = (stream.unwrap(), [0; 4_096]);
            let _ = stream.read(&mut bytes);
            let _ = stream.write_all(&[entry(1, "Anna"), outcome(1, 0x65, 0)].concat());
            let _ = stream.read(&mut bytes);
            // Ignores an error: the test may have ended and no longer receive.
            let _ = sender.send(());
            all.push(stream);
        }
    });
    let mut directory = directory(vec![server(port, Security::Plain)]);
    directory.account = None;
    let (desk, list) = (desk(), list(directory));
    let client = SignInOrigin::program(IpAddr::from([192, 0, 2, 1]));
    for _ in 0..5 {
        run(async {
            let asks = desk.password(&list, &client, "anna", "guess");
            let is_judged = async {
                while judges.try_recv().is_err() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                outcome = asks => panic!("{outcome:?}"),
                () = is_judged => {}
            }
        });
    }
    let refused = tried(&desk, &list, 1, "anna", "guess");
    assert!(
        matches!(refused, Err(SignInError::TooOften(_))),
        "{refused:?}"
    );
}

#[test]
fn a_limited_name_uses_no_attempts_of_the_address() {
    skip_unless_installed!("slapd");
    let slapd = Slapd::start(PEOPLE).unwrap();
    let (desk, list) = (desk(), list(of(&slapd)));
    let guessed = [Key::For("anna".to_owned())];
    (0..5).for_each(|_| lock(&desk.limiter).count(&guessed, crate::proof::now_ms()));
    for _ in 0..9 {
        let refused = tried(&desk, &list, 1, "a.first@mail.example.org", "quince");
        assert!(
            matches!(refused, Err(SignInError::TooOften(_))),
            "{refused:?}"
        );
    }
    assert!(tried(&desk, &list, 1, "bert", "medlar").is_ok());
}

#[test]
fn attempts_by_all_names_of_a_user_count_together() {
    skip_unless_installed!("slapd");
    let slapd = Slapd::start(PEOPLE).unwrap();
    let (desk, list) = (desk(), list(of(&slapd)));
    // Five wrong passwords by two names of one user, each from another client, use up the attempts
    // of the user: the directory finds the same user for both.
    for from in 1..=5 {
        let names = ["anna", "a.first@mail.example.org"];
        let name = names[usize::from(from % 2)];
        let refused = tried(&desk, &list, from, name, "wrong");
        assert_eq!(refused, Err(SignInError::Wrong), "{from}");
    }
    let refused = tried(&desk, &list, 9, "anna", "quince");
    assert!(
        matches!(refused, Err(SignInError::TooOften(_))),
        "{refused:?}"
    );
}

#[test]
fn a_session_has_the_groups_of_the_sign_in_and_ends_with_the_lines() {
    let account = Account {
        name: "anna".to_owned(),
        groups: vec!["staff".to_owned()],
        password: Password::Directory,
    };
    let before = list(directory(Vec::new()));
    let sessions = Sessions::new(None).unwrap();
    let token = sessions.begin_of(&before, &account, 100).unwrap();
    let half = sessions.password_proof_for(&before, &account, 100).unwrap();
    let account_in = |list: &List| sessions.visitor(list, &token, 101)?.account;
    assert_eq!(account_in(&before), Some(account.clone()));
    assert_eq!(
        sessions
            .user_of_password_proof(&before, &half, 101)
            .unwrap()
            .account,
        account
    );
    let changed = |change: fn(&mut LdapDirectory)| {
        let mut after = directory(Vec::new());
        change(&mut after);
        list(after)
    };
    let same = changed(|directory| directory.only = vec!["staff".to_owned()]);
    assert_eq!(account_in(&same), Some(account.clone()));
    let changes: [fn(&mut LdapDirectory); 4] = [
        |directory| directory.only = vec!["apart".to_owned()],
        |directory| directory.base = "dc=other".to_owned(),
        |directory| directory.filter = "(cn=%u)".to_owned(),
        |directory| directory.second_factor_required = true,
    ];
    for change in changes {
        assert_eq!(account_in(&changed(change)), None);
        assert_eq!(
            sessions.user_of_password_proof(&changed(change), &half, 101),
            None
        );
    }
    // Without the directory none of its users has a session, and a user of a list is not one of the
    // directory.
    assert_eq!(account_in(&List::default()), None);
    let listed = List {
        users: vec![AuthorizedUser::new(Account {
            password: Password::Clear(b"quince".into()),
            ..account.clone()
        })],
        ..List::default()
    };
    assert_eq!(account_in(&listed), None);
    let of_list = sessions.begin(&listed, "anna", 100).unwrap();
    assert_eq!(sessions.visitor(&before, &of_list, 101), None);
    let many = Account {
        groups: vec!["x".repeat(100); 20],
        ..account
    };
    assert!(sessions.begin_of(&before, &many, 100).is_err());
}

/// Starts a server without TLS that sends one of these replies to each message, and then closes.
/// Returns the bytes that it received.
fn scripted(replies: Vec<Vec<u8>>) -> (LdapDirectory, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        for reply in replies {
            let mut bytes = [0; 4_096];
            let count = stream.read(&mut bytes).unwrap();
            all.extend(&bytes[..count]);
            // Ignores an error: the client may already have closed the connection.
            let _ = stream.write_all(&reply);
        }
        all
    });
    let mut directory = directory(vec![server(port, Security::Plain)]);
    directory.account = None;
    (directory, serve)
}

/// Encodes a value with a length of four bytes, as Active Directory does.
fn value(tag: u8, inside: &[u8]) -> Vec<u8> {
    let length = u32::try_from(inside.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], &length[..], inside].concat()
}

fn outcome(id: u8, tag: u8, code: u8) -> Vec<u8> {
    let inside = [&[0x0a, 1, code][..], &[4, 0, 4, 0]].concat();
    value(0x30, &[&[2, 1, id][..], &value(tag, &inside)].concat())
}

fn entry(id: u8, uid: &str) -> Vec<u8> {
    entry_at(id, "cn=x", uid)
}

fn entry_at(id: u8, name: &str, uid: &str) -> Vec<u8> {
    let octets = |text: &str| value(4, text.as_bytes());
    let values = value(0x31, &octets(uid));
    let attribute = value(0x30, &[octets("uid"), values].concat());
    let inside = [octets(name), value(0x30, &attribute)].concat();
    value(0x30, &[&[2, 1, id][..], &value(0x64, &inside)].concat())
}

#[test]
fn typed_names_are_escaped_in_the_filter() {
    let (directory, serve) = scripted(vec![outcome(1, 0x65, 0)]);
    let asked = TypedName::parse_name("a*)(uid=\\%d%n(b").unwrap();
    let found = found(&directory, &asked).unwrap().1;
    assert_eq!(found, None);
    let filter = fill_filter(
        &directory.filter,
        &[
            (SHORT, &escape(&asked.short)),
            (TYPED, &escape(&asked.typed)),
        ],
    )
    .unwrap();
    let search = request::Search {
        base: Slapd::BASE,
        filter: &filter,
        attributes: &["uid", "mail", "seeAlso"],
        entries_max: 2,
        time_s: 5,
    };
    assert_eq!(serve.join().unwrap(), request::search(1, &search));
    let expected = format!("{filter:?}");
    assert!(
        expected.contains(&format!("{:?}", b"%d%n(b".to_vec())),
        "{expected}"
    );
    assert!(
        expected.contains(&format!("{:?}", b"a*)(uid=\\%d%n(b".to_vec())),
        "{expected}"
    );
}

#[test]
fn hostile_servers_are_refused() {
    let asked = TypedName::parse_name("anna").unwrap();
    let told = |reply: Vec<u8>| {
        let (directory, serve) = scripted(vec![reply]);
        let told = found(&directory, &asked).err().unwrap();
        serve.join().unwrap();
        told
    };
    for (reply, why) in [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            "the wrong type",
        ),
        (vec![0x30, 0x84, 0x7f, 0, 0, 0], "too large"),
        (vec![0x30, 0x80, 0, 0], "a length is invalid"),
        (outcome(7, 0x65, 0), "its response is not valid LDAP"),
        (outcome(0, 0x78, 52), "its response is not valid LDAP"),
        (outcome(1, 0x61, 0), "its response is not valid LDAP"),
        (
            outcome(1, 0x65, 51),
            "the search below dc=example,dc=org: result code 51",
        ),
        (entry(1, "a").repeat(3), "more entries than requested"),
        (Vec::new(), "closed the connection"),
    ] {
        let told = told(reply);
        assert!(told.contains(why), "{told}");
    }
    // Finds no user in an entry whose name is invalid.
    let nameless = [entry(1, "\u{1}"), outcome(1, 0x65, 0)].concat();
    let (directory, serve) = scripted(vec![nameless]);
    assert_eq!(found(&directory, &asked).unwrap().1, None);
    serve.join().unwrap();
}

#[test]
fn ambiguous_or_nameless_entries_are_refused() {
    let asked = TypedName::parse_name("anna").unwrap();
    for reply in [
        [entry(1, "Anna"), outcome(1, 0x65, 4)].concat(),
        [entry_at(1, "", "Anna"), outcome(1, 0x65, 0)].concat(),
    ] {
        let (directory, serve) = scripted(vec![reply]);
        assert_eq!(found(&directory, &asked).unwrap().1, None);
        serve.join().unwrap();
    }
}

#[test]
fn a_user_with_truncated_groups_is_refused() {
    let asked = TypedName::parse_name("anna").unwrap();
    let found = |code: u8| {
        let user = [entry(1, "Anna"), outcome(1, 0x65, 0)].concat();
        let groups = [entry_at(2, "cn=staff", "x"), outcome(2, 0x65, code)].concat();
        let (mut directory, serve) = scripted(vec![user, groups]);
        directory.grouping = Grouping::Filter("(member=%d)".to_owned());
        let found = found(&directory, &asked).map(|(_, found)| found);
        serve.join().unwrap();
        found
    };
    assert_eq!(found(0).unwrap().unwrap().groups, ["staff"]);
    let why = found(4).unwrap_err();
    assert!(
        why.contains("cn=x is in more groups than it returns"),
        "{why}"
    );
}

#[test]
fn a_server_that_sends_data_before_tls_is_refused() {
    for (reply, why) in [
        (
            [outcome(1, 0x78, 0), vec![0x16]].concat(),
            "between the response to StartTLS and the TLS handshake",
        ),
        (outcome(1, 0x78, 52), "StartTLS: result code 52"),
        (outcome(1, 0x61, 0), "its response is not valid LDAP"),
    ] {
        let (mut directory, serve) = scripted(vec![reply]);
        directory.servers[0].security = Security::StartTls;
        let told = found(&directory, &TypedName::parse_name("anna").unwrap())
            .err()
            .unwrap();
        assert!(told.contains(why), "{told}");
        serve.join().unwrap();
    }
}

#[test]
fn a_bind_accepts_rejects_or_fails_undecided() {
    let asked = TypedName::parse_name("anna").unwrap();
    let verified = |code: u8, password: &str| {
        let found = [entry(1, "Anna"), outcome(1, 0x65, 0)].concat();
        let (directory, serve) = scripted(vec![found, outcome(2, 0x61, code)]);
        let verified = run(async {
            let standing = LdapAvailability::new("test");
            let (seat, found) = directory.find(&asked, &standing).await.unwrap();
            directory
                .verify(seat, found.as_ref(), password, &standing)
                .await
        });
        (verified, serve.join().unwrap())
    };
    let (right, sent) = verified(0, "quince");
    assert_eq!(right, Ok(true));
    assert!(sent.ends_with(&request::bind(2, "cn=x", b"quince")));
    // An empty password goes to no server; a bind without a name is made instead.
    let (empty, sent) = verified(0, "");
    assert_eq!(empty, Ok(false));
    assert!(sent.ends_with(&request::bind(2, "", b"")));
    for code in [19, 32, 48, 49, 50, 53] {
        assert_eq!(verified(code, "quince").0, Ok(false), "{code}");
    }
    for code in [1, 8, 10, 13, 51, 52, 80] {
        assert!(verified(code, "quince").0.is_err(), "{code}");
    }
}
