//! Tests the TFTP server over real sockets, with well-behaved and hostile clients.

use crate::shelf::{LIMIT, TestContentSource, client, is_broken};
use boot::content::FetchReport;
use boot::tftp::{OF_ONE_MAX, Server, TRANSFERS_MAX, TftpListener};
use lab::{Lab, Random, eventually, free_port};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

fn listener(address: &str) -> (SocketAddr, TftpListener) {
    let address = format!("{address}:{}", free_port().unwrap());
    let socket = UdpSocket::bind(&address).unwrap();
    let listener = TftpListener {
        socket: OwnedFd::from(socket),
        interface: None,
    };
    (address.parse().unwrap(), listener)
}

fn serve(directory: &Arc<TestContentSource>) -> (SocketAddr, Server) {
    let (address, listener) = listener("127.0.0.1");
    let server = Server::start(vec![listener], directory.clone(), TRANSFERS_MAX).unwrap();
    (address, server)
}

struct Client {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Client {
    fn new(server: SocketAddr) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Client { socket, server }
    }

    /// Sends a request, and returns the first packet, whose source identifies the transfer.
    fn ask(&mut self, to: SocketAddr, request: &[u8]) -> Vec<u8> {
        let pause = Duration::from_secs(3);
        self.socket.set_read_timeout(Some(pause)).unwrap();
        let mut first = Vec::new();
        // The request may be lost if the server's socket is full.
        let is_answered = eventually(LIMIT, || {
            self.socket.send_to(request, to).unwrap();
            first = self.try_receive().unwrap_or_default();
            !first.is_empty()
        });
        assert!(is_answered);
        self.socket.set_read_timeout(Some(LIMIT)).unwrap();
        first
    }

    fn receive(&mut self) -> Vec<u8> {
        self.try_receive().unwrap()
    }

    fn try_receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; 70_000];
        let (length, from) = self.socket.recv_from(&mut bytes)?;
        self.server = from;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.server).unwrap();
    }

    fn ack(&mut self, block: u16) -> Vec<u8> {
        self.send(&[&[0, 4], block.to_be_bytes().as_slice()].concat());
        self.receive()
    }
}

fn read(name: &str, options: &str) -> Vec<u8> {
    format!("\0\x01{name}\0octet\0{options}").into_bytes()
}

#[test]
fn tftp_gets_files_of_any_length() {
    lab::skip_unless_installed!("tftp");
    let directory = TestContentSource::new();
    let (server, threads) = serve(&directory);
    let port = server.port().to_string();
    let got = directory.path("got");
    for length in [0, 1, 511, 512, 1024, 100_000] {
        let bytes = directory.noise("file", length);
        let got = got.to_str().unwrap();
        let args = ["-m", "binary", "127.0.0.1", &port, "-c", "get", "file", got];
        let output = client("tftp", &args);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(std::fs::read(got).unwrap(), bytes, "{length}");
        directory.wait_for("file", |end| *end == FetchReport::Whole(length as u64));
    }
    // Transferred in netascii mode, which both sides convert.
    let text = "first\nsecond\r\nthird\rend".repeat(100);
    directory.scratch.write("text", &text).unwrap();
    let args = ["-m", "ascii", "127.0.0.1", &port, "-c", "get", "text"];
    let args = [args.as_slice(), &[got.to_str().unwrap()]].concat();
    assert!(client("tftp", &args).status.success());
    assert_eq!(std::fs::read_to_string(&got).unwrap(), text);
    let done = || threads.counters().done == 7;
    assert!(eventually(LIMIT, done), "{:?}", threads.counters());
    assert_eq!(threads.counters().open, 0);
}

