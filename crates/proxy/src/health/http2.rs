//! The HTTP check over HTTP/2: the same question on one stream, and its answer
//! in the form in which [`super::http::judge`] reads any. It judges nothing
//! itself, and nothing but that stream is of interest to it.

use super::http::{ANSWER_MAX, Answer, judge};
use super::probe::Wire;
use crate::config::Check;
use crate::state::{CheckResult, CheckStatus};
use protocol::http2::{Connection, Event, Options, Role, StreamId};
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes read at once.
const READ_BYTES: usize = 4096;
/// Bytes that a server may send besides its answer: settings, pings.
const BYTES_MAX: usize = 16 * ANSWER_MAX;

/// Asks, and reads until there is a verdict. `up`: the server is. `secure`: TLS
/// is below.
pub(super) async fn ask(
    wire: &mut Pin<Box<dyn Wire>>,
    check: &Check,
    state: Option<&str>,
    (up, secure): (bool, bool),
) -> io::Result<CheckResult> {
    let invalid = || CheckResult::new(CheckStatus::Layer7Invalid, 0);
    let mut connection = Connection::new(Options::new(Role::Client));
    let mut asked = Asked::default();
    if !asked.send(&mut connection, check, state, secure) {
        return Ok(invalid());
    }
    let mut input = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        let output = connection.output();
        wire.write_all(output).await?;
        let written = output.len();
        connection.output_consumed(written);
        let n = match wire.read(&mut input).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && bytes > 0 => 0,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            other => other?,
        };
        bytes += n;
        asked.receive(&mut connection, &input[..n]);
        asked.ended |= n == 0 || bytes > BYTES_MAX;
        match judge(check, &asked.answer, asked.ended, up) {
            Answer::Complete(result) => return Ok(result),
            Answer::Incomplete if asked.ended => return Ok(invalid()),
            Answer::Incomplete => {}
        }
    }
}

/// A question under way.
#[derive(Default)]
struct Asked {
    stream: Option<StreamId>,
    /// What came of the answer, as HTTP/1 has it.
    answer: Vec<u8>,
    /// Its head came.
    headed: bool,
    /// No more of it comes.
    ended: bool,
}

impl Asked {
    /// Sends the question, with the fields of the file; what belongs to HTTP/1
    /// is left out. False: there is no way to ask.
    fn send(
        &mut self,
        connection: &mut Connection,
        check: &Check,
        state: Option<&str>,
        secure: bool,
    ) -> bool {
        let mut fields: Vec<(Vec<u8>, &[u8])> = vec![
            (b":method".to_vec(), check.method().as_bytes()),
            (b":scheme".to_vec(), if secure { b"https" } else { b"http" }),
        ];
        let lower = |name: &[u8]| name.to_ascii_lowercase();
        let headers = check.headers();
        let host = headers.iter().find(|(name, _)| lower(name) == b"host");
        if let Some((_, host)) = host {
            fields.push((b":authority".to_vec(), host));
        }
        fields.push((b":path".to_vec(), check.uri()));
        for (name, value) in headers {
            let name = lower(name);
            if !matches!(
                &name[..],
                b"host" | b"connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade"
            ) {
                fields.push((name, value));
            }
        }
        if let Some(state) = state {
            fields.push((b"x-haproxy-server-state".to_vec(), state.as_bytes()));
        }
        let body = check.body();
        let length = body.len().to_string();
        let has_length = fields.iter().any(|(name, _)| name == b"content-length");
        if !body.is_empty() && !has_length {
            fields.push((b"content-length".to_vec(), length.as_bytes()));
        }
        let Ok(stream) = connection.open() else {
            return false;
        };
        self.stream = Some(stream);
        let fields = fields.iter().map(|(name, value)| (&name[..], *value));
        connection
            .send_headers(stream, fields, body.is_empty())
            .is_ok()
            // A question longer than a server's first window is none.
            && (body.is_empty()
                || connection.send_data(stream, body, true).ok() == Some(body.len()))
    }

    /// Takes what the server sent.
    fn receive(&mut self, connection: &mut Connection, mut input: &[u8]) {
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
                    // Trailers have none, interim answers are not the last word.
                    if self.headed || status.is_empty() || status.starts_with(b"1") {
                        continue;
                    }
                    self.headed = true;
                    self.put(&[b"HTTP/1.1 ", status, b" \r\n"]);
                    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
                        self.put(&[name, b": ", value, b"\r\n"]);
                    }
                    self.put(&[b"\r\n"]);
                }
                Event::Data {
                    stream,
                    data,
                    end_stream,
                } => {
                    let bytes = data.len() as u32;
                    if Some(stream) == self.stream {
                        self.put(&[data]);
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

    fn put(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            let room = ANSWER_MAX.saturating_sub(self.answer.len());
            self.answer
                .extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }
}
