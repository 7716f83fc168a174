//! Tests a cluster of two nodes: the console of one node shows the state of the other one, and
//! opens the display and the terminal of a guest that runs there.

use crate::cluster::site::{Machine, SOON, Site, configuration};
use crate::console::screen::INIT;
use crate::guest::site::PATIENCE;
use lab::Image;
use lab::{LabHost, eventually};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

/// Configuration lines in addition to those of the site.
const FURTHER: &str = "
global
\trequest-history 64

userlist staff
\tuser olga insecure-password kiwi

console
\tbind 127.0.0.1:8600 plain
\tusers staff
\trole operator user olga

guest mail
\tprefer beta
\tmemory 96m
\tconsole vnc
\tstop-timeout 1s
\tboot kernel {kernel} initrd {initrd} append \"console=ttyS0 quiet panic=-1\"
";
const CONSOLE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8600);
const TERMINAL: &str = "/terminal/guest/guest/mail/terminal";
const SCREEN: &str = "/screen/guest/guest/mail/screen";
pub const NAME: &str = "desktop.example.org";
/// Timeout of one read on a connection.
const READ: Duration = Duration::from_secs(60);
/// Longest delay of bytes to be sent.
const TURN: Duration = Duration::from_millis(20);
/// Kinds of frames (RFC 6455, section 5.2).
const PING: u8 = 9;
const PONG: u8 = 10;

pub trait Stream: Read + Write + Send {
    /// Makes reads return after [`TURN`], even without data.
    fn turns(&self);
}

impl Stream for TcpStream {
    fn turns(&self) {
        self.set_read_timeout(Some(TURN)).unwrap();
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn turns(&self) {
        self.sock.turns();
    }
}

/// Pages of a machine for a signed-in user, from within the machine.
pub struct Pages<'m> {
    host: &'m LabHost,
    at: SocketAddr,
    /// TLS configuration with the trusted CA; None: no TLS.
    tls: Option<Arc<ClientConfig>>,
    cookie: String,
}

impl<'m> Pages<'m> {
    /// Signs in by a form; None if the console does not respond.
    pub fn sign_in(
        machine: &'m Machine,
        at: SocketAddr,
        tls: Option<Arc<ClientConfig>>,
        form: &str,
    ) -> Option<Pages<'m>> {
        let mut pages = Pages {
            host: &machine.host,
            at,
            tls,
            cookie: String::new(),
        };
        let head = format!(
            "POST /sign-in HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            form.len()
        );
        let response = pages.exchange(&head, form)?;
        let (_, cookie) = response.split_once("set-cookie: ")?;
        pages.cookie = cookie.split(';').next()?.to_owned();
        Some(pages)
    }

    fn connect(&self) -> Option<Box<dyn Stream>> {
        let stream = self.host.tcp_connect(self.at, READ).ok()?;
        stream.set_read_timeout(Some(READ)).unwrap();
        let Some(tls) = &self.tls else {
            return Some(Box::new(stream));
        };
        let name = NAME.try_into().unwrap();
        let session = ClientConnection::new(Arc::clone(tls), name).unwrap();
        Some(Box::new(StreamOwned::new(session, stream)))
    }

    fn fields(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (at, cookie) = (self.at, &self.cookie);
        format!("Host: {at}\r\nOrigin: {scheme}://{at}\r\nCookie: {cookie}\r\n")
    }

    /// Sends a request, whose head has these lines; returns the whole response.
    fn exchange(&self, head: &str, body: &str) -> Option<String> {
        let mut stream = self.connect()?;
        let fields = self.fields();
        write!(stream, "{head}{fields}Connection: close\r\n\r\n{body}").ok()?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).ok()?;
        Some(String::from_utf8_lossy(&response).into_owned())
    }

    pub fn get(&self, path: &str) -> String {
        let response = self.exchange(&format!("GET {path} HTTP/1.1\r\n"), "");
        response.unwrap_or_default()
    }

    /// Opens the WebSocket of a page.
    pub fn open(&self, page: &str) -> Socket {
        let mut stream = self.connect().expect("a connection");
        write!(
            stream,
            "GET {page}/socket HTTP/1.1\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.fields()
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut one = [0];
            stream.read_exact(&mut one).unwrap();
            head.extend_from_slice(&one);
        }
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        stream.turns();
        let (socket, outgoing, incoming) = Socket::new();
        thread::spawn(move || carry(stream, &incoming, &outgoing));
        socket
    }
}

/// A WebSocket (RFC 6455), and the received text. It responds to pings, as browsers do.
pub struct Socket {
    sends: Sender<Vec<u8>>,
    comes: Receiver<String>,
    read: String,
}

