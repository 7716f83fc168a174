//! Provides scripted clients and origin servers for tests, which read and write raw bytes and
//! know nothing of the proxy between them.

use crate::bed::PATIENCE;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// An end of a connection, of a client or an origin.
pub struct Peer {
    pub socket: TcpStream,
    /// Bytes read and not consumed yet.
    pub ahead: Vec<u8>,
}

#[derive(Debug, Default, Clone)]
pub struct ClientResponse {
    pub status: u16,
    /// Response head, with the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Peer {
    pub fn new(socket: TcpStream) -> Peer {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer {
            socket,
            ahead: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).expect("write");
    }

    /// Sends as much as the other side accepts.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends the bytes one by one.
    pub fn dribble(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Reads more; false at the end.
    pub fn more(&mut self) -> std::io::Result<bool> {
        let mut bytes = [0; 65536];
        let n = self.socket.read(&mut bytes)?;
        self.ahead.extend_from_slice(&bytes[..n]);
        Ok(n > 0)
    }

    /// Reads up to and including `mark`.
    pub fn until(&mut self, mark: &str) -> String {
        let at = loop {
            match self
                .ahead
                .windows(mark.len())
                .position(|w| w == mark.as_bytes())
            {
                Some(at) => break at + mark.len(),
                None => {
                    let more = self.more();
                    let seen = String::from_utf8_lossy(&self.ahead);
                    assert!(
                        matches!(more, Ok(true)),
                        "no {mark:?} but {seen:?}, then {more:?}"
                    );
                }
            }
        };
        let rest = self.ahead.split_off(at);
        String::from_utf8_lossy(&std::mem::replace(&mut self.ahead, rest)).into_owned()
    }

    pub fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.ahead.len() < n {
            assert!(
                self.more().expect("read"),
                "the end after {} of {n}",
                self.ahead.len()
            );
        }
        let rest = self.ahead.split_off(n);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Reads a head; None if the other side closed instead.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if self.ahead.windows(4).any(|w| w == b"\r\n\r\n") {
                return Some(self.until("\r\n\r\n"));
            }
            match self.more() {
                Ok(true) => {}
                Ok(false) | Err(_) => return None,
            }
        }
    }

    /// Reads chunks to the end of the body.
    pub fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.until("\r\n");
            let size =
                usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("chunk {line:?}"));
            if size == 0 {
                while self.until("\r\n") != "\r\n" {}
                return body;
            }
            body.extend(self.exactly(size));
            assert_eq!(self.exactly(2), b"\r\n");
        }
    }

    /// Reads a response; `to_head`: it has no body.
    pub fn answer_of(&mut self, to_head: bool) -> ClientResponse {
        self.answer_of_if_any(to_head).expect("an answer")
    }

    /// Reads a response; None if the connection ends before.
    fn answer_of_if_any(&mut self, to_head: bool) -> Option<ClientResponse> {
        let head = self.head()?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.get(..3)?.parse().ok())
            .unwrap_or(0);
        let lower = head.to_ascii_lowercase();
        let body = if to_head || status < 200 || status == 204 || status == 304 {
            Vec::new()
        } else if lower.contains("transfer-encoding: chunked") {
            self.chunks()
        } else if let Some((_, rest)) = lower.split_once("content-length: ") {
            let n = rest
                .split("\r\n")
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap();
            self.exactly(n)
        } else {
            self.rest().into_bytes()
        };
        Some(ClientResponse { status, head, body })
    }

    pub fn answer_if_any(&mut self) -> Option<ClientResponse> {
        self.answer_of_if_any(false)
    }

    pub fn answer(&mut self) -> ClientResponse {
        self.answer_of(false)
    }

    /// Sends a request and returns the response body as text.
    pub fn ask(&mut self, request: &str) -> String {
        self.send(request);
        let answer = self.answer();
        format!(
            "{} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        )
    }

    /// Reads up to the end, whether orderly or by a reset.
    pub fn rest(&mut self) -> String {
        while matches!(self.more(), Ok(true)) {}
        String::from_utf8_lossy(&std::mem::take(&mut self.ahead)).into_owned()
    }

    /// Returns how the connection ends, behind the bytes received before: "… FIN", "… RST", "…
    /// open".
    pub fn end(&mut self, patience_ms: u64) -> String {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(patience_ms)))
            .unwrap();
        let how = loop {
            match self.more() {
                Ok(true) => {}
                Ok(false) => break "FIN",
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break "RST",
                Err(_) => break "open",
            }
        };
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.ahead)).into_owned();
        if text.is_empty() {
            how.to_owned()
        } else {
            format!("{text} {how}")
        }
    }

    /// Returns how the connection ends, however long that takes.
    pub fn ends(&mut self) -> String {
        self.end(PATIENCE.as_millis() as u64)
    }

    pub fn half_close(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    pub fn reset(self) {
        let zero = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
        zero.unwrap();
    }
}

