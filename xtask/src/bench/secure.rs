//! Runs the clients over TLS: handshakes, requests over persistent connections, and HTTP/2, each
//! verified.
//!
//! A single thread (the caller's), edge-triggered epoll, rustls. The proxy's CPU time is measured,
//! so these clients need not be fast. They report exactly which version, cipher suite and group
//! were negotiated, and whether a session was resumed.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use lab::tls::{CipherSuite, NamedGroup, TlsClient, TlsOffer, Versions};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::answer::{Expected, Reader};
use super::error::BenchError;
use super::http2;
use super::load::{OPENING_MAX, STALL_SECONDS};

/// Maximum number of events that one wait returns.
const EVENTS_MAX: usize = 256;
/// Maximum number of bytes that one read returns, of a socket or of decrypted data.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of stored TLS sessions for each place of a connection.
const SESSIONS_MAX: usize = 8;
/// Number of streams of each connection in the largest case.
pub const STREAMS_MAX: usize = 100;

/// Key type of the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// ECDSA over P-256.
    Ecdsa,
    /// RSA with 2048 bits.
    Rsa,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// A connection for each request, its session new or resumed.
    Handshakes { resumed: bool },
    /// Consecutive requests on persistent connections.
    Http1,
    /// HTTP/2 with this number of concurrent streams on each connection.
    Http2 { streams: usize },
}

#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The port of the proxy on 127.0.0.1.
    pub port: u16,
    /// The path of every request.
    pub path: String,
    pub body: &'a [u8],
    /// The key of the certificate that is expected.
    pub key: Key,
    /// TLS 1.2 instead of 1.3.
    pub old: bool,
    pub talk: Talk,
}

impl Job<'_> {
    /// Returns the TLS settings: one cipher suite and one group, so that every proxy does the same
    /// work, whatever it prefers.
    fn config(&self) -> Result<ClientConfig, BenchError> {
        let suite = match (self.old, self.key) {
            (false, _) => CipherSuite::TLS13_AES_128_GCM_SHA256,
            (true, Key::Ecdsa) => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            (true, Key::Rsa) => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        };
        let http2 = matches!(self.talk, Talk::Http2 { .. });
        let offer = TlsOffer {
            sni: Some("www.example.com"),
            alpn: if http2 { &["h2"] } else { &["http/1.1"] },
            versions: if self.old {
                Versions::Only12
            } else {
                Versions::Only13
            },
            suites: &[suite],
            // Offers the second group only because TLS 1.2 requires it for a certificate with a key
            // on P-256.
            groups: &[NamedGroup::X25519, NamedGroup::secp256r1],
            ..TlsOffer::default()
        };
        let client = TlsClient::new_local(&offer).map_err(BenchError::Laboratory)?;
        Ok(ClientConfig::clone(&client.config()))
    }

    fn request(&self) -> Vec<u8> {
        let connection = match self.talk {
            Talk::Handshakes { .. } => "Connection: close\r\n",
            _ => "",
        };
        format!(
            "GET {} HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\
             {connection}\r\n",
            self.path
        )
        .into_bytes()
    }
}

#[derive(Debug)]
enum Speaker {
    Http1 {
        reader: Box<Reader>,
        /// A request is in progress.
        busy: bool,
    },
    Http2(Box<http2::Client>),
}

#[derive(Debug)]
struct Open {
    socket: OwnedFd,
    tls: ClientConnection,
    speaker: Speaker,
    /// The response is complete, but the connection has not ended yet.
    ending: bool,
    /// The handshake has been verified.
    verified: bool,
}

/// A slot for a connection.
#[derive(Debug)]
struct Place {
    /// Settings with their own stored sessions, so that each slot can resume one.
    config: Arc<ClientConfig>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Pace {
    started: u64,
    completed: u64,
    requests: u64,
    /// Each connection gets one request only.
    once: bool,
}

/// The clients. Dropping it closes all connections.
pub struct Clients<'a> {
    job: Job<'a>,
    request: Vec<u8>,
    config: ClientConfig,
    name: ServerName<'static>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    places: Vec<Place>,
    compare: bool,
    /// Sessions have to be resumed from now on.
    resuming: bool,
}