#[test]
fn curl_gets_files_in_blocks_of_its_size() {
    lab::skip_unless_installed!("curl");
    let directory = TestContentSource::new();
    let (server, _threads) = serve(&directory);
    for (options, lengths) in [
        (["--tftp-blksize", "1468"], [1468, 1_000_000]),
        (["--tftp-blksize", "8"], [16, 800_000]),
        (["--tftp-blksize", "65464"], [65_464, 3_000_000]),
        (["--tftp-no-options", "-s"], [512, 300_000]),
    ] {
        for length in lengths {
            let bytes = directory.noise("file", length);
            let url = format!("tftp://{server}/file");
            let args = [options.as_slice(), &["-sS", "--max-time", "60", &url]].concat();
            let output = client("curl", &args);
            assert!(output.status.success(), "{args:?}: {output:?}");
            assert!(output.stdout == bytes, "{args:?}: {length}");
        }
    }
}

#[test]
fn a_request_that_cannot_be_served_gets_an_error_from_a_port_of_its_own() {
    let directory = TestContentSource::new();
    directory.noise("file", 10);
    directory.fifo("fifo");
    std::fs::create_dir(directory.path("directory")).unwrap();
    let (server, threads) = serve(&directory);
    for (request, expected) in [
        (&b"\0\x01none\0octet\0"[..], "\0\x05\0\x01file not found\0"),
        (b"\0\x01../file\0octet\0", "\0\x05\0\x01file not found\0"),
        (
            b"\0\x01directory\0octet\0",
            "\0\x05\0\x01not a regular file\0",
        ),
        (b"\0\x01fifo\0octet\0", "\0\x05\0\x01not a regular file\0"),
        (
            b"\0\x02file\0octet\0",
            "\0\x05\0\x02this server is read only\0",
        ),
        (
            b"\0\x01file\0octet",
            "\0\x05\0\x04the packet is incomplete\0",
        ),
        (
            b"\0\x01file\0mail\0",
            "\0\x05\0\x04the mode must be octet or netascii\0",
        ),
        (b"\0\x09", "\0\x05\0\x04unknown operation\0"),
    ] {
        let mut client = Client::new(server);
        let packet = client.ask(server, request);
        assert_eq!(String::from_utf8_lossy(&packet), expected);
        assert_ne!(client.server, server);
    }
    assert_eq!(threads.counters().refused, 8);
    directory.wait_for("fifo", is_broken("not a regular file"));
    // Packets of a transfer get no response at the request port; the next response is that of the
    // later request.
    let mut client = Client::new(server);
    for stray in [&b"\0\x04\0\x01"[..], b"\0\x05\0\0no\0", b"\0\x03\0\x01data"] {
        client.socket.send_to(stray, server).unwrap();
    }
    let packet = client.ask(server, &read("file", ""));
    assert_eq!(&packet[..4], b"\0\x03\0\x01");
}

#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    let directory = TestContentSource::new();
    let bytes = directory.noise("file", 10);
    let (server, listener) = listener("0.0.0.0");
    let _threads = Server::start(vec![listener], directory.clone(), TRANSFERS_MAX).unwrap();
    for address in ["127.0.0.1", "127.0.0.2", "127.9.8.7"] {
        let to = SocketAddr::new(address.parse().unwrap(), server.port());
        let mut client = Client::new(to);
        let packet = client.ask(to, &read("\\\\file", ""));
        assert_eq!(packet, [b"\0\x03\0\x01", bytes.as_slice()].concat());
        assert_eq!(client.server.ip(), to.ip());
        assert_ne!(client.server.port(), to.port());
    }
}

#[test]
fn ipv6_is_served_as_well() {
    let Ok(socket) = UdpSocket::bind("[::1]:0") else {
        // Skips the test on a machine without IPv6.
        return;
    };
    let server = socket.local_addr().unwrap();
    let directory = TestContentSource::new();
    let bytes = directory.noise("file", 1_000);
    let listener = TftpListener {
        socket: socket.into(),
        interface: None,
    };
    let _threads = Server::start(vec![listener], directory.clone(), TRANSFERS_MAX).unwrap();
    let output = client("curl", &["-sS", &format!("tftp://{server}/file")]);
    assert!(output.stdout == bytes, "{output:?}");
}

