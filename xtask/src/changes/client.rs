//! Implements an HTTP client: sends each request when it is due, over a kept connection or a new
//! one each.
//!
//! The client never retries: a sent request gets a response, or has failed. A kept connection that
//! ends without a request in progress is counted separately: as announced if the last response
//! contained `Connection: close`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::bench::answer;

use super::tally::RequestFailure;
use super::turn::Turn;

pub const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum number of bytes that one read returns.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Longest head of a response.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Requests of a client: path and interval.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The proxy's port on 127.0.0.1.
    pub port: u16,
    /// Name of the site in the requests.
    pub host: &'static str,
    /// Body of every response; its length is in the path.
    pub body: Arc<[u8]>,
    /// A connection serves one request after the other.
    pub keep_alive: bool,
    pub interval: Duration,
    /// A request that could not begin when it was due is sent later, and its latency counts from
    /// its due time.
    pub catch_up: bool,
    pub name: &'static str,
}

impl Errand {
    fn request(&self) -> Vec<u8> {
        let connection = if self.keep_alive {
            ""
        } else {
            "Connection: close\r\n"
        };
        format!(
            "GET /plain/{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: changes\r\n{connection}\r\n",
            self.body.len(),
            self.host
        )
        .into_bytes()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Off,
    Connecting,
    Waiting,
    /// The response is complete, but the connection has not ended yet.
    Ending,
    Idle,
}

#[derive(Debug)]
pub struct Client {
    errand: Errand,
    request: Vec<u8>,
    socket: Option<OwnedFd>,
    phase: Phase,
    /// The part of the response received so far.
    answer: Vec<u8>,
    /// Position of the body, once the head is complete.
    head_bytes: Option<usize>,
    /// Due time and start of the request in progress.
    due: Instant,
    began: Instant,
    /// Requests that became due while another one was in progress.
    behind: u32,
    /// The connection has carried a response.
    served: bool,
}

impl Client {
    /// Creates a client that has no connection yet.
    pub fn new(errand: Errand) -> Self {
        let now = Instant::now();
        Self {
            request: errand.request(),
            errand,
            socket: None,
            phase: Phase::Off,
            answer: Vec::new(),
            head_bytes: None,
            due: now,
            began: now,
            behind: 0,
            served: false,
        }
    }

    /// Returns the interval between two calls of [`Self::tick`].
    pub fn interval(&self) -> Duration {
        self.errand.interval
    }

    /// Starts a request if none is in progress; otherwise notes that one is due.
    pub fn tick(&mut self, due: Instant, turn: &mut Turn<'_>) {
        if matches!(self.phase, Phase::Off | Phase::Idle) {
            self.begin(due, turn);
            return;
        }
        if turn.now.saturating_duration_since(self.began) > PATIENCE {
            match self.phase {
                // The response was complete; only the end of the connection is missing.
                Phase::Ending => self.leave(),
                _ => self.fail(RequestFailure::Timeout, turn),
            }
            self.behind = 0;
        }
        if self.errand.catch_up {
            self.behind = self.behind.saturating_add(1);
        }
    }

