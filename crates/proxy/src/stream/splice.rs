//! Forwards bodies and tunnels that nothing inspects from one socket to the other through a
//! kernel pipe, without copying. This pays for large pieces only; while data arrives in small
//! pieces, it is copied instead.
//!
//! A transfer has a pipe only while the pipe contains bytes, so only transfers whose receivers
//! accept nothing keep one while they wait.

use super::body::{BodyFailure, Copy, IncomingBody};
use mux::link::PeerConnection;
use reactor::after;
use reactor::{Pipe, StreamSocket, with_deadline};
use std::io::ErrorKind;

/// Minimum size of a spliced piece in bytes. A smaller piece costs less as a copy than by the
/// system call that finds that no more data is available.
pub(super) const PIECE_MIN: usize = 16 * 1024;
/// Maximum size of a spliced piece in bytes.
pub(super) const PIECE_MAX: usize = 256 * 1024;

/// Returns the two sockets if both links are plain, so that bytes are forwarded unchanged.
pub(super) fn sockets<'l>(
    from: &'l PeerConnection,
    to: &'l PeerConnection,
) -> Option<(&'l StreamSocket, &'l StreamSocket)> {
    Some((from.plain()?, to.plain()?))
}

fn wanted(body: &IncomingBody) -> usize {
    match body {
        IncomingBody::Length(left) => usize::try_from(*left).unwrap_or(PIECE_MAX).min(PIECE_MAX),
        IncomingBody::UntilClose => PIECE_MAX,
        IncomingBody::Done | IncomingBody::Chunked(_) | IncomingBody::Stream(_) => 0,
    }
}

/// Returns whether the rest of a body can be spliced: nothing inspects it or inserts data, it may
/// be large, and all data received so far was sent.
pub(super) fn fits(copy: &Copy<'_>) -> bool {
    wanted(copy.body) >= PIECE_MIN
        && !copy.chunked
        && copy.encoder.is_none()
        && copy.kept.is_none()
        && copy.cache.as_ref().is_none_or(|cache| cache.is_none())
        && copy.input.as_ref().is_none_or(|input| input.is_empty())
        && sockets(copy.from, copy.to).is_some()
}

/// Splices a body for which [`fits`] is true, to its end or as long as it arrives in large pieces.
/// Returns false if copying must continue. An event that ended the splicing (end, error) is left
/// for the next read.
pub(super) async fn run(copy: &mut Copy<'_>) -> Result<bool, BodyFailure> {
    let Some((from, to)) = sockets(copy.from, copy.to) else {
        return Ok(false);
    };
    *copy.input = None;
    loop {
        let most = wanted(copy.body);
        if most < PIECE_MIN {
            return Ok(false);
        }
        with_deadline(after(copy.read_ms), from.readable())
            .await
            .map_err(|_| BodyFailure::ReadTimeout)?;
        let Some(mut pipe) = Pipe::take() else {
            return Ok(false);
        };
        let came = match pipe.fill_from(from, most) {
            // Leaves the end of the input to the next read, which gets it again.
            Ok(0) => return Ok(false),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            // Copies instead, because the socket does not support splicing.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(false),
            // Returns the error here, because a socket reports an error only once.
            Err(_) => return Err(BodyFailure::Truncated),
        };
        if let IncomingBody::Length(left) = copy.body {
            *left = left.saturating_sub(came as u64);
            if *left == 0 {
                *copy.body = IncomingBody::Done;
            }
        }
        let more = came == most && !copy.body.is_done();
        while !pipe.is_empty() {
            match pipe.drain_to(to, more) {
                Ok(n) => copy.count(n as u64),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    with_deadline(after(copy.write_ms), to.writable())
                        .await
                        .map_err(|_| BodyFailure::WriteTimeout)?;
                }
                Err(_) => return Err(BodyFailure::WriteFailed),
            }
        }
        if copy.body.is_done() {
            // Looks for unread bytes, because a connection with some is not reused.
            from.check_readable();
            return Ok(true);
        }
        if came < PIECE_MIN {
            return Ok(false);
        }
    }
}
