//! Tests host agents: their reports determine the hosts of users, and the farm sends them notices.

use crate::client::{Person, SOON, logs_on, negotiates, request, token};
use crate::scene::{Peer, farm, number, payload, peer, role, state, subject, users, why};
use farm::config::{Agent, Farm};
use farm::message::{OperatorMessage, SessionState};
use farm::role::FarmRole;
use lab::eventually;
use part::lock;
use protocol::rdp::SSL;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

struct Hand {
    port: u16,
    says: Arc<Mutex<String>>,
    /// Lines that the agent received.
    lines: Receiver<String>,
}

/// Starts an agent that sends this text, and then closes the connection or keeps it.
fn agent(says: &str, closes: bool) -> Hand {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let says = Arc::new(Mutex::new(says.to_owned()));
    let (sender, lines) = channel();
    let text = Arc::clone(&says);
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.expect("a farm");
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let _ = reader.read_line(&mut line);
            let _ = stream.write_all(lock(&text).as_bytes());
            // The test may have ended.
            let _ = sender.send(line);
            if !closes {
                kept.push(stream);
            }
        }
    });
    Hand { port, says, lines }
}

impl Hand {
    fn says(&self, text: &str) {
        text.clone_into(&mut lock(&self.says));
    }

    /// Waits until the farm has sent a line with this beginning.
    fn hears(&self, begin: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON).expect("a line");
            if line.starts_with(begin) {
                return line;
            }
        }
    }
}

/// Creates a farm of two hosts with these agents.
fn with_agents(peers: &[Peer; 2], agents: &[&Hand; 2]) -> (Farm, SocketAddr) {
    let (mut farm, at) = farm(&peers.each_ref().map(|peer| peer.address));
    for (number, agent) in agents.iter().enumerate() {
        let agent = Agent {
            port: agent.port,
            interval_ms: 100,
        };
        farm.agents.hosts.insert(format!("ts{}", number + 1), agent);
    }
    (farm, at)
}

fn peers() -> [Peer; 2] {
    [peer(b'1'), peer(b'2')]
}

/// Connects as a user. Returns the letter of the host to which the farm routes the user, with the
/// connection.
fn comes(at: SocketAddr, name: &str) -> (TcpStream, u8) {
    let redirection = logs_on(at, Person::named(name)).expect("a redirection");
    let (mut stream, confirm) = negotiates(at, &request(token(&redirection), SSL));
    confirm.expect("the host answers");
    stream.write_all(b"hello").expect("it reads");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("the host answers");
    (stream, answer[0])
}

/// Waits until the report shows this state of a host's agent.
fn shows(role: &FarmRole, host: &str, words: &str) {
    let mut text = String::new();
    let shown = eventually(SOON, || {
        let subject = subject(role);
        let mut hosts = subject.of_kind("host");
        let host = hosts.find(|one| one.name == host).expect("the host");
        text = format!("{:?} {}", host.facts, host.why);
        text.contains(words)
    });
    assert!(shown, "{words}: {text}");
}

#[test]
fn agents_restore_sessions_after_a_total_loss() {
    let peers = peers();
    let agents = [
        agent("up\nsessions 0\n", true),
        agent(
            "up\nsessions 1\nsession EXAMPLE\\Anna disconnected 60\n",
            true,
        ),
    ];
    let (farm, at) = with_agents(&peers, &agents.each_ref());
    // The directory is empty, and the first logon comes before any report.
    let mut role = role(&farm, None);
    let (stream, letter) = comes(at, "anna");
    assert_eq!(letter, b'2');
    let all = users(&mut role).sessions;
    let states: Vec<_> = all
        .iter()
        .map(|one| (one.user.as_str(), one.host.as_str(), one.agent.as_str()))
        .collect();
    assert_eq!(states, [("anna", "ts2", "disconnected")]);
    let asked = why(&mut role, "anna").farms.remove(0);
    assert_eq!(asked.steps[0].got, "known at ts2");
    assert!(
        asked.agent.starts_with("the agent of ts2 reported"),
        "{}",
        asked.agent
    );
    assert_eq!(agents[1].hears("check"), "check\n");
    // The session has ended.
    drop(stream);
    agents[1].says("up\nsessions 0\n");
    let is_gone = |role: &mut FarmRole| users(role).sessions.is_empty();
    assert!(
        eventually(SOON, || is_gone(&mut role)),
        "{:?}",
        users(&mut role)
    );
    let asked = why(&mut role, "anna").farms.remove(0);
    let last = asked.steps.last().expect("a step");
    assert_eq!(last.got, "the session is over");
    assert_eq!(comes(at, "anna").1, b'1');
}

