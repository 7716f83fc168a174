//! Implements the event loop of the data plane: one single-threaded executor per thread over
//! edge-triggered epoll. All access to the sockets of the data plane uses it.
//!
//! Invariants that callers need not check:
//!
//! - A task, its sockets and its buffers stay on the thread where they started. Only wakes
//!   ([`std::task::Waker`] is `Send`) and jobs ([`inject`]) cross threads.
//! - A task that returned `Pending` is polled again after a wake, and may be polled without one:
//!   wakes are never lost, but they can be spurious.
//! - `WouldBlock` from a `try_` function means only "wait with the matching `poll_` function,
//!   then try again": the socket may be empty, or the task may have used up its budget of this poll
//!   (`COST_PER_POLL` in `executor.rs`).
//! - [`now`] changes once per turn of the event loop, not during a turn.
//! - A deadline is declared again in every poll of the future that waits for it. It therefore
//!   works in anything that polls all of its unfinished parts each time (`join!`, `select!`, h2),
//!   and not inside a `FuturesUnordered`.
//! - A panic ends its own task only.
//!
//! The event loop never does DNS, file access, signals or blocking calls, and starts no thread:
//! [`run`] occupies the thread that calls it.

mod boxed;
mod buffer;
mod clock;
mod count;
mod deadline;
mod executor;
mod inbox;
mod listener;
mod packets;
mod pipe;
mod poll;
mod scratch;
mod socket;
mod task_id;
mod timer;

#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;

pub use boxed::{PoolBox, pool_box};
pub use buffer::{Buffer, buffer_size, set_buffer_size};
pub use clock::Instant;
pub use count::{Gauge, Rate, set_shard, set_shards, shard_count, shard_here};
pub use deadline::{
    Elapsed, Sleep, WithDeadline, after, sleep, sleep_until, with_deadline, yield_now,
    yield_to_ready_tasks,
};
pub use executor::{
    charge_budget, has_budget, has_many_ready_tasks, now, panics, refused_tasks, run,
    set_end_condition, spawn, tasks, thread, wake_some,
};
pub use inbox::{RefusedJob, Why, inject, load, stop, wake_all};
pub use listener::Listener;
pub use packets::PacketFacts;
pub use pipe::{PIPES_MAX, Pipe, Pipes, pipes, set_pipes_max};
pub use scratch::{ScratchBuffer, scratch};
pub use socket::{Assumed, StreamSocket, WeakSocket};

/// Frees the memory that this thread keeps for later use. For a process that has become idle.
pub fn release_pools() {
    buffer::release_pool();
    pipe::release_pool();
    boxed::release_pool();
}

/// Maximum number of event loops in a process; thread indexes are below it.
pub const THREADS_MAX: usize = 64;
