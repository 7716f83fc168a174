//! Compares health checks with HAProxy's: the bytes that they send, their verdict on a response,
//! and the columns of the statistics that operators and their scripts read.

use crate::program::Program;
use lab::{Location, free_port};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for a check's result.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time until a server closes the connection of a silent client.
const SILENCE: Duration = Duration::from_secs(5);

/// Behaviour of a server on a connection: each response but the first waits for bytes.
#[derive(Clone, Copy)]
enum Server {
    /// Sends this at once, then the responses.
    Greets(&'static [u8], &'static [&'static [u8]]),
    /// Sends these responses, then waits for the end.
    Answers(&'static [&'static [u8]]),
    /// Sends these responses, then ends the connection.
    Ends(&'static [&'static [u8]]),
    /// Nothing listens at the address.
    Gone,
}

use Server::{Answers, Ends, Gone, Greets};

struct Case {
    server: Server,
    lines: &'static str,
}

const fn case(server: Server, lines: &'static str) -> Case {
    Case { server, lines }
}

const FINE: &[u8] = b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-A: one, two\r\n\r\nhello";
const BAD: &[u8] = b"HTTP/1.1 500 Bad thing\r\nContent-Length: 5\r\n\r\nhello";
const GREETING: &[u8] = b"\x11\0\0\0\x0a5.5.5-10.3\0\x01\0\0\0a";
const SPOP: &[u8] =
    b"\0\0\0\x27\x65\0\0\0\x01\0\0\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06";

const CASES: &[Case] = &[
    case(Greets(b"", &[]), "option tcp-check"),
    case(Greets(b"", &[]), "option tcp-check\ntcp-check connect"),
    case(Answers(&[]), "option tcp-check\ntcp-check send hello"),
    case(
        Greets(b"+OK ready\r\n", &[]),
        "option tcp-check\ntcp-check expect string +OK",
    ),
    case(
        Greets(b"-ERR no\r\n", &[]),
        "option tcp-check\ntcp-check expect comment greeting string +OK",
    ),
    case(
        Greets(b"-ERR no\r\n", &[]),
        "option tcp-check\ntcp-check expect min-recv 0 string +OK",
    ),
    case(
        Greets(b"-ERR no\r\n", &[]),
        "option tcp-check\ntcp-check expect comment c !string ERR",
    ),
    case(
        Greets(b"-ERR no\r\n", &[]),
        "option tcp-check\ntcp-check expect ! rbinary ^2D45",
    ),
    case(
        Greets(b"-ERR no\r\n", &[]),
        "option tcp-check\ntcp-check expect min-recv 0 error-status L7STS status-code int(42) on-error e:%[res.payload(0,4)] string +OK",
    ),
    case(
        Greets(b"+OK ready\r\n", &[]),
        "option tcp-check\ntcp-check expect on-success s:%[res.payload(0,3)] status-code int(43) rstring ^.OK",
    ),
    case(
        Answers(&[b"+PONG\r\n", b"role:master\r\n", b"+OK\r\n"]),
        "option tcp-check\ntcp-check comment ping\ntcp-check send PING\\r\\n\ntcp-check expect string +PONG\n\
         tcp-check send info\\ replication\\r\\n\ntcp-check expect string role:master\ntcp-check send QUIT\\r\\n\n\
         tcp-check expect string +OK",
    ),
    case(
        Answers(&[b"ok", b"ok"]),
        "option tcp-check\ntcp-check set-var(check.a) str(one)\ntcp-check connect\ntcp-check send-lf <%[var(check.a)]>\n\
         tcp-check expect string ok\ntcp-check set-var-fmt(check.a) %[res.payload(0,1)]x\ntcp-check connect default\n\
         tcp-check send-binary-lf 41%[str(42)]\ntcp-check send-lf %[var(check.a)]\ntcp-check expect string ok",
    ),
    case(
        Gone,
        "option tcp-check\ntcp-check connect comment here\ntcp-check expect string x",
    ),
    case(Gone, "option tcp-check\ntcp-check expect string x"),
    case(Gone, "option httpchk"),
    case(
        Ends(&[]),
        "option tcp-check\ntcp-check expect comment c string x",
    ),
    case(Ends(&[b""]), "option httpchk"),
    case(Answers(&[FINE]), "option httpchk GET /a HTTP/1.1"),
    case(
        Answers(&[BAD]),
        "option httpchk\nhttp-check send meth PUT uri /p hdr X-Y z body hello",
    ),
    case(
        Answers(&[FINE]),
        "option httpchk\nhttp-check send uri-lf /%[srv_name] ver HTTP/1.1 hdr Host %[be_name] body-lf <%[int(5)]>",
    ),
    case(
        Answers(&[FINE]),
        "option httpchk\nhttp-check expect string nope comment zz",
    ),
    case(
        Answers(&[FINE]),
        "option httpchk\nhttp-check expect ! string hello",
    ),
    case(
        Answers(&[FINE]),
        "option httpchk\nhttp-check expect comment cc rstatus ^3",
    ),
    case(
        Answers(&[FINE]),
        "option httpchk\nhttp-check expect hdr name -m beg X- value two",
    ),
    case(
        Answers(&[FINE]),
        "option httpchk\nhttp-check expect fhdr name x-a value two",
    ),
    case(
        Answers(&[BAD]),
        "option httpchk\nhttp-check expect error-status L7OKC status 200",
    ),
    case(
        Answers(&[FINE]),
        "mode http\noption httpchk\nhttp-check expect on-error \"e %[status] %[res.hdr(x-a)]\" status-code status,add(1) status 300",
    ),
    case(
        Answers(&[FINE]),
        "option httpchk\nhttp-check connect\nhttp-check send uri /1\nhttp-check expect status 200\nhttp-check connect\n\
         http-check send uri /2\nhttp-check expect status 300",
    ),
    case(
        Greets(b"220 hi\r\n", &[b"250-a\r\n250 b\r\n", b"221 bye\r\n"]),
        "option smtpchk EHLO my.host",
    ),
    case(Greets(b"421 busy\r\n", &[]), "option smtpchk"),
    case(Answers(&[b"+PONG\r\n"]), "option redis-check"),
    case(Ends(&[b""]), "option redis-check"),
    case(
        Answers(&[b"R\0\0\0\x0c\0\0\0\x05abcd"]),
        "option pgsql-check user bob",
    ),
    case(
        Answers(&[b"E\0\0\0\x20SFATAL\0C28000\0\0"]),
        "option pgsql-check user bob",
    ),
    case(Greets(GREETING, &[]), "option mysql-check"),
    case(
        Greets(GREETING, &[b"\x07\0\0\x02\0\0\0\x02\0\0\0"]),
        "option mysql-check user bob",
    ),
    case(
        Greets(GREETING, &[b"\x0a\0\0\x02\xff\x15\x04#28000N"]),
        "option mysql-check user bob pre-41",
    ),
    case(
        Greets(b"\x09\0\0\0\xff\x69\x04Host n", &[]),
        "option mysql-check",
    ),
    case(
        Answers(&[b"0\x0c\x02\x01\x01a\x07\x0a\x01\0\x04\0\x04\0"]),
        "option ldap-check",
    ),
    case(
        Answers(&[b"0\x0c\x02\x01\x01a\x07\x0a\x01\x31\x04\0\x04\0"]),
        "option ldap-check",
    ),
    case(Answers(&[b"HTTP/1.1 400 Bad request"]), "option ldap-check"),
    case(Answers(&[SPOP]), "option spop-check"),
    case(
        Answers(&[b"\0\0\0\x07\x66\0\0\0\x01\0\0"]),
        "option spop-check",
    ),
    case(
        Answers(&[b"HTTP/1.1 400 Bad request"]),
        "option ssl-hello-chk",
    ),
    case(
        Answers(&[b"\x15\x03\0\0\x02\x02\x28"]),
        "option ssl-hello-chk",
    ),
];

