//! Compares log lines for the same requests with HAProxy's, field by field. Addresses, dates and
//! durations always differ, so only their format is compared.

use crate::program::Program;
use lab::{Behaviour, Location, OriginServer, Peer, Syslog, free_port};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Timeout of a log line, which may be late on a busy machine.
const LINE_LIMIT: Duration = Duration::from_secs(60);

/// HAProxy counts a response head in its internal form, without the headers that it adds on the
/// wire; we count the bytes sent.
const HEAD_BYTES: u64 = 32;

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

/// A program with a frontend for HTTP and one for TCP, and the receiver of its log lines.
struct LogFixture {
    log: Syslog,
    seen: usize,
    http: SocketAddr,
    tcp: SocketAddr,
    _peer: Peer,
    _origins: Vec<OriginServer>,
}

const CONFIG: &str = "
    global
        log @LOG@ len 2048 local3 debug
    defaults
        log global
        option dontlognull
        retries 1
        timeout client 400ms
        timeout server 400ms
        timeout connect 400ms
    frontend web
        mode http
        bind @HTTP@
        option httplog
        capture request header user-agent len 8
        capture response header x-origin len 16
        http-request deny if { path /denied }
        http-request redirect location /elsewhere if { path /moved }
        http-request return status 200 content-type text/plain string here if { path /own }
        use_backend slow if { path /slow }
        use_backend dead if { path /dead }
        use_backend empty if { path /empty }
        use_backend broken if { path /broken }
        use_backend nonsense if { path /nonsense }
        default_backend app
    backend app
        mode http
        server a @ANSWER@
    backend slow
        mode http
        server s @SLOW@
    backend broken
        mode http
        server b @BROKEN@
    backend nonsense
        mode http
        server n @NONSENSE@
    backend dead
        mode http
        server d @DEAD@
    backend empty
        mode http
    frontend raw
        mode tcp
        bind @TCP@
        option tcplog
        default_backend echo
    backend echo
        mode tcp
        server e @ANSWER@
";

impl LogFixture {
    fn start(program: Program) -> Self {
        let log = Syslog::udp(Location::Here, "127.0.0.1:0".parse().unwrap()).unwrap();
        let origin = |name: &str, behaviour: Option<Behaviour>| {
            let origin = OriginServer::start_local(name).unwrap();
            if let Some(behaviour) = behaviour {
                origin.set_behaviour(behaviour);
            }
            origin
        };
        let origins = vec![
            origin("answer", None),
            origin("slow", Some(Behaviour::Silence)),
            origin("broken", Some(Behaviour::BreakOff)),
            origin("nonsense", Some(Behaviour::Raw(b"what?\r\n\r\n".to_vec()))),
        ];
        let (http, tcp) = (here(), here());
        let mut config = CONFIG.to_owned();
        for (mark, address) in [
            ("@LOG@", log.address().unwrap()),
            ("@HTTP@", http),
            ("@TCP@", tcp),
            ("@ANSWER@", origins[0].address()),
            ("@SLOW@", origins[1].address()),
            ("@BROKEN@", origins[2].address()),
            ("@NONSENSE@", origins[3].address()),
            ("@DEAD@", here()),
        ] {
            config = config.replace(mark, &address.to_string());
        }
        LogFixture {
            _peer: program.start(Location::Here, &config, http).unwrap(),
            seen: 0,
            log,
            http,
            tcp,
            _origins: origins,
        }
    }

    /// Waits for the next log line, and returns it.
    fn next(&mut self) -> String {
        let (mut count, seen) = (0, self.seen);
        let line = self.log.wait_for(LINE_LIMIT, |_| {
            count += 1;
            count > seen
        });
        self.seen += usize::from(line.is_some());
        line.expect("a log line")
    }

    /// Returns the log line for a client that sends this, reads so much, and disconnects.
    fn client(&mut self, to: SocketAddr, bytes: &[u8], until: Until) -> String {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(bytes).unwrap();
        match until {
            Until::Answer => {
                let mut some = [0; 4096];
                let _ = stream.read(&mut some);
            }
            Until::Closed => {
                let _ = stream.read_to_end(&mut Vec::new());
            }
            // The line of the next case would be another one if this client were logged.
            Until::ClosedUnlogged => {
                let _ = stream.read_to_end(&mut Vec::new());
                return "no line".to_owned();
            }
            Until::HalfClosed => {
                stream.shutdown(Shutdown::Write).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            }
            Until::Sent => {}
        }
        drop(stream);
        masked(self.next().trim_end())
    }
}

/// Moment at which the client closes its connection.
#[derive(Clone, Copy)]
enum Until {
    Answer,
    Closed,
    /// The client sends nothing, which `option dontlognull` does not log.
    ClosedUnlogged,
    HalfClosed,
    Sent,
}

