//! Ends streams whose server's sessions are shut down (`on-marked-down shutdown-sessions`,
//! `on-marked-up shutdown-backup-sessions`, a command of an operator). The shutdown wakes all
//! tasks; without a shutdown, a stream pays for one comparison of a number per poll.

use super::Termination;
use model::queue::ServerSlot;
use model::state::Shutdown;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Runs a future of a stream unless the sessions of the stream's server are shut down.
///
/// The caller pins the future: a future that is passed by value would be held, and copied, twice.
pub fn unless_shut<F: Future>(
    slot: &ServerSlot,
    mut part: Pin<&mut F>,
) -> impl Future<Output = Result<F::Output, Shutdown>> {
    poll_fn(move |context| match slot.shutdown() {
        Some(why) => Poll::Ready(Err(why)),
        None => part.as_mut().poll(context).map(Ok),
    })
}

/// Returns the termination state of a stream that a shutdown ends.
pub fn termination(why: Shutdown) -> Termination {
    match why {
        Shutdown::Down => Termination::ServerDown,
        Shutdown::Up => Termination::ServerUp,
        Shutdown::Killed => Termination::Killed,
    }
}
