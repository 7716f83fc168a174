//! Implements HTTP clients that measure: a probe keeps its connection as a browser does, never
//! retries a request, and records how each request ended. Also sends raw bytes on a connection of
//! their own.

use crate::http::{BufferedConnection, Carrier, HttpResponse, Length, MalformedMessage, ReadError};
use namespace::Location;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Default timeout of a request.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of recorded requests. Later ones are not recorded.
const MAX_RECORDS: usize = 100_000;

/// Maximum number of interim responses (100, 103) before the real one.
const MAX_INTERIM: usize = 8;

/// Maximum number of bytes that are read in a raw exchange.
const MAX_EXCHANGE_BYTES: u64 = 64 * 1024 * 1024;

/// Reason why a request has no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The connection could not be established.
    Connect(ErrorKind),
    /// The connection ended before the first byte of the response.
    Closed {
        /// The connection had carried a request before. The server may have closed it while this
        /// request was in transit, and most clients would retry.
        reused: bool,
    },
    /// The connection ended within the response.
    BrokenOff,
    TimedOut,
    /// The response is not HTTP.
    Malformed(MalformedMessage),
    Io(ErrorKind),
}

#[derive(Clone, Debug)]
pub struct Record {
    pub started: Instant,
    /// Duration until the end of the request, successful or not.
    pub elapsed: Duration,
    /// Number of the probe's connection that carried the request.
    pub connection: u32,
    /// Status code, or the reason why there is none.
    pub outcome: Result<u16, Failure>,
}

/// An HTTP client with one connection.
#[derive(Debug)]
pub struct Probe {
    place: Location,
    address: SocketAddr,
    host: String,
    timeout: Duration,
    wire: Option<BufferedConnection>,
    connections: u32,
    records: Vec<Record>,
}

impl Probe {
    /// Creates a client, which connects with its first request.
    pub fn new(place: impl Into<Location>, address: SocketAddr) -> Self {
        Probe {
            place: place.into(),
            address,
            host: address.to_string(),
            timeout: DEFAULT_TIMEOUT,
            wire: None,
            connections: 0,
            records: Vec::new(),
        }
    }

    /// Sets the timeout of each request, including the connection.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the `host` header; default: the address.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    pub fn get(&mut self, path: &str) -> Result<HttpResponse, Failure> {
        self.request("GET", path, &[], b"")
    }

    /// Sends a request and waits for its response.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HttpResponse, Failure> {
        let bytes = request_bytes(method, path, &self.host, headers, body);
        let started = Instant::now();
        let result = self.exchange(&bytes, method == "HEAD", started + self.timeout);
        if self.records.len() < MAX_RECORDS {
            self.records.push(Record {
                started,
                elapsed: started.elapsed(),
                connection: self.connections,
                outcome: result.as_ref().map(|answer| answer.status).map_err(|f| *f),
            });
        }
        result
    }

    /// Returns the records of all requests so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Closes the connection: the next request opens a new one.
    pub fn disconnect(&mut self) {
        self.wire = None;
    }

    /// Requests a path at an interval on a separate thread, until it is stopped or [`MAX_RECORDS`]
    /// requests are recorded.
    pub fn steadily(self, path: &str, interval: Duration) -> Steady {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, path) = (stop.clone(), path.to_owned());
        let mut probe = self;
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) && probe.records.len() < MAX_RECORDS {
                let next = Instant::now() + interval;
                // Ignores the result, which is in the records.
                let _ = probe.get(&path);
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            probe.records
        });
        Steady {
            stop,
            thread: Some(thread),
        }
    }

    fn exchange(
        &mut self,
        bytes: &[u8],
        without_body: bool,
        deadline: Instant,
    ) -> Result<HttpResponse, Failure> {
        let reused = self.wire.is_some();
        // Takes the connection out, which is put back only after a response that keeps it.
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect(deadline)?,
        };
        wire.set_deadline(deadline);
        let failed = |error| failure_of(error, Failure::Closed { reused });
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = wire
            .stream
            .set_write_timeout(Some(left.max(Duration::from_millis(1))));
        // Reads the response even if not everything could be written, because a server may respond
        // and close before it has read everything.
        let written = wire.stream.write_all(bytes);
        let (answer, keeps) =
            read_answer(&mut wire, without_body).map_err(|error| match (&written, error) {
                (Err(e), ReadError::TimedOut) if e.kind() != ErrorKind::WouldBlock => {
                    Failure::Io(e.kind())
                }
                _ => failed(error),
            })?;
        if keeps && written.is_ok() && wire.is_clean() {
            self.wire = Some(wire);
        }
        Ok(answer)
    }

    fn connect(&mut self, deadline: Instant) -> Result<BufferedConnection, Failure> {
        self.connections += 1;
        let left = deadline.saturating_duration_since(Instant::now());
        let address = self.address;
        let connect = || TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1)));
        let stream = self.place.enter(connect);
        let stream = stream.map_err(|error| Failure::Connect(error.kind()))?;
        let _ = stream.set_nodelay(true);
        Ok(BufferedConnection::new(stream))
    }
}

