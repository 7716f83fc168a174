//! Runs the clients in front of the proxies: a fixed number of requests over a fixed number of
//! connections, each verified.
//!
//! A single thread (the caller's), edge-triggered epoll, no allocation per request. The clients
//! never pipeline and never retry: the first wrong response ends the case.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::answer::{Expected, Fault, Reader};
use super::error::BenchError;

/// Maximum number of events that one wait returns.
const EVENTS_MAX: usize = 256;
/// Maximum number of bytes that one read returns.
const READ_BYTES_MAX: usize = 256 * 1024;
/// Timeout without any input while responses are pending.
pub const STALL_SECONDS: u64 = 10;
/// Connections that open at the same time when a crowd of idle ones is built.
pub const OPENING_MAX: usize = 64;

#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The port of the proxy on 127.0.0.1.
    pub port: u16,
    /// The path of every request.
    pub path: String,
    pub body: &'a [u8],
    /// A connection serves one request after the other.
    pub keep_alive: bool,
    /// Further lines of the head.
    pub lines: &'static str,
    /// The response has to be compressed.
    pub gzip: bool,
}

impl Job<'_> {
    fn request(&self) -> Vec<u8> {
        let connection = if self.keep_alive {
            ""
        } else {
            "Connection: close\r\n"
        };
        format!(
            "GET {} HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\
             {connection}{}\r\n",
            self.path, self.lines
        )
        .into_bytes()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Connecting,
    Waiting,
    /// The response is complete, but the connection has not ended yet.
    Ending,
    Idle,
}

#[derive(Debug)]
struct Connection {
    socket: Option<OwnedFd>,
    phase: Phase,
    reader: Reader,
}

/// Selection of the connection that gets the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The connection whose response is complete.
    Same,
    /// The next connection without a request in this run.
    Next,
}

#[derive(Debug)]
struct Pace {
    order: Order,
    /// Index of the next connection that had no request in this run.
    fresh: usize,
    started: u64,
    completed: u64,
    requests: u64,
}

/// The clients. Dropping it closes all connections.
pub struct Generator<'a> {
    job: Job<'a>,
    request: Vec<u8>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    compare: bool,
    /// Size of the last response body as it was sent.
    pub body_bytes: usize,
}

impl<'a> Generator<'a> {
    /// Creates the clients without a connection.
    pub fn new(job: Job<'a>) -> Result<Self, BenchError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(BenchError::system("creating an epoll descriptor"))?;
        let empty = epoll::Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        Ok(Self {
            request: job.request(),
            job,
            epoll,
            events: vec![empty; EVENTS_MAX],
            buffer: vec![0; READ_BYTES_MAX],
            connections: Vec::new(),
            compare: true,
            body_bytes: 0,
        })
    }

    /// Selects whether response bodies are compared from now on, or only counted.
    pub fn compare_bodies(&mut self, compare: bool) {
        self.compare = compare;
    }

    /// Returns whether the responses are compressed.
    pub fn is_coded(&self) -> bool {
        self.job.gzip
    }

    /// Makes exactly `requests` requests over `connections` connections, each
    /// connection busy all the time.
    pub fn run(&mut self, requests: u64, connections: usize) -> Result<(), BenchError> {
        self.extend(connections);
        let pace = Pace {
            order: Order::Same,
            fresh: 0,
            started: 0,
            completed: 0,
            requests,
        };
        self.drive(pace, connections)
    }

    /// Raises the number of idle connections to `connections`, with one request
    /// on each new one.
    pub fn raise_idle(&mut self, connections: usize) -> Result<(), BenchError> {
        let before = self.connections.len();
        self.extend(connections);
        let requests = self.connections.len().saturating_sub(before) as u64;
        let pace = Pace {
            order: Order::Next,
            fresh: before,
            started: 0,
            completed: 0,
            requests,
        };
        self.drive(pace, OPENING_MAX)
    }

