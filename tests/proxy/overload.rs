//! Tests more connections, descriptors and log lines than there is room for. Well-behaved clients
//! are still served.

use crate::program::evenkeel;
use lab::{Location, OriginServer, Peer, Probe, Syslog, anonymous_memory, eventually, free_port};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

/// Number of clients that send next to nothing.
const SLOW_CLIENTS: usize = 5_000;

/// Memory that a client with half a request head may use, in a debug build.
const SLOW_CLIENT_BYTES: u64 = 16 * 1024;

const DEFAULTS: &str = "
    defaults
        mode http
        timeout client 10m
        timeout server 5s
        timeout connect 5s
";

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

/// Raises the limit of descriptors of this process, for both ends of many connections.
fn allow_descriptors(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    let raised = Rlimit {
        current: Some(wanted),
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

fn start(global: &str, origin: &OriginServer) -> Peer {
    let address = here();
    let server = origin.address();
    let config = format!(
        "    global\n        {global}\n{DEFAULTS}    listen web\n        bind {address}\n        \
         server s {server} pool-purge-delay 1h\n"
    );
    evenkeel(Location::Here, &config, address).unwrap()
}

fn own_bytes(peer: &Peer) -> u64 {
    anonymous_memory(peer.process().pid()).unwrap()
}

fn processor_time(peer: &Peer) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", peer.process().pid())).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = rest
        .split(' ')
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn five_thousand_slow_clients_delay_nobody() {
    lab::skip_unless_root!();
    allow_descriptors(SLOW_CLIENTS as u64 * 2);
    let origin = OriginServer::start_local("web").unwrap();
    let peer = start("maxconn 6000", &origin);
    let mut probe = Probe::new(Location::Here, peer.address());
    assert_eq!(probe.get("/").unwrap().status, 200);
    let before = own_bytes(&peer);
    let mut slow = Vec::with_capacity(SLOW_CLIENTS);
    for n in 0..SLOW_CLIENTS {
        let mut client = TcpStream::connect(peer.address()).unwrap();
        client.write_all(b"GET /slow HTTP/1.1\r\nHost: ").unwrap();
        slow.push(client);
        if n % 500 == 0 {
            assert_eq!(probe.get("/meanwhile").unwrap().status, 200);
        }
    }
    for mut client in &slow {
        client.write_all(b"x").unwrap();
    }
    for _ in 0..100 {
        probe.disconnect();
        assert_eq!(probe.get("/after").unwrap().status, 200);
    }
    let each = own_bytes(&peer).saturating_sub(before) / SLOW_CLIENTS as u64;
    assert!(each <= SLOW_CLIENT_BYTES, "{each} bytes a slow client");
    // All slow clients are still connected, and get a response when they finish.
    for mut client in slow.iter().step_by(500) {
        client.set_read_timeout(Some(SOON)).unwrap();
        client.write_all(b"\r\n\r\n").unwrap();
        let mut said = [0; 12];
        client.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"HTTP/1.1 200");
    }
}

#[test]
fn clients_above_maxconn_wait_and_are_served() {
    let origin = OriginServer::start_local("web").unwrap();
    let peer = start("maxconn 20", &origin);
    let holders: Vec<_> = (0..20)
        .map(|_| Probe::new(Location::Here, peer.address()))
        .collect();
    let mut holders: Vec<_> = holders
        .into_iter()
        .map(|mut probe| {
            assert_eq!(probe.get("/hold").unwrap().status, 200);
            probe
        })
        .collect();
    let mut late = TcpStream::connect(peer.address()).unwrap();
    late.write_all(b"GET /late HTTP/1.0\r\n\r\n").unwrap();
    late.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(late.read(&mut [0; 1]).is_err(), "served above maxconn");
    holders.pop();
    late.set_read_timeout(Some(SOON)).unwrap();
    let mut said = String::new();
    late.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    for mut probe in holders {
        assert_eq!(probe.get("/still").unwrap().status, 200);
    }
}

#[test]
fn descriptor_exhaustion_causes_no_busy_loop() {
    let origin = OriginServer::start_local("web").unwrap();
    // The regular client needs its idle server connection, because a new one would need a
    // descriptor. A thread that rests while there is little to do keeps none, and the purge delay
    // would close it while the machine is busy.
    let peer = start("maxconn 1000\n        nbthread 1", &origin);
    let mut regular = Probe::new(Location::Here, peer.address());
    assert_eq!(regular.get("/").unwrap().status, 200);
    let pid = peer.process().pid();
    let used = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count() as u64;
    let few = Rlimit {
        current: Some(used + 20),
        maximum: Some(used + 20),
    };
    prlimit(Pid::from_raw(pid), Resource::Nofile, few).unwrap();
    let crowd: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(peer.address()).unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let before = processor_time(&peer);
    lab::sleep_in_test(Duration::from_secs(1), "its processor time is measured");
    let spent = processor_time(&peer) - before;
    assert!(spent < Duration::from_millis(300), "it spins: {spent:?}");
    assert_eq!(regular.get("/in-the-crowd").unwrap().status, 200);
    drop(crowd);
    let served = || {
        let mut late = Probe::new(Location::Here, peer.address());
        late.get("/later").is_ok_and(|answer| answer.status == 200)
    };
    assert!(eventually(SOON, served), "it never recovers");
}

#[test]
fn unread_log_slows_nothing() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let path = scratch.path().join("log");
    // The queue of the socket is full after a few datagrams.
    let _deaf = UnixDatagram::bind(&path).unwrap();
    let heard = Syslog::udp(Location::Here, "127.0.0.1:0".parse().unwrap()).unwrap();
    let origin = OriginServer::start_local("web").unwrap();
    let address = here();
    let config = format!(
        "    global\n        log {} local0\n        log {} local1\n{DEFAULTS}    listen web\n        \
         bind {address}\n        log global\n        option httplog\n        server s {}\n",
        path.display(),
        heard.address().unwrap(),
        origin.address(),
    );
    let peer = evenkeel(Location::Here, &config, address).unwrap();
    let mut probe = Probe::new(Location::Here, peer.address());
    for n in 0..1000 {
        assert_eq!(probe.get(&format!("/{n}")).unwrap().status, 200);
    }
    let mut times: Vec<_> = probe
        .records()
        .iter()
        .map(|record| record.elapsed)
        .collect();
    times.sort();
    assert!(times[990] < Duration::from_secs(1), "{:?}", times[990]);
    let last = heard.wait_for(SOON, |line| line.contains("GET /999 HTTP/1.1"));
    assert!(last.is_some(), "the target that listens misses lines");
}

#[test]
fn a_unix_socket_of_a_log_is_written_to() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let log = Syslog::unix(&scratch.path().join("log")).unwrap();
    let origin = OriginServer::start_local("web").unwrap();
    let address = here();
    let config = format!(
        "    global\n        log {} len 4096 local5 info\n{DEFAULTS}    listen web\n        \
         bind {address}\n        log global\n        option httplog\n        server s {}\n",
        scratch.path().join("log").display(),
        origin.address(),
    );
    let _peer = evenkeel(Location::Here, &config, address).unwrap();
    let mut probe = Probe::new(Location::Here, address);
    let path = format!("/{}", "long".repeat(300));
    assert_eq!(probe.get(&path).unwrap().status, 200);
    let line = log
        .wait_for(SOON, |line| line.contains("/longlong"))
        .unwrap();
    assert!(line.starts_with("<174>"), "{line}");
    // The line contains the text after the path.
    assert!(
        line.contains("longlong") && line.contains(" web/s "),
        "{line}"
    );
}
