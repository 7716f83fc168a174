//! Provides scripted HTTP/2 clients and origin servers for tests: blocking, using the protocol's
//! state machine of Evenkeel.

use crate::peer::Peer;
use protocol::http2::{Connection, ErrorCode, Event, Http2Role, Options, StreamId};
use std::collections::VecDeque;
use std::io::{Read, Write};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerEvent {
    /// A head or trailers, as lines "name: value", and whether the stream ended.
    Fields(u32, String, bool),
    /// Data, and whether the stream ended.
    Data(u32, Vec<u8>, bool),
    Reset(u32, ErrorCode),
    /// The other side no longer accepts streams.
    GoAway(ErrorCode),
    Closed,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer2 {
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
    /// Code of the reset, if the response was aborted.
    pub reset: Option<ErrorCode>,
}

impl Answer2 {
    /// Returns status and body: "200 text"; "reset" if it was aborted.
    pub fn brief(&self) -> String {
        let status = self.head.lines().next().unwrap_or_default();
        let status = status.trim_start_matches(":status: ");
        let body = String::from_utf8_lossy(&self.body);
        let end = if self.reset.is_some() { " reset" } else { "" };
        format!("{status} {body}{end}")
    }
}

pub struct Peer2 {
    peer: Peer,
    connection: Connection,
    ahead: VecDeque<PeerEvent>,
}

impl Peer2 {
    pub fn client(peer: Peer) -> Peer2 {
        Peer2::new(peer, Http2Role::Client)
    }

    pub fn origin(peer: Peer) -> Peer2 {
        Peer2::new(peer, Http2Role::Server)
    }

    fn new(peer: Peer, role: Http2Role) -> Peer2 {
        let mut options = Options::new(role);
        options.connect_protocol = true;
        let mut peer = Peer2 {
            peer,
            connection: Connection::new(options),
            ahead: VecDeque::new(),
        };
        peer.flush();
        peer
    }

    fn flush(&mut self) -> bool {
        let output = self.connection.output();
        let (n, sent) = (output.len(), self.peer.socket.write_all(output).is_ok());
        self.connection.output_consumed(n);
        sent
    }

    fn more(&mut self) {
        let mut bytes = [0; 65536];
        let n = self.peer.socket.read(&mut bytes).unwrap_or(0);
        if n == 0 {
            self.ahead.push_back(PeerEvent::Closed);
            return;
        }
        let mut input = &bytes[..n];
        loop {
            let (taken, event) = self.connection.receive(input, 0);
            input = &input[taken..];
            let seen = match event {
                Event::NeedMore => break,
                Event::Headers {
                    stream,
                    fields,
                    end_stream,
                    ..
                } => {
                    let mut text = String::new();
                    for (name, value) in fields.iter() {
                        let (name, value) = (name.escape_ascii(), value.escape_ascii());
                        text += &format!("{name}: {value}\n");
                    }
                    PeerEvent::Fields(stream.0, text, end_stream)
                }
                Event::Data {
                    stream,
                    data,
                    end_stream,
                } => {
                    let data = data.to_vec();
                    self.connection.consumed(stream, data.len() as u32);
                    PeerEvent::Data(stream.0, data, end_stream)
                }
                Event::Reset { stream, code, .. } => PeerEvent::Reset(stream.0, code),
                Event::GoAway { code, .. } => PeerEvent::GoAway(code),
                Event::Failed(error) => panic!("{error}"),
                _ => continue,
            };
            self.ahead.push_back(seen);
        }
        self.flush();
    }

    pub fn next(&mut self) -> PeerEvent {
        loop {
            if let Some(seen) = self.ahead.pop_front() {
                return seen;
            }
            self.more();
        }
    }

    /// Sends fields, as lines "name: value"; as a client on a new stream for 0.
    pub fn fields(&mut self, stream: u32, text: &str, end: bool) -> u32 {
        let id = match stream {
            0 => self.connection.open().expect("a stream"),
            number => StreamId(number),
        };
        let fields = text.lines().map(|line| {
            let at = 1 + line[1..].find(':').expect("a name");
            (&line.as_bytes()[..at], line[at + 1..].trim().as_bytes())
        });
        let _ = self.connection.send_headers(id, fields, end);
        self.flush();
        id.0
    }

    /// Requests a path of host `h`, without a body.
    pub fn get(&mut self, path: &str) -> u32 {
        self.fields(0, &request("GET", path), true)
    }

    pub fn data(&mut self, stream: u32, mut data: &[u8], end: bool) {
        loop {
            let taken = self.connection.send_data(StreamId(stream), data, end);
            data = &data[taken.expect("an open stream")..];
            self.flush();
            if data.is_empty() {
                return;
            }
            self.more();
        }
    }

    /// Delays output until our side is closed, so that both arrive in one segment.
    pub fn cork(&mut self) {
        rustix::net::sockopt::set_tcp_cork(&self.peer.socket, true).unwrap();
    }

    /// Closes our side of the whole connection.
    pub fn half_close(&mut self) {
        self.peer.half_close();
    }

    pub fn reset(&mut self, stream: u32, code: ErrorCode) {
        self.connection.reset(StreamId(stream), code);
        self.flush();
    }

    /// Returns the whole response on a stream without interim ones; events of other streams are
    /// kept.
    pub fn answer(&mut self, stream: u32) -> Answer2 {
        let mut answer = Answer2::default();
        let mut others = VecDeque::new();
        loop {
            let seen = self.next();
            let ended = match seen {
                PeerEvent::Fields(id, text, end) if id == stream => {
                    if answer.head.is_empty() || answer.head.starts_with(":status: 1") {
                        answer.head = text;
                    } else {
                        answer.trailers = text;
                    }
                    end
                }
                PeerEvent::Data(id, data, end) if id == stream => {
                    answer.body.extend(data);
                    end
                }
                PeerEvent::Reset(id, code) if id == stream => {
                    answer.reset = Some(code);
                    true
                }
                PeerEvent::Closed => panic!("closed after {answer:?}"),
                other => {
                    others.push_back(other);
                    false
                }
            };
            if ended {
                others.append(&mut self.ahead);
                self.ahead = others;
                return answer;
            }
        }
    }

    pub fn ask(&mut self, path: &str) -> String {
        let stream = self.get(path);
        self.answer(stream).brief()
    }
}

/// Returns the fields of a request for a path of host `h`.
pub fn request(method: &str, path: &str) -> String {
    format!(":method: {method}\n:scheme: http\n:authority: h\n:path: {path}\n")
}