#[test]
fn a_client_that_is_heard_of_has_its_place_whatever_else_asks() {
    let directory = TestContentSource::new();
    directory.noise("file", 5_000);
    let (server, listener) = listener("127.0.0.1");
    let threads = Server::start(vec![listener], directory.clone(), 2).unwrap();
    let mut one = Client::new(server);
    one.ask(server, &read("file", ""));
    assert_eq!(&one.ack(1)[..4], b"\0\x03\0\x02");
    // Clients that have sent only a request displace each other.
    let silent: Vec<Client> = (0..5)
        .map(|_| {
            let mut client = Client::new(server);
            let packet = client.ask(server, &read("file", ""));
            assert_eq!(&packet[..4], b"\0\x03\0\x01");
            client
        })
        .collect();
    assert_eq!(threads.counters().open, 2);
    assert_eq!(threads.counters().failed, 4);
    let mut two = Client::new(server);
    two.ask(server, &read("file", ""));
    assert_eq!(&two.ack(1)[..4], b"\0\x03\0\x02");
    let packet = Client::new(server).ask(server, &read("file", ""));
    assert_eq!(packet, b"\0\x05\0\0too many transfers\0");
    assert_eq!(&one.ack(2)[..4], b"\0\x03\0\x03");
    drop(silent);
}

#[test]
fn one_address_has_few_transfers_and_a_new_request_of_a_port_replaces_its_own() {
    let directory = TestContentSource::new();
    directory.noise("file", 5_000);
    directory.noise("other", 5_000);
    let (server, threads) = serve(&directory);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..OF_ONE_MAX {
        let mut client = Client::new(server);
        let packet = client.ask(server, &read("file", ""));
        assert_eq!(&packet[..4], b"\0\x03\0\x01");
        clients.push(client);
    }
    let packet = Client::new(server).ask(server, &read("file", ""));
    assert_eq!(packet, b"\0\x05\0\0too many transfers\0");
    // The same request is repeated before an ACK: the same transfer responds, from the same port.
    let transfer = clients[0].server;
    let packet = clients[0].ask(server, &read("file", ""));
    assert_eq!(
        (&packet[..4], clients[0].server),
        (&b"\0\x03\0\x01"[..], transfer)
    );
    // A different request starts a different transfer.
    let packet = clients[0].ask(server, &read("other", ""));
    assert_eq!(&packet[..4], b"\0\x03\0\x01");
    assert_ne!(clients[0].server, transfer);
    directory.wait_for("file", is_broken("asked again"));
    assert_eq!(threads.counters().open, OF_ONE_MAX as u64);
    // The clients' ports close: the transfers end without waiting for a timeout.
    drop(clients);
    assert!(eventually(LIMIT, || threads.counters().open == 0));
    let mut client = Client::new(server);
    let packet = client.ask(server, &read("file", ""));
    assert_eq!(&packet[..4], b"\0\x03\0\x01");
}

#[test]
fn a_client_with_all_its_transfers_may_begin_another_behind_its_last_ack() {
    let directory = TestContentSource::new();
    directory.noise("file", 100);
    let (server, _threads) = serve(&directory);
    let mut clients: Vec<Client> = (0..OF_ONE_MAX).map(|_| Client::new(server)).collect();
    for round in 0..50 {
        for client in &mut clients {
            let packet = client.ask(server, &read("file", ""));
            assert_eq!(&packet[..4], [0, 3, 0, 1], "round {round}");
        }
        // The new requests follow without a pause.
        for client in &clients {
            client.send(&[0, 4, 0, 1]);
        }
        clients = clients.iter().map(|_| Client::new(server)).collect();
    }
}

