//! Tests Evenkeel between real clients, real servers and other proxies.

use crate::program::{Program, evenkeel};
use lab::{
    Lab, LabHost, Location, OriginServer, PacketFilter, Peer, Probe, ScratchDirectory, Syslog,
    eventually, free_port,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

/// Size of an upload and of a download.
const MUCH_BYTES: usize = 100 << 20;

const DEFAULTS: &str = "
    defaults
        timeout client 5s
        timeout server 5s
        timeout connect 5s
";

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

fn listen(mode: &str, bind: &str, server: &str) -> String {
    format!(
        "{DEFAULTS}    listen web\n        mode {mode}\n        bind {bind}\n        server s {server}\n"
    )
}

/// Starts Evenkeel on loopback in front of one server.
fn before(server: SocketAddr) -> Peer {
    let address = here();
    let config = listen("http", &address.to_string(), &server.to_string());
    evenkeel(Location::Here, &config, address).unwrap()
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

#[test]
fn a_clients_address_passes_through_a_chain_of_both_programs() {
    lab::skip_unless_installed!("haproxy");
    for (first, second) in [
        (Program::Evenkeel, Program::Haproxy),
        (Program::Haproxy, Program::Evenkeel),
        (Program::Evenkeel, Program::Evenkeel),
    ] {
        for (mode, sends) in [
            ("tcp", "send-proxy"),
            ("tcp", "send-proxy-v2"),
            ("http", "send-proxy"),
            ("http", "send-proxy-v2"),
        ] {
            let origin = OriginServer::start_local("web").unwrap();
            let (outer, inner) = (here(), here());
            let last = listen(
                "http",
                &format!("{inner} accept-proxy"),
                &origin.address().to_string(),
            ) + "        option forwardfor\n";
            let _last = second.start(Location::Here, &last, inner).unwrap();
            let front = listen(mode, &outer.to_string(), &format!("{inner} {sends}"));
            let _front = first.start(Location::Here, &front, outer).unwrap();
            let mut client = connect(outer);
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                .unwrap();
            let head = read_head(&mut client);
            assert!(
                head.starts_with("HTTP/1.1 200"),
                "{first:?} {second:?} {mode} {sends}: {head}"
            );
            let asked = origin.take_requests();
            let forwarded = "x-forwarded-for: 127.0.0.1\r\n";
            assert!(
                asked
                    .iter()
                    .any(|head| head.to_lowercase().contains(forwarded)),
                "{asked:?}"
            );
        }
    }
}

#[test]
fn a_connection_to_the_server_serves_many_requests_of_many_clients() {
    let origin = OriginServer::start_local("web").unwrap();
    let peer = before(origin.address());
    let mut probes: Vec<Probe> = (0..5)
        .map(|_| Probe::new(Location::Here, peer.address()))
        .collect();
    for _ in 0..20 {
        for probe in &mut probes {
            assert_eq!(probe.get("/").unwrap().status, 200);
        }
    }
    for probe in &probes {
        assert!(probe.records().iter().all(|record| record.connection == 1));
    }
    // A first request of a client is never sent over a used connection.
    assert!(
        origin.accepted_count() <= 5 + 1,
        "{}",
        origin.accepted_count()
    );
}

#[test]
fn requests_in_one_packet_get_ordered_responses() {
    let origin = OriginServer::start_local("web").unwrap();
    let peer = before(origin.address());
    let mut client = connect(peer.address());
    let many: String = (0..50)
        .map(|n| format!("POST /{n} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"))
        .collect();
    client.write_all(many.as_bytes()).unwrap();
    for _ in 0..50 {
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        client.read_exact(&mut [0; 3]).unwrap();
    }
    let asked = origin.take_requests();
    let paths: Vec<_> = asked
        .iter()
        .filter_map(|head| head.split(' ').nth(1))
        .collect();
    assert_eq!(paths, (0..50).map(|n| format!("/{n}")).collect::<Vec<_>>());
}

#[test]
fn websocket_works_both_ways_until_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = vec![0; 4096];
            let Ok(read) = stream.read(&mut head) else {
                continue;
            };
            let asked = String::from_utf8_lossy(&head[..read]).to_lowercase();
            if !asked.contains("upgrade: websocket") || !asked.contains("connection: upgrade") {
                continue;
            }
            let _ = stream.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05first",
            );
            let _ = std::io::copy(&mut &stream, &mut &stream);
        }
    });
    let peer = before(server);
    let mut client = connect(peer.address());
    let asked = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.write_all(asked.as_bytes()).unwrap();
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut frame = [0; 7];
    client.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x81\x05first");
    for frame in [&b"\x81\x05hello"[..], b"\x82\x03\x00\r\n"] {
        client.write_all(frame).unwrap();
        let mut echoed = vec![0; frame.len()];
        client.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, frame);
    }
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

