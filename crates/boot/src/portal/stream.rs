//! Reads and writes the byte stream of an iSCSI or NBD connection, with timeouts.

use crate::counters::Counting;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum silence of a client within a message, and maximum time for which it may accept no data.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Maximum silence of a client before its session has begun.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(5);
const BEGIN_MAX: Duration = Duration::from_secs(15);
const BUFFER_BYTES: usize = 64 << 10;
/// Idle time before the first TCP keep-alive probe. Probes detect a client that was switched off.
const KEEP_IDLE: Duration = Duration::from_secs(30);
const KEEP_INTERVAL: Duration = Duration::from_secs(5);

pub struct PortalConnection {
    reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
    counting: Arc<Counting>,
    /// Deadline for the start of the session; None after it.
    start_deadline: Option<Instant>,
}

impl PortalConnection {
    /// Sets the timeouts and the TCP options of a connection, and starts the deadline for the
    /// session.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn new(stream: TcpStream, counting: Arc<Counting>) -> io::Result<PortalConnection> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        set_socket_keepalive(&stream, true)?;
        set_tcp_keepidle(&stream, KEEP_IDLE)?;
        set_tcp_keepintvl(&stream, KEEP_INTERVAL)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE_AT_FIRST))?;
        let writes = stream.try_clone()?;
        Ok(PortalConnection {
            reader: BufReader::with_capacity(BUFFER_BYTES, stream),
            writer: BufWriter::with_capacity(BUFFER_BYTES, writes),
            counting,
            start_deadline: Some(Instant::now() + BEGIN_MAX),
        })
    }

    /// Restarts the deadline after a time in which the client had to wait for this node.
    pub fn waited(&mut self) {
        self.start_deadline = Some(Instant::now() + BEGIN_MAX);
    }

    /// Removes the deadline, since the session has begun, and sets the read timeout [`PATIENCE`].
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn clear_deadline(&mut self) -> io::Result<()> {
        self.start_deadline = None;
        self.reader.get_ref().set_read_timeout(Some(PATIENCE))
    }

    /// Fills `bytes` with the start of a message. Returns false if the client has a session and
    /// sends nothing for [`PATIENCE`].
    ///
    /// # Errors
    ///
    /// The connection ended, the client was silent within a message, or the session did not begin
    /// before the deadline.
    pub fn head(&mut self, bytes: &mut [u8]) -> io::Result<bool> {
        // Sends the buffered responses, unless the client's next message is in the read buffer.
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
                    return if is_late && filled == 0 && self.start_deadline.is_none() {
                        Ok(false)
                    } else {
                        Err(error)
                    };
                }
            }
        }
        Ok(true)
    }

    /// Fills `bytes`, the rest of a message that has begun.
    ///
    /// # Errors
    ///
    /// The connection ended, the client was silent, or the deadline for the session has passed.
    pub fn rest(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read_some(&mut bytes[filled..])?;
        }
        Ok(())
    }

    /// Reads the available bytes, at least one.
    ///
    /// # Errors
    ///
    /// As [`PortalConnection::rest`].
    pub fn read_some(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if self
                .start_deadline
                .is_some_and(|begins| begins <= Instant::now())
            {
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

impl Write for PortalConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.counting.send(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
