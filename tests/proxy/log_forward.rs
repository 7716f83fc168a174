//! Compares forwarded syslog messages, and the targets of the lines of a log backend: the bytes
//! that the targets receive with HAProxy and with Evenkeel.

use crate::program::Program;
use lab::{Location, Peer, Syslog, free_port};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

fn syslog() -> Syslog {
    Syslog::udp(Location::Here, "127.0.0.1:0".parse().unwrap()).unwrap()
}

/// The options of targets, and whether their lines always have a date.
const TARGETS: [(&str, bool); 11] = [
    ("local3", false),
    ("format local local3", true),
    ("format rfc3164 local3", true),
    ("format rfc5424 local3", true),
    ("format priority local3", false),
    ("format short local3", false),
    ("format timed local3", true),
    ("format iso local3", true),
    ("format raw local3", false),
    ("format priority local3 debug warning", false),
    ("len 100 local3", false),
];

/// Messages, and whether they have a date. None ends within its priority: HAProxy would continue
/// with earlier content of the buffer.
const MESSAGES: [(&str, bool); 19] = [
    ("<165>Aug  4 05:34:00 mymachine myproc[10]: hello\n", true),
    ("<165>Aug 24 05:34:00 mymachine myproc: hello", true),
    ("<165>Aug 24 05:34:00 myproc[10]: no host", true),
    ("<34>Oct 11 22:14:15 host text without tag", true),
    ("<34>Oct 11 22:14:15 host tag[12] text", true),
    ("<34>Oct 11 22:14:15 host tag[1]: ", true),
    ("<34>Oct 11 22:14:15 host t[]: y", true),
    ("<34>Oct  1 22:14:15 host  two spaces", true),
    ("<34>Oct 1 22:14:15 host no date", false),
    (
        "<165>1 2003-10-11T22:14:15.003Z h app 12 ID47 [a@1 b=\"c\"][d@2 e=\"f\"] text\n",
        true,
    ),
    ("<165>1 2003-10-01T22:14:15+02:00 h app - - - text", true),
    (
        "<165>1 2003-10-11T22:14:15.003Z h app 12 - [a@1 b=\"c\\\"d\"] x",
        true,
    ),
    (
        "<165>12 2003-10-11T22:14:15.003Z h a p m - another version",
        false,
    ),
    ("no priority at all", false),
    ("<13>only a priority", false),
    ("<>nothing in it", false),
    ("<0>grave", false),
    ("<13>two\nlines", false),
    ("", false),
];

/// A program with a `log-forward` section that has every target.
struct LogForwardFixture {
    input: SocketAddr,
    targets: Vec<Syslog>,
    _peer: Peer,
}

impl LogForwardFixture {
    fn start(program: Program, options: &str) -> LogForwardFixture {
        let input = here();
        let targets: Vec<Syslog> = TARGETS.iter().map(|_| syslog()).collect();
        let logs: Vec<String> = targets
            .iter()
            .zip(TARGETS)
            .map(|(target, (options, _))| format!("log {} {options}\n", target.address().unwrap()))
            .collect();
        // Two threads that read one socket pass messages on in either order.
        let config = format!(
            "global\n nbthread 1\nlog-forward f\n dgram-bind {input}\n bind {input}\n timeout client 30s\n{options}\n{}",
            logs.concat()
        );
        LogForwardFixture {
            _peer: program.start(Location::Here, &config, input).unwrap(),
            input,
            targets,
        }
    }

    /// Returns the first lines that a target gets.
    fn lines(&self, target: usize, count: usize) -> Vec<String> {
        let mut seen = 0;
        self.targets[target].wait_for(SOON, |_| {
            seen += 1;
            seen >= count
        });
        self.targets[target].messages()
    }
}