/// Starts nginx with a directory for downloads and uploads.
fn files(scratch: &ScratchDirectory) -> Peer {
    let address = here();
    let directory = scratch.path().display();
    let config = format!(
        "user root; worker_processes 1; events {{}} http {{ access_log off;
         client_body_temp_path {{dir}}/body; client_max_body_size 0;
         server {{ listen {address}; root {directory};
         location / {{ dav_methods PUT; }} }} }}"
    );
    Peer::nginx(Location::Here, &config, address).unwrap()
}

fn curl(args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "60"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn same_files(a: &Path, b: &Path) -> bool {
    Command::new("cmp")
        .arg("-s")
        .arg(a)
        .arg(b)
        .status()
        .unwrap()
        .success()
}

#[test]
fn large_files_pass_whole_up_and_down_with_length_and_with_chunks() {
    lab::skip_unless_installed!("nginx");
    lab::skip_unless_installed!("curl");
    let scratch = ScratchDirectory::new().unwrap();
    let nginx = files(&scratch);
    let peer = before(nginx.address());
    // Fills the file with words that all differ.
    let much: Vec<u8> = (0..MUCH_BYTES / 8)
        .flat_map(|n| (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .collect();
    let original = scratch.write("much", &much).unwrap();
    let got = scratch.path().join("got");
    let (at, file, to) = (
        peer.address(),
        original.display().to_string(),
        got.display().to_string(),
    );
    curl(&[&format!("http://{at}/much"), "--output", &to]);
    assert!(same_files(&original, &got), "the download");
    for (name, headers) in [
        ("length", &["--header", "Expect:"][..]),
        ("chunks", &["--header", "Transfer-Encoding: chunked"]),
        ("expect", &["--header", "Expect: 100-continue"]),
        ("old", &["--http1.0"]),
    ] {
        let url = format!("http://{at}/{name}");
        curl(&[&["--upload-file", &file, &url], headers].concat());
        assert!(
            same_files(&original, &scratch.path().join(name)),
            "the upload with {name}"
        );
    }
}

/// Runs a load generator to its end.
fn load(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn load_generators_see_no_error() {
    lab::skip_unless_installed!("nginx");
    lab::skip_unless_installed!("wrk");
    lab::skip_unless_installed!("hey");
    let scratch = ScratchDirectory::new().unwrap();
    scratch.write("small", "x".repeat(100)).unwrap();
    let nginx = files(&scratch);
    let peer = before(nginx.address());
    let url = format!("http://{}/small", peer.address());
    let said = load("wrk", &["-t1", "-c64", "-d2s", &url]);
    assert!(said.contains("Requests/sec"), "{said}");
    assert!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );
    for more in [&["-disable-keepalive"][..], &[]] {
        let said = load(
            "hey",
            &[&["-n", "2000", "-c", "50"], more, &[url.as_str()]].concat(),
        );
        assert!(said.contains("[200]\t2000 responses"), "{said}");
    }
}

#[test]
fn ipv6_and_old_clients_are_served() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("curl");
    let lab = Lab::new("six").unwrap();
    let (balancer, client) = (lab.host("balancer").unwrap(), lab.host("client").unwrap());
    let link = lab.link(&balancer, &client).unwrap();
    link.a.address("fd00::1/64").unwrap();
    link.b.address("fd00::2/64").unwrap();
    let origin = OriginServer::start(&balancer, "web", "[::1]:8080".parse().unwrap()).unwrap();
    let config = listen("http", "[fd00::1]:80", "[::1]:8080") + "        option forwardfor\n";
    let address = "[fd00::1]:80".parse().unwrap();
    let _peer = evenkeel(&balancer, &config, address).unwrap();
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--http1.0",
        "--max-time",
        "5",
        "http://[fd00::1]/",
    ]);
    assert_eq!(client.run(curl).unwrap(), "web");
    let asked = origin.take_requests().pop().unwrap();
    assert!(
        asked
            .to_lowercase()
            .contains("x-forwarded-for: fd00::2\r\n"),
        "{asked}"
    );
}

