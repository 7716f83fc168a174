//! Tests of the replication connection between two volume roles with cluster certificates: which
//! peers are accepted, when a connection is revoked, and that frames arrive as they were sent.

use crate::trusted::{RoleCredentials, trusted};
use cluster::authority::{Authority, PartCredentials, Trust};
use cluster::member::{ClusterMember, Digest, MemberId, MemberKind};
use lab::eventually;
use part::role::PartMessage;
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use volume::disk::Pool;
use volume::link::dial::{Dialer, Receiver, Registry, ReplicationLink, listen};
use volume::link::frame::{BlockContent, FrameHeader, FrameKind};
use volume::link::greeting::{Greeting, ReplicaProperties};
use volume::link::{Incoming, LinkError, Session};
use volume::replica::Blocks;
use wire::NodeConnection;

const SOON: Duration = Duration::from_secs(20);
const FRAMES: u64 = 200;

struct ConnectionRecorder {
    greeting: Greeting,
    came: Mutex<Vec<Result<NodeConnection, String>>>,
}

impl ConnectionRecorder {
    fn new(from: &str, to: &str) -> Arc<ConnectionRecorder> {
        let greeting = Greeting {
            volume: "mail".to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            facts: ReplicaProperties::default(),
        };
        let came = Mutex::default();
        Arc::new(ConnectionRecorder { greeting, came })
    }

    fn connects(&self) -> Option<NodeConnection> {
        let mut came = self.came.lock().unwrap();
        let place = came.iter().position(Result::is_ok)?;
        came.swap_remove(place).ok()
    }

    fn said(&self) -> String {
        let came = self.came.lock().unwrap();
        let words = came.iter().filter_map(|one| one.as_ref().err());
        words.cloned().collect::<Vec<_>>().join("\n")
    }
}

impl Receiver for ConnectionRecorder {
    fn greeting(&self) -> Greeting {
        self.greeting.clone()
    }

    fn connected(&self, wire: NodeConnection, _: Greeting) {
        self.came.lock().unwrap().push(Ok(wire));
    }

    fn not_connected(&self, why: String) {
        self.came.lock().unwrap().push(Err(why));
    }
}

/// Node whose threads listen or connect until the value is dropped.
struct VolumeTestNode {
    side: Arc<ConnectionRecorder>,
    registry: Arc<Registry>,
    stop: Arc<OwnedFd>,
    dialer: Option<Arc<Dialer>>,
    thread: Option<JoinHandle<()>>,
}

impl VolumeTestNode {
    fn new(side: Arc<ConnectionRecorder>, credentials: Option<PartCredentials>) -> VolumeTestNode {
        let registry = Arc::new(Registry::default());
        if let Some(credentials) = credentials {
            let mut nodes = trusted(credentials).unwrap();
            // On loopback, connections come from this address.
            let other = nodes.addresses.get_mut(&side.greeting.to);
            other.unwrap().push(Ipv4Addr::LOCALHOST.into());
            registry.trust(nodes.into());
        }
        registry.add("mail", side.clone());
        VolumeTestNode {
            side,
            registry,
            stop: Arc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap()),
            dialer: None,
            thread: None,
        }
    }

    fn listens(mut self, cable: &ReplicationLink) -> VolumeTestNode {
        let (cable, registry, stop) = (cable.clone(), self.registry.clone(), self.stop.clone());
        let thread = std::thread::spawn(move || listen(&cable, &registry, stop.as_fd()));
        self.thread = Some(thread);
        self
    }

    fn dials(mut self, cable: &ReplicationLink) -> VolumeTestNode {
        let dialer = Arc::new(Dialer::default());
        dialer.dial();
        let (own, cable) = (dialer.clone(), cable.clone());
        let (registry, side) = (self.registry.clone(), self.side.clone());
        let thread = std::thread::spawn(move || own.run_dialer(&cable, &registry, &*side));
        self.dialer = Some(dialer);
        self.thread = Some(thread);
        self
    }

    #[track_caller]
    fn says(&self, expected: &str) {
        let says = || self.side.said().contains(expected);
        assert!(eventually(SOON, says), "{}", self.side.said());
    }
}