/// A server and what it received on its first connection.
struct Listening {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
}

fn listening(server: Server) -> Listening {
    let received = Arc::new(Mutex::new(Vec::new()));
    if matches!(server, Gone) {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        return Listening { address, received };
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(&received);
    std::thread::spawn(move || {
        let mut first = true;
        for stream in listener.incoming().flatten() {
            let seen = std::mem::take(&mut first).then(|| Arc::clone(&seen));
            std::thread::spawn(move || {
                let bytes = serve(stream, server);
                // Records the bytes of the connection that was accepted first, whichever ends
                // first.
                if let Some(seen) = seen {
                    seen.lock().unwrap().push(bytes);
                }
            });
        }
    });
    Listening { address, received }
}

/// Serves one connection until the client ends it. Returns the bytes received.
fn serve(mut stream: TcpStream, server: Server) -> Vec<u8> {
    let mut received = Vec::new();
    let mut bytes = [0; 4096];
    let _ = stream.set_read_timeout(Some(SILENCE));
    let (greeting, answers, ends) = match server {
        Greets(greeting, answers) => (greeting, answers, false),
        Answers(answers) => (&b""[..], answers, false),
        Ends(answers) => (&b""[..], answers, true),
        Gone => return received,
    };
    let mut answers = answers.iter();
    if stream.write_all(greeting).is_err() {
        return received;
    }
    loop {
        if ends && answers.as_slice().is_empty() {
            return received;
        }
        match stream.read(&mut bytes) {
            Ok(read @ 1..) => received.extend_from_slice(&bytes[..read]),
            _ => return received,
        }
        if let Some(answer) = answers.next()
            && stream.write_all(answer).is_err()
        {
            return received;
        }
    }
}

fn statistics(address: SocketAddr) -> HashMap<String, Vec<String>> {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = stream.write_all(b"GET /;csv;norefresh HTTP/1.0\r\n\r\n");
        let _ = stream.read_to_string(&mut text);
    }
    let mut lines = text.lines().skip_while(|line| !line.starts_with("# "));
    let head = lines.next().unwrap_or_default();
    let columns: Vec<&str> = head.trim_start_matches("# ").split(',').collect();
    let wanted = ["check_status", "check_code", "last_chk"];
    let at = wanted.map(|name| columns.iter().position(|column| *column == name));
    let mut rows = HashMap::new();
    for line in lines {
        let values = values(line);
        if values.get(1).is_some_and(|name| name == "s") {
            let value = |at: Option<usize>| at.and_then(|at| values.get(at)).cloned();
            rows.insert(
                values[0].clone(),
                at.map(|at| value(at).unwrap_or_default()).to_vec(),
            );
        }
    }
    rows
}

