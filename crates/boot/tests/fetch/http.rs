//! Tests the HTTP server over real sockets, with well-behaved and hostile clients.

use crate::shelf::{LIMIT, TestContentSource, client, is_broken};
use boot::content::FetchReport;
use boot::http::{Limits, Server};
use lab::eventually;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

fn serve_within(directory: &Arc<TestContentSource>, limits: Limits) -> (SocketAddr, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::start(vec![listener], directory.clone(), limits).unwrap();
    (address, server)
}

fn serve(directory: &Arc<TestContentSource>) -> (SocketAddr, Server) {
    serve_within(directory, Limits::default())
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Sends a request on a new connection, and returns everything that arrives until its close.
fn exchange(server: SocketAddr, request: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n")
}

fn header<'r>(response: &'r str, name: &str) -> Option<&'r str> {
    let head = response.split("\r\n\r\n").next()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(of, _)| of.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

#[test]
fn curl_gets_files_on_one_connection() {
    lab::skip_unless_installed!("curl");
    let directory = TestContentSource::new();
    let (server, threads) = serve(&directory);
    let mut expected = Vec::new();
    let mut urls = vec!["-sS".to_owned(), "-v".to_owned()];
    for length in [0, 1, 65_536, 5_000_000] {
        let name = format!("file{length}");
        expected.extend(directory.noise(&name, length));
        urls.push(format!("http://{server}/{name}"));
    }
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let output = client("curl", &urls);
    assert!(output.status.success() && output.stdout == expected);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("Re-using existing").count(), 3, "{said}");
    directory.wait_for("file0", |end| *end == FetchReport::Whole(0));
    directory.wait_for("file5000000", |end| *end == FetchReport::Whole(5_000_000));
    let counters = threads.counters();
    assert_eq!((counters.done, counters.failed), (4, 0));
    assert_eq!(counters.bytes, expected.len() as u64);
}

