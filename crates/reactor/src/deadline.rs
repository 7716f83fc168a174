//! Deadlines of futures. They cost a task nothing but a number: each pending
//! one declares its instant in every poll, the earliest becomes the deadline of
//! the task, and a wheel of the loop wakes the task when it comes.
//!
//! They nest by nature, since the earliest wins and each future looks for
//! itself whether its own instant has come. They never fire early.

use super::clock::Instant;
use super::executor::{self, now};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The instant came before the future was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub struct Elapsed;

/// A point so many milliseconds from now; none without a limit.
#[inline]
pub fn after(limit_ms: Option<u32>) -> Option<Instant> {
    limit_ms.map(|ms| now() + Duration::from_millis(u64::from(ms)))
}

/// Waits for `future` until `at`, or forever. What is ready in the same poll as
/// the deadline wins over it.
pub fn with_deadline<F: Future>(at: Option<Instant>, future: F) -> WithDeadline<F> {
    WithDeadline {
        at: at.unwrap_or(Instant::NEVER),
        future,
    }
}

/// The future of [`with_deadline`].
#[must_use = "futures do nothing unless polled"]
pub struct WithDeadline<F> {
    at: Instant,
    future: F,
}

impl<F: Future> Future for WithDeadline<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let at = self.at;
        // SAFETY: the future is pinned with us and is never moved out; there is
        // no Drop and no other access to the field.
        let future = unsafe { self.map_unchecked_mut(|this| &mut this.future) };
        match future.poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if has_come(at) => Poll::Ready(Err(Elapsed)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Whether `at` has come; if not, the task is woken when it does.
fn has_come(at: Instant) -> bool {
    if at == Instant::NEVER {
        return false;
    }
    if now() >= at {
        return true;
    }
    executor::want(at);
    false
}

/// Waits until `at`.
pub fn sleep_until(at: Instant) -> Sleep {
    Sleep { at }
}

/// Waits that long from [`now`].
pub fn sleep(duration: Duration) -> Sleep {
    Sleep {
        at: now() + duration,
    }
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    at: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if has_come(self.at) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Lets the other tasks that are ready run first, where they are many
/// ([`executor::crowded`]): for who has read so many bytes and is about to write.
pub async fn stand_back(read: usize) {
    if executor::crowded(read) {
        yield_now().await;
    }
}

/// Lets the other tasks that are ready run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
