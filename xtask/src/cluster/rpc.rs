//! Implements the part of gRPC that requests to etcd need: one call at a time over one HTTP/2
//! connection, and messages with two kinds of fields.

use bytes::Bytes;
use h2::client::SendRequest;
use http_types::Request;
use lab::LabHost;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// Maximum size of a response in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Length of the prefix of a message: a byte for compression, and the length of the message.
const PREFIX_BYTES: usize = 5;

/// A connection to a server.
pub struct Rpc {
    sender: SendRequest<Bytes>,
    address: SocketAddr,
    // Declared after `sender`, so that the connection is dropped before the runtime.
    runtime: Runtime,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rpc({})", self.address)
    }
}

/// Reason why a call has no response.
#[derive(Debug)]
pub enum RpcError {
    Io(io::Error),
    Http(h2::Error),
    Request(http_types::Error),
    /// Timeout; the call was cancelled.
    TimedOut,
    /// The server's own status (`grpc-status`), if it sent one.
    Status(Option<u32>),
    /// No message, or one that is too long.
    Malformed,
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcError::Io(source) => source.fmt(f),
            RpcError::Http(source) => source.fmt(f),
            RpcError::Request(source) => source.fmt(f),
            RpcError::TimedOut => f.write_str("no answer in time"),
            RpcError::Status(Some(code)) => write!(f, "refused with status {code}"),
            RpcError::Status(None) => f.write_str("an answer without a status"),
            RpcError::Malformed => f.write_str("an answer that is none"),
        }
    }
}

impl std::error::Error for RpcError {}

impl From<io::Error> for RpcError {
    fn from(error: io::Error) -> Self {
        RpcError::Io(error)
    }
}

impl From<h2::Error> for RpcError {
    fn from(error: h2::Error) -> Self {
        RpcError::Http(error)
    }
}

impl Rpc {
    pub fn connect(host: &LabHost, address: SocketAddr, limit: Duration) -> Result<Rpc, RpcError> {
        let stream = host.tcp_connect(address, limit)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(async {
            let stream = TcpStream::from_std(stream)?;
            let (sender, connection) = h2::client::handshake(stream).await?;
            // The next call detects the end of the connection.
            tokio::spawn(async move { drop(connection.await) });
            Ok::<_, RpcError>(sender)
        })?;
        Ok(Rpc {
            sender,
            address,
            runtime,
        })
    }

    /// Calls a method, and returns the message of the response.
    pub fn call(
        &mut self,
        method: &str,
        message: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, RpcError> {
        let request = Request::post(format!("http://{}/{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(RpcError::Request)?;
        let mut body = Vec::with_capacity(PREFIX_BYTES + message.len());
        body.push(0);
        body.extend_from_slice(&(message.len() as u32).to_be_bytes());
        body.extend_from_slice(message);
        let sender = self.sender.clone();
        let exchange = exchange(sender, request, Bytes::from(body));
        let limited = async { tokio::time::timeout(limit, exchange).await };
        match self.runtime.block_on(limited) {
            Ok(answer) => answer,
            Err(_) => Err(RpcError::TimedOut),
        }
    }
}

async fn exchange(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Vec<u8>, RpcError> {
    let mut sender = sender.ready().await?;
    let (answer, mut sending) = sender.send_request(request, false)?;
    sending.send_data(body, true)?;
    let (head, mut body) = answer.await?.into_parts();
    let mut message = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        if message.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(RpcError::Malformed);
        }
        message.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await?;
    // Reads the status from the head if there are no trailers, as in a refusal.
    let headers = trailers.as_ref().unwrap_or(&head.headers);
    let status = headers.get("grpc-status");
    let status = status.and_then(|value| value.to_str().ok()?.parse().ok());
    match status {
        Some(0) => message
            .get(PREFIX_BYTES..)
            .map(<[u8]>::to_vec)
            .ok_or(RpcError::Malformed),
        other => Err(RpcError::Status(other)),
    }
}

/// Adds a field of bytes to a message.
pub fn put_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(message, field << 3 | 2);
    put_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

/// Parses the fields of a message, in order, up to the first field of another kind.
pub fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = Vec::new();
    while let Some(tag) = take_varint(&mut message) {
        let value = match tag & 7 {
            0 => take_varint(&mut message).map(Value::Number),
            2 => take_varint(&mut message).and_then(|bytes| {
                let (value, rest) = message.split_at_checked(usize::try_from(bytes).ok()?)?;
                message = rest;
                Some(Value::Bytes(value))
            }),
            _ => None,
        };
        match value {
            Some(value) => found.push((tag >> 3, value)),
            None => break,
        }
    }
    found
}

/// Returns the number of a field; zero, the default of the format, if the field is missing.
pub fn number(fields: &[(u64, Value<'_>)], wanted: u64) -> u64 {
    let of = |(field, value): &(u64, Value<'_>)| match value {
        Value::Number(number) if *field == wanted => Some(*number),
        _ => None,
    };
    fields.iter().find_map(of).unwrap_or_default()
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_written_and_a_broken_one_ends_them() {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, b"key");
        put_bytes(&mut message, 2, &[7; 300]);
        put_varint(&mut message, 4 << 3);
        put_varint(&mut message, u64::MAX);
        let read = fields(&message);
        assert_eq!(read[0], (1, Value::Bytes(b"key")));
        assert_eq!(read[1], (2, Value::Bytes(&[7; 300])));
        assert_eq!(number(&read, 4), u64::MAX);
        assert_eq!(number(&read, 1), 0);
        assert_eq!(fields(&message[..20]).len(), 1);
    }
}