#[test]
fn messages_are_passed_on_as_haproxy_passes_them_on() {
    lab::skip_unless_installed!("haproxy");
    let benches = Program::BOTH.map(|program| LogForwardFixture::start(program, ""));
    for bench in &benches {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (message, _) in MESSAGES {
            socket.send_to(message.as_bytes(), bench.input).unwrap();
        }
    }
    let mut wrong = String::new();
    for (at, (options, dated)) in TARGETS.iter().enumerate() {
        let [ours, theirs] = benches
            .each_ref()
            .map(|bench| bench.lines(at, MESSAGES.len()));
        assert_eq!(ours.len(), theirs.len(), "{options}");
        for ((ours, theirs), (message, has_date)) in ours.iter().zip(&theirs).zip(MESSAGES) {
            // A line whose message has no date has the current date, which may differ between the
            // programs.
            let comparable = has_date || !dated;
            if comparable && ours != theirs {
                wrong += &format!("{options}: {message}\n  haproxy  {theirs}  evenkeel {ours}");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Streams of messages, and whether the program closes the connection because of them.
const STREAMS: [(&str, bool); 8] = [
    (
        "<34>Oct 11 22:14:15 h t: one\n<34>Oct 11 22:14:15 h t: two\n<34>unfinished",
        false,
    ),
    ("<34>a\r\n<34>b\n", false),
    ("7 <34>abc8 <34>defg", false),
    ("7 <34>abc<34>line\n7 <34>def", false),
    ("7 <34>abc\n<34>x\n", true),
    ("99999999 <34>abc", true),
    ("0 <34>abc", true),
    ("garbage\n", true),
];

#[test]
fn stream_messages_are_framed_as_in_haproxy() {
    lab::skip_unless_installed!("haproxy");
    let benches = Program::BOTH.map(|program| LogForwardFixture::start(program, ""));
    for bench in &benches {
        for (bytes, ends) in STREAMS {
            let mut stream = TcpStream::connect(bench.input).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.write_all(bytes.as_bytes()).unwrap();
            if ends {
                // The end may be a reset as well.
                let read = stream.read(&mut [0; 16]);
                assert!(!matches!(read, Ok(1..)), "{bytes}");
            }
        }
    }
    let wanted = 10;
    let [mut ours, mut theirs] = benches.each_ref().map(|bench| bench.lines(0, wanted));
    // Connections do not wait for each other.
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), wanted);
}

#[test]
fn unparsed_messages_are_forwarded_unchanged() {
    let bench = LogForwardFixture::start(
        Program::Evenkeel,
        " option dont-parse-log\n option assume-rfc6587-ntf",
    );
    let mut stream = TcpStream::connect(bench.input).unwrap();
    stream.write_all(b"5 <34>x\n{\"json\":1}\n").unwrap();
    let raw = TARGETS
        .iter()
        .position(|(options, _)| options.contains("raw"));
    assert_eq!(
        bench.lines(raw.unwrap(), 2),
        ["5 <34>x\n", "{\"json\":1}\n"]
    );
}

#[test]
fn servers_of_a_backend_for_logs_take_turns_or_one_gets_all() {
    let by_length = "log-hash length\n hash-type map-based none";
    for (balance, wanted) in [
        ("roundrobin", [3, 3]),
        ("sticky", [6, 0]),
        (by_length, [3, 3]),
    ] {
        let (web, input) = (here(), here());
        let servers = [syslog(), syslog()];
        let [one, two] = servers.each_ref().map(|server| server.address().unwrap());
        let config = format!(
            "defaults\n timeout client 30s\n\
             frontend web\n bind {web}\n mode http\n option dontlognull\n log backend@logs format raw local0\n \
             log-format %HU\n http-request return status 200\n\
             log-forward f\n dgram-bind {input}\n log backend@logs format raw local0\n\
             backend logs\n mode log\n balance {balance}\n server one udp@{one}\n server two udp@{two}\n"
        );
        let _peer = Program::Evenkeel
            .start(Location::Here, &config, web)
            .unwrap();
        for path in 0..3 {
            let mut stream = TcpStream::connect(web).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            write!(
                stream,
                "GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..3 {
            let message = format!("<13>message {number}");
            socket.send_to(message.as_bytes(), input).unwrap();
        }
        let mut all = Vec::new();
        for (server, count) in servers.iter().zip(wanted) {
            let mut seen = 0;
            if count > 0 {
                server.wait_for(SOON, |_| {
                    seen += 1;
                    seen >= count
                });
            }
            assert_eq!(server.messages().len(), count, "{balance}");
            all.extend(server.messages());
        }
        if balance == by_length {
            // All messages of a server have the same length.
            let lengths: HashSet<usize> = servers[0].messages().iter().map(String::len).collect();
            assert_eq!(lengths.len(), 1);
        }
        all.sort();
        let every = [
            "/0\n",
            "/1\n",
            "/2\n",
            "message 0\n",
            "message 1\n",
            "message 2\n",
        ];
        assert_eq!(all, every, "{balance}");
    }
}

#[test]
fn each_moment_of_log_steps_has_a_line_of_its_own() {
    let all = "txn_accept txn_request http-req txn_connect txn_response http-res txn_close";
    for (steps, wanted) in [
        ("", "http-req http-res txn_close"),
        (
            "log-steps connect,close",
            "http-req txn_connect http-res txn_close",
        ),
        ("log-steps request", "txn_request http-req http-res"),
        ("log-steps all", all),
    ] {
        let (web, origin) = (here(), here());
        let target = syslog();
        let config = format!(
            "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 30s\n\
             frontend web\n bind {web}\n option dontlognull\n log {} format raw local0\n log-format %OG\n {steps}\n \
             http-request do-log\n http-response do-log\n default_backend back\n\
             backend back\n server s {origin}\n\
             frontend origin\n bind {origin}\n http-request return status 200\n",
            target.address().unwrap()
        );
        let _peer = Program::Evenkeel
            .start(Location::Here, &config, web)
            .unwrap();
        let mut stream = TcpStream::connect(web).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        let (mut seen, count) = (0, wanted.split(' ').count());
        target.wait_for(SOON, |_| {
            seen += 1;
            seen >= count
        });
        let mut lines: Vec<String> = target.messages();
        lines
            .iter_mut()
            .for_each(|line| line.truncate(line.trim_end().len()));
        lines.sort();
        let mut wanted: Vec<&str> = wanted.split(' ').collect();
        wanted.sort_unstable();
        assert_eq!(lines, wanted, "{steps}");
    }
}
