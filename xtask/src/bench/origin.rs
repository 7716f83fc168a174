//! Implements the server behind the proxies: one thread, edge-triggered epoll, responses that are
//! built before the start.
//!
//! `GET /bench/SIZE` requires what the rules of the configuration add to a request, so a proxy that
//! skips its rules gets an error. `/plain/SIZE` requires nothing, and `/bench/text` returns words.
//! The server never allocates per request and never closes a correct connection.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use super::answer;
use super::error::BenchError;
use super::process::pin;

pub const BODY_SIZES_BYTES: [usize; 3] = [100, 16 * 1024, 1024 * 1024];
/// Longest request head; a longer one closes its connection.
const REQUEST_BYTES_MAX: usize = 2048;
/// Maximum number of connections at a time; more wait in the listen queue.
const CONNECTIONS_MAX: usize = 16 * 1024;
/// Maximum number of events that one wait returns.
const EVENTS_MAX: usize = 256;

/// Size of the response at `/bench/text`.
pub const TEXT_BYTES: usize = 16 * 1024;
/// Index of the response with the text.
const TEXT: usize = BODY_SIZES_BYTES.len();
/// Index of the response that refuses the request.
const REFUSED: usize = TEXT + 1;

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad request\r\nContent-Length: 0\r\n\r\n";

/// Returns the largest body; a smaller body is its beginning. Its period is a prime, so that a lost
/// or repeated block is detected.
pub fn body() -> Arc<[u8]> {
    let largest = BODY_SIZES_BYTES.into_iter().max().unwrap_or(0);
    (0..largest).map(|at| b'0' + (at % 61) as u8).collect()
}

/// Returns a text that can be compressed like natural text: words in an order without a period.
pub fn text() -> Arc<[u8]> {
    const WORDS: [&str; 32] = [
        "the",
        "of",
        "and",
        "to",
        "in",
        "request",
        "is",
        "server",
        "that",
        "for",
        "it",
        "answer",
        "was",
        "on",
        "are",
        "connection",
        "with",
        "as",
        "be",
        "<p>",
        "</p>",
        "at",
        "one",
        "have",
        "this",
        "from",
        "balance",
        "or",
        "had",
        "by",
        "proxy",
        "<a href=\"/\">",
    ];
    let mut text = Vec::with_capacity(TEXT_BYTES + WORDS.len());
    let mut state: u32 = 1;
    while text.len() < TEXT_BYTES {
        // Uses the multiplier of Numerical Recipes; the high bits are the most random ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Prefers words at the beginning of the list, as natural text prefers some words.
        let (first, second) = (state >> 27, state >> 22 & 31);
        text.extend_from_slice(WORDS[first.min(second) as usize].as_bytes());
        match state >> 17 & 31 {
            0 => text.extend_from_slice(format!(" {}\n", state >> 9).as_bytes()),
            _ => text.push(b' '),
        }
    }
    text.truncate(TEXT_BYTES);
    text.into()
}

/// The origin server; stops when dropped.
#[derive(Debug)]
pub struct Origin {
    pub port: u16,
    served: Arc<AtomicU64>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts the thread, on a core if one is given.
    pub fn start(body: &[u8], core: Option<usize>) -> Result<Self, BenchError> {
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
            .map_err(BenchError::system("binding the origin server"))?;
        let port = listener
            .local_addr()
            .map_err(BenchError::system(
                "asking for the port of the origin server",
            ))?
            .port();
        // Lengthens the queue of the listener: a proxy may connect faster than this thread accepts.
        rustix::net::listen(&listener, 4096).map_err(BenchError::system("listening"))?;
        listener
            .set_nonblocking(true)
            .map_err(BenchError::system("preparing the origin server"))?;
        let stop = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)
            .map_err(BenchError::system("creating an eventfd"))?;
        let stop = Arc::new(stop);
        let served = Arc::new(AtomicU64::new(0));
        let mut server = Server::new(listener, &stop, body, Arc::clone(&served))?;
        let thread = std::thread::Builder::new()
            .name("origin".to_owned())
            .spawn(move || {
                if let Err(error) = core.map_or(Ok(()), pin).and_then(|()| server.serve()) {
                    eprintln!("bench: the origin server stopped: {error}");
                }
            })
            .map_err(BenchError::system("starting the origin server"))?;
        Ok(Self {
            port,
            served,
            stop,
            thread: Some(thread),
        })
    }

    /// Returns the number of requests that were served with 200 so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Joins the thread only if it was notified; otherwise the join could wait forever.
        if rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()).is_ok()
            && let Some(thread) = self.thread.take()
        {
            drop(thread.join());
        }
    }
}

