//! Lets futures wait until a deadline. Each pending future declares its instant in every poll,
//! the earliest becomes the deadline of the task, and a timer wheel of the event loop wakes the
//! task at that instant. So deadlines cost a task only one number.
//!
//! Deadlines can be nested, because the earliest wins and each future checks whether its own
//! instant has come. They never fire early.

use super::clock::Instant;
use super::executor::{self, now};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The deadline passed before the future completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub struct Elapsed;

/// Returns the instant `limit_ms` milliseconds from now; `None` without a limit.
#[inline]
pub fn after(limit_ms: Option<u32>) -> Option<Instant> {
    limit_ms.map(|ms| now() + Duration::from_millis(u64::from(ms)))
}

/// Waits for `future` until `at`, or forever. A future that completes in the same poll as its
/// deadline returns its result.
pub fn with_deadline<F: Future>(at: Option<Instant>, future: F) -> WithDeadline<F> {
    WithDeadline {
        at: at.unwrap_or(Instant::NEVER),
        future,
    }
}

#[must_use = "futures do nothing unless polled"]
pub struct WithDeadline<F> {
    at: Instant,
    future: F,
}

impl<F: Future> Future for WithDeadline<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let at = self.at;
        // SAFETY: the future is pinned with this struct and is never moved out; there is no Drop
        // and no other access to the field.
        let future = unsafe { self.map_unchecked_mut(|this| &mut this.future) };
        match future.poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if is_deadline_reached(at) => Poll::Ready(Err(Elapsed)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Returns whether `at` has come; if not, the task is woken at that instant.
fn is_deadline_reached(at: Instant) -> bool {
    if at == Instant::NEVER {
        return false;
    }
    if now() >= at {
        return true;
    }
    executor::declare_deadline(at);
    false
}

pub fn sleep_until(at: Instant) -> Sleep {
    Sleep { at }
}

pub fn sleep(duration: Duration) -> Sleep {
    Sleep {
        at: now() + duration,
    }
}

#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    at: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if is_deadline_reached(self.at) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Lets the other ready tasks run first when there are many (`executor::has_many_ready_tasks`). For
/// a task that has read `read` bytes and is about to write.
pub async fn yield_to_ready_tasks(read: usize) {
    if executor::has_many_ready_tasks(read) {
        yield_now().await;
    }
}

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
