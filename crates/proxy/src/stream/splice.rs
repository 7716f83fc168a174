//! Bodies and tunnels whose bytes nobody looks at: from one socket to the other
//! through a pipe of the kernel, without a copy. It pays for large pieces only:
//! what comes in small ones is copied, until it comes in large ones again.
//!
//! A pipe is held while it has bytes: so only transfers whose receivers take
//! nothing hold one across a wait.

use super::body::{Body, BodyFailure, Copy};
use mux::link::Link;
use reactor::after;
use reactor::{Pipe, Socket, with_deadline};
use std::io::ErrorKind;

/// The least that a piece should be: for less, one copy is cheaper than the
/// call that finds out that nothing more is there.
pub(super) const PIECE_MIN: usize = 16 * 1024;
/// What goes through a pipe in one piece.
pub(super) const PIECE_MAX: usize = 256 * 1024;

/// The two sockets, where bytes go out as they come in.
pub(super) fn sockets<'l>(from: &'l Link, to: &'l Link) -> Option<(&'l Socket, &'l Socket)> {
    Some((from.plain()?, to.plain()?))
}

/// How many bytes of a body may go into a pipe now.
fn wanted(body: &Body) -> usize {
    match body {
        Body::Length(left) => usize::try_from(*left).unwrap_or(PIECE_MAX).min(PIECE_MAX),
        Body::UntilClose => PIECE_MAX,
        Body::Done | Body::Chunked(_) | Body::Stream(_) => 0,
    }
}

/// Whether nobody looks at what is left of a body, or writes something between,
/// and it may be much. All that came of it has been sent.
pub(super) fn fits(copy: &Copy<'_>) -> bool {
    wanted(copy.body) >= PIECE_MIN
        && !copy.chunked
        && copy.encoder.is_none()
        && copy.kept.is_none()
        && copy.cache.as_ref().is_none_or(|cache| cache.is_none())
        && copy.input.as_ref().is_none_or(|input| input.is_empty())
        && sockets(copy.from, copy.to).is_some()
}

/// Passes a body on that [`fits`], to its end or for as long as it comes in
/// large pieces; false where it does not. What ends it is left to be read again.
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
            // A socket tells its end again to who reads it.
            Ok(0) => return Ok(false),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            // One that cannot be spliced.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(false),
            // A failure it tells only once.
            Err(_) => return Err(BodyFailure::Truncated),
        };
        if let Body::Length(left) = copy.body {
            *left = left.saturating_sub(came as u64);
            if *left == 0 {
                *copy.body = Body::Done;
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
            // A connection with bytes left is not used again.
            from.look();
            return Ok(true);
        }
        if came < PIECE_MIN {
            return Ok(false);
        }
    }
}
