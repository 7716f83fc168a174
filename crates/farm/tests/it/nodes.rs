//! Tests two nodes of a cluster: two farm roles with one directory, over loopback.

use crate::client::{Person, SOON, logs_on, negotiates, request, token};
use crate::scene::{farm, number, peer, program, subject, users, why};
use farm::config::{Farm, Farms};
use farm::message::{OperatorMessage, OrderResponse, SessionState};
use farm::role::FarmRole;
use lab::eventually;
use lab::pki::{Authority, Issued, Leaf};
use lab::tls::{Terms, TlsClient, TlsOffer, TlsServer};
use part::codec;
use protocol::rdp::{Redirection, SSL};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use wire::TrustedNodes;

const NAMES: [&str; 2] = ["alpha", "beta"];

/// State that both nodes share. Each test has its own addresses.
struct Cluster {
    authority: Authority,
    nodes: [Issued; 2],
    net: u8,
    farms: [Farm; 2],
    binds: [SocketAddr; 2],
}

impl Cluster {
    fn new(net: u8, hosts: &[SocketAddr]) -> Cluster {
        let authority = Authority::new("Cluster CA").expect("an authority");
        let nodes = NAMES.map(|_| node(&authority));
        let (one, two) = (farm(hosts), farm(hosts));
        Cluster {
            authority,
            nodes,
            net,
            farms: [one.0, two.0],
            binds: [one.1, two.1],
        }
    }

    fn address(&self, at: usize) -> IpAddr {
        let last = u8::try_from(at + 1).expect("two nodes");
        IpAddr::from([127, 44, self.net, last])
    }

    fn trusted(&self, me: usize, own: &Issued) -> TrustedNodes {
        let terms = Terms {
            client_roots: &[self.authority.der()],
            ..Terms::default()
        };
        let server = TlsServer::new(own, &terms).expect("a server").config();
        let offer = TlsOffer {
            identity: Some(own),
            ..TlsOffer::default()
        };
        let client = TlsClient::new_local(&offer).expect("a client").config();
        let ders = self.nodes.each_ref().map(|node| node.der.clone());
        let addresses = [0, 1].map(|at| (NAMES[at].to_owned(), vec![self.address(at)]));
        let node_of = move |chain: &[CertificateDer<'_>]| {
            let first = chain.first()?;
            let at = ders.iter().position(|der| der == first.as_ref())?;
            Some(NAMES[at].to_owned())
        };
        TrustedNodes::new(
            NAMES[me].to_owned(),
            addresses.into(),
            client,
            server,
            Arc::new(node_of),
        )
    }

    fn start(&self, me: usize, kept: Option<&[u8]>) -> FarmRole {
        let farms = BTreeMap::from([("office".to_owned(), self.farms[me].clone())]);
        let payload = codec::encode(&Farms {
            farms,
            shared: true,
        });
        let role =
            FarmRole::new(program(), &payload, kept).unwrap_or_else(|error| panic!("{error}"));
        role.trust(self.trusted(me, &self.nodes[me]));
        role
    }

    fn both(&self) -> [FarmRole; 2] {
        let roles = [0, 1].map(|me| self.start(me, None));
        for (me, role) in roles.iter().enumerate() {
            stands(role, 1 - me, "agrees");
        }
        roles
    }
}

fn node(authority: &Authority) -> Issued {
    let leaf = Leaf {
        names: &["node.evenkeel"],
        client: true,
        ..Leaf::default()
    };
    authority.issue(&leaf).expect("a certificate")
}

/// Waits until a node reports this state of its connection with another one.
fn stands(role: &FarmRole, other: usize, word: &str) -> String {
    let now = || {
        let subject = subject(role);
        let mut nodes = subject.of_kind("node");
        let node = nodes.find(|one| one.name == NAMES[other]);
        node.map(|one| (one.state.word.clone(), one.why.clone()))
    };
    let good = eventually(SOON, || now().is_some_and(|(state, _)| state == word));
    assert!(good, "{:?}, not {word}", now());
    now().expect("the node").1
}