    fn begin(&mut self, due: Instant, turn: &mut Turn<'_>) {
        self.due = due;
        self.began = turn.now;
        self.answer.clear();
        self.head_bytes = None;
        if self.phase == Phase::Idle {
            // An end of the connection that was not read yet is not a failure of a request.
            if self.still_open() {
                return self.send(turn);
            }
            self.end_of_idle(turn);
        }
        match connect(self.errand.port, turn) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.phase = Phase::Connecting;
                self.served = false;
            }
            Err(errno) => self.fail(kind(errno), turn),
        }
    }

    fn still_open(&self) -> bool {
        let look = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let looked = |socket| rustix::net::recv(socket, &mut [0; 1][..], look);
        let result = self.socket.as_ref().map(looked);
        matches!(result, Some(Err(Errno::AGAIN | Errno::INTR)))
    }

    fn send(&mut self, turn: &mut Turn<'_>) {
        let Some(socket) = &self.socket else {
            return;
        };
        // Treats a short write as an error, because a request is far smaller than the empty send
        // buffer.
        match rustix::net::send(socket, &self.request, SendFlags::NOSIGNAL) {
            Ok(bytes) if bytes == self.request.len() => self.phase = Phase::Waiting,
            Ok(_) => self.fail(RequestFailure::System, turn),
            Err(errno) => self.fail(kind(errno), turn),
        }
    }

    /// Handles an event of the client's socket.
    pub fn ready(&mut self, flags: EventFlags, turn: &mut Turn<'_>) {
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let readable = flags.contains(EventFlags::IN) || ended;
        match self.phase {
            Phase::Off => {}
            Phase::Connecting if flags.contains(EventFlags::OUT) || ended => {
                match self.socket.as_ref().map(rustix::net::sockopt::socket_error) {
                    Some(Ok(Ok(()))) => self.send(turn),
                    Some(Ok(Err(errno)) | Err(errno)) => self.fail(kind(errno), turn),
                    None => {}
                }
            }
            Phase::Waiting | Phase::Ending if readable => self.read(turn),
            Phase::Idle if readable => self.end_of_idle(turn),
            _ => {}
        }
    }

    /// Handles bytes or the end on an idle connection, which is closed in both cases.
    fn end_of_idle(&mut self, turn: &mut Turn<'_>) {
        let example = turn.example(format!("{}: idle connection closed", self.errand.name));
        turn.tally.idle_end(example);
        self.leave();
    }

    fn leave(&mut self) {
        self.socket = None;
        self.phase = Phase::Off;
    }

    fn fail(&mut self, failure: RequestFailure, turn: &mut Turn<'_>) {
        let failure = match failure {
            RequestFailure::Closed if !self.answer.is_empty() => RequestFailure::Cut,
            other => other,
        };
        let example = turn.example(format!(
            "{}: {}, {}",
            self.errand.name,
            failure.name(),
            if self.served {
                "on a kept connection"
            } else {
                "on a new connection"
            },
        ));
        turn.tally.failed(failure, example);
        self.leave();
        self.catch_up(turn);
    }

    /// Starts a request at once if one became due while another was in progress.
    fn catch_up(&mut self, turn: &mut Turn<'_>) {
        // At most one call deep, because a failure to connect decreases the count, too.
        if self.behind > 0 && matches!(self.phase, Phase::Off | Phase::Idle) {
            self.behind -= 1;
            let due = self.due + self.errand.interval;
            self.begin(due.min(turn.now), turn);
        }
    }

    fn read(&mut self, turn: &mut Turn<'_>) {
        loop {
            let Some(socket) = &self.socket else {
                return;
            };
            let before = self.answer.len();
            self.answer.resize(before + READ_BYTES_MAX, 0);
            let room = &mut self.answer[before..];
            let result = rustix::net::recv(socket, room, RecvFlags::empty());
            let bytes = result.map_or(0, |(bytes, _)| bytes);
            self.answer.truncate(before + bytes);
            match result {
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => continue,
                // The response is complete: how the connection ends does not matter.
                Ok((0, _)) | Err(_) if self.phase == Phase::Ending => return self.leave(),
                Ok((0, _)) => return self.fail(RequestFailure::Closed, turn),
                Err(errno) => return self.fail(kind(errno), turn),
                Ok(_) => {}
            }
            match self.whole() {
                Ok(false) => {}
                Ok(true) if self.phase == Phase::Ending => {}
                Ok(true) => self.complete(turn),
                Err(failure) => return self.fail(failure, turn),
            }
            if self.phase == Phase::Idle {
                return;
            }
        }
    }

    /// Returns whether the response is complete and correct.
    fn whole(&mut self) -> Result<bool, RequestFailure> {
        let head_bytes = match self.head_bytes {
            Some(bytes) => bytes,
            None => {
                let searched = &self.answer[..self.answer.len().min(HEAD_BYTES_MAX)];
                match answer::head_end(searched) {
                    Some(end) => {
                        verify(&self.answer[..end], self.errand.body.len())?;
                        self.head_bytes = Some(end);
                        end
                    }
                    None if searched.len() == HEAD_BYTES_MAX => {
                        return Err(RequestFailure::WrongBody);
                    }
                    None => return Ok(false),
                }
            }
        };
        let body = &self.answer[head_bytes..];
        if body.len() < self.errand.body.len() {
            return Ok(false);
        }
        if *body == *self.errand.body {
            Ok(true)
        } else {
            Err(RequestFailure::WrongBody)
        }
    }

    fn complete(&mut self, turn: &mut Turn<'_>) {
        let latency = turn.now.saturating_duration_since(self.due);
        let at = turn.at();
        turn.tally.good(at, latency, self.errand.catch_up);
        self.served = true;
        let head = &self.answer[..self.head_bytes.unwrap_or(0)];
        if !self.errand.keep_alive {
            self.phase = Phase::Ending;
        } else if announces_close(head) {
            turn.tally.closed_announced += 1;
            self.leave();
        } else {
            self.phase = Phase::Idle;
        }
        self.catch_up(turn);
    }
}

fn verify(head: &[u8], body_bytes: usize) -> Result<(), RequestFailure> {
    let status = head.get(9..12).and_then(answer::number);
    match status {
        Some(200) => {}
        Some(500..) => return Err(RequestFailure::ServerError),
        Some(_) => return Err(RequestFailure::Status),
        None => return Err(RequestFailure::WrongBody),
    }
    match answer::header(head, b"content-length").and_then(answer::number) {
        Some(length) if length == body_bytes as u64 => Ok(()),
        _ => Err(RequestFailure::WrongBody),
    }
}

fn announces_close(head: &[u8]) -> bool {
    answer::header(head, b"connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"))
}

/// Returns the kind of failure that an errno means to a client.
pub fn kind(errno: Errno) -> RequestFailure {
    match errno {
        Errno::CONNREFUSED => RequestFailure::Refused,
        Errno::CONNRESET | Errno::PIPE => RequestFailure::Reset,
        Errno::TIMEDOUT => RequestFailure::Timeout,
        _ => RequestFailure::System,
    }
}

/// Opens a connection to `port`, watched under the turn's token.
pub fn connect(port: u16, turn: &mut Turn<'_>) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    turn.watch(&socket)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_judged_by_status_and_length() {
        let table: &[(&[u8], Result<(), RequestFailure>)] = &[
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Ok(())),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
                Err(RequestFailure::WrongBody),
            ),
            (b"HTTP/1.1 200 OK\r\n\r\n", Err(RequestFailure::WrongBody)),
            (b"HTTP/1.1 503 No\r\n\r\n", Err(RequestFailure::ServerError)),
            (b"HTTP/1.1 404 No\r\n\r\n", Err(RequestFailure::Status)),
            (b"nonsense", Err(RequestFailure::WrongBody)),
        ];
        for (head, result) in table {
            assert_eq!(verify(head, 5), *result, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn only_a_close_that_is_said_is_announced() {
        assert!(announces_close(
            b"HTTP/1.1 200 OK\r\nconnection: Close\r\n\r\n"
        ));
        assert!(!announces_close(
            b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n"
        ));
        assert!(!announces_close(b"HTTP/1.1 200 OK\r\n\r\n"));
    }
}