impl Drop for VolumeTestNode {
    fn drop(&mut self) {
        rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()).unwrap();
        if let Some(dialer) = &self.dialer {
            dialer.end();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn address(name: &str) -> IpAddr {
    let last = if name == "alpha" { 1 } else { 2 };
    Ipv4Addr::new(127, 61, 0, last).into()
}

fn member(id: u64, name: &str) -> ClusterMember {
    ClusterMember {
        id: MemberId(id),
        name: name.to_owned(),
        kind: MemberKind::Node,
        addresses: vec![SocketAddr::new(address(name), 7443)],
        certificate: Digest([id as u8; 32]),
        sealing_key: None,
        format: 1,
    }
}

/// Returns credentials of a member of a cluster with these members.
fn credentials(authority: &Authority, me: u64, members: &[(u64, &str)]) -> PartCredentials {
    let members = members
        .iter()
        .map(|(id, name)| (MemberId(*id), member(*id, name)));
    let trust = Trust {
        cluster: authority.cluster().to_owned(),
        authorities: vec![authority.certificate().to_vec()],
        members: members.collect(),
        ..Trust::default()
    };
    let chain = [authority.certificate().to_vec()];
    PartCredentials::issue("volume", MemberId(me), authority, &chain, &trust).unwrap()
}

const BOTH: &[(u64, &str)] = &[(1, "alpha"), (2, "beta")];

/// Returns a link between the nodes' addresses, at a port that is free on every address. This
/// machine has none of those addresses, so the link listens on all of its own.
fn cable(is_plain: bool) -> ReplicationLink {
    ReplicationLink {
        ends: None,
        port: lab::free_port().unwrap(),
        is_plain,
    }
}

#[test]
fn two_nodes_connect_and_exchange_frames() {
    let authority = Authority::found("office").unwrap();
    let cable = cable(false);
    let beta = VolumeTestNode::new(
        ConnectionRecorder::new("beta", "alpha"),
        Some(credentials(&authority, 2, BOTH)),
    );
    let beta = beta.listens(&cable);
    // Alpha has no certificate yet, and gets one.
    let alpha = VolumeTestNode::new(ConnectionRecorder::new("alpha", "beta"), None).dials(&cable);
    alpha.says("no certificate of the cluster");
    let own = trusted(credentials(&authority, 1, BOTH)).unwrap();
    alpha.registry.trust(own.into());
    let (mut here, mut there) = (None, None);
    let both = || {
        here = here.take().or_else(|| alpha.side.connects());
        there = there.take().or_else(|| beta.side.connects());
        here.is_some() && there.is_some()
    };
    assert!(eventually(SOON, both), "{}", alpha.side.said());
    let (mut here, mut there) = (Session::new(here.unwrap()), Session::new(there.unwrap()));
    let pool = Pool::new().unwrap();
    let account = pool.account();
    let mut sent = 0;
    let mut came = 0;
    let mut incoming = VecDeque::new();
    // Sends in both directions at once: replies arrive while further frames are sent.
    let mut answers = VecDeque::new();
    let arrives = || {
        while sent < FRAMES && sent < came + 8 {
            let count = 1 + (sent % 32) as u32;
            let blocks = Blocks { first: sent, count };
            let head = FrameHeader {
                content: BlockContent::Data,
                ..FrameHeader::new(FrameKind::Write)
                    .number(sent)
                    .blocks(blocks)
            };
            let mut buffer = pool.take(&account, head.data_bytes()).unwrap();
            buffer.bytes_mut().fill(sent as u8);
            here.send_data(head, Rc::new(buffer));
            sent += 1;
        }
        here.flush().unwrap();
        there.receive(&pool, &|_| &account, &mut incoming).unwrap();
        while let Some(one) = incoming.pop_front() {
            let Incoming::Data(head, buffer) = one else {
                panic!("{one:?}");
            };
            assert_eq!(head.number, came);
            assert!(buffer.bytes().iter().all(|byte| *byte == came as u8));
            there.send(&FrameHeader::new(FrameKind::Done).number(came));
            came += 1;
        }
        there.flush().unwrap();
        here.receive(&pool, &|_| &account, &mut answers).unwrap();
        answers.len() as u64 == FRAMES
    };
    assert!(eventually(SOON, arrives), "{came} of {sent}");
    assert!(!here.has_input() && !here.has_output() && !there.has_input());
}

#[test]
fn non_members_are_refused_with_a_reason() {
    let (ours, other) = (
        Authority::found("office").unwrap(),
        Authority::found("office").unwrap(),
    );
    for (me, dials, words) in [
        ("alpha", credentials(&other, 1, BOTH), "TLS: "),
        (
            "alpha",
            credentials(&ours, 7, &[(7, "alpha"), (2, "beta")]),
            "no certificate of a current node",
        ),
        (
            "alpha",
            credentials(&ours, 2, BOTH),
            "claims to be 'alpha', but has the certificate of 'beta'",
        ),
    ] {
        let cable = cable(false);
        let beta = VolumeTestNode::new(
            ConnectionRecorder::new("beta", "alpha"),
            Some(credentials(&ours, 2, BOTH)),
        );
        let beta = beta.listens(&cable);
        let alpha =
            VolumeTestNode::new(ConnectionRecorder::new(me, "beta"), Some(dials)).dials(&cable);
        beta.says(words);
        alpha.says(match words {
            "TLS: " => "TLS: ",
            _ => "beta closed the connection",
        });
        assert!(alpha.side.connects().is_none() && beta.side.connects().is_none());
    }
}

#[test]
fn link_that_exists_ends_when_its_node_is_removed_or_its_ca_dropped() {
    let (ours, next) = (
        Authority::found("office").unwrap(),
        Authority::found("office").unwrap(),
    );
    let alone: &[(u64, &str)] = &[(1, "alpha")];
    for (is_plain, then) in [
        (false, credentials(&ours, 1, alone)),
        (true, credentials(&ours, 1, alone)),
        // Both are still members, but beta's certificate is of the previous CA.
        (false, credentials(&next, 1, BOTH)),
    ] {
        let cable = cable(is_plain);
        let of = |id| Some(credentials(&ours, id, BOTH));
        let beta =
            VolumeTestNode::new(ConnectionRecorder::new("beta", "alpha"), of(2)).listens(&cable);
        let alpha =
            VolumeTestNode::new(ConnectionRecorder::new("alpha", "beta"), of(1)).dials(&cable);
        let (mut here, mut there) = (None, None);
        let connects = || {
            here = here.take().or_else(|| alpha.side.connects());
            there = there.take().or_else(|| beta.side.connects());
            here.is_some() && there.is_some()
        };
        assert!(eventually(SOON, connects));
        let (here, there) = (here.unwrap(), there.unwrap());
        let receive = |session: &mut Session| {
            let pool = Pool::new().unwrap();
            let account = pool.account();
            session.receive(&pool, &|_| &account, &mut VecDeque::new())
        };
        let [mut here, mut there] = [here, there].map(Session::new);
        assert_eq!((receive(&mut here), receive(&mut there)), (Ok(()), Ok(())));
        let before = alpha.registry.trusted();
        let now = trusted(then).unwrap().continue_from(before.as_deref());
        alpha.registry.trust(now.into());
        assert_eq!(
            receive(&mut here),
            Err(LinkError::Revoked),
            "plain: {is_plain}"
        );
        let ends = || receive(&mut there).is_err();
        assert!(eventually(SOON, ends), "the removed node sees the end");
        // The peer is refused again.
        drop(here);
        alpha.dialer.as_ref().unwrap().dial();
        let words = || !alpha.side.said().is_empty();
        assert!(eventually(SOON, words));
        assert!(alpha.side.connects().is_none());
    }
}

#[test]
fn tls_and_plain_do_not_connect_and_both_report_it() {
    let authority = Authority::found("office").unwrap();
    let secure = cable(false);
    let plain = ReplicationLink {
        is_plain: true,
        ..secure.clone()
    };
    for (here, there, words) in [
        // The alert arrives, or the connection is reset before.
        (&plain, &secure, ["beta", "TLS: "]),
        (
            &secure,
            &plain,
            ["it is configured with `plain`", "the other side uses TLS"],
        ),
    ] {
        let of = |id| Some(credentials(&authority, id, BOTH));
        let beta =
            VolumeTestNode::new(ConnectionRecorder::new("beta", "alpha"), of(2)).listens(there);
        let alpha =
            VolumeTestNode::new(ConnectionRecorder::new("alpha", "beta"), of(1)).dials(here);
        beta.says(words[1]);
        match words[0] {
            "beta" => {
                let says = ["the other side uses TLS", "beta closed the connection"];
                let says = || says.iter().any(|words| alpha.side.said().contains(words));
                assert!(eventually(SOON, says), "{}", alpha.side.said());
            }
            words => alpha.says(words),
        }
        assert!(beta.side.connects().is_none());
    }
}

#[test]
fn slow_stranger_has_two_seconds_in_total() {
    let authority = Authority::found("office").unwrap();
    for is_plain in [true, false] {
        let cable = cable(is_plain);
        let beta = VolumeTestNode::new(
            ConnectionRecorder::new("beta", "alpha"),
            Some(credentials(&authority, 2, BOTH)),
        );
        let _beta = beta.listens(&cable);
        let mut stranger = None;
        let connects = || {
            stranger = TcpStream::connect((address("beta"), cable.port)).ok();
            stranger.is_some()
        };
        assert!(eventually(SOON, connects));
        let mut stranger = stranger.unwrap();
        let mut bytes: VecDeque<u8> = if is_plain {
            b"EVLINK01\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                .iter()
                .copied()
                .collect()
        } else {
            [&[22, 3, 1, 64, 0][..], &[1; 4096]].concat().into()
        };
        stranger
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let closed = || {
            let byte = bytes.pop_front().unwrap_or_default();
            let sent = stranger.write_all(&[byte]);
            sent.is_err() || matches!(stranger.read(&mut [0; 64]), Ok(0))
        };
        assert!(eventually(SOON, closed), "plain: {is_plain}");
    }
}

/// Connects from an address that no node has.
fn stranger(to: SocketAddr) -> Option<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let own = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    let from = SocketAddr::new(Ipv4Addr::new(127, 99, 99, 99).into(), 0);
    bind(&own, &from).ok()?;
    connect(&own, &to).ok()?;
    Some(own.into())
}

#[test]
fn strangers_in_all_slots_do_not_block_the_nodes() {
    let authority = Authority::found("office").unwrap();
    for is_plain in [true, false] {
        let cable = cable(is_plain);
        let beta = VolumeTestNode::new(ConnectionRecorder::new("beta", "alpha"), None);
        let mut nodes = trusted(credentials(&authority, 2, BOTH)).unwrap();
        // On loopback, connections come from this address.
        let from = vec![Ipv4Addr::LOCALHOST.into()];
        nodes.addresses.insert("alpha".to_owned(), from);
        beta.registry.trust(nodes.into());
        let beta = beta.listens(&cable);
        let to = SocketAddr::new(address("beta"), cable.port);
        assert!(eventually(SOON, || stranger(to).is_some()));
        // Opens silent connections, and replaces each that is closed.
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let crowd = std::thread::spawn(move || {
            let mut crowd: Vec<TcpStream> = Vec::new();
            while !ending.load(Ordering::Relaxed) {
                crowd.retain_mut(|one| {
                    let _ = one.set_nonblocking(true);
                    matches!(one.read(&mut [0; 64]), Err(error) if error.kind() == ErrorKind::WouldBlock)
                });
                let missing = 32_usize.saturating_sub(crowd.len());
                crowd.extend((0..missing).filter_map(|_| stranger(to)));
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let alpha = VolumeTestNode::new(
            ConnectionRecorder::new("alpha", "beta"),
            Some(credentials(&authority, 1, BOTH)),
        );
        let alpha = alpha.dials(&cable);
        let meets = || beta.side.connects().is_some();
        let met = eventually(SOON, meets);
        ends.store(true, Ordering::Relaxed);
        crowd.join().unwrap();
        assert!(met, "plain: {is_plain}: {}", alpha.side.said());
    }
}

#[test]
fn repeated_credentials_are_applied_once() {
    let authority = Authority::found("shop").unwrap();
    let held = RoleCredentials::new();
    let first = credentials(&authority, 1, BOTH).envelope();
    let renewed = credentials(&authority, 1, BOTH).envelope();
    let mut applied = 0;
    for message in [&first, &first, &renewed, &renewed] {
        assert!(held.apply(message, |_| applied += 1));
    }
    assert_eq!(applied, 2);
    let other = PartMessage::new("volume", 7, &"no credentials");
    assert!(!held.apply(&other, |_| panic!("it has none")));
}