const CUT: &str = "
    global
        log @LOG@ local0
    defaults
        mode http
        log global
        option httplog
        option redispatch
        retries 2
        timeout client 10s
        timeout server 1s
        timeout connect 300ms
    listen web
        bind 10.9.0.1:80
        option httpchk
        default-server check inter 200ms fall 2 rise 2
        server far 10.9.1.2:80 weight 100
        server near 10.9.2.2:80 backup
";

/// A balancer, a client and two servers, each on its own link.
struct Cabled {
    far: OriginServer,
    _near: OriginServer,
    balancer: LabHost,
    client: LabHost,
    _lab: Lab,
}

impl Cabled {
    fn build() -> Self {
        let lab = Lab::new("cut").unwrap();
        let [balancer, client, far, near] =
            ["balancer", "client", "far", "near"].map(|name| lab.host(name).unwrap());
        for (n, host) in [&client, &far, &near].into_iter().enumerate() {
            let cable = lab.link(&balancer, host).unwrap();
            cable.a.address(&format!("10.9.{n}.1/24")).unwrap();
            cable.b.address(&format!("10.9.{n}.2/24")).unwrap();
        }
        let serve = |host, address: &str, name| {
            OriginServer::start(host, name, address.parse().unwrap()).unwrap()
        };
        Cabled {
            far: serve(&far, "10.9.1.2:80", "far"),
            _near: serve(&near, "10.9.2.2:80", "near"),
            balancer,
            client,
            _lab: lab,
        }
    }
}

/// Returns whether the server of this name serves a new connection.
fn served_by(probe: &mut Probe, path: &str, name: &str) -> bool {
    probe.disconnect();
    probe.get(path).is_ok_and(|answer| answer.text() == name)
}

fn notices_a_cut(program: Program) {
    let place = Cabled::build();
    let far = &place.far;
    let log = Syslog::udp(&place.balancer, "127.0.0.1:0".parse().unwrap()).unwrap();
    let config = CUT.replace("@LOG@", &log.address().unwrap().to_string());
    let address = "10.9.0.1:80".parse().unwrap();
    let _peer = program.start(&place.balancer, &config, address).unwrap();
    let mut probe = Probe::new(&place.client, address);
    assert_eq!(probe.get("/before").unwrap().text(), "far");
    far.set_behaviour(lab::Behaviour::Silence);
    let mut waiting = Probe::new(&place.client, address);
    let waiting = std::thread::spawn(move || waiting.get("/waiting").map(|a| a.status));
    let arrived = || {
        far.take_requests()
            .iter()
            .any(|head| head.contains("/waiting"))
    };
    assert!(eventually(SOON, arrived));
    // Blocks the server without an interface going down, like a failed cable behind a switch.
    let server = PacketFilter::all().remote("10.9.1.2".parse().unwrap());
    let block = place.balancer.block(&server).unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(504), "{program:?}");
    let line = log
        .wait_for(SOON, |line| line.contains("/waiting"))
        .unwrap();
    assert!(
        line.contains(" web/far ") && line.contains(" sH-- "),
        "{line}"
    );
    let noticed = eventually(SOON, || served_by(&mut probe, "/cut", "near"));
    assert!(noticed, "{program:?}");
    for _ in 0..10 {
        assert!(
            served_by(&mut probe, "/cut", "near"),
            "{program:?}: the dead one is asked"
        );
    }
    far.set_behaviour(lab::Behaviour::Answer);
    block.lift().unwrap();
    let mended = eventually(SOON, || served_by(&mut probe, "/mended", "far"));
    assert!(mended, "{program:?}");
    for word in ["DOWN", "UP"] {
        let told = |line: &str| line.contains("Server web/far is ") && line.contains(word);
        let found = log.wait_for(SOON, told);
        assert!(found.is_some(), "{program:?} {word}: {:?}", log.messages());
    }
}

#[test]
fn cut_and_restored_link_are_noticed() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("haproxy");
    for program in Program::BOTH {
        notices_a_cut(program);
    }
}
