//! Writes to a client or server connection, waiting for space if necessary.

use reactor::{Elapsed, after, with_deadline};
use std::io::{self, IoSlice};
use tls::transport::ConnectionTransport;

/// Reason why bytes were not written.
#[derive(Debug)]
pub enum WriteFailure {
    Timeout,
    Failed(io::Error),
}

impl From<Elapsed> for WriteFailure {
    fn from(_: Elapsed) -> Self {
        WriteFailure::Timeout
    }
}

impl From<WriteFailure> for io::Error {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Timeout => io::ErrorKind::TimedOut.into(),
            WriteFailure::Failed(error) => error,
        }
    }
}

/// Writes all of `data`. `limit` is the timeout in milliseconds of each wait for the peer.
///
/// # Errors
/// `Timeout` if a wait exceeds `limit`. `Failed` with the error of the transport.
pub async fn write_all(
    socket: &ConnectionTransport,
    data: &[u8],
    limit: Option<u32>,
) -> Result<(), WriteFailure> {
    write_before(socket, data, false, limit).await
}

/// Does the same as [`write_all`]. `more` announces that other bytes follow at once.
async fn write_before(
    socket: &ConnectionTransport,
    mut data: &[u8],
    more: bool,
    limit: Option<u32>,
) -> Result<(), WriteFailure> {
    while !data.is_empty() {
        match socket.try_write_before(data, more) {
            Ok(n) => data = &data[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                with_deadline(after(limit), socket.writable()).await?;
            }
            Err(error) => return Err(WriteFailure::Failed(error)),
        }
    }
    if !socket.is_flushed() {
        flush(socket, limit).await?;
    }
    Ok(())
}

/// Waits until all written bytes are in the kernel. TLS may hold the rest of its records.
async fn flush(socket: &ConnectionTransport, limit: Option<u32>) -> Result<(), WriteFailure> {
    let flushed = with_deadline(after(limit), socket.flushed()).await?;
    flushed.map_err(WriteFailure::Failed)
}

/// Writes all pieces, in one system call if there is space. `more` announces that other bytes
/// follow at once, so that the last segment can be filled.
///
/// # Errors
/// As [`write_all`].
pub async fn write_pieces<const N: usize>(
    socket: &ConnectionTransport,
    pieces: [&[u8]; N],
    more: bool,
    limit: Option<u32>,
) -> Result<(), WriteFailure> {
    let mut slices = pieces.map(IoSlice::new);
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while let [first, rest @ ..] = &*left {
        if rest.iter().all(|slice| slice.is_empty()) {
            // Uses the shorter code path of the kernel for a single piece.
            return write_before(socket, first, more, limit).await;
        }
        match socket.try_write_vectored_before(left, more) {
            Ok(n) => IoSlice::advance_slices(&mut left, n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                with_deadline(after(limit), socket.writable()).await?;
            }
            Err(error) => return Err(WriteFailure::Failed(error)),
        }
    }
    if !socket.is_flushed() {
        flush(socket, limit).await?;
    }
    Ok(())
}