#[test]
fn a_window_is_sent_at_once_and_resumes_where_its_ack_says() {
    let directory = TestContentSource::new();
    let bytes = directory.noise("file", 8 * 100);
    let (server, _threads) = serve(&directory);
    let mut client = Client::new(server);
    let options = "blksize\08\0windowsize\x004\0tsize\x000\0timeout\x0030\0";
    let packet = client.ask(server, &read("file", options));
    let agreed = b"\0\x06blksize\08\0timeout\x0030\0tsize\x00800\0windowsize\x004\0";
    assert_eq!(packet, agreed, "{}", packet.escape_ascii());
    let block = |number: usize| {
        let part = &bytes[8 * (number - 1)..8 * number];
        [&[0, 3, 0, number as u8], part].concat()
    };
    assert_eq!(client.ack(0), block(1));
    for number in 2..=4 {
        assert_eq!(client.receive(), block(number));
    }
    assert_eq!(client.ack(2), block(3));
    for number in 4..=6 {
        assert_eq!(client.receive(), block(number));
    }
    client.send(b"\0\x05\0\x03disk full\0");
    directory.wait_for("file", is_broken("error 3: disk full"));
}

#[test]
fn a_client_that_only_wants_the_length_is_no_failure() {
    let directory = TestContentSource::new();
    directory.noise("file", 1234);
    let (server, threads) = serve(&directory);
    let mut client = Client::new(server);
    let packet = client.ask(server, &read("file", "tsize\x000\0"));
    assert_eq!(packet, b"\0\x06tsize\x001234\0");
    client.send(b"\0\x05\0\0TFTP Aborted\0");
    assert!(eventually(LIMIT, || threads.counters().open == 0));
    assert_eq!((threads.counters().failed, directory.ends()), (0, vec![]));
}

#[test]
fn a_file_that_is_truncated_while_it_is_sent_ends_it_and_one_that_is_replaced_does_not() {
    let directory = TestContentSource::new();
    let bytes = directory.noise("file", 2_000);
    let (server, _threads) = serve(&directory);
    let (mut first, mut second) = (Client::new(server), Client::new(server));
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask(server, &read("file", ""))[4..], bytes[..512]);
    }
    // A file is replaced, as `mv` does: running transfers send the old one.
    directory.noise("new", 100);
    std::fs::rename(directory.path("new"), directory.path("file")).unwrap();
    assert_eq!(first.ack(1)[4..], bytes[512..1024]);
    std::fs::remove_file(directory.path("file")).unwrap();
    assert_eq!(first.ack(2)[4..], bytes[1024..1536]);
    assert_eq!(first.ack(3)[4..], bytes[1536..]);
    first.send(&[0, 4, 0, 4]);
    directory.wait_for("file", |end| *end == FetchReport::Whole(2_000));
    drop(second);
    directory.noise("file", 2_000);
    let mut client = Client::new(server);
    client.ask(server, &read("file", ""));
    directory.scratch.write("file", "short").unwrap();
    let packet = client.ack(1);
    let words = b"\0\x05\0\0the file was truncated while it was sent\0";
    assert_eq!(packet, words, "{}", packet.escape_ascii());
    directory.wait_for("file", is_broken("truncated"));
}

#[test]
fn noise_does_not_keep_the_server_from_serving() {
    let directory = TestContentSource::new();
    let bytes = directory.noise("file", 3_000);
    let (server, threads) = serve(&directory);
    let hostile = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = Random::new(5);
    for _ in 0..3_000 {
        let mut packet = vec![0; random.index(700)];
        random.fill(&mut packet);
        if random.once_in(2) && packet.len() > 2 {
            packet[0] = 0;
            packet[1] = random.below(8) as u8;
        }
        // The buffer of the socket may be full.
        let _ = hostile.send_to(&packet, server);
    }
    let mut client = Client::new(server);
    let mut got = Vec::new();
    let mut packet = client.ask(server, &read("file", ""));
    let transfer = client.server;
    for block in 1.. {
        assert_eq!(&packet[..4], [0, 3, 0, block]);
        got.extend_from_slice(&packet[4..]);
        if packet.len() < 516 {
            break;
        }
        // A packet from another port is not of this transfer.
        let _ = hostile.send_to(b"\0\x05\0\0ended\0", transfer);
        client.send(b"\0\x04");
        client.send(&packet);
        packet = client.ack(block.into());
    }
    assert_eq!(got, bytes);
    client.send(&[0, 4, 0, 6]);
    directory.wait_for("file", |end| *end == FetchReport::Whole(3_000));
    assert_eq!(threads.counters().open, 0);
}

