//! Tests that users are routed to hosts, and return to their host.

use crate::client::{
    Person, SOON, logs_on, logs_on_with, negotiates, packet, request, sends, token,
};
use crate::scene::{
    Peer, farm, next_role, number, payload, peer, program, role, state, subject, users, why,
};
use farm::message::{OperatorMessage, OrderResponse, SessionState};
use farm::role::FarmRole;
use lab::eventually;
use part::codec;
use protocol::rdp::{
    FAILED_SSL_REQUIRED, HYBRID, Negotiated, NegotiationRequest, RESTRICTED_ADMIN, Routing, SSL,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Connects with a token; returns the connection and the letter of the host.
pub fn comes(to: SocketAddr, routing: Routing) -> (TcpStream, u8) {
    let (mut stream, confirm) = negotiates(to, &request(routing, SSL | HYBRID));
    confirm.expect("the host answers");
    stream.write_all(b"hello").expect("it reads");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("the host answers");
    assert_eq!(&answer[1..], b"hello");
    (stream, answer[0])
}

fn two() -> [Peer; 2] {
    [peer(b'1'), peer(b'2')]
}

#[test]
fn decisions_are_shown_with_how_long_they_took() {
    let peers = two();
    let (farm, at) = farm(&peers.each_ref().map(|peer| peer.address));
    let role = role(&farm, None);
    let names = ["decision p50 us", "decision p99 us", "decision max us"];
    assert_eq!(names.map(|name| subject(&role).value(name)), [None; 3]);
    let anna = logs_on(at, Person::named("anna")).expect("a redirection");
    let (_stream, _) = comes(at, token(&anna));
    let took = names.map(|name| number(&role, name));
    assert!(took[2] > 0 && took.is_sorted(), "{took:?}");
    let words = subject(&role).words("decisions").expect("a fact");
    let has = |word: &str| words.contains(&format!("{word} "));
    assert!(["p50", "p99", "max"].into_iter().all(has), "{words}");
    let mut metrics = String::new();
    role.report().metrics(&mut metrics);
    for metric in ["p50", "p99", "max"] {
        let line = format!("evenkeel_farm_decision_{metric}_seconds{{farm=\"office\"}} ");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn a_user_is_redirected_with_a_token_and_comes_back_to_the_same_host() {
    let peers = two();
    let (farm, at) = farm(&peers.each_ref().map(|peer| peer.address));
    let mut role = role(&farm, None);
    let anna = logs_on(at, Person::named("anna")).expect("a redirection");
    assert_eq!(anna.target_fqdn, "desktop.example.org");
    let (stream, letter) = comes(at, token(&anna));
    // The host receives the client's bytes unchanged.
    let got = peers[usize::from(letter - b'1')]
        .requests
        .recv_timeout(SOON);
    assert_eq!(
        got.expect("a request"),
        request(token(&anna), SSL | HYBRID).encode()
    );
    // Another user gets the other host, and both come back to theirs, in any form of the name.
    let bert = logs_on(at, Person::named("bert")).expect("a redirection");
    let (_other, other) = comes(at, token(&bert));
    assert_ne!(letter, other);
    let person = Person {
        domain: "EXAMPLE",
        machine: "LAPTOP",
        ..Person::named("ANNA")
    };
    let again = logs_on(at, person).expect("a redirection");
    let (more, same) = comes(at, token(&again));
    assert_eq!(letter, same);
    drop((stream, more));
    let is_left = |role: &mut farm::role::FarmRole| {
        let users = users(role).sessions;
        users
            .iter()
            .any(|one| one.user == "anna" && one.state == SessionState::Disconnected)
    };
    assert!(
        eventually(SOON, || is_left(&mut role)),
        "{:?}",
        users(&mut role)
    );
    let (_cut, same) = comes(at, token(&anna));
    assert_eq!(letter, same);
    let asked = why(&mut role, "EXAMPLE\\Anna");
    let got: Vec<&str> = asked.farms[0]
        .steps
        .iter()
        .map(|step| step.got.as_str())
        .collect();
    let host = format!("ts{}", letter as char);
    let (redirected, routed) = (format!("redirected to {host}"), format!("routed to {host}"));
    assert_eq!(got, [&redirected, &routed, &redirected, &routed, &routed]);
    let step = &asked.farms[0].steps[1];
    assert_eq!(step.why, "the client was redirected there");
    assert_eq!(
        asked.farms[0].next,
        format!("{host}: the user is connected there")
    );
    assert_eq!(
        (number(&role, "redirected"), number(&role, "routed")),
        (3, 4)
    );
}

#[test]
fn tokens_that_are_not_valid_route_nobody_and_the_client_is_asked() {
    let peers = two();
    let (farm, at) = farm(&peers.each_ref().map(|peer| peer.address));
    let role = role(&farm, None);
    let Routing::Token(mut forged) = token(&logs_on(at, Person::named("anna")).unwrap()) else {
        panic!("a token");
    };
    let last = forged.len() - 1;
    forged[last - 5] ^= 1;
    for (token, count) in [
        (forged, 1),
        (b"Cookie: msts=3640205228.15629.0000".to_vec(), 2),
    ] {
        let asks = request(Routing::Token(token), SSL);
        let redirection = logs_on_with(at, &asks, Person::named("anna"));
        assert!(redirection.is_ok());
        assert_eq!(number(&role, "tokens refused"), count);
    }
    assert_eq!(number(&role, "routed"), 0);
    let told = subject(&role)
        .words("last refused token")
        .expect("it is told");
    assert_eq!(
        told,
        "from 127.0.0.1: the routing token has an unknown format"
    );
}

#[test]
fn clients_without_nla_are_routed_by_cookie_or_refused() {
    let peers = two();
    let (farm, at) = farm(&peers.each_ref().map(|peer| peer.address));
    let role = role(&farm, None);
    let long = logs_on(at, Person::named("anna.maria.long")).expect("a redirection");
    let (_stream, letter) = comes(at, token(&long));
    // NLA alone, with the nine letters that mstsc sends.
    let mut guarded = request(Routing::Hint("anna.mari".to_owned()), SSL | HYBRID);
    let only_hybrid = request(Routing::Hint("anna.mari".to_owned()), HYBRID);
    let flags = RESTRICTED_ADMIN;
    guarded.negotiation = guarded
        .negotiation
        .map(|one| NegotiationRequest { flags, ..one });
    for request in [&guarded, &only_hybrid] {
        let (mut stream, confirm) = negotiates(at, request);
        confirm.expect("the host answers");
        stream.write_all(b"x").expect("it reads");
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).expect("the host answers");
        assert_eq!(answer, [letter, b'x']);
    }
    let hint = Routing::Hint("anna".to_owned());
    for refused in [
        request(Routing::None, HYBRID),
        request(hint, 0),
        request(Routing::None, 0),
    ] {
        let failed = Negotiated::Failed {
            code: FAILED_SSL_REQUIRED,
        };
        let (_, confirm) = negotiates(at, &refused);
        assert_eq!(confirm.expect("a refusal"), failed, "{refused:?}");
    }
    let person = Person {
        follows: false,
        ..Person::named("bert")
    };
    assert!(logs_on(at, person).is_err(), "it would stay here for ever");
    assert_eq!(number(&role, "refused"), 4);
}

#[test]
fn a_drained_host_keeps_its_own_users_also_when_the_role_starts_again() {
    let peers = two();
    let (farm, at) = farm(&peers.each_ref().map(|peer| peer.address));
    let mut role = role(&farm, None);
    let anna = logs_on(at, Person::named("anna")).expect("a redirection");
    let (stream, letter) = comes(at, token(&anna));
    let host = format!("ts{}", letter as char);
    let drain = |role: &mut farm::role::FarmRole, host: &str| {
        let message = OperatorMessage::Drain {
            host: host.to_owned(),
            is_drained: true,
        };
        codec::decode::<OrderResponse>(&role.order(&message)).expect("an answer")
    };
    assert!(drain(&mut role, &format!("office/{host}")).good);
    assert!(!drain(&mut role, "ts9").good);
    assert!(!drain(&mut role, "school/ts1").good);
    let (kept, address) = (role.saved_state(), farm.binds[0].address);
    role.stop();
    drop((stream, role));
    let free = || TcpStream::connect(address).is_err();
    assert!(eventually(SOON, free), "the address stays open");
    let mut role = next_role(&farm, &kept);
    assert!(eventually(SOON, || state(&role, &host) == "drained"));
    for number in 0..4 {
        let name = format!("user{number}");
        let other = logs_on(at, Person::named(&name)).expect("a redirection");
        assert_ne!(comes(at, token(&other)).1, letter);
    }
    assert_eq!(
        comes(at, token(&logs_on(at, Person::named("anna")).unwrap())).1,
        letter
    );
    assert_eq!(users(&mut role).sessions.len(), 5);
}

#[test]
fn an_unavailable_address_blocks_no_other_change() {
    let peers = two();
    let (mut farm, at) = farm(&peers.each_ref().map(|peer| peer.address));
    let mut role = role(&farm, None);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut next = farm.binds[0].clone();
    next.address = taken.local_addr().expect("its address");
    farm.binds.push(next.clone());
    farm.hosts.remove("ts1");
    role.change(&payload(&farm)).expect("it is taken");
    let shown = subject(&role);
    assert_eq!(shown.of_kind("host").count(), 1);
    assert_eq!(shown.state.word, "degraded");
    assert!(
        shown.why.contains(&next.address.to_string()),
        "{}",
        shown.why
    );
    let anna = logs_on(at, Person::named("anna")).expect("a redirection");
    // The same holds for the next role.
    role.stop();
    let kept = role.saved_state();
    drop(role);
    let mut role = next_role(&farm, &kept);
    assert_eq!(subject(&role).state.word, "degraded");
    assert_eq!(comes(at, token(&anna)).1, b'2');
    drop(taken);
    let is_open = || {
        role.run_due_work();
        subject(&role).why.is_empty()
    };
    assert!(eventually(SOON, is_open), "{}", subject(&role).why);
    assert_eq!(comes(next.address, token(&anna)).1, b'2');
}

#[test]
fn ended_sessions_are_known_after_a_farm_returns() {
    let (farm, _) = farm(&[]);
    let mut role = role(&farm, None);
    let keeps = |role: &mut FarmRole| {
        role.stop();
        role.saved_state()
    };
    let with = payload(&farm);
    let without = codec::encode(&farm::config::Farms::default());
    let before = role.saved_state();
    role.change(&without).expect("it is taken");
    role.change(&with).expect("it is taken");
    // The secret of the sign-ins and the saved sign-ins are unchanged.
    assert!(role.saved_state() == before);
    // The same holds for the role after one without farms.
    role.change(&without).expect("it is taken");
    let kept = keeps(&mut role);
    drop(role);
    let mut role = next_role(&farm, &kept);
    role.run_due_work();
    assert!(role.saved_state() == before);
}

#[test]
fn a_role_without_any_address_says_why_and_ends() {
    let (mut farm, _) = farm(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    farm.binds[0].address = taken.local_addr().expect("its address");
    let refused = FarmRole::new(program(), &payload(&farm), None);
    let why = refused.err().expect("it cannot be reached");
    assert!(why.contains("cannot listen at 127.0.0.1:"), "{why}");
}

#[test]
fn a_reload_moves_the_address_and_keeps_connections() {
    let peers = two();
    let (mut farm, at) = farm(&peers.each_ref().map(|peer| peer.address));
    let mut role = role(&farm, None);
    let anna = logs_on(at, Person::named("anna")).expect("a redirection");
    let (mut stream, letter) = comes(at, token(&anna));
    let next = SocketAddr::from(([127, 0, 0, 1], lab::free_port().expect("a port")));
    farm.binds[0].address = next;
    role.change(&payload(&farm)).expect("it is taken");
    assert!(
        eventually(SOON, || TcpStream::connect(at).is_err()),
        "it listens there still"
    );
    stream.write_all(b"more").expect("it reads");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).expect("the host answers");
    assert_eq!(answer[0], letter);
    assert_eq!(comes(next, token(&anna)).1, letter);
    // The host's end of the connection ends with the client's.
    let mut raw = sends(next, &request(token(&anna), SSL).encode());
    packet(&mut raw).expect("the host answers");
    raw.shutdown(std::net::Shutdown::Write).expect("it is open");
    assert_eq!(raw.read(&mut [0]).expect("an end"), 0);
}
