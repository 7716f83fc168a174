//! What the processes of Evenkeel share to speak to each other: a channel that
//! carries the messages of `part::role` with descriptors, memory files for
//! what is large, and how one process starts another of the same binary.
//!
//! Nothing here knows what a message leads to.

pub mod channel;
pub mod checks;
pub mod entry;
pub mod guard;
pub mod heart;
pub mod memory;
pub mod row;
pub mod spawn;
pub mod vitals;

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A descriptor that is kept and passed on more than once.
pub type Shared = Arc<OwnedFd>;
