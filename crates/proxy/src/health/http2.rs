//! Sends the request of a health check over HTTP/2 on one stream, and returns the response in the
//! form of HTTP/1 for the evaluation. Other streams of the connection are ignored.

use model::check::expect::ANSWER_MAX;
use model::check::http::Request;
use protocol::http2::{Connection, Event, Http2Role, Options, StreamId};

/// Maximum number of bytes that a server may send in total, settings and pings included.
const BYTES_MAX: usize = 16 * ANSWER_MAX;

pub(super) struct Http2 {
    connection: Connection,
    stream: Option<StreamId>,
    answer: Vec<u8>,
    headed: bool,
    ended: bool,
    bytes: usize,
}

impl Http2 {
    pub(super) fn new() -> Self {
        Http2 {
            connection: Connection::new(Options::new(Http2Role::Client)),
            stream: None,
            answer: Vec::new(),
            headed: false,
            ended: false,
            bytes: 0,
        }
    }

    /// Sends the request, without the header fields that only HTTP/1 uses. `secure`: the
    /// connection uses TLS. If the request cannot be sent, the response counts as ended.
    pub(super) fn send(&mut self, request: &Request, secure: bool, out: &mut Vec<u8>) {
        (self.stream, self.headed) = (None, false);
        self.answer.clear();
        self.ended = !self.ask(request, secure);
        self.put_out(out);
    }

    fn ask(&mut self, request: &Request, secure: bool) -> bool {
        let mut fields: Vec<(&[u8], &[u8])> = vec![
            (b":method", &request.method),
            (b":scheme", if secure { b"https" } else { b"http" }),
        ];
        let host = request.fields.iter().find(|(name, _)| name == b"host");
        if let Some((_, host)) = host {
            fields.push((b":authority", host));
        }
        fields.push((b":path", &request.uri));
        for (name, value) in &request.fields {
            if !matches!(&name[..], b"host" | b"keep-alive" | b"upgrade") {
                fields.push((name, value));
            }
        }
        let body = &request.body[..];
        let length = body.len().to_string();
        if !body.is_empty() {
            fields.push((b"content-length", length.as_bytes()));
        }
        let Ok(stream) = self.connection.open() else {
            return false;
        };
        self.stream = Some(stream);
        let sent = self
            .connection
            .send_headers(stream, fields.iter().copied(), body.is_empty());
        sent.is_ok()
            // Fails if the request body does not fit into the server's initial window at once.
            && (body.is_empty()
                || self.connection.send_data(stream, body, true).ok() == Some(body.len()))
    }

    /// Processes bytes of the server; an empty slice means the end of the input.
    pub(super) fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.bytes += bytes.len();
        self.take_in(bytes);
        self.ended |= bytes.is_empty() || self.bytes > BYTES_MAX;
        self.put_out(out);
    }

    /// Takes the part of the response that has arrived since the last call; an empty one marks the
    /// end.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let answer = std::mem::take(&mut self.answer);
        (self.ended || !answer.is_empty()).then_some(answer)
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended && self.answer.is_empty()
    }

    fn put_out(&mut self, out: &mut Vec<u8>) {
        let output = self.connection.output();
        out.extend_from_slice(output);
        let written = output.len();
        self.connection.output_consumed(written);
    }

    fn take_in(&mut self, mut input: &[u8]) {
        let connection = &mut self.connection;
        loop {
            let (taken, event) = connection.receive(input, 0);
            input = input.get(taken..).unwrap_or_default();
            match event {
                Event::NeedMore => return,
                Event::Headers {
                    stream,
                    fields,
                    end_stream,
                    ..
                } if Some(stream) == self.stream => {
                    self.ended |= end_stream;
                    let status = fields.iter().find(|(name, _)| *name == b":status");
                    let status = status.map_or(&b""[..], |(_, value)| value);
                    // Trailers have no status, and interim responses (1xx) are not the final
                    // response.
                    if self.headed || status.is_empty() || status.starts_with(b"1") {
                        continue;
                    }
                    self.headed = true;
                    put(&mut self.answer, &[b"HTTP/1.1 ", status, b" \r\n"]);
                    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
                        put(&mut self.answer, &[name, b": ", value, b"\r\n"]);
                    }
                    put(&mut self.answer, &[b"\r\n"]);
                }
                Event::Data {
                    stream,
                    data,
                    end_stream,
                } => {
                    let bytes = data.len() as u32;
                    if Some(stream) == self.stream {
                        put(&mut self.answer, &[data]);
                        self.ended |= end_stream;
                    }
                    connection.consumed(stream, bytes);
                }
                Event::Reset { stream, .. } => self.ended |= Some(stream) == self.stream,
                Event::Failed(_) => {
                    self.ended = true;
                    return;
                }
                _ => {}
            }
        }
    }
}

fn put(answer: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        let room = ANSWER_MAX.saturating_sub(answer.len());
        answer.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}
