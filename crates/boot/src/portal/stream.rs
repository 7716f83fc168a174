//! The bytes of a connection, with their deadlines.

use crate::counters::Counting;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a client may be silent in the middle of something, and take nothing.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may be silent at a time before its session has begun.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(5);
/// How long it may take until its session has begun.
const BEGIN_MAX: Duration = Duration::from_secs(15);
const BUFFER_BYTES: usize = 64 << 10;
/// A client that is switched off is noticed by its connection: after this, and 9 times as often again.
const KEEP_IDLE: Duration = Duration::from_secs(30);
const KEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A connection of a client.
pub struct Stream {
    reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
    counting: Arc<Counting>,
    /// When its session has to have begun.
    begins: Option<Instant>,
}

impl Stream {
    /// Takes a connection.
    ///
    /// # Errors
    /// The system's.
    pub fn new(stream: TcpStream, counting: Arc<Counting>) -> io::Result<Stream> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        set_socket_keepalive(&stream, true)?;
        set_tcp_keepidle(&stream, KEEP_IDLE)?;
        set_tcp_keepintvl(&stream, KEEP_INTERVAL)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE_AT_FIRST))?;
        let writes = stream.try_clone()?;
        Ok(Stream {
            reader: BufReader::with_capacity(BUFFER_BYTES, stream),
            writer: BufWriter::with_capacity(BUFFER_BYTES, writes),
            counting,
            begins: Some(Instant::now() + BEGIN_MAX),
        })
    }

    /// The client had to wait: its time begins now.
    pub fn waited(&mut self) {
        self.begins = Some(Instant::now() + BEGIN_MAX);
    }

    /// Its session has begun.
    ///
    /// # Errors
    /// The system's.
    pub fn has_begun(&mut self) -> io::Result<()> {
        self.begins = None;
        self.reader.get_ref().set_read_timeout(Some(PATIENCE))
    }

    /// Fills `bytes`. Returns false if the client sends nothing at all for as long as [`PATIENCE`].
    ///
    /// # Errors
    /// The connection ended, or the client was silent in the middle.
    pub fn head(&mut self, bytes: &mut [u8]) -> io::Result<bool> {
        // What was written is sent when nothing more is there to be done.
        if self.reader.buffer().len() < bytes.len() {
            self.writer.flush()?;
        }
        let mut filled = 0;
        while filled < bytes.len() {
            match self.read_some(&mut bytes[filled..]) {
                Ok(read) => filled += read,
                Err(error) => {
                    let kind = error.kind();
                    let is_late =
                        matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    return match is_late && filled == 0 && self.begins.is_none() {
                        true => Ok(false),
                        false => Err(error),
                    };
                }
            }
        }
        Ok(true)
    }

    /// Fills `bytes`, which follow what the client has begun to send.
    ///
    /// # Errors
    /// The connection ended, or the client was silent.
    pub fn rest(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read_some(&mut bytes[filled..])?;
        }
        Ok(())
    }

    /// Reads what there is, at least a byte.
    ///
    /// # Errors
    /// As [`Stream::rest`].
    pub fn read_some(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.begins.is_some_and(|begins| begins <= Instant::now()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.reader.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.counting.send(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