#[test]
fn responses_to_requests_that_come_together_are_in_their_order() {
    let directory = TestContentSource::new();
    let bytes = directory.noise("file", 3_000_000);
    let (server, _threads) = serve(&directory);
    let mut stream = connect(server);
    let part = get("/file", "Range: bytes=1000000-2999999\r\n");
    let requests = [
        get("/made?one", ""),
        get("/file", ""),
        get("/made?two", ""),
        part,
    ];
    let requests = requests.concat();
    // Only the last request closes the connection.
    let requests = requests.replacen("Connection: close\r\n", "", 3);
    stream.write_all(requests.as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let mut rest = &all[..];
    for expected in [b"one", &bytes[..], b"two", &bytes[1_000_000..]] {
        let mut heads = rest.windows(4);
        let head = heads.position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let (body, next) = rest[head..].split_at(expected.len());
        assert!(body == expected, "a body of {} bytes", expected.len());
        rest = next;
    }
    assert!(rest.is_empty());
}

#[test]
fn wget_continues_a_file_that_it_has_begun() {
    lab::skip_unless_installed!("wget");
    let directory = TestContentSource::new();
    let bytes = directory.noise("file", 300_000);
    let (server, _threads) = serve(&directory);
    let got = directory.path("got");
    std::fs::write(&got, &bytes[..100_000]).unwrap();
    let url = format!("http://{server}/file");
    let output = client("wget", &["-q", "-c", "-O", got.to_str().unwrap(), &url]);
    assert!(output.status.success(), "{output:?}");
    assert!(std::fs::read(&got).unwrap() == bytes);
    directory.wait_for("file", |end| *end == FetchReport::Whole(200_000));
}

#[test]
fn head_says_what_get_would_and_sends_nothing() {
    let directory = TestContentSource::new();
    directory.noise("file", 1_000);
    let (server, _threads) = serve(&directory);
    let whole = exchange(server, &get("/file", ""));
    let head = exchange(
        server,
        &get("/file", "Range: bytes=0-1\r\n").replace("GET", "HEAD"),
    );
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"));
    for name in [
        "content-length",
        "last-modified",
        "etag",
        "accept-ranges",
        "content-type",
    ] {
        assert!(header(&head, name).is_some(), "{name}: {head}");
        assert_eq!(header(&head, name), header(&whole, name), "{name}");
    }
    assert!(header(&head, "last-modified").unwrap().ends_with(" GMT"));
    for (name, kind) in [
        ("shimx64.efi", "application/efi"),
        ("disk.IMG", "application/vnd.efi-img"),
        ("file", "application/octet-stream"),
    ] {
        directory.noise(name, 10);
        let response = exchange(server, &get(&format!("/{name}"), ""));
        assert_eq!(header(&response, "content-type"), Some(kind));
    }
    let missing = exchange(server, &get("/none", "").replace("GET", "HEAD"));
    assert!(missing.starts_with("HTTP/1.1 404") && missing.ends_with("\r\n\r\n"));
}

#[test]
fn a_range_is_served_where_the_file_is_still_the_same() {
    let directory = TestContentSource::new();
    directory.scratch.write("file", "0123456789").unwrap();
    let (server, _threads) = serve(&directory);
    let tag = exchange(server, &get("/file", ""));
    let tag = header(&tag, "etag").unwrap();
    for (headers, status, range, body) in [
        ("Range: bytes=2-4\r\n", 206, Some("bytes 2-4/10"), "234"),
        ("Range: bytes=-2\r\n", 206, Some("bytes 8-9/10"), "89"),
        ("Range: bytes=8-99\r\n", 206, Some("bytes 8-9/10"), "89"),
        ("Range: bytes=0-1,4-5\r\n", 200, None, "0123456789"),
        (
            "Range: bytes=10-\r\n",
            416,
            Some("bytes */10"),
            "the file does not have these bytes\n",
        ),
        (
            &format!("Range: bytes=2-4\r\nIf-Range: {tag}\r\n"),
            206,
            Some("bytes 2-4/10"),
            "234",
        ),
        (
            "Range: bytes=2-4\r\nIf-Range: \"old\"\r\n",
            200,
            None,
            "0123456789",
        ),
    ] {
        let response = exchange(server, &get("/file", headers));
        let begin = format!("HTTP/1.1 {status} ");
        assert!(response.starts_with(&begin), "{headers}: {response}");
        assert_eq!(header(&response, "content-range"), range, "{headers}");
        let length = body.len().to_string();
        assert_eq!(header(&response, "content-length"), Some(&*length));
        assert!(response.ends_with(&format!("\r\n\r\n{body}")), "{response}");
    }
    // The middle of the file alone is not a complete fetch.
    assert!(
        !directory
            .ends()
            .contains(&("file".to_owned(), FetchReport::Whole(3)))
    );
}

#[test]
fn what_cannot_be_served_is_said_in_words() {
    let directory = TestContentSource::new();
    directory.noise("file", 10);
    directory.fifo("fifo");
    std::fs::create_dir(directory.path("directory")).unwrap();
    let (server, threads) = serve(&directory);
    for (request, status, body) in [
        (get("/none", ""), 404, "file not found\n"),
        (get("/../file", ""), 404, "file not found\n"),
        (get("/%2e%2e/file", ""), 404, "file not found\n"),
        (get("/", ""), 404, "file not found\n"),
        (get("/directory", ""), 404, "not a regular file\n"),
        (get("/fifo", ""), 404, "not a regular file\n"),
        (get("/%zz", ""), 400, "this is not the path of a file\n"),
        (
            get("/file", "").replace("GET", "POST"),
            405,
            "only GET and HEAD are supported\n",
        ),
        (
            get("/file", "").replace("GET", "DELETE"),
            405,
            "only GET and HEAD are supported\n",
        ),
    ] {
        let response = exchange(server, &request);
        let begin = format!("HTTP/1.1 {status} ");
        assert!(response.starts_with(&begin), "{request}: {response}");
        assert!(response.ends_with(&format!("\r\n\r\n{body}")), "{response}");
        let allow = (status == 405).then_some("GET, HEAD");
        assert_eq!(header(&response, "allow"), allow);
        assert_eq!(
            header(&response, "content-type"),
            Some("text/plain; charset=utf-8")
        );
    }
    assert_eq!(threads.counters().refused, 9);
    let made = exchange(server, &get("/made?mac=52:54:00:00:00:01", ""));
    assert!(made.ends_with("\r\n\r\nmac=52:54:00:00:00:01"), "{made}");
    for nonsense in [
        "\r\n\r\n\r\nx\r\n\r\n".to_owned(),
        "GET /file\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)),
        get("/file", &"A: b\r\n".repeat(1_000)),
    ] {
        let mut stream = connect(server);
        // The server may close the connection before everything is sent.
        let _ = stream.write_all(nonsense.as_bytes());
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response);
        let response = String::from_utf8_lossy(&response);
        let is_refused = response.is_empty() || response.starts_with("HTTP/1.1 4");
        assert!(is_refused, "{response}");
    }
}

