//! Runs a web server inside the test, with or without TLS. It responds with its name, records
//! requests and handshakes, and misbehaves on demand.

use crate::acceptor::Acceptor;
use crate::http::{BufferedConnection, Carrier, Length, MessageHead};
use crate::tls::{Negotiated, TlsServer};
use namespace::{LabError, Location};
use std::collections::VecDeque;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Maximum number of recorded requests; earlier ones are dropped.
const MAX_REMEMBERED: usize = 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// Responds with 200 and the server's name, in the header `x-origin` and in the body.
    Answer,
    /// Responds as `Answer` does, after a delay.
    Delay(Duration),
    /// Responds as `Answer` does, with another status.
    Status(u16),
    /// Sends these bytes as the response, even if they are invalid, and continues with the next
    /// request.
    Raw(Vec<u8>),
    /// Closes the connection without a response.
    Close,
    /// Announces a body, sends half of it and closes.
    BreakOff,
    /// Sends nothing and keeps the connection open.
    Silence,
}

/// A web server with a name.
#[derive(Debug)]
pub struct OriginServer {
    acceptor: Acceptor,
    shared: Arc<OriginState>,
}

#[derive(Debug)]
struct OriginState {
    name: String,
    behaviour: Mutex<Behaviour>,
    requests: Mutex<VecDeque<String>>,
    tls: Option<TlsServer>,
    handshakes: Mutex<VecDeque<Negotiated>>,
    served: AtomicU64,
    accepted: AtomicU64,
}

impl OriginServer {
    /// Starts a server; port 0 selects a free port.
    pub fn start(
        place: impl Into<Location>,
        name: &str,
        address: SocketAddr,
    ) -> Result<Self, LabError> {
        OriginServer::with(place.into(), name, address, None)
    }

    /// Starts a server with TLS; port 0 selects a free port.
    pub fn tls(
        place: impl Into<Location>,
        name: &str,
        address: SocketAddr,
        tls: TlsServer,
    ) -> Result<Self, LabError> {
        OriginServer::with(place.into(), name, address, Some(tls))
    }

    fn with(
        place: Location,
        name: &str,
        address: SocketAddr,
        tls: Option<TlsServer>,
    ) -> Result<Self, LabError> {
        let shared = Arc::new(OriginState {
            name: name.to_owned(),
            behaviour: Mutex::new(Behaviour::Answer),
            requests: Mutex::new(VecDeque::new()),
            tls,
            handshakes: Mutex::new(VecDeque::new()),
            served: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        });
        let handler = {
            let shared = shared.clone();
            move |stream: TcpStream| shared.serve(stream)
        };
        Ok(OriginServer {
            acceptor: Acceptor::start(place, address, handler)?,
            shared,
        })
    }