#[test]
fn words_of_haproxy_act_on_a_host_and_notices_are_sent_while_it_is_drained() {
    let peers = peers();
    let agents = [agent("up 100%\n", false), agent("ready\n", true)];
    let (mut farm, at) = with_agents(&peers, &agents.each_ref());
    farm.agents.notice = "Save your work".to_owned();
    let mut role = role(&farm, None);
    shows(&role, "ts2", "responded");
    assert_eq!(agents[0].hears(""), "check\n");
    // An operator drains the host.
    let host = "ts2".to_owned();
    role.order(&OperatorMessage::Drain {
        host,
        is_drained: true,
    });
    assert_eq!(agents[1].hears("notice"), "notice Save your work\n");
    let host = "ts2".to_owned();
    role.order(&OperatorMessage::Drain {
        host,
        is_drained: false,
    });
    agents[1].hears("check");
    // The agent drains the host; later replies that do not mention a drain do not end it.
    agents[1].says("drain # disks are full\n");
    shows(&role, "ts2", "drained by its agent");
    assert_eq!(state(&role, "ts2"), "drained");
    agents[1].says("up\n");
    agents[1].hears("notice");
    for name in ["anna", "bert"] {
        assert_eq!(comes(at, name).1, b'1');
    }
    agents[1].says("ready\n");
    assert!(eventually(SOON, || state(&role, "ts2") == "up"));
    assert_eq!(comes(at, "cleo").1, b'2');
    agents[1].says("up maxconn:0\n");
    shows(
        &role,
        "ts2",
        "it has the maximum number of sessions that its agent allows",
    );
    assert_eq!(state(&role, "ts2"), "full");
    // If its line is removed, the host has no agent.
    farm.agents.hosts.clear();
    role.change(&payload(&farm)).expect("good lines");
    let subject = subject(&role);
    let hosts = subject.of_kind("host");
    let mut facts = hosts.flat_map(|host| &host.facts);
    assert!(facts.all(|fact| fact.name != "agent"));
}

#[test]
fn an_agent_that_is_silent_or_hostile_changes_nothing_and_is_shown() {
    let peers = peers();
    let agents = [
        agent("up\nsessions 1\nsession anna active\n", true),
        agent(&("up\n".to_owned() + &"x".repeat(70_000)), true),
    ];
    let (farm, at) = with_agents(&peers, &agents.each_ref());
    let mut role = role(&farm, None);
    shows(&role, "ts2", "longer than 65536 bytes");
    shows(&role, "ts1", "1 session");
    assert_eq!(number_of(&role, "ts2", "agent answers"), Some(0));
    assert_eq!(number_of(&role, "ts1", "agent sessions"), Some(1));
    agents[1].says("what is this\n");
    shows(&role, "ts2", "unknown reply: what");
    agents[0].says("");
    shows(&role, "ts1", "empty reply");
    assert_eq!(users(&mut role).sessions[0].user, "anna");
    assert_eq!(comes(at, "anna").1, b'1');
    assert_eq!(number(&role, "redirected"), 1);
}

fn number_of(role: &FarmRole, host: &str, name: &str) -> Option<u64> {
    let subject = subject(role);
    let mut hosts = subject.of_kind("host");
    hosts.find(|one| one.name == host)?.value(name)
}

#[test]
fn a_logon_without_an_agent_session_is_not_a_session() {
    let peers = peers();
    // Incomplete reports end no session.
    let agents = [0, 1].map(|_| agent("up\nsessions 1\n", true));
    let (farm, at) = with_agents(&peers, &agents.each_ref());
    let mut role = role(&farm, None);
    shows(&role, "ts1", "1 session");
    let (stream, letter) = comes(at, "anna");
    assert_eq!(letter, b'1');
    drop(stream);
    let is_unseen = |role: &mut FarmRole| users(role).sessions[0].state == SessionState::Unseen;
    assert!(
        eventually(SOON, || is_unseen(&mut role)),
        "{:?}",
        users(&mut role)
    );
    assert_eq!(number_of(&role, "ts1", "disconnected"), Some(0));
    assert_eq!(number_of(&role, "ts1", "no session seen"), Some(1));
    shows(&role, "ts1", "1 without a session seen");
    shows(
        &role,
        "ts1",
        "anna: no session seen, the host is reserved for",
    );
    let next = why(&mut role, "anna").farms.remove(0).next;
    assert!(next.ends_with("no session there is known yet"), "{next}");
    // A report with the user makes it a session.
    agents[0].says("up\nsessions 1\nsession anna disconnected\n");
    let is_left = |role: &mut FarmRole| users(role).sessions[0].state == SessionState::Disconnected;
    assert!(eventually(SOON, || is_left(&mut role)));
    assert_eq!(number_of(&role, "ts1", "disconnected"), Some(1));
}
