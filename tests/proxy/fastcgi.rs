//! Compares FastCGI applications with HAProxy's: the parameters of an application, its responses,
//! and applications that fail.

use crate::program::Program;
use lab::{Location, free_port};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Longest wait for a response.
const PATIENCE: Duration = Duration::from_secs(120);
/// Length of a body that needs several records, in both directions.
const LARGE: usize = 300_000;

const BEGIN: u8 = 1;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

type Pairs = BTreeMap<String, String>;

fn read_record(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let mut content = vec![0; length + usize::from(head[6])];
    stream.read_exact(&mut content)?;
    content.truncate(length);
    Ok((head[1], content))
}

fn pairs(content: &[u8], into: &mut Pairs) {
    let mut rest = content;
    let length = |rest: &mut &[u8]| {
        let first = usize::from(rest[0]);
        if first < 0x80 {
            *rest = &rest[1..];
            return first;
        }
        let long = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) & 0x7fff_ffff;
        *rest = &rest[4..];
        long as usize
    };
    while !rest.is_empty() {
        let (name, value) = (length(&mut rest), length(&mut rest));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        into.insert(text(&rest[..name]), text(&rest[name..name + value]));
        rest = &rest[name + value..];
    }
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut bytes = vec![1, kind, 0, 1, high, low, 0, 0];
    bytes.extend_from_slice(content);
    bytes
}

fn output(text: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in text.chunks(60_000) {
        all.extend(record(STDOUT, part));
    }
    all
}

fn end(status: u8) -> Vec<u8> {
    record(3, &[0, 0, 0, 0, status, 0, 0, 0])
}

/// Returns the response of the application, and whether it closes in the middle.
fn respond(given: &Pairs, body: &[u8]) -> (Vec<u8>, bool) {
    let script = given.get("SCRIPT_NAME").map_or("", String::as_str);
    let is_head = given
        .get("REQUEST_METHOD")
        .is_some_and(|method| method == "HEAD");
    let whole = |text: &str| ([output(text.as_bytes()), end(0)].concat(), false);
    match script.rsplit('/').next().unwrap_or_default() {
        _ if is_head => whole("X-A: b\r\n\r\n"),
        "status.php" => whole("Status: 404 Gone away\r\nX-A: b\r\n\r\nnope"),
        "location.php" => whole("Location: /x\r\n\r\n"),
        "unmodified.php" => whole("Status: 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        "length.php" => whole("Content-Length: 5\n\nhello"),
        "large.php" => {
            let text = format!("X-Body: {}\r\n\r\n{}", body.len(), "y".repeat(LARGE));
            whole(&text)
        }
        "errors.php" => {
            let told = record(STDERR, b"first error\nsecond error\n");
            ([told, whole("X-A: b\r\n\r\nok").0].concat(), false)
        }
        "head.php" => (output(b"X-A: b\r\n"), true),
        "short.php" => (output(b"Content-Length: 100\r\n\r\nonly this"), true),
        "overloaded.php" => (end(2), false),
        _ => {
            let told = |(name, value): (&String, &String)| format!("{name}={value}\n");
            let lines: String = given.iter().map(told).collect();
            whole(&format!(
                "Content-Type: text/plain\r\n\r\n{lines}body {}",
                body.len()
            ))
        }
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    loop {
        let (mut given, mut body, mut keep) = (Pairs::new(), Vec::new(), false);
        loop {
            match read_record(&mut stream)? {
                (BEGIN, content) => keep = content[2] & 1 == 1,
                (PARAMS, content) => pairs(&content, &mut given),
                (STDIN, content) if content.is_empty() => break,
                (STDIN, content) => body.extend(content),
                (kind, _) => panic!("a record of type {kind}"),
            }
        }
        let (bytes, breaks) = respond(&given, &body);
        stream.write_all(&bytes)?;
        if breaks || !keep {
            return Ok(());
        }
    }
}

/// Starts an application, and returns its address and the counter of its connections.
fn application() -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            seen.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || serve(stream));
        }
    });
    (address, count)
}

fn config(address: SocketAddr, application: SocketAddr, logs: SocketAddr) -> String {
    format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n option http-keep-alive\n\
         frontend f\n bind {address}\n default_backend b\n\
         backend b\n use-fcgi-app app\n server s {application} proto fcgi\n\
         fcgi-app app\n docroot /var/www\n index index.php\n path-info ^(/.+\\.php)(/.*)?$\n log-stderr {logs} len 300 local0\n\
         acl special path /special.php\n set-param X_SPECIAL yes if special\n set-param SERVER_SOFTWARE test\n\
         set-param REMOTE_PORT 1\n set-param SERVER_PORT 2\n pass-header authorization if special\n"
    )
}

/// Sends a request on a connection, and reads one response.
fn ask(stream: &mut TcpStream, request: &str, body: &[u8]) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut copy = stream.try_clone().unwrap();
    let sent = body.to_vec();
    // Sends the body while the response arrives.
    let writing = std::thread::spawn(move || drop(copy.write_all(&sent)));
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    writing.join().unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns a response without its date, with sorted headers and a decoded body.
fn comparable(response: &str) -> String {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((response, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default().to_owned();
    let mut headers: Vec<String> = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            format!("{}: {value}", name.to_lowercase())
        })
        .filter(|line| !line.starts_with("date: "))
        .collect();
    headers.sort();
    format!(
        "{status}\n{}\n\n{}",
        headers.join("\n"),
        unchunked(body, &headers)
    )
}

