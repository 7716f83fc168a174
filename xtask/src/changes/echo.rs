//! Implements a client with a persistent connection: a WebSocket or a TCP tunnel. It sends some
//! bytes at each interval and compares the bytes that return.
//!
//! The bytes are a fixed pattern by their position in the stream, so that lost, repeated and
//! exchanged bytes are detected. A broken connection is counted once and opened again.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::bench::answer;

use super::client::{PATIENCE, connect};
use super::tally::Held;
use super::turn::Turn;

/// Length of a message in bytes.
const SAID_BYTES: usize = 32;
/// Maximum number of bytes that were sent and have not returned; beyond it, the client only waits.
const OUTSTANDING_BYTES_MAX: u64 = 64 * 1024;
/// Longest response to the handshake.
const HANDSHAKE_BYTES_MAX: usize = 8 * 1024;
/// Period of the pattern in bytes: a prime, so that a lost block is detected.
const PATTERN_PERIOD: u64 = 251;

const HANDSHAKE: &[u8] = b"GET /websocket HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\n\
Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn pattern(position: u64) -> u8 {
    (position % PATTERN_PERIOD) as u8
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Off,
    Connecting,
    /// The handshake is in progress.
    Asking,
    Open,
}

/// Reason why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    System(Errno),
    Refused,
    WrongBytes,
    Silent,
}

#[derive(Debug)]
pub struct Echo {
    held: Held,
    port: u16,
    interval: Duration,
    socket: Option<OwnedFd>,
    phase: Phase,
    handshake: Vec<u8>,
    said: u64,
    heard: u64,
    /// Time at which data arrived last.
    alive: Instant,
    /// The connection broke and is not open again yet: attempts that fail meanwhile are no further
    /// breaks.
    broken: bool,
}

impl Echo {
    /// Creates a client that has no connection yet.
    pub fn new(held: Held, port: u16, interval: Duration) -> Self {
        Self {
            held,
            port,
            interval,
            socket: None,
            phase: Phase::Off,
            handshake: Vec::new(),
            said: 0,
            heard: 0,
            alive: Instant::now(),
            broken: false,
        }
    }

    /// Returns the interval between two calls of [`Self::tick`].
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Sends a message, if the connection is open.
    pub fn tick(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Off => self.open(turn),
            Phase::Open if self.heard == self.said => {
                self.alive = turn.now;
                self.say(turn);
            }
            _ if turn.now.saturating_duration_since(self.alive) > PATIENCE => {
                self.end(End::Silent, turn);
            }
            Phase::Open if self.said - self.heard < OUTSTANDING_BYTES_MAX => self.say(turn),
            _ => {}
        }
    }

    fn open(&mut self, turn: &mut Turn<'_>) {
        self.alive = turn.now;
        (self.said, self.heard) = (0, 0);
        self.handshake.clear();
        match connect(self.port, turn) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.phase = Phase::Connecting;
            }
            Err(errno) => self.end(End::System(errno), turn),
        }
    }

    fn say(&mut self, turn: &mut Turn<'_>) {
        let mut bytes = [0; SAID_BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = pattern(self.said + at as u64);
        }
        if let Some(sent) = self.send(&bytes, turn) {
            self.said += sent as u64;
        }
    }

    fn send(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Option<usize> {
        match rustix::net::send(self.socket.as_ref()?, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => Some(sent),
            Err(Errno::AGAIN | Errno::INTR) => Some(0),
            Err(errno) => {
                self.end(End::System(errno), turn);
                None
            }
        }
    }

    /// Handles an event of the client's socket.
    pub fn ready(&mut self, flags: EventFlags, turn: &mut Turn<'_>) {
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if self.phase == Phase::Connecting && (ended || flags.contains(EventFlags::OUT)) {
            match self.socket.as_ref().map(rustix::net::sockopt::socket_error) {
                Some(Ok(Err(errno)) | Err(errno)) => return self.end(End::System(errno), turn),
                _ => self.connected(turn),
            }
        }
        if flags.contains(EventFlags::IN) || ended {
            self.read(turn);
        }
    }

    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.phase = Phase::Open;
        // The handshake fits into the empty send buffer.
        if self.held == Held::WebSocket && self.send(HANDSHAKE, turn).is_some() {
            self.phase = Phase::Asking;
        }
    }

    fn read(&mut self, turn: &mut Turn<'_>) {
        let mut bytes = [0; 4096];
        loop {
            let Some(socket) = &self.socket else {
                return;
            };
            let result = match rustix::net::recv(socket, &mut bytes[..], RecvFlags::empty()) {
                Ok((0, _)) => Err(End::Closed),
                Ok((count, _)) => self.take(&bytes[..count], turn),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => Ok(()),
                Err(errno) => Err(End::System(errno)),
            };
            if let Err(end) = result {
                return self.end(end, turn);
            }
            self.alive = turn.now;
        }
    }

    fn take(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Result<(), End> {
        if self.phase == Phase::Asking {
            self.handshake.extend_from_slice(bytes);
            let Some(end) = answer::head_end(&self.handshake) else {
                let long = self.handshake.len() > HANDSHAKE_BYTES_MAX;
                return if long { Err(End::Refused) } else { Ok(()) };
            };
            // Refuses bytes after the head, because the client has not sent any data yet.
            if self.handshake.get(9..12) != Some(b"101") || end != self.handshake.len() {
                return Err(End::Refused);
            }
            self.phase = Phase::Open;
            return Ok(());
        }
        for byte in bytes {
            if self.heard == self.said || *byte != pattern(self.heard) {
                return Err(End::WrongBytes);
            }
            self.heard += 1;
        }
        self.broken = false;
        turn.tally.echoed_bytes += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self, end: End, turn: &mut Turn<'_>) {
        self.socket = None;
        self.phase = Phase::Off;
        if std::mem::replace(&mut self.broken, true) {
            return;
        }
        let heard = self.heard;
        let how = match end {
            End::Closed => "closed".to_owned(),
            End::System(errno) => errno.to_string(),
            End::Refused => "the handshake was refused".to_owned(),
            End::WrongBytes => "wrong bytes came back".to_owned(),
            End::Silent => "nothing came back in time".to_owned(),
        };
        let name = self.held.name();
        let example = turn.example(format!("{name}: {how} after {heard} bytes"));
        turn.tally.broken(self.held, example);
    }
}
