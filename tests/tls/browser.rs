//! Tests a browser over TLS and HTTP/2: a page with many parts and a WebSocket. The page reports
//! its results to the server, so the test needs no picture and no fixed wait.

use crate::program::evenkeel;
use crate::tls::site::{Site, here};
use lab::{Location, ScratchDirectory, eventually};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Timeout of the browser, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(90);

const PARTS: usize = 150;

/// Script of the browser: it loads all parts at once, posts to the server, uses a WebSocket, and
/// then reports.
const PAGE: &str = r#"<!doctype html><title>page</title><script>
async function part(n) {
  const answer = await fetch("/part/" + n);
  return (await answer.text()) === "part " + n;
}
async function posted() {
  const answer = await fetch("/post", { method: "POST", body: "x".repeat(300000) });
  return await answer.text();
}
function socket() {
  return new Promise((done) => {
    const socket = new WebSocket("wss://" + location.host + "/socket");
    let said = "";
    socket.onopen = () => { socket.send("one"); };
    socket.onmessage = (event) => {
      said += event.data + ",";
      if (event.data === "one") socket.send("two"); else socket.close();
    };
    socket.onclose = () => done(said);
    socket.onerror = () => done("error after " + said);
  });
}
(async () => {
  const parts = await Promise.all([...Array(150).keys()].map((n) => part(n)));
  const entry = performance.getEntriesByName(location.origin + "/part/7")[0];
  const report = [parts.filter(Boolean).length, entry.nextHopProtocol, await posted(), await socket()];
  await fetch("/report?" + encodeURIComponent(report.join(" ")));
})().catch((error) => fetch("/report?" + encodeURIComponent("failed: " + error)));
</script>"#;

/// Messages to the server: the report, and the heads of WebSockets.
#[derive(Default)]
struct Told {
    report: Option<String>,
    sockets: Vec<String>,
}

type Shared = Arc<Mutex<Told>>;

fn server(told: &Shared) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let told = Arc::clone(told);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let told = Arc::clone(&told);
            // Ignores an error, because its effect is missing in the report.
            std::thread::spawn(move || serve(stream, &told).unwrap_or_default());
        }
    });
    address
}

/// Serves the requests of one connection until it ends or becomes a WebSocket.
fn serve(mut stream: TcpStream, told: &Shared) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path == "/socket" {
            return talk(stream, &head, told);
        }
        let (kind, body) = match path.split_at(path.find(['?']).unwrap_or(path.len())) {
            ("/", _) => ("text/html", PAGE.to_owned()),
            ("/post", _) => ("text/plain", posted(&mut stream, &head)?),
            ("/report", said) => {
                told.lock().unwrap().report = Some(said.replace("%20", " "));
                ("text/plain", String::new())
            }
            (path, _) => match path.strip_prefix("/part/") {
                Some(n) => ("text/plain", format!("part {n}")),
                None => ("text/plain", String::new()),
            },
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(": "));
    fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
}

/// Reads a request body; returns its length as text.
fn posted(stream: &mut TcpStream, head: &str) -> std::io::Result<String> {
    let length = field(head, "content-length").and_then(|value| value.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body)?;
    Ok(format!("{} bytes", body.len()))
}

/// Returns a WebSocket server's response to a key (RFC 6455, 4.2.2).
fn accepted(key: &str) -> std::io::Result<String> {
    use base64::Engine;
    let mut digest = Command::new("openssl")
        .args(["dgst", "-sha1", "-binary"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = digest.stdin.take().expect("a pipe");
    write!(input, "{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")?;
    drop(input);
    let digest = digest.wait_with_output()?.stdout;
    Ok(base64::engine::general_purpose::STANDARD.encode(digest))
}

/// Serves a WebSocket: sends back each received frame.
fn talk(mut stream: TcpStream, head: &str, told: &Shared) -> std::io::Result<()> {
    told.lock().unwrap().sockets.push(head.to_owned());
    let accept = accepted(field(head, "sec-websocket-key").unwrap_or_default())?;
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    )?;
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head)?;
        let mut mask = [0; 4];
        stream.read_exact(&mut mask)?;
        let mut body = vec![0; usize::from(head[1] & 0x7f)];
        stream.read_exact(&mut body)?;
        for (byte, mask) in body.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        stream.write_all(&[head[0], body.len() as u8])?;
        stream.write_all(&body)?;
        if head[0] & 0xf == 8 {
            return Ok(());
        }
    }
}

fn browser(url: &str, profile: &ScratchDirectory) -> lab::Peer {
    let directory = profile.path().display();
    let args = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--disable-background-networking".to_owned(),
        "--no-first-run".to_owned(),
        "--ignore-certificate-errors".to_owned(),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".to_owned(),
        format!("--user-data-dir={directory}"),
        url.to_owned(),
    ];
    let port = here();
    let debugging = format!("--remote-debugging-port={}", port.port());
    let args: Vec<&str> = [debugging.as_str()]
        .into_iter()
        .chain(args.iter().map(String::as_str))
        .collect();
    lab::Peer::start(Location::Here, "chromium", &args, "", port).unwrap()
}

#[test]
fn a_browser_gets_a_page_of_many_parts_and_a_websocket_over_one_connection() {
    // Runs only if Chromium is installed, which tests do not require.
    if lab::installed("chromium").is_err() || lab::installed("openssl").is_err() {
        eprintln!("skipped: chromium or openssl is not installed");
        return;
    }
    let site = Site::new();
    let told = Shared::default();
    let (server, address) = (server(&told), here());
    let config = format!(
        "defaults\n    mode http\n    timeout client 60s\n    timeout server 60s\n    timeout connect 5s\n\
         listen web\n    bind {address} ssl crt {} alpn h2,http/1.1\n    \
         http-request set-header x-sessions %[fc_http_major]\n    server s {server}\n",
        site.word("site.pem")
    );
    let ours = evenkeel(Location::Here, &config, address).unwrap();
    let profile = ScratchDirectory::new().unwrap();
    let browser = browser(&format!("https://{address}/"), &profile);
    let reported = || told.lock().unwrap().report.is_some();
    let in_time = eventually(SOON, reported);
    assert!(
        in_time,
        "no report: {}\n{}",
        browser.output(),
        ours.output()
    );
    let told = told.lock().unwrap();
    let report = told.report.as_deref().unwrap_or_default();
    let wanted = format!("?{PARTS} h2 300000 bytes one%2Ctwo%2C");
    assert_eq!(report, wanted);
    assert_eq!(told.sockets.len(), 1);
    // The WebSocket arrived over HTTP/2 as extended CONNECT; the server sees an upgrade.
    let socket = told.sockets[0].to_lowercase();
    assert!(socket.contains("x-sessions: 2\r\n"), "{socket}");
    assert!(socket.contains("upgrade: websocket\r\n"), "{socket}");
}
