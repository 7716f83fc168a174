//! Provides the fixture of these tests: a farm role with scripted hosts, over loopback.

use crate::client::SOON;
use configuration::Password;
use farm::config::{Balance, Bind, Check, Farm, Farms, SessionHost, Sessions, Tokens};
use farm::guests::GuestProvider;
use farm::message::{OperatorMessage, Sessions as Users, UserHistoryResponse};
use farm::role::{FarmRole, Program};
use lab::eventually;
use lab::pki::{Authority, Leaf};
use part::codec;
use part::report::{StatusReport, Subject};
use protocol::rdp::{Negotiated, REQUEST_BYTES_MAX, SSL, TpktFrame, frame};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A host that responds to a request, and then echoes all data with its own letter in front.
pub struct Peer {
    pub address: SocketAddr,
    /// Complete requests with a token or a hint; checks have neither.
    pub requests: Receiver<Vec<u8>>,
}

pub fn peer(letter: u8) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let (sender, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut stream: TcpStream = stream.expect("a client");
                let mut request = Vec::new();
                let mut byte = [0];
                while let Ok(TpktFrame::Incomplete { .. }) = frame(&request, REQUEST_BYTES_MAX) {
                    match stream.read(&mut byte) {
                        Ok(1) => request.push(byte[0]),
                        _ => return,
                    }
                }
                if request.len() > 19 {
                    // The test may have ended.
                    let _ = sender.send(request);
                }
                let selected = Negotiated::Selected {
                    flags: 0,
                    protocol: SSL,
                };
                if stream.write_all(&selected.encode()).is_err() {
                    return;
                }
                let mut bytes = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    let answer = [&[letter], &bytes[..read]].concat();
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Peer { address, requests }
}

/// Starts a host that responds to requests, and then hangs until `is_well` is set.
pub fn half_dead(is_well: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let is_well = Arc::clone(is_well);
    thread::spawn(move || {
        let mut hanging = Vec::new();
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.expect("a client");
            let selected = Negotiated::Selected {
                flags: 0,
                protocol: SSL,
            };
            let mut bytes = [0; 512];
            // The check may have ended.
            let _ = stream.read(&mut bytes);
            let _ = stream.write_all(&selected.encode());
            if is_well.load(Ordering::Relaxed) {
                let _ = stream.write_all(b"1");
            }
            hanging.push(stream);
        }
    });
    address
}

/// Starts a host that accepts connections and never responds.
pub fn hung() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// Creates a farm `office` with these hosts: ts1, ts2 and so on.
pub fn farm(hosts: &[SocketAddr]) -> (Farm, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], lab::free_port().expect("a port")));
    let authority = Authority::new("Test CA").expect("an authority");
    let leaf = Leaf {
        names: &["desktop.example.org"],
        ..Leaf::default()
    };
    let pem = authority
        .issue(&leaf)
        .expect("a certificate")
        .bundle()
        .into_bytes();
    let host = |(at, address): (usize, &SocketAddr)| {
        let host = SessionHost {
            address: *address,
            weight: 1,
            drained: false,
        };
        (format!("ts{}", at + 1), host)
    };
    let farm = Farm {
        name: "desktop.example.org".to_owned(),
        binds: vec![Bind {
            address,
            pem,
            accepts_proxy: false,
        }],
        hosts: hosts.iter().enumerate().map(host).collect(),
        balance: Balance::Load,
        check: Check {
            interval_ms: 100,
            timeout_ms: 2_000,
            fall: 1,
            rise: 1,
        },
        sessions: Sessions::default(),
        tokens: Tokens {
            key: vec![7; 32],
            ..Tokens::default()
        },
        maxconn: 100,
        users: Default::default(),
        portal: None,
        web: Vec::new(),
        gateway: None,
        agents: Default::default(),
        proxies: Default::default(),
    };
    (farm, address)
}

pub fn payload(farm: &Farm) -> Vec<u8> {
    let farms = BTreeMap::from([("office".to_owned(), farm.clone())]);
    codec::encode(&Farms {
        farms,
        shared: false,
    })
}

/// Returns the functions that the evenkeel binary provides to the role, as stand-ins.
pub fn program() -> Program {
    Program {
        confine: |_| Ok(()),
        verify: |account, password| account.password == Password::Clear(password.to_vec()),
        guests: GuestProvider { part: "guest" },
    }
}

pub fn role(farm: &Farm, kept: Option<&[u8]>) -> FarmRole {
    FarmRole::new(program(), &payload(farm), kept).unwrap_or_else(|error| panic!("{error}"))
}

/// Starts the next role. The threads of the previous one may still hold its addresses for a moment.
pub fn next_role(farm: &Farm, kept: &[u8]) -> FarmRole {
    let mut next = None;
    let is_there = eventually(SOON, || {
        next = FarmRole::new(program(), &payload(farm), Some(kept)).ok();
        next.is_some()
    });
    assert!(
        is_there,
        "{:?}",
        FarmRole::new(program(), &payload(farm), None).err()
    );
    next.expect("it is there")
}

pub fn subject(role: &FarmRole) -> Subject {
    let report: StatusReport = role.report();
    report.find("farm", "office").expect("the farm").clone()
}

pub fn number(role: &FarmRole, name: &str) -> u64 {
    subject(role).value(name).expect("a number")
}

pub fn state(role: &FarmRole, host: &str) -> String {
    let subject = subject(role);
    let mut hosts = subject.of_kind("host");
    hosts
        .find(|one| one.name == host)
        .expect("the host")
        .state
        .word
        .clone()
}

pub fn users(role: &mut FarmRole) -> Users {
    codec::decode(&role.order(&OperatorMessage::Sessions {})).expect("its answer")
}

pub fn why(role: &mut FarmRole, user: &str) -> UserHistoryResponse {
    let user = user.to_owned();
    codec::decode(&role.order(&OperatorMessage::Why { user })).expect("its answer")
}