#[test]
fn listeners_change_while_transfers_continue_and_a_stop_ends_them() {
    let directory = TestContentSource::new();
    directory.noise("file", 5_000);
    let (old, threads) = serve(&directory);
    let mut client = Client::new(old);
    client.ask(old, &read("file", ""));
    let (new, socket) = listener("127.0.0.1");
    threads.change(vec![socket]).unwrap();
    assert_eq!(&client.ack(1)[..4], [0, 3, 0, 2]);
    let mut other = Client::new(new);
    assert_eq!(&other.ask(new, &read("file", ""))[..4], [0, 3, 0, 1]);
    // The old port is free again.
    assert!(eventually(LIMIT, || UdpSocket::bind(old).is_ok()));
    let pipe = std::fs::File::open("/dev/null").unwrap();
    let wrong = TftpListener {
        socket: pipe.into(),
        interface: None,
    };
    let (refused, right) = listener("127.0.0.1");
    assert!(threads.change(vec![right, wrong]).is_err());
    // The current listener still serves, and the refused one is closed.
    let mut third = Client::new(new);
    assert_eq!(&third.ask(new, &read("file", ""))[..4], [0, 3, 0, 1]);
    assert!(UdpSocket::bind(refused).is_ok());
    assert_eq!(&client.ack(2)[..4], [0, 3, 0, 3]);
    threads.stop();
    assert_eq!(client.receive(), b"\0\x05\0\0the server stops\0");
    directory.wait_for("file", is_broken("the server stops"));
}

#[test]
fn on_a_network_a_block_never_needs_fragments_and_a_broadcast_is_not_answered() {
    lab::skip_unless_root!();
    let lab = Lab::new("tftp").unwrap();
    let (boot, machine) = (lab.host("boot").unwrap(), lab.host("machine").unwrap());
    let link = lab.link(&boot, &machine).unwrap();
    link.a.address("10.0.0.1/24").unwrap();
    link.b.address("10.0.0.2/24").unwrap();
    let directory = TestContentSource::new();
    let bytes = directory.noise("file", 2_000);
    let server: SocketAddr = "10.0.0.1:69".parse().unwrap();
    let listener = TftpListener {
        socket: boot.udp_bind("0.0.0.0:69".parse().unwrap()).unwrap().into(),
        interface: Some(link.a.name().to_owned()),
    };
    // The thread and its sockets belong to the network namespace in which it was started.
    let threads =
        boot.enter(|| Server::start(vec![listener], directory.clone(), TRANSFERS_MAX).unwrap());
    let socket = machine.udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.set_broadcast(true).unwrap();
    let mut client = Client { socket, server };
    let request = read("file", "blksize\x0065464\0");
    client.socket.send_to(&request, "10.0.0.255:69").unwrap();
    let packet = client.ask(server, &request);
    assert_eq!(packet, b"\0\x06blksize\x001468\0");
    assert_eq!(client.ack(0)[4..], bytes[..1468]);
    assert_eq!(client.ack(1)[4..], bytes[1468..]);
    client.send(&[0, 4, 0, 2]);
    directory.wait_for("file", |end| *end == FetchReport::Whole(2_000));
    assert_eq!((threads.counters().done, threads.counters().failed), (1, 0));
}
