//! Tests programs that run only on some hosts of a farm.

use crate::client::{Person, SOON, logs_on, logs_on_with, negotiates, request, token};
use crate::routes::comes;
use crate::scene::{Peer, farm, number, peer, role, subject, users, why};
use farm::collection::CollectionId;
use farm::config::{App, Desktop, Farm, Portal};
use farm::message::{AskedCollection, OperatorMessage, OrderResponse};
use farm::token::{Claims, Key, NameId};
use farm::user::FarmUser;
use lab::eventually;
use part::codec;
use protocol::rdp::{FAILED_SSL_REQUIRED, Negotiated, Routing, SSL};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};

fn set(hosts: &[&str]) -> BTreeSet<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}

/// Creates a farm with three hosts: Word is on ts1 only, the desktop on the others.
fn office(peers: &[Peer; 3]) -> (Farm, SocketAddr) {
    let (mut farm, at) = farm(&peers.each_ref().map(|peer| peer.address));
    farm.portal = Some(Portal {
        authority: "desktop.example.org".to_owned(),
        desktop: Some(Desktop {
            title: "Desktop".to_owned(),
            groups: Vec::new(),
            hosts: set(&["ts2", "ts3"]),
        }),
        apps: vec![App {
            name: "word".to_owned(),
            title: "Word".to_owned(),
            path: "||WINWORD".to_owned(),
            args: String::new(),
            icon: Vec::new(),
            groups: Vec::new(),
            hosts: set(&["ts1"]),
        }],
        consoles: Vec::new(),
        signs: farm.binds[0].pem.clone(),
    });
    (farm, at)
}

/// Returns the token in a file of the portal.
fn ticket(user: &str, hosts: &[&str], expires_s: u32) -> Routing {
    let token = Key::new(&[7; 32]).issue(&Claims {
        farm: NameId::of("office"),
        user: FarmUser::named(user).expect("a name").id,
        collection: CollectionId::of(&set(hosts)),
        host: None,
        expires_s,
    });
    Routing::Token(token.trim_ascii_end().to_vec())
}

#[test]
fn a_program_is_started_on_its_hosts_only_also_by_an_old_file() {
    let peers = [peer(b'1'), peer(b'2'), peer(b'3')];
    let (farm, at) = office(&peers);
    let mut role = role(&farm, None);
    let mut streams = Vec::new();
    for name in ["anna", "bert", "cleo"] {
        // Without a token a client wants the desktop.
        let redirection = logs_on(at, Person::named(name)).expect("a redirection");
        let (stream, letter) = comes(at, token(&redirection));
        assert_ne!(letter, b'1', "{name}");
        streams.push(stream);
        let (stream, letter) = comes(at, ticket(name, &["ts1"], u32::MAX));
        assert_eq!(letter, b'1', "{name}");
        streams.push(stream);
    }
    // An expired token routes no client. The client has to send its name; the collection is that of
    // the token.
    let expired = request(ticket("dora", &["ts1"], 1), SSL);
    let redirection = logs_on_with(at, &expired, Person::named("dora")).expect("a redirection");
    assert_eq!(number(&role, "tokens refused"), 1);
    assert_eq!(comes(at, token(&redirection)).1, b'1');
    // An earlier configuration had these hosts, and no user has a session there.
    let former = request(ticket("anna", &["ts1", "ts3"], u32::MAX), SSL);
    let (_, refused) = negotiates(at, &former);
    let code = FAILED_SSL_REQUIRED;
    assert_eq!(refused.expect("a refusal"), Negotiated::Failed { code });
    let steps = &why(&mut role, "anna").farms[0].steps;
    let words = "the token is for hosts of a previous configuration: download a new .rdp file";
    assert_eq!(steps.last().expect("a step").why, words);
}

#[test]
fn a_session_serves_what_is_on_its_host_and_is_known_after_a_restart_of_the_role() {
    let peers = [peer(b'1'), peer(b'2'), peer(b'3')];
    let (mut farm, at) = office(&peers);
    if let Some(desktop) = farm.portal.iter_mut().find_map(|one| one.desktop.as_mut()) {
        desktop.hosts.clear();
    }
    let mut role = role(&farm, None);
    let word = ticket("anna", &["ts1"], u32::MAX);
    let (stream, letter) = comes(at, word.clone());
    assert_eq!(letter, b'1');
    let redirection = logs_on(at, Person::named("anna")).expect("a redirection");
    assert_eq!(comes(at, token(&redirection)).1, b'1');
    let sessions = users(&mut role).sessions;
    assert_eq!(sessions.len(), 1);
    // The portal's token contains no name; a logon without a token does.
    assert_eq!(sessions[0].user, "anna");
    let asked = &why(&mut role, "anna").farms[0].steps;
    assert_eq!(asked[0].asked, "token");
    assert_eq!(sessions[0].collections, ["all hosts", "ts1"]);
    let kept = {
        // Users who have not connected are not saved.
        role.run_due_work();
        role.saved_state()
    };
    role.stop();
    drop((stream, role));
    let free = || TcpStream::connect(at).is_err();
    assert!(eventually(SOON, free), "the address stays open");
    let role = crate::scene::role(&farm, Some(&kept));
    assert_eq!(comes(at, word).1, b'1');
    let redirection = logs_on(at, Person::named("anna")).expect("a redirection");
    assert_eq!(comes(at, token(&redirection)).1, b'1');
    drop(role);
}

#[test]
fn a_collection_without_available_hosts_is_reported() {
    let peers = [peer(b'1'), peer(b'2'), peer(b'3')];
    let (farm, at) = office(&peers);
    let mut role = role(&farm, None);
    let (_stream, _) = comes(at, ticket("anna", &["ts1"], u32::MAX));
    let drained = role.order(&OperatorMessage::Drain {
        host: "ts1".to_owned(),
        is_drained: true,
    });
    let words = codec::decode::<OrderResponse>(&drained)
        .expect("an answer")
        .words;
    assert!(
        words.ends_with("for Word: new users cannot start that now"),
        "{words}"
    );
    assert_eq!(comes(at, ticket("anna", &["ts1"], u32::MAX)).1, b'1');
    let (_, refused) = negotiates(at, &request(ticket("bert", &["ts1"], u32::MAX), SSL));
    let code = FAILED_SSL_REQUIRED;
    assert_eq!(refused.expect("a refusal"), Negotiated::Failed { code });
    let asked = why(&mut role, "bert").farms.remove(0);
    let word = AskedCollection {
        hosts: vec!["ts1".to_owned()],
        starts: vec!["Word".to_owned()],
        next: "refused: no host accepts new users: 0 down, 1 drained or full".to_owned(),
    };
    assert!(asked.collections.contains(&word), "{asked:?}");
    assert!(asked.next.starts_with("ts2: "), "{asked:?}");
    let shown = subject(&role);
    let mut collections = shown.of_kind("collection");
    let full = collections.find(|one| one.name == "ts1").expect("Word's");
    assert_eq!(full.state.word, "full");
    assert_eq!(full.value("hosts taking users"), Some(0));
    assert_eq!(shown.state.word, "degraded");
}
