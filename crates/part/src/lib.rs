//! Provides the infrastructure that the roles of Evenkeel share as processes, such as the proxy,
//! the virtual addresses and the cluster. Supervisor, loader, roles and commands exchange the
//! messages of [`role`] over a [`channel`], with [`memory`] files for large contents. [`row`]
//! describes the differences between roles, [`codec`] encodes values, [`report`] describes the
//! state of a role.
//!
//! The crate has no knowledge of individual parts.

pub mod before;
pub mod channel;
pub mod checks;
pub mod clock;
pub mod codec;
pub mod control;
pub mod daemon;
pub mod durable;
pub mod entry;
pub mod file_set;
pub mod fnv;
pub mod guard;
pub mod health;
pub mod heart;
pub mod identity;
pub mod latency;
pub mod link;
mod lock;
pub mod mapped;
pub mod memory;
pub mod power;
pub mod report;
pub mod role;
pub mod row;
pub mod scheduling;
pub mod space;
pub mod spawn;
pub mod state_file;
pub mod status;
pub mod trace;
pub mod versions;
pub mod voice;
pub mod wake;
pub mod words;
pub mod work;

pub use language::truncated;
pub use lock::lock;

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A shared descriptor that may be sent more than once.
pub type SharedFd = Arc<OwnedFd>;