impl<'a> Clients<'a> {
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
            config: job.config()?,
            name: ServerName::try_from("www.example.com").map_err(|_| BenchError::NoPort)?,
            job,
            epoll,
            events: vec![empty; EVENTS_MAX],
            sealed: vec![0; READ_BYTES_MAX],
            plain: vec![0; READ_BYTES_MAX],
            places: Vec::new(),
            compare: true,
            resuming: false,
        })
    }

    /// Ends the warm-up: bodies are only counted from now on, and sessions are resumed if the job
    /// requires that.
    pub fn is_warm(&mut self) {
        self.compare = false;
        self.resuming = self.job.talk == Talk::Handshakes { resumed: true };
    }

    /// Makes exactly `requests` requests over `connections` connections.
    pub fn run(&mut self, requests: u64, connections: usize) -> Result<(), BenchError> {
        self.extend(connections);
        let mut pace = Pace {
            started: 0,
            completed: 0,
            requests,
            once: false,
        };
        for index in 0..connections {
            self.begin(index, &mut pace)?;
        }
        self.drive(&mut pace, connections)
    }

    /// Raises the number of idle connections to `connections`, with one request
    /// on each new one.
    pub fn raise_idle(&mut self, connections: usize) -> Result<(), BenchError> {
        let before = self.places.len();
        self.extend(connections);
        let first = connections.min(before + OPENING_MAX);
        let mut pace = Pace {
            started: 0,
            completed: 0,
            requests: connections.saturating_sub(before) as u64,
            once: true,
        };
        for index in before..first {
            self.begin(index, &mut pace)?;
        }
        self.drive(&mut pace, first)
    }

    /// Fails if a connection that should be idle has ended.
    pub fn verify_idle(&mut self) -> Result<(), BenchError> {
        let mut pace = Pace {
            started: 0,
            completed: 0,
            requests: 0,
            once: true,
        };
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let count = epoll::wait(&self.epoll, &mut self.events[..], Some(&now))
            .map_err(BenchError::system("waiting for events"))?;
        for at in 0..count {
            let index = self.events[at].data.u64() as usize;
            self.pass(index, &mut pace)?;
        }
        Ok(())
    }

    fn extend(&mut self, connections: usize) {
        while self.places.len() < connections {
            let mut config = self.config.clone();
            config.resumption = match self.job.talk {
                Talk::Handshakes { resumed: true } => Resumption::in_memory_sessions(SESSIONS_MAX),
                _ => Resumption::disabled(),
            };
            self.places.push(Place {
                config: Arc::new(config),
                open: None,
            });
        }
    }

    fn drive(&mut self, pace: &mut Pace, first: usize) -> Result<(), BenchError> {
        let mut fresh = first;
        let patience = Timespec {
            tv_sec: STALL_SECONDS as i64,
            tv_nsec: 0,
        };
        while pace.completed < pace.requests {
            let count = match epoll::wait(&self.epoll, &mut self.events[..], Some(&patience)) {
                Ok(0) => {
                    return Err(BenchError::Stalled {
                        outstanding: pace.started - pace.completed,
                        seconds: STALL_SECONDS,
                    });
                }
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(BenchError::system("waiting for events")(error)),
            };
            for at in 0..count {
                let mut answered = pace.completed;
                let index = self.events[at].data.u64() as usize;
                self.pass(index, pace)?;
                // Opens another idle connection for each one that is complete.
                while pace.once && pace.completed > answered && pace.started < pace.requests {
                    self.begin(fresh, pace)?;
                    fresh += 1;
                    answered += 1;
                }
            }
        }
        Ok(())
    }

    /// Opens the connection of a slot if necessary, and begins requests on it.
    fn begin(&mut self, index: usize, pace: &mut Pace) -> Result<(), BenchError> {
        if pace.started == pace.requests {
            return Ok(());
        }
        if self.places[index].open.is_none() {
            self.open(index)?;
        }
        self.pump(index, pace)
    }

    fn open(&mut self, index: usize) -> Result<(), BenchError> {
        let failed = |doing| {
            move |errno: Errno| BenchError::Connection {
                connection: index,
                doing,
                source: errno.into(),
            }
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .map_err(failed("opening a socket"))?;
        rustix::net::sockopt::set_tcp_nodelay(&socket, true).map_err(failed("TCP_NODELAY"))?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.job.port);
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(failed("connecting")(errno)),
        }
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &socket, data, interest).map_err(failed("watching"))?;
        let place = &mut self.places[index];
        let tls = ClientConnection::new(place.config.clone(), self.name.clone());
        let speaker = match self.job.talk {
            Talk::Http2 { streams } => {
                Speaker::Http2(Box::new(http2::Client::new(&self.job.path, streams)))
            }
            _ => Speaker::Http1 {
                reader: Box::new(Reader::new()),
                busy: false,
            },
        };
        place.open = Some(Open {
            socket,
            tls: tls.map_err(|source| secured(index, source))?,
            speaker,
            ending: false,
            verified: false,
        });
        Ok(())
    }

    /// Begins the possible requests on an open connection, and sends pending output.
    fn pump(&mut self, index: usize, pace: &mut Pace) -> Result<(), BenchError> {
        let Some(open) = &mut self.places[index].open else {
            return Ok(());
        };
        // rustls buffers data that is written before the end of the handshake.
        let failed = |source: io::Error| BenchError::Connection {
            connection: index,
            doing: "sending",
            source,
        };
        match &mut open.speaker {
            Speaker::Http1 { reader, busy } => {
                if !*busy && pace.started < pace.requests && !open.ending {
                    *busy = true;
                    reader.reset();
                    pace.started += 1;
                    write_all(&mut open.tls, &self.request).map_err(failed)?;
                }
            }
            Speaker::Http2(client) => {
                while client.has_room() && pace.started < pace.requests {
                    client.request();
                    pace.started += 1;
                    if pace.once {
                        break;
                    }
                }
                write_all(&mut open.tls, &client.output).map_err(failed)?;
                client.output.clear();
            }
        }
        while open.tls.wants_write() {
            match open.tls.write_tls(&mut Sender(&open.socket)) {
                Ok(_) => {}
                // Space in the send buffer causes another event.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The connection is not established yet.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Reads the available bytes of a connection, and continues.
    fn pass(&mut self, index: usize, pace: &mut Pace) -> Result<(), BenchError> {
        let mut ended = false;
        while let Some(open) = &mut self.places[index].open {
            let failed = |errno: Errno| BenchError::Connection {
                connection: index,
                doing: "receiving",
                source: errno.into(),
            };
            match rustix::net::recv(&open.socket, &mut self.sealed[..], RecvFlags::empty()) {
                Ok((0, _)) => {
                    ended = true;
                    break;
                }
                Ok((bytes, _)) => {
                    self.receive(index, bytes, pace)?;
                    if bytes < READ_BYTES_MAX {
                        break;
                    }
                }
                Err(Errno::AGAIN | Errno::NOTCONN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        // Checks for the end of the connection, which may follow the last bytes without another
        // event.
        let place = &mut self.places[index];
        if !ended && place.open.as_ref().is_some_and(|open| open.ending) {
            let open = place.open.as_ref().map(|open| &open.socket);
            let mut byte = [0];
            let peeked =
                open.map(|socket| rustix::net::recv(socket, &mut byte[..], RecvFlags::PEEK));
            ended = match peeked {
                Some(Ok((bytes, _))) => bytes == 0,
                Some(Err(errno)) => errno != Errno::AGAIN,
                None => false,
            };
        }
        if ended {
            let whole = place.open.take().is_some_and(|open| open.ending);
            if !whole {
                let fault = super::answer::Fault::ClosedIdle;
                return Err(BenchError::Answer {
                    connection: index,
                    fault,
                });
            }
            pace.completed += 1;
            return self.begin(index, pace);
        }
        if pace.once && pace.started == pace.requests {
            return self.flush_only(index);
        }
        self.pump_unless_once(index, pace)
    }

    /// Idle connections get no second request.
    fn pump_unless_once(&mut self, index: usize, pace: &mut Pace) -> Result<(), BenchError> {
        if pace.once {
            self.flush_only(index)
        } else {
            self.pump(index, pace)
        }
    }

    fn flush_only(&mut self, index: usize) -> Result<(), BenchError> {
        let mut none = Pace {
            started: 0,
            completed: 0,
            requests: 0,
            once: true,
        };
        self.pump(index, &mut none)
    }

    /// Decrypts received bytes, and passes them to the HTTP client of the connection.
    fn receive(&mut self, index: usize, bytes: usize, pace: &mut Pace) -> Result<(), BenchError> {
        let Self {
            places,
            sealed,
            plain,
            job,
            compare,
            resuming,
            ..
        } = self;
        let Some(open) = &mut places[index].open else {
            return Ok(());
        };
        let expected = Expected {
            gzip: false,
            body: job.body,
            compare: *compare,
        };
        let mut input = &sealed[..bytes];
        while !input.is_empty() {
            // The input is in memory, so the only error is that the buffer of rustls is full.
            let taken = open.tls.read_tls(&mut input);
            let state = open.tls.process_new_packets();
            let state = state.map_err(|source| secured(index, source))?;
            if taken.is_err() && state.plaintext_bytes_to_read() == 0 {
                return Err(secured(index, rustls::Error::HandshakeNotComplete));
            }
            if !open.verified && !open.tls.is_handshaking() {
                open.verified = true;
                open.verify(index, job, *resuming)?;
            }
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let part = left.min(plain.len());
                let read = io::Read::read(&mut open.tls.reader(), &mut plain[..part]);
                let read = read.map_err(|source| BenchError::Connection {
                    connection: index,
                    doing: "reading what was decrypted",
                    source,
                })?;
                left -= read;
                open.take(index, &plain[..read], expected, job.talk, pace)?;
            }
        }
        Ok(())
    }
}

impl Open {
    /// Fails if the session does not have the properties that the case requires.
    fn verify(&self, connection: usize, job: &Job<'_>, resuming: bool) -> Result<(), BenchError> {
        let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        if resuming && !resumed {
            return Err(BenchError::NotResumed { connection });
        }
        let group = self.tls.negotiated_key_exchange_group();
        if group.is_some_and(|group| group.name() != NamedGroup::X25519) {
            return Err(BenchError::OtherGroup { connection });
        }
        let http2 = matches!(job.talk, Talk::Http2 { .. });
        if http2 && self.tls.alpn_protocol() != Some(b"h2") {
            return Err(BenchError::NoHttp2 { connection });
        }
        Ok(())
    }

    fn take(
        &mut self,
        connection: usize,
        bytes: &[u8],
        expected: Expected<'_>,
        talk: Talk,
        pace: &mut Pace,
    ) -> Result<(), BenchError> {
        match &mut self.speaker {
            Speaker::Http1 { reader, busy } => {
                let complete = reader.take(bytes, expected);
                let complete =
                    complete.map_err(|fault| BenchError::Answer { connection, fault })?;
                if complete && matches!(talk, Talk::Handshakes { .. }) {
                    self.ending = true;
                } else if complete {
                    *busy = false;
                    pace.completed += 1;
                }
            }
            Speaker::Http2(client) => {
                let complete = client.take(bytes, expected);
                pace.completed +=
                    complete.map_err(|fault| BenchError::Http2 { connection, fault })?;
            }
        }
        Ok(())
    }
}

fn secured(connection: usize, source: rustls::Error) -> BenchError {
    BenchError::Secure { connection, source }
}

fn write_all(tls: &mut ClientConnection, bytes: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut tls.writer(), bytes)
}

/// Adapter with which rustls writes to a socket.
struct Sender<'s>(&'s OwnedFd);

impl io::Write for Sender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