#[test]
fn a_slow_head_and_an_idle_connection_are_closed() {
    let directory = TestContentSource::new();
    directory.noise("file", 10);
    let limits = Limits {
        head: Duration::from_millis(100),
        ..Limits::default()
    };
    let (server, _threads) = serve_within(&directory, limits);
    for begun in ["", "GET /fi", "GET /file HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream = connect(server);
        stream.write_all(begun.as_bytes()).unwrap();
        let mut rest = Vec::new();
        // The server closes the connection, so this client's timeout does not end the wait.
        stream.read_to_end(&mut rest).unwrap();
    }
}

#[test]
fn a_client_that_takes_nothing_is_dropped() {
    let directory = TestContentSource::new();
    directory.noise("file", 40_000_000);
    let limits = Limits {
        patience: Duration::from_millis(200),
        ..Limits::default()
    };
    let (server, threads) = serve_within(&directory, limits);
    let mut stream = connect(server);
    stream.write_all(get("/file", "").as_bytes()).unwrap();
    directory.wait_for("file", is_broken("closed"));
    let counters = threads.counters();
    assert_eq!((counters.open, counters.failed), (0, 1));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 40_000_000);
}

#[test]
fn one_address_has_few_connections() {
    let directory = TestContentSource::new();
    directory.noise("file", 10);
    let limits = Limits {
        of_one: 2,
        ..Limits::default()
    };
    let (server, threads) = serve_within(&directory, limits);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(server);
        let request = get("/file", "").replace("Connection: close\r\n", "");
        stream.write_all(request.as_bytes()).unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        held.push(stream);
    }
    let mut third = connect(server);
    let mut none = Vec::new();
    assert_eq!(third.read_to_end(&mut none).unwrap_or(0), 0);
    assert_eq!(threads.counters().refused, 1);
    drop(held);
    let served = || {
        let mut stream = connect(server);
        let _ = stream.write_all(get("/file", "").as_bytes());
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response);
        response.starts_with(b"HTTP/1.1 200")
    };
    assert!(eventually(LIMIT, served));
}

#[test]
fn a_file_that_is_truncated_while_it_is_sent_breaks_off_and_one_that_is_replaced_does_not() {
    let directory = TestContentSource::new();
    let (server, _threads) = serve(&directory);
    let bytes = directory.noise("file", 40_000_000);
    let mut streams = [connect(server), connect(server)];
    for stream in &mut streams {
        stream.write_all(get("/file", "").as_bytes()).unwrap();
        let mut first = [0; 1_000];
        stream.read_exact(&mut first).unwrap();
    }
    let [mut kept, mut cut] = streams;
    directory.noise("new", 100);
    std::fs::rename(directory.path("file"), directory.path("old")).unwrap();
    std::fs::rename(directory.path("new"), directory.path("file")).unwrap();
    let mut rest = Vec::new();
    kept.read_to_end(&mut rest).unwrap();
    assert!(bytes.ends_with(&rest) && rest.len() > 39_000_000);
    directory.wait_for("file", |end| *end == FetchReport::Whole(40_000_000));
    // The other fetch gets the bytes that its buffers have: the file ends there.
    std::fs::write(directory.path("old"), "short").unwrap();
    let mut rest = Vec::new();
    let _ = cut.read_to_end(&mut rest);
    assert!(rest.len() < 39_000_000);
    directory.wait_for("file", is_broken("truncated"));
}

#[test]
fn listeners_change_while_connections_continue_and_a_stop_ends_them() {
    let directory = TestContentSource::new();
    directory.noise("file", 40_000_000);
    let (old, threads) = serve(&directory);
    let mut stream = connect(old);
    stream.write_all(get("/file", "").as_bytes()).unwrap();
    let mut first = [0; 1_000];
    stream.read_exact(&mut first).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let new = listener.local_addr().unwrap();
    threads.change(vec![listener]).unwrap();
    let made = exchange(new, &get("/made?now", ""));
    assert!(made.ends_with("\r\n\r\nnow"));
    assert!(eventually(LIMIT, || TcpStream::connect(old).is_err()));
    let mut more = vec![0; 20_000_000];
    stream.read_exact(&mut more).unwrap();
    threads.stop();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 19_000_000);
    directory.wait_for("file", is_broken("closed"));
}