    /// Starts a server on a free port of 127.0.0.1.
    pub fn start_local(name: &str) -> Result<Self, LabError> {
        OriginServer::start(Location::Here, name, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Sets the server's behaviour from the next request on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// Refuses connections from now on, and closes all existing ones.
    pub fn stop(&mut self) {
        self.acceptor.stop();
    }

    /// Listens again after a stop.
    pub fn resume(&mut self) -> Result<(), LabError> {
        self.acceptor.resume()
    }

    /// Returns the number of requests that the server has read.
    pub fn request_count(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Returns the number of accepted connections.
    pub fn accepted_count(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.acceptor.connections()
    }

    /// Returns and removes the heads of the last requests as received, oldest first.
    pub fn take_requests(&self) -> Vec<String> {
        lock(&self.shared.requests).drain(..).collect()
    }

    /// Returns and removes the results of the last TLS handshakes, oldest first.
    pub fn take_handshakes(&self) -> Vec<Negotiated> {
        lock(&self.shared.handshakes).drain(..).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OriginState {
    fn serve(&self, stream: TcpStream) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            let mut wire = BufferedConnection::new(stream);
            // Serves until the client closes or sends invalid data, which ends only its own
            // connection.
            while self.serve_one(&mut wire).is_some() {}
            let _ = wire.stream.shutdown(Shutdown::Both);
            return;
        };
        let Ok((stream, negotiated)) = tls.accept(stream) else {
            return;
        };
        let mut handshakes = lock(&self.handshakes);
        if handshakes.len() == MAX_REMEMBERED {
            handshakes.pop_front();
        }
        handshakes.push_back(negotiated);
        drop(handshakes);
        let mut wire = BufferedConnection::new(stream);
        while self.serve_one(&mut wire).is_some() {}
        wire.stream.conn.send_close_notify();
        let _ = wire.stream.flush();
        let _ = wire.stream.sock.shutdown(Shutdown::Both);
    }

    /// Serves one request. Returns None when the connection must be closed.
    fn serve_one<S: Carrier>(&self, wire: &mut BufferedConnection<S>) -> Option<()> {
        let head = wire.read_head().ok()?;
        if head.header("expect").is_some() {
            wire.stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .ok()?;
        }
        let length = head.length().ok()?.unwrap_or(Length::Bytes(0));
        wire.read_body(length).ok()?;
        let keeps_alive = head.keeps_alive();
        let without_body = head.start_line.starts_with("HEAD ");
        self.record_request(head);
        let behaviour = lock(&self.behaviour).clone();
        let mut status = 200;
        let mut half = false;
        match behaviour {
            Behaviour::Answer => {}
            Behaviour::Delay(delay) => thread::sleep(delay),
            Behaviour::Status(other) => status = other,
            Behaviour::Raw(bytes) => {
                wire.stream.write_all(&bytes).ok()?;
                return keeps_alive.then_some(());
            }
            Behaviour::Close => return None,
            Behaviour::BreakOff => half = true,
            // Continues without a response. The next request gets the behaviour that is set then.
            Behaviour::Silence => return Some(()),
        }
        let mut answer = self.response_head(status, keeps_alive, without_body);
        if half {
            answer.truncate(answer.len() - self.name.len() / 2 - 1);
        }
        wire.stream.write_all(answer.as_bytes()).ok()?;
        (keeps_alive && !half).then_some(())
    }

    fn response_head(&self, status: u16, keeps_alive: bool, without_body: bool) -> String {
        let name = &self.name;
        let connection = if keeps_alive { "keep-alive" } else { "close" };
        let body = if without_body { "" } else { name };
        format!(
            "HTTP/1.1 {status} Status\r\nx-origin: {name}\r\ncontent-type: text/plain\r\n\
             content-length: {}\r\nconnection: {connection}\r\n\r\n{body}",
            name.len()
        )
    }

    fn record_request(&self, head: MessageHead) {
        let mut requests = lock(&self.requests);
        if requests.len() == MAX_REMEMBERED {
            requests.pop_front();
        }
        requests.push_back(head.text);
        // Counts the request after it is recorded, so that a test that waits for the count finds
        // the request.
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, MalformedMessage, Probe};

    #[test]
    fn origin_sends_its_name_and_records_requests() {
        let origin = OriginServer::start_local("web0").unwrap();
        let mut probe = Probe::new(Location::Here, origin.address());
        let answer = probe.get("/a").unwrap();
        assert_eq!(answer.header("X-Origin"), Some("web0"));
        assert_eq!(answer.text(), "web0");
        probe
            .request("POST", "/b", &[("x-y", "z")], b"body")
            .unwrap();
        assert!(
            probe
                .request("HEAD", "/", &[], b"")
                .unwrap()
                .body
                .is_empty()
        );
        let requests = origin.take_requests();
        assert!(requests[0].starts_with("GET /a HTTP/1.1\r\n"));
        assert!(requests[1].contains("\r\nx-y: z\r\n"));
        assert_eq!((origin.request_count(), origin.accepted_count()), (3, 1));
    }

    #[test]
    fn origin_misbehaves_as_configured() {
        let origin = OriginServer::start_local("web0").unwrap();
        let mut probe =
            Probe::new(Location::Here, origin.address()).timeout(Duration::from_millis(100));
        origin.set_behaviour(Behaviour::Status(503));
        assert_eq!(probe.get("/").unwrap().status, 503);
        for (behaviour, failure) in [
            (Behaviour::Close, Failure::Closed { reused: true }),
            (Behaviour::Close, Failure::Closed { reused: false }),
            (Behaviour::BreakOff, Failure::BrokenOff),
            (Behaviour::Silence, Failure::TimedOut),
            (Behaviour::Delay(Duration::from_secs(1)), Failure::TimedOut),
            (
                Behaviour::Raw(b"nonsense\r\n\r\n".to_vec()),
                Failure::Malformed(MalformedMessage::StartLine),
            ),
        ] {
            origin.set_behaviour(behaviour);
            assert_eq!(probe.get("/"), Err(failure));
        }
        origin.set_behaviour(Behaviour::Delay(Duration::from_millis(20)));
        assert!(probe.get("/").is_ok());
        assert!(probe.records().last().unwrap().elapsed >= Duration::from_millis(20));
    }

    #[test]
    fn stopped_origin_restarts() {
        let mut origin = OriginServer::start_local("web0").unwrap();
        let mut probe = Probe::new(Location::Here, origin.address());
        probe.get("/").unwrap();
        origin.stop();
        assert_eq!(probe.get("/"), Err(Failure::Closed { reused: true }));
        assert!(matches!(probe.get("/"), Err(Failure::Connect(_))));
        origin.resume().unwrap();
        assert!(probe.get("/").is_ok());
    }
}