impl Socket {
    /// Returns the socket, the channel for received data, and the channel of the data that it
    /// sends.
    fn new() -> (Socket, Sender<String>, Receiver<Vec<u8>>) {
        let ((sends, incoming), (outgoing, comes)) = (channel(), channel());
        let read = String::new();
        (Socket { sends, comes, read }, outgoing, incoming)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.sends.send(frame(2, bytes)).expect("it is open");
    }

    /// Reads messages until their text has these words.
    #[track_caller]
    pub fn reads(&mut self, words: &str) {
        while !self.read.contains(words) {
            let came = self.comes.recv_timeout(READ);
            assert!(came.is_ok(), "{came:?} instead of {words}: {}", self.read);
            self.read += &came.unwrap_or_default();
        }
    }
}

/// Returns a short frame of a client, masked with zeros.
fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    [&[0x80 | kind, 0x80 | length, 0, 0, 0, 0], bytes].concat()
}

/// Carries messages both ways until the other side ends.
fn carry(mut stream: Box<dyn Stream>, sends: &Receiver<Vec<u8>>, comes: &Sender<String>) {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match sends.try_recv() {
            Ok(frame) => stream.write_all(&frame).unwrap(),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        match stream.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            // No data arrived for [`TURN`].
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        while let Some((kind, content)) = take_frame(&mut bytes) {
            let text = String::from_utf8_lossy(&content).into_owned();
            let is_done = match kind {
                PING => stream.write_all(&frame(PONG, &content)).is_err(),
                _ => comes.send(text).is_err(),
            };
            if is_done {
                return;
            }
        }
    }
}

/// Removes the first frame if it is complete: its kind and its content.
fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (kind, length) = (bytes.first()? & 0xf, *bytes.get(1)?);
    let (start, length) = match length {
        126 => {
            let length = bytes.get(2..4)?.try_into().unwrap();
            (4, usize::from(u16::from_be_bytes(length)))
        }
        127 => panic!("a frame of more than a piece"),
        length => (2, usize::from(length)),
    };
    let content = bytes.get(start..start + length)?.to_vec();
    bytes.drain(..start + length);
    Some((kind, content))
}

/// Returns whether alpha shows that the guest runs on beta.
pub fn runs_on_beta(site: &Site) -> bool {
    let said = site.alpha.command(&["guest", "list", "--json"]).out;
    let report: Value = serde_json::from_str(&said).unwrap_or_default();
    let subjects = report["subjects"].as_array().cloned().unwrap_or_default();
    let mut named = subjects.iter().filter(|one| one["name"] == "mail");
    named.any(|one| one.to_string().contains("beta"))
        && site
            .beta
            .command(&["guest", "log", "mail"])
            .out
            .contains("guest: ready")
}

#[test]
fn a_console_opens_what_runs_on_another_node_and_shows_its_requests() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(image) = Image::with(INIT, &["busybox"], &[]) else {
        return;
    };
    let site = Site::new("console-far");
    let further = FURTHER
        .replace("{kernel}", &image.kernel().display().to_string())
        .replace("{initrd}", &image.initrd().display().to_string());
    let text = configuration("two") + &further;
    site.alpha.apply(&text, &["--now"]).well();
    assert!(
        eventually(PATIENCE, || runs_on_beta(&site)),
        "{}",
        site.tell()
    );
    let mut signed_in = None;
    let signs_in = || {
        signed_in = Pages::sign_in(&site.alpha, CONSOLE, None, "user=olga&password=kiwi");
        signed_in.is_some()
    };
    assert!(eventually(SOON, signs_in), "{}", site.tell());
    let console = signed_in.unwrap();
    let links = || {
        let page = console.get("/part/guest");
        [SCREEN, TERMINAL].iter().all(|path| page.contains(path))
    };
    assert!(eventually(SOON, links), "{}", console.get("/part/guest"));

    let mut display = console.open(SCREEN);
    display.reads("RFB 003.008");
    let mut terminal = console.open(TERMINAL);
    terminal.send(b"echo typed-$((6 * 7))\r");
    terminal.reads("typed-42");
    // A terminal has one user at a time, on all nodes.
    let mut second = console.open(TERMINAL);
    second.reads("terminal is in use by ");

    // The page shows requests that beta served.
    assert!(site.serves(&site.beta, "two"));
    let shown = || console.get("/requests?on=beta").contains("/version");
    assert!(
        eventually(SOON, shown),
        "{}",
        console.get("/requests?on=beta")
    );

    let stop = ["guest", "stop", "mail", "--kill"];
    site.alpha.command(&stop).well();
    display.reads("The guest no longer runs.");
    terminal.reads("The guest no longer runs.");
}