fn unchunked(body: &str, headers: &[String]) -> String {
    if !headers
        .iter()
        .any(|line| line == "transfer-encoding: chunked")
    {
        return body.to_owned();
    }
    let (mut rest, mut out) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        if size == 0 {
            return out;
        }
        out += &after[..size.min(after.len())];
        rest = after.get(size + 2..).unwrap_or_default();
    }
    out + "[cut]"
}

struct Case {
    name: &'static str,
    request: String,
    body: Vec<u8>,
}

fn case(name: &'static str, line: &str, headers: &str, body: &[u8]) -> Case {
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let request =
        format!("{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{length}{headers}\r\n");
    Case {
        name,
        request,
        body: body.to_vec(),
    }
}

fn cases() -> Vec<Case> {
    let large = vec![b'x'; LARGE];
    vec![
        case(
            "parameters",
            "GET /dir/echo.php/more/info?a=b%20c",
            "X-My-Hdr: v\r\nX_odd: v\r\nCookie: a=b\r\nAuthorization: Basic dGlnZXI6eA==\r\nTE: trailers\r\nProxy: x\r\n",
            b"",
        ),
        case(
            "a condition",
            "GET /special.php",
            "Authorization: Basic dGlnZXI6eA==\r\n",
            b"",
        ),
        case("an index", "GET /a%20b/?x", "", b""),
        case("no script", "GET /other", "", b""),
        case(
            "a body",
            "POST /echo.php",
            "Content-Type: text/x\r\n",
            b"hello",
        ),
        case("a large body", "POST /large.php", "", &large),
        case("a status", "GET /status.php", "", b""),
        case("a redirect", "GET /location.php", "", b""),
        case("a length", "GET /length.php", "", b""),
        case("HEAD", "HEAD /status.php", "", b""),
        case("STDERR", "GET /errors.php", "", b""),
    ]
}

#[test]
fn fastcgi_parameters_and_responses_equal_haproxys() {
    if !std::path::Path::new("/usr/sbin/haproxy").exists() {
        eprintln!("skipped: haproxy is not installed");
        assert!(std::env::var_os("CI").is_none(), "CI needs haproxy");
        return;
    }
    let [ours, theirs] = Program::BOTH.map(|program| {
        let (application, _) = application();
        let logs = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        logs.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let config = config(address, application, logs.local_addr().unwrap());
        let _peer = program.start(Location::Here, &config, address).unwrap();
        let responses: Vec<String> = cases()
            .iter()
            .map(|case| {
                let mut stream = TcpStream::connect(address).unwrap();
                comparable(&ask(&mut stream, &case.request, &case.body))
            })
            .collect();
        let mut line = [0; 1024];
        let received = logs.recv(&mut line).unwrap();
        let line = String::from_utf8_lossy(&line[..received]).into_owned();
        assert!(line.contains("first error"), "{program:?}: {line}");
        responses
    });
    let mut different = String::new();
    for ((case, ours), theirs) in cases().iter().zip(&ours).zip(&theirs) {
        if ours != theirs {
            let short = |text: &str| text.chars().take(2_000).collect::<String>();
            different += &format!(
                "{}\n--- ours\n{}\n--- theirs\n{}\n",
                case.name,
                short(ours),
                short(theirs)
            );
        }
    }
    assert!(different.is_empty(), "{different}");
}

#[test]
fn fastcgi_connection_is_kept_if_configured() {
    for (option, connections) in [("", 1), (" no option keep-conn\n", 3)] {
        let (application, count) = application();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let config = config(address, application, address) + option;
        let _peer = Program::Evenkeel
            .start(Location::Here, &config, address)
            .unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..3 {
            let request = b"GET /length.php HTTP/1.1\r\nHost: a\r\n\r\n";
            stream.write_all(request).unwrap();
            let mut text = Vec::new();
            let mut byte = [0];
            while !text.ends_with(b"\r\n\r\nhello") {
                stream.read_exact(&mut byte).unwrap();
                text.push(byte[0]);
            }
        }
        assert_eq!(count.load(Ordering::Relaxed), connections, "{option}");
    }
}

/// HAProxy 2.6 crashes where an application ends in the middle of a head, so these requests are
/// sent to Evenkeel alone.
#[test]
fn applications_that_fail_and_requests_that_they_cannot_have_get_an_error() {
    let (application, _) = application();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let config = config(address, application, address);
    let _peer = Program::Evenkeel
        .start(Location::Here, &config, address)
        .unwrap();
    for (request, body, want) in [
        ("GET /unmodified.php", 0, "HTTP/1.1 304 Not Modified"),
        ("GET /head.php", 0, "HTTP/1.1 502 Bad Gateway"),
        ("GET /short.php", 0, "HTTP/1.1 200 OK"),
        ("GET /overloaded.php", 0, "HTTP/1.1 502 Bad Gateway"),
        ("GET /a%0ab.php", 0, "HTTP/1.1 500 Internal Server Error"),
        ("POST /echo.php", 7, "HTTP/1.1 200 OK"),
        ("POST /echo.php", LARGE, "HTTP/1.1 400 Bad request"),
    ] {
        let chunked = body > 0;
        let framing = if chunked {
            "Transfer-Encoding: chunked\r\n"
        } else {
            ""
        };
        let head =
            format!("{request} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{framing}\r\n");
        let chunks = format!("{body:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(body));
        let mut stream = TcpStream::connect(address).unwrap();
        let sent = if chunked { chunks.as_bytes() } else { b"" };
        let response = ask(&mut stream, &head, sent);
        assert_eq!(response.lines().next(), Some(want), "{request} {body}");
        if request.contains("short") {
            assert!(response.ends_with("only this"), "{response}");
        }
        if body == 7 {
            assert!(comparable(&response).ends_with("body 7"), "{response}");
            assert!(response.contains("CONTENT_LENGTH=7"), "{response}");
        }
    }
}