/// Blocks origins until a test opens the gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    pub fn close(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    pub fn pass(&self) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open);
        drop(wait);
    }
}

/// A scripted origin: `serve` runs for each connection on its own thread, with the
/// connection's number. Dropping the origin closes its listener; threads left over from a
/// test would make [`settle`](crate::clock::settle) slow for all others.
pub struct ScriptedOrigin {
    pub port: u16,
    accepted: Arc<AtomicU64>,
    listener: TcpListener,
}

impl Drop for ScriptedOrigin {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

impl ScriptedOrigin {
    pub fn new(serve: impl Fn(Peer, u64) + Send + Sync + 'static) -> ScriptedOrigin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicU64::new(0));
        let (counted, serve) = (accepted.clone(), Arc::new(serve));
        let listens = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            loop {
                let socket = match listens.accept() {
                    Ok((socket, _)) => socket,
                    // The origin was dropped. Other errors, such as a lack of descriptors, are
                    // temporary.
                    Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return,
                    Err(_) => {
                        crate::bed::pause(5);
                        continue;
                    }
                };
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || serve(Peer::new(socket), number));
            }
        });
        ScriptedOrigin {
            port,
            accepted,
            listener,
        }
    }

    /// Creates an origin that responds "N: METHOD TARGET BODY" with the number N of the
    /// connection, and keeps its connections.
    pub fn echo() -> ScriptedOrigin {
        ScriptedOrigin::new(|mut peer, number| {
            while let Some(head) = peer.head() {
                let body = request_body(&mut peer, &head);
                let line = head.lines().next().unwrap_or_default();
                let what = line.rsplit_once(' ').map_or(line, |(what, _)| what);
                let text = format!("{number}: {what} {}", String::from_utf8_lossy(&body));
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
                let text = if what.starts_with("HEAD") { "" } else { &text };
                if !peer.try_send(format!("{answer}{text}")) {
                    return;
                }
            }
        })
    }

    /// Creates an origin that sends fixed bytes after each head, and keeps the connection.
    pub fn fixed(answer: &'static str) -> ScriptedOrigin {
        ScriptedOrigin::new(move |mut peer, _| {
            while peer.head().is_some() {
                if !peer.try_send(answer) {
                    return;
                }
            }
        })
    }

    /// Creates an origin that sends fixed bytes after the head, and closes.
    pub fn closing(answer: &'static str) -> ScriptedOrigin {
        ScriptedOrigin::new(move |mut peer, _| {
            peer.head();
            peer.try_send(answer);
        })
    }

    /// Returns a frontend `front` on port `{0}` and a backend `back` with this server.
    pub fn behind(&self, front: &str, back: &str) -> String {
        format!(
            "frontend front\n bind 127.0.0.1:{{0}}\n default_backend back\n{front}\n\
             backend back\n server s 127.0.0.1:{}\n{back}\n",
            self.port
        )
    }

    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Reads the body that a request head announces.
pub fn request_body(peer: &mut Peer, head: &str) -> Vec<u8> {
    let lower = head.to_ascii_lowercase();
    if lower.contains("transfer-encoding: chunked") {
        return peer.chunks();
    }
    let Some((_, rest)) = lower.split_once("content-length: ") else {
        return Vec::new();
    };
    let n = rest
        .split("\r\n")
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    peer.exactly(n)
}