/// Failure of a connection that ended before its first response.
pub(crate) const CLOSED_FRESH: Failure = Failure::Closed { reused: false };

pub(crate) fn failure_of(error: ReadError, closed: Failure) -> Failure {
    match error {
        ReadError::Closed => closed,
        ReadError::BrokenOff => Failure::BrokenOff,
        ReadError::TimedOut => Failure::TimedOut,
        ReadError::Malformed(malformed) => Failure::Malformed(malformed),
        ReadError::Io(kind) => Failure::Io(kind),
    }
}

pub(crate) fn request_bytes(
    method: &str,
    path: &str,
    host: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        bytes.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let mut bytes = (bytes + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Returns the response, and whether the connection continues.
pub(crate) fn read_answer<S: Carrier>(
    wire: &mut BufferedConnection<S>,
    without_body: bool,
) -> Result<(HttpResponse, bool), ReadError> {
    let mut head = wire.read_head()?;
    let mut status = head.status().map_err(ReadError::Malformed)?;
    for _ in 0..MAX_INTERIM {
        if !matches!(status, 100 | 102..=199) {
            break;
        }
        head = wire.read_head()?;
        status = head.status().map_err(ReadError::Malformed)?;
    }
    let empty = without_body || matches!(status, 204 | 304);
    let length = match head.length().map_err(ReadError::Malformed)? {
        _ if empty => Length::Bytes(0),
        Some(length) => length,
        None => Length::UntilClose,
    };
    let body = wire.read_body(length)?;
    let keeps = head.keeps_alive() && length != Length::UntilClose && status != 101;
    let answer = HttpResponse {
        status,
        start_line: head.start_line,
        headers: head.headers,
        body,
    };
    Ok((answer, keeps))
}

/// Probe that sends requests on a thread, and stops when this value is dropped.
#[derive(Debug)]
pub struct Steady {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Record>>>,
}

impl Steady {
    /// Lets the current request end, and returns all records.
    pub fn stop(mut self) -> Vec<Record> {
        self.stop_and_collect()
    }

    fn stop_and_collect(&mut self) -> Vec<Record> {
        self.stop.store(true, Ordering::Relaxed);
        let records = self.thread.take().map(JoinHandle::join);
        records.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop_and_collect();
    }
}

/// Sends bytes on a new connection, closes the sending direction, and returns all bytes until the
/// other side closes, too.
pub fn exchange(
    place: impl Into<Location>,
    address: SocketAddr,
    bytes: &[u8],
    timeout: Duration,
) -> io::Result<Vec<u8>> {
    let connect = || TcpStream::connect_timeout(&address, timeout);
    let mut stream = place.into().enter(connect)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let mut said = Vec::new();
    stream.take(MAX_EXCHANGE_BYTES).read_to_end(&mut said)?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Behaviour, OriginServer};

    #[test]
    fn probe_keeps_its_connection_until_a_response_closes_it() {
        let origin = OriginServer::start_local("web0").unwrap();
        let mut probe = Probe::new(Location::Here, origin.address()).host("example");
        probe.get("/").unwrap();
        probe.get("/").unwrap();
        assert!(origin.take_requests()[0].contains("host: example\r\n"));
        let close = [("connection", "close")];
        probe.request("GET", "/", &close, b"").unwrap();
        probe.get("/").unwrap();
        let raw = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        origin.set_behaviour(Behaviour::Raw(raw.to_vec()));
        assert_eq!(probe.get("/").unwrap().text(), "ok");
        probe.disconnect();
        probe.get("/").unwrap();
        let connections: Vec<u32> = probe.records().iter().map(|r| r.connection).collect();
        assert_eq!(connections, [1, 1, 1, 2, 2, 3]);
        assert_eq!(origin.accepted_count(), 3);
    }

    #[test]
    fn a_steady_probe_sees_the_gap_while_its_origin_is_away() {
        let mut origin = OriginServer::start_local("web0").unwrap();
        let probe = Probe::new(Location::Here, origin.address());
        let steady = probe.steadily("/", Duration::from_millis(2));
        let served = |origin: &OriginServer, more: u64| {
            let goal = origin.request_count() + more;
            assert!(namespace::eventually(Duration::from_secs(5), || {
                origin.request_count() >= goal
            }));
        };
        served(&origin, 3);
        origin.stop();
        thread::sleep(Duration::from_millis(30));
        origin.resume().unwrap();
        served(&origin, 3);
        let records = steady.stop();
        let good: Vec<bool> = records.iter().map(|r| r.outcome.is_ok()).collect();
        assert!(
            good[0] && good[good.len() - 2] && good.contains(&false),
            "{good:?}"
        );
        let gaps = good.windows(2).filter(|w| w[0] && !w[1]).count();
        assert_eq!(gaps, 1, "{good:?}");
    }
}