/// Connects with the token of a redirection; returns the connection and the letter of the host.
fn comes(to: SocketAddr, redirection: &Redirection) -> (TcpStream, u8) {
    let (mut stream, confirm) = negotiates(to, &request(token(redirection), SSL));
    confirm.expect("the host answers");
    stream.write_all(b"hello").expect("it reads");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("the host answers");
    (stream, answer[0])
}

/// Returns the host, the state and the nodes of a user, as the role reports them.
fn session(role: &mut FarmRole, user: &str) -> Option<(String, String, Vec<String>)> {
    let users = users(role).sessions;
    let found = users.into_iter().find(|one| one.user == user)?;
    Some((found.host, found.state.words().to_owned(), found.nodes))
}

/// Returns the hosts of all users.
fn hosts(role: &mut FarmRole) -> BTreeMap<String, String> {
    let all = users(role).sessions.into_iter();
    all.map(|one| (one.user, one.host)).collect()
}

#[test]
fn link_ends_when_the_certificate_of_the_other_node_is_no_longer_accepted() {
    let peers = [peer(b'1'), peer(b'2')];
    let cluster = Cluster::new(90, &peers.each_ref().map(|peer| peer.address));
    let [alpha, _beta] = cluster.both();
    // The addresses stay, and the CA has changed.
    let mut now = cluster.trusted(0, &cluster.nodes[0]);
    now.node_of = Arc::new(|_: &[CertificateDer<'_>]| None);
    alpha.trust(now);
    let agrees = || {
        let subject = subject(&alpha);
        let mut nodes = subject.of_kind("node");
        nodes.any(|one| one.name == NAMES[1] && one.state.word == "agrees")
    };
    assert!(eventually(SOON, || !agrees()));
}

#[test]
fn a_user_of_a_failed_node_returns_without_a_token() {
    let peers = [peer(b'1'), peer(b'2')];
    let cluster = Cluster::new(1, &peers.each_ref().map(|peer| peer.address));
    let [mut alpha, mut beta] = cluster.both();
    for name in ["anna", "bert", "cleo"] {
        let redirection = logs_on(cluster.binds[0], Person::named(name)).expect("a redirection");
        let (_stream, letter) = comes(cluster.binds[0], &redirection);
        let shown = (
            format!("ts{}", letter as char),
            "connected".to_owned(),
            vec!["alpha".to_owned()],
        );
        for role in [&mut alpha, &mut beta] {
            let is_shown = || session(role, name).as_ref() == Some(&shown);
            assert!(eventually(SOON, is_shown), "{:?}", session(role, name));
        }
        if name != "cleo" {
            continue;
        }
        // The steps at the other node are shown, too.
        let mut steps = || why(&mut beta, name).farms[0].steps.clone();
        assert!(eventually(SOON, || steps().len() == 2), "{:?}", steps());
        assert!(steps().iter().all(|step| step.node == "alpha"));
        drop(alpha);
        let again = logs_on(cluster.binds[1], Person::named(name)).expect("a redirection");
        let (_stream, same) = comes(cluster.binds[1], &again);
        assert_eq!(same, letter);
        stands(&beta, 0, "gone");
        let others = users(&mut beta).sessions;
        let mut others = others.iter().filter(|one| one.user != name);
        assert!(others.all(|one| one.state == SessionState::Disconnected));
        return;
    }
}

#[test]
fn simultaneous_logons_at_both_nodes_get_one_host_each() {
    let peers = [peer(b'1'), peer(b'2')];
    let cluster = Cluster::new(2, &peers.each_ref().map(|peer| peer.address));
    let [mut alpha, mut beta] = cluster.both();
    // Otherwise users could get the only host that a node knows as up so far.
    for role in [&alpha, &beta] {
        let are_up = || {
            let subject = subject(role);
            let hosts = subject.of_kind("host");
            hosts.filter(|one| one.state.word == "up").count() == 2
        };
        assert!(eventually(SOON, are_up));
    }
    let names: Vec<String> = (0..24).map(|number| format!("user{number}")).collect();
    let logons = |at: SocketAddr| {
        let names = names.clone();
        thread::spawn(move || {
            let logon = |name: String| {
                thread::spawn(move || {
                    logs_on(at, Person::named(&name))
                        .expect("a redirection")
                        .load_balance_info
                })
            };
            let all: Vec<_> = names.into_iter().map(logon).collect();
            all.into_iter()
                .map(|one| one.join().expect("it ends"))
                .collect::<Vec<_>>()
        })
    };
    let both = cluster.binds.map(logons);
    for one in both {
        one.join().expect("it ends");
    }
    let mut same = || {
        let (ours, theirs) = (hosts(&mut alpha), hosts(&mut beta));
        ours.len() == names.len() && ours == theirs
    };
    assert!(eventually(SOON, &mut same));
    let count = hosts(&mut alpha)
        .values()
        .filter(|host| *host == "ts1")
        .count();
    assert!((10..=14).contains(&count), "{count} of 24");
}

#[test]
fn a_role_without_state_gets_it_from_the_other_node() {
    let peers = [peer(b'1'), peer(b'2')];
    let cluster = Cluster::new(3, &peers.each_ref().map(|peer| peer.address));
    let [alpha, mut beta] = cluster.both();
    for name in ["anna", "bert", "cleo"] {
        let redirection = logs_on(cluster.binds[0], Person::named(name)).expect("a redirection");
        comes(cluster.binds[0], &redirection);
    }
    assert!(eventually(SOON, || users(&mut beta).sessions.len() == 3));
    let order = OperatorMessage::Drain {
        host: "ts1".to_owned(),
        is_drained: true,
    };
    beta.order(&order);
    let before = hosts(&mut beta);
    let is_drained = |role: &FarmRole| {
        let subject = subject(role);
        subject
            .of_kind("host")
            .any(|one| one.name == "ts1" && one.why == "drained by an operator")
    };
    assert!(eventually(SOON, || is_drained(&alpha)));
    drop(alpha);
    stands(&beta, 0, "gone");
    let mut again = cluster.start(0, None);
    // The first logon waits for the other node's directory.
    logs_on(cluster.binds[0], Person::named("anna")).expect("a redirection");
    stands(&again, 1, "agrees");
    assert!(is_drained(&again));
    assert_eq!(before, hosts(&mut again));
}

#[test]
fn a_node_that_stops_is_not_waited_for() {
    let peers = [peer(b'1')];
    let cluster = Cluster::new(4, &peers.each_ref().map(|peer| peer.address));
    let [mut alpha, beta] = cluster.both();
    alpha.stop();
    let why = stands(&beta, 0, "gone");
    assert_eq!(why, "it has stopped");
    logs_on(cluster.binds[1], Person::named("anna")).expect("a redirection");
}

#[test]
fn strangers_and_other_versions_are_refused_with_the_reason() {
    let peers = [peer(b'1')];
    let cluster = Cluster::new(5, &peers.each_ref().map(|peer| peer.address));
    let beta = cluster.start(1, None);
    let at = SocketAddr::new(cluster.address(1), farm::link::PORT);
    assert!(eventually(SOON, || TcpStream::connect(at).is_ok()));
    // A certificate of the cluster that belongs to no node.
    let stranger = node(&cluster.authority);
    let greets = |own: &Issued, greeting: &[u8]| {
        let trusted = cluster.trusted(0, own);
        let name = rustls::pki_types::ServerName::try_from("node").expect("a name");
        let session = rustls::ClientConnection::new(trusted.client, name).expect("a client");
        let stream = TcpStream::connect(at).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        let mut stream = rustls::StreamOwned::new(session, stream);
        let _ = stream.write_all(greeting);
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read);
        read
    };
    let good = b"EKFM\0\x04\0\0";
    assert!(greets(&stranger, good).is_empty(), "a stranger is answered");
    assert_eq!(greets(&cluster.nodes[0], b"EKFM\0\x09\0\0"), good);
    let told = || {
        let subject = subject(&beta);
        let node = subject.of_kind("node").next().expect("the node");
        node.why.starts_with("it speaks version 9 of the protocol")
    };
    assert!(eventually(SOON, told), "{:?}", subject(&beta));
    // An oversized frame ends the connection only.
    greets(&cluster.nodes[0], b"EKFM\0\x02\0\0\xff\xff\xff\xff");
    logs_on(cluster.binds[1], Person::named("anna")).expect("a redirection");
    assert_eq!(number(&beta, "redirected"), 1);
}

/// Returns whether the peer has closed a connection.
fn has_ended(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    match stream.read(&mut [0; 64]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn an_operator_ends_the_connections_of_a_user_at_both_nodes_and_the_session_stays() {
    let peers = [peer(b'1'), peer(b'2')];
    let cluster = Cluster::new(8, &peers.each_ref().map(|peer| peer.address));
    let [mut alpha, mut beta] = cluster.both();
    let mut streams = Vec::new();
    let mut letters = Vec::new();
    for (at, name) in [(0, "anna"), (1, "anna"), (0, "bert")] {
        let redirection = logs_on(cluster.binds[at], Person::named(name)).expect("a redirection");
        let (stream, letter) = comes(cluster.binds[at], &redirection);
        streams.push(stream);
        letters.push(letter);
    }
    let both = ["alpha".to_owned(), "beta".to_owned()];
    let is_known = |role: &mut FarmRole| {
        session(role, "anna").is_some_and(|(.., nodes)| both.iter().all(|one| nodes.contains(one)))
    };
    assert!(eventually(SOON, || is_known(&mut beta)));
    let disconnect = |role: &mut FarmRole, user: &str, host: &str| -> OrderResponse {
        let (user, host) = (user.to_owned(), host.to_owned());
        codec::decode(&role.order(&OperatorMessage::Disconnect { user, host })).expect("an answer")
    };
    let elsewhere = format!("ts{}", if letters[0] == b'1' { '2' } else { '1' });
    assert!(!disconnect(&mut beta, "anna", "ts9").good);
    assert!(!disconnect(&mut beta, "anna", &elsewhere).good);
    let answer = disconnect(&mut beta, "EXAMPLE\\Anna", "");
    assert!(answer.good);
    assert_eq!(
        answer.words,
        "1 connection of anna is being closed on this node, 1 on alpha; the session stays at its host"
    );
    assert!(has_ended(&mut streams[0]) && has_ended(&mut streams[1]));
    let host = format!("ts{}", letters[0] as char);
    let left = (host.clone(), "disconnected".to_owned(), Vec::new());
    for role in [&mut alpha, &mut beta] {
        let is_shown = || session(role, "anna").as_ref() == Some(&left);
        assert!(eventually(SOON, is_shown), "{:?}", session(role, "anna"));
    }
    // Both nodes have recorded the order, bert's connection continues, and anna returns.
    let mut steps = || why(&mut beta, "anna").farms[0].steps.clone();
    let got = format!("disconnected from {host}");
    let has_both = || steps().iter().filter(|step| step.got == got).count() == 2;
    assert!(eventually(SOON, has_both));
    streams[2].write_all(b"again").expect("it reads");
    let mut answer = [0; 6];
    streams[2]
        .read_exact(&mut answer)
        .expect("the host answers");
    let again = logs_on(cluster.binds[1], Person::named("anna")).expect("a redirection");
    assert_eq!(comes(cluster.binds[1], &again).1, letters[0]);
}

#[test]
fn a_different_token_key_is_reported() {
    let peers = [peer(b'1')];
    let mut cluster = Cluster::new(6, &peers.each_ref().map(|peer| peer.address));
    cluster.farms[1].tokens.key = vec![9; 32];
    let roles = [0, 1].map(|me| cluster.start(me, None));
    for (me, role) in roles.iter().enumerate() {
        let why = stands(role, 1 - me, "other key");
        assert!(why.starts_with("it has another 'token-key'"), "{why}");
    }
}