    /// Fails if a connection that should be idle received bytes or was closed.
    pub fn verify_idle(&mut self) -> Result<(), BenchError> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let count = epoll::wait(&self.epoll, &mut self.events[..], Some(&now))
            .map_err(BenchError::system("waiting for events"))?;
        for event in &self.events[..count] {
            let bad = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
            let flags = event.flags;
            if flags.intersects(bad) {
                let connection = event.data.u64() as usize;
                return Err(BenchError::Answer {
                    connection,
                    fault: Fault::ClosedIdle,
                });
            }
        }
        Ok(())
    }

    fn extend(&mut self, connections: usize) {
        while self.connections.len() < connections {
            self.connections.push(Connection {
                socket: None,
                phase: Phase::Closed,
                reader: Reader::new(),
            });
        }
    }

    fn drive(&mut self, mut pace: Pace, concurrent: usize) -> Result<(), BenchError> {
        let first = pace.requests.min(concurrent as u64);
        while pace.started < first {
            self.start(pace.fresh)?;
            pace.started += 1;
            pace.fresh += 1;
        }
        let patience = Timespec {
            tv_sec: STALL_SECONDS as i64,
            tv_nsec: 0,
        };
        while pace.completed < pace.requests {
            let count = match epoll::wait(&self.epoll, &mut self.events[..], Some(&patience)) {
                Ok(0) => {
                    let outstanding = pace.started - pace.completed;
                    return Err(BenchError::Stalled {
                        outstanding,
                        seconds: STALL_SECONDS,
                    });
                }
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(BenchError::system("waiting for events")(error)),
            };
            for at in 0..count {
                let event = self.events[at];
                self.pass(event.data.u64() as usize, event.flags, &mut pace)?;
            }
        }
        Ok(())
    }

    /// Begins a request on a connection, which is opened if necessary.
    fn start(&mut self, index: usize) -> Result<(), BenchError> {
        let failed = |doing| {
            move |errno: Errno| BenchError::Connection {
                connection: index,
                doing,
                source: errno.into(),
            }
        };
        let connection = &mut self.connections[index];
        connection.reader.reset();
        if connection.phase == Phase::Idle {
            return self.send(index);
        }
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .map_err(failed("opening a socket"))?;
        rustix::net::sockopt::set_tcp_nodelay(&socket, true).map_err(failed("TCP_NODELAY"))?;
        match rustix::net::connect(
            &socket,
            &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.job.port),
        ) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(failed("connecting")(errno)),
        }
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(
            &self.epoll,
            &socket,
            EventData::new_u64(index as u64),
            interest,
        )
        .map_err(failed("watching"))?;
        connection.socket = Some(socket);
        connection.phase = Phase::Connecting;
        Ok(())
    }

    fn send(&mut self, index: usize) -> Result<(), BenchError> {
        let failed = |source: Errno| BenchError::Connection {
            connection: index,
            doing: "sending a request",
            source: source.into(),
        };
        let connection = &mut self.connections[index];
        let Some(socket) = &connection.socket else {
            return Ok(());
        };
        // Treats a short write as an error, because a request is far smaller than the empty send
        // buffer.
        match rustix::net::send(socket, &self.request, SendFlags::NOSIGNAL) {
            Ok(bytes) if bytes == self.request.len() => {
                connection.phase = Phase::Waiting;
                Ok(())
            }
            Ok(_) => Err(failed(Errno::NOBUFS)),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn pass(&mut self, index: usize, flags: EventFlags, pace: &mut Pace) -> Result<(), BenchError> {
        let fault = |fault| BenchError::Answer {
            connection: index,
            fault,
        };
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        match self.connections[index].phase {
            Phase::Closed => return Ok(()),
            Phase::Connecting if flags.contains(EventFlags::OUT) || ended => {
                return self.send(index);
            }
            Phase::Connecting => return Ok(()),
            Phase::Idle if ended => return Err(fault(Fault::ClosedIdle)),
            Phase::Idle if flags.contains(EventFlags::IN) => {
                return Err(fault(Fault::Excess { bytes: 1 }));
            }
            Phase::Idle => return Ok(()),
            Phase::Waiting | Phase::Ending => {}
        }
        if !flags.contains(EventFlags::IN) && !ended {
            return Ok(());
        }
        if self.read(index, ended)? {
            pace.completed += 1;
            if pace.started < pace.requests {
                pace.started += 1;
                let next = match pace.order {
                    Order::Same => index,
                    Order::Next => pace.fresh,
                };
                pace.fresh += 1;
                return self.start(next);
            }
        }
        Ok(())
    }

    /// Reads the available bytes. Returns true when the request is finished: the response is
    /// complete and, on a connection for one request, its end was seen.
    fn read(&mut self, index: usize, ended: bool) -> Result<bool, BenchError> {
        let expected = Expected {
            gzip: self.job.gzip,
            body: self.job.body,
            compare: self.compare,
        };
        let connection = &mut self.connections[index];
        let Some(socket) = &connection.socket else {
            return Ok(false);
        };
        loop {
            let bytes = match rustix::net::recv(socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((bytes, _)) => bytes,
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    return Err(BenchError::Connection {
                        connection: index,
                        doing: "receiving an answer",
                        source: errno.into(),
                    });
                }
            };
            let fault = |fault| BenchError::Answer {
                connection: index,
                fault,
            };
            if bytes == 0 {
                if connection.phase != Phase::Ending {
                    return Err(fault(Fault::Truncated));
                }
                connection.socket = None;
                connection.phase = Phase::Closed;
                return Ok(true);
            }
            if connection.phase == Phase::Ending {
                return Err(fault(Fault::Excess { bytes }));
            }
            if connection
                .reader
                .take(&self.buffer[..bytes], expected)
                .map_err(fault)?
            {
                self.body_bytes = connection.reader.body_bytes();
                if self.job.keep_alive {
                    connection.phase = Phase::Idle;
                    return Ok(true);
                }
                connection.phase = Phase::Ending;
            } else if bytes < READ_BYTES_MAX && !ended {
                // A short read has emptied the socket; further data causes another event.
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::origin::{self, Origin};

    fn job(port: u16, body: &[u8], keep_alive: bool) -> Job<'_> {
        Job {
            port,
            path: format!("/plain/{}", body.len()),
            body,
            keep_alive,
            lines: "",
            gzip: false,
        }
    }

    #[test]
    fn a_run_makes_exactly_the_requests_it_was_told() {
        let body = origin::body();
        let origin = Origin::start(&body, None).expect("an origin");
        for size in origin::BODY_SIZES_BYTES {
            let before = origin.served();
            let mut generator =
                Generator::new(job(origin.port, &body[..size], true)).expect("a generator");
            generator.run(50, 8).expect("a run");
            generator
                .run(3, 8)
                .expect("a run smaller than its connections");
            generator.raise_idle(20).expect("idle connections");
            generator.verify_idle().expect("connections that stay");
            assert_eq!(origin.served() - before, 50 + 3 + 12);
        }
    }

    #[test]
    fn an_answer_that_is_not_asked_for_ends_the_run() {
        let body = origin::body();
        let origin = Origin::start(&body, None).expect("an origin");
        let mut wrong = job(origin.port, &body[..100], true);
        wrong.path = "/bench/100".to_owned();
        let mut generator = Generator::new(wrong).expect("a generator");
        let error = generator.run(1, 1).expect_err("no rules, so refused");
        assert!(
            matches!(error, BenchError::Answer { fault: Fault::Status(code), .. } if &code == b"400")
        );
    }
}