/// Returns a line without the values that always differ: the syslog header, the process, the
/// client's port, dates, durations.
fn masked(line: &str) -> String {
    let Some((head, rest)) = line.split_once("]: ") else {
        return line.to_owned();
    };
    let priority = head.split_once('>').map_or("", |(priority, _)| priority);
    let tag = head
        .rsplit(' ')
        .next()
        .and_then(|tag| tag.split('[').next());
    let mut words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        if word.parse::<SocketAddr>().is_ok() {
            *word = "client".to_owned();
        } else if word.starts_with('[') && word.ends_with(']') && word.len() == 26 {
            *word = "[date]".to_owned();
        }
    }
    if let Some(timers) = words.get_mut(4) {
        *timers = durations(timers);
    }
    // Masks the numbers of connections, because the previous client may not have left yet.
    for word in &mut words {
        if word.split('/').count() == 5 && word.split('/').all(|n| n.parse::<u32>().is_ok()) {
            let own = word.splitn(3, '/').nth(2).unwrap_or_default();
            *word = format!("n/n/{own}");
        }
    }
    format!(
        "{priority}> {} {}",
        tag.unwrap_or_default(),
        words.join(" ")
    )
}

/// Returns whether two lines are equal, except for the counted size of a response head, and for
/// invalid request heads, whose response HAProxy does not count at all.
fn same(ours: &str, theirs: &str, tcp: bool) -> bool {
    let bytes_at = if tcp { 7 } else { 8 };
    let near = |a: &str, b: &str| match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(_), Ok(0)) => theirs.ends_with("\"<BADREQ>\""),
        (Ok(a), Ok(b)) => a.abs_diff(b) <= HEAD_BYTES,
        _ => false,
    };
    let (a, b) = (ours.split(' '), theirs.split(' '));
    let mut pairs = a.clone().zip(b.clone()).enumerate();
    a.count() == b.count() && pairs.all(|(at, (a, b))| a == b || at == bytes_at && near(a, b))
}

/// Masks durations: `0/-1/12/+30` becomes `n/-1/n/+n`.
fn durations(timers: &str) -> String {
    let one = |timer: &str| match timer.strip_prefix('+') {
        _ if timer == "-1" => "-1",
        Some(_) => "+n",
        None => "n",
    };
    timers.split('/').map(one).collect::<Vec<_>>().join("/")
}

const HTTP_CASES: &[(&str, &str, Until)] = &[
    (
        "an answer",
        "GET /a?b=c HTTP/1.1\r\nHost: x\r\nUser-Agent: a-long-one/1.0\r\nCookie: session=abcdefghijkl\r\n\r\n",
        Until::Answer,
    ),
    ("without a body", "HEAD / HTTP/1.0\r\n\r\n", Until::Closed),
    (
        "a post",
        "POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd",
        Until::Answer,
    ),
    (
        "a refused one",
        "GET /denied HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::Closed,
    ),
    (
        "a redirect",
        "GET /moved HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::Answer,
    ),
    (
        "an answer of our own",
        "GET /own HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::Answer,
    ),
    ("no request", "hello\r\n\r\n", Until::Closed),
    (
        "a request with a bad header",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        Until::Closed,
    ),
    (
        "a request that stops",
        "GET / HTTP/1.1\r\nHost:",
        Until::Sent,
    ),
    (
        "a request that never ends",
        "GET / HTTP/1.1\r\nHost:",
        Until::Closed,
    ),
    (
        "a server that is slow",
        "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::Closed,
    ),
    (
        "a server that refuses",
        "GET /dead HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::Closed,
    ),
    (
        "a backend without servers",
        "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::Closed,
    ),
    (
        "a server that breaks off",
        "GET /broken HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::Closed,
    ),
    (
        "a server that talks nonsense",
        "GET /nonsense HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::Closed,
    ),
    (
        "quotes and high bytes in the path",
        "GET /\"x\"{}|# HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::Answer,
    ),
    (
        "a half-closed client",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        Until::HalfClosed,
    ),
];

const TCP_CASES: &[(&str, &str, Until)] = &[
    ("bytes both ways", "GET / HTTP/1.0\r\n\r\n", Until::Closed),
    ("a client that is silent", "", Until::ClosedUnlogged),
    (
        "a client that goes first",
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        Until::Answer,
    ),
    (
        "a client that half-closes",
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        Until::HalfClosed,
    ),
];

fn compare(cases: &[(&str, &str, Until)], tcp: bool) {
    let mut benches = Program::BOTH.map(LogFixture::start);
    let mut wrong = String::new();
    for (name, bytes, until) in cases {
        let [ours, theirs] = benches.each_mut().map(|bench| {
            let to = if tcp { bench.tcp } else { bench.http };
            bench.client(to, bytes.as_bytes(), *until)
        });
        if !same(&ours, &theirs, tcp) {
            wrong += &format!("{name}:\n  haproxy  {theirs}\n  evenkeel {ours}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn httplog_lines_are_haproxys_field_by_field() {
    lab::skip_unless_installed!("haproxy");
    compare(HTTP_CASES, false);
}

#[test]
fn tcplog_lines_are_haproxys_field_by_field() {
    lab::skip_unless_installed!("haproxy");
    compare(TCP_CASES, true);
}