/// A connection of a proxy.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    request: [u8; REQUEST_BYTES_MAX],
    request_bytes: usize,
    /// The response being sent, as an index into the responses, and the bytes sent.
    sending: Option<(usize, usize)>,
}

/// State after a pass over a connection.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Keep,
    Close,
}

#[derive(Debug)]
struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    /// A response for each size, then the text and the refusal.
    answers: Vec<Box<[u8]>>,
    served: Arc<AtomicU64>,
}

impl Server {
    fn new(
        listener: TcpListener,
        stop: &OwnedFd,
        body: &[u8],
        served: Arc<AtomicU64>,
    ) -> Result<Self, BenchError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(BenchError::system("creating an epoll descriptor"))?;
        for (result, name) in [
            (
                epoll::add(
                    &epoll,
                    &listener,
                    EventData::new_u64(LISTENER),
                    EventFlags::IN,
                ),
                "listen",
            ),
            (
                epoll::add(&epoll, stop, EventData::new_u64(STOP), EventFlags::IN),
                "stop",
            ),
        ] {
            result.map_err(BenchError::system(if name == "stop" {
                "watching the eventfd"
            } else {
                "watching the listener"
            }))?;
        }
        let mut answers: Vec<Box<[u8]>> = BODY_SIZES_BYTES
            .iter()
            .map(|&size| answer_of(&body[..size], "application/octet-stream"))
            .collect();
        answers.push(answer_of(&text(), "text/plain"));
        answers.push(REFUSAL.into());
        Ok(Self {
            epoll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            answers,
            served,
        })
    }

    fn serve(&mut self) -> Result<(), BenchError> {
        let empty = epoll::Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        let mut events = [empty; EVENTS_MAX];
        loop {
            let count = match epoll::wait(&self.epoll, &mut events[..], None) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(BenchError::system("waiting for events")(error)),
            };
            for event in &events[..count] {
                match event.data.u64() {
                    STOP => return Ok(()),
                    LISTENER => self.accept()?,
                    token => self.pass(token as usize),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<(), BenchError> {
        while self.connections.len() - self.free.len() < CONNECTIONS_MAX {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(BenchError::system("accepting a connection")(error)),
            };
            rustix::net::sockopt::set_tcp_nodelay(&socket, true)
                .map_err(BenchError::system("setting TCP_NODELAY"))?;
            let token = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(
                &self.epoll,
                &socket,
                EventData::new_u64(token as u64),
                interest,
            )
            .map_err(BenchError::system("watching a connection"))?;
            self.connections[token] = Some(Box::new(Connection {
                socket,
                request: [0; REQUEST_BYTES_MAX],
                request_bytes: 0,
                sending: None,
            }));
        }
        Ok(())
    }

    fn pass(&mut self, token: usize) {
        let Some(Some(connection)) = self.connections.get_mut(token) else {
            return;
        };
        if connection.pass(&self.answers, &self.served) == After::Close {
            self.connections[token] = None;
            self.free.push(token);
        }
    }
}

impl Connection {
    /// Processes a connection until the socket has neither bytes nor room.
    fn pass(&mut self, answers: &[Box<[u8]>], served: &AtomicU64) -> After {
        loop {
            if let Some((index, sent)) = self.sending {
                let answer = &answers[index];
                match rustix::net::send(&self.socket, &answer[sent..], SendFlags::NOSIGNAL) {
                    Ok(more) if sent + more == answer.len() => {
                        self.sending = None;
                    }
                    Ok(more) => self.sending = Some((index, sent + more)),
                    Err(Errno::AGAIN) => return After::Keep,
                    Err(Errno::INTR) => {}
                    Err(_) => return After::Close,
                }
                continue;
            }
            if let Some(request) = Request::parse(&self.request[..self.request_bytes]) {
                self.request
                    .copy_within(request.bytes..self.request_bytes, 0);
                self.request_bytes -= request.bytes;
                self.sending = Some((request.answer, 0));
                // Counted before it is sent, so that a client that has the response sees it
                // counted.
                if request.answer != REFUSED {
                    served.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            let room = &mut self.request[self.request_bytes..];
            if room.is_empty() {
                return After::Close;
            }
            match rustix::net::recv(&self.socket, room, RecvFlags::empty()) {
                Ok((0, _)) => return After::Close,
                Ok((more, _)) => self.request_bytes += more,
                Err(Errno::AGAIN) => return After::Keep,
                Err(Errno::INTR) => {}
                Err(_) => return After::Close,
            }
        }
    }
}

/// The relevant content of a request: its length, and the index of its response.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    bytes: usize,
    answer: usize,
}

impl Request {
    /// Parses the request at the beginning of `bytes`; None if its head is incomplete.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = answer::head_end(bytes)?;
        let answer = Self::answer(&bytes[..end]).unwrap_or(REFUSED);
        Some(Self { bytes: end, answer })
    }

    fn answer(head: &[u8]) -> Option<usize> {
        let line = head.split(|&byte| byte == b'\r').next()?;
        let target = line.strip_prefix(b"GET /")?.strip_suffix(b" HTTP/1.1")?;
        let digits = if let Some(digits) = target.strip_prefix(b"bench/") {
            // The rules of the configuration add these headers.
            answer::header(head, b"x-bench").filter(|value| *value == b"rules")?;
            answer::header(head, b"x-forwarded-for")?;
            digits
        } else {
            target.strip_prefix(b"plain/")?
        };
        if digits == b"text" {
            return Some(TEXT);
        }
        let size = answer::number(digits)?;
        BODY_SIZES_BYTES
            .iter()
            .position(|&known| known as u64 == size)
    }
}

fn answer_of(body: &[u8], content_type: &str) -> Box<[u8]> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: {content_type}\r\n\
         Cache-Control: no-store\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_served_only_with_what_the_rules_add() {
        let refused = REFUSED;
        let table: &[(&str, usize)] = &[
            (
                "GET /bench/100 HTTP/1.1\r\nx-bench: rules\r\nx-forwarded-for: 127.0.0.1\r\n",
                0,
            ),
            (
                "GET /bench/16384 HTTP/1.1\r\nX-Forwarded-For: ::1\r\nX-Bench: rules\r\n",
                1,
            ),
            ("GET /bench/100 HTTP/1.1\r\nx-bench: rules\r\n", refused),
            (
                "GET /bench/100 HTTP/1.1\r\nx-forwarded-for: 127.0.0.1\r\n",
                refused,
            ),
            ("GET /plain/1048576 HTTP/1.1\r\nHost: x\r\n", 2),
            ("GET /plain/101 HTTP/1.1\r\n", refused),
            ("POST /plain/100 HTTP/1.1\r\n", refused),
        ];
        for (head, answer) in table {
            let whole = format!("{head}\r\n");
            let parsed = Request::parse(whole.as_bytes());
            assert_eq!(
                parsed,
                Some(Request {
                    bytes: whole.len(),
                    answer: *answer
                }),
                "{head}"
            );
            assert_eq!(Request::parse(head.as_bytes()), None, "{head}");
        }
    }

    #[test]
    fn an_answer_of_the_origin_satisfies_the_reader() {
        let body = body();
        for size in BODY_SIZES_BYTES {
            let expected = answer::Expected {
                body: &body[..size],
                compare: true,
                gzip: false,
            };
            let answer = answer_of(&body[..size], "text/plain");
            assert_eq!(answer::Reader::new().take(&answer, expected), Ok(true));
        }
    }
}