/// Returns the values of a line of CSV; texts are in quotes.
fn values(line: &str) -> Vec<String> {
    let (mut values, mut value, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                value.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            c => value.push(c),
        }
    }
    values.push(value);
    values
}

/// Returns the results of each case: the columns, and the bytes of its first connection.
fn outcomes(program: Program) -> Vec<(Vec<String>, Vec<u8>)> {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let mut config = format!(
        "defaults\n timeout connect 1s\n timeout check 1s\n timeout client 5s\n timeout server 5s\n\
         listen statistics\n mode http\n bind {address}\n stats enable\n stats uri /\n"
    );
    let servers: Vec<Listening> = CASES.iter().map(|case| listening(case.server)).collect();
    for (n, (case, server)) in CASES.iter().zip(&servers).enumerate() {
        let lines = case.lines.replace('\n', "\n ");
        let address = server.address;
        let _ = write!(
            config,
            "backend b{n}\n {lines}\n server s {address} check inter 2s\n"
        );
    }
    let _peer = program.start(Location::Here, &config, address).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut found: Vec<Option<Vec<String>>> = vec![None; CASES.len()];
    while found.iter().any(Option::is_none) {
        assert!(Instant::now() < end, "{program:?}: no result: {found:?}");
        let rows = statistics(address);
        for (n, found) in found.iter_mut().enumerate() {
            let row = rows.get(&format!("b{n}"));
            // A star: a check is in progress, and the previous result is not shown.
            let done = |row: &&Vec<String>| {
                !row[0].is_empty() && row[0] != "INI" && !row[0].starts_with('*')
            };
            if let (None, Some(row)) = (&found, row.filter(done)) {
                *found = Some(row.clone());
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(_peer);
    // Some servers were never connected to by then.
    let end = Instant::now() + SILENCE;
    let received = |server: &Listening| {
        let none = matches!(server.received.lock().unwrap().len(), 0);
        // The end of the program has closed the connections that were open.
        while none && Instant::now() < end && server.received.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        server.received.lock().unwrap().first().cloned()
    };
    let of = |(found, (case, server)): (Option<Vec<String>>, (&Case, &Listening))| {
        let bytes = match case.server {
            Gone => None,
            _ => received(server),
        };
        (found.unwrap_or_default(), bytes.unwrap_or_default())
    };
    found
        .into_iter()
        .zip(CASES.iter().zip(&servers))
        .map(of)
        .collect()
}

/// Returns the bytes without the time and the random data of an SSLv3 hello.
fn comparable(lines: &str, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if lines == "option ssl-hello-chk" && bytes.len() > 43 {
        bytes.drain(11..43);
    }
    bytes
}

#[test]
fn checks_and_results_equal_haproxys() {
    if !std::path::Path::new("/usr/sbin/haproxy").exists() {
        eprintln!("skipped: haproxy is not installed");
        assert!(std::env::var_os("CI").is_none(), "CI needs haproxy");
        return;
    }
    let [ours, theirs] = Program::BOTH.map(outcomes);
    let mut different = String::new();
    for ((case, ours), theirs) in CASES.iter().zip(&ours).zip(&theirs) {
        let sent = |outcome: &(Vec<String>, Vec<u8>)| comparable(case.lines, &outcome.1);
        if ours.0 != theirs.0 || sent(ours) != sent(theirs) {
            let _ = writeln!(
                different,
                "{}\n  ours   {:?} {}\n  theirs {:?} {}",
                case.lines,
                ours.0,
                ours.1.escape_ascii(),
                theirs.0,
                theirs.1.escape_ascii()
            );
        }
    }
    assert!(different.is_empty(), "{different}");
}
