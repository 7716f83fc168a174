//! What the parts of Evenkeel (the proxy, the virtual addresses, the cluster) share as
//! processes: [`role`] is how supervisor, loader, roles and commands speak to each other
//! over a [`channel`], with [`memory`] files for what is large; [`row`] says how the roles
//! differ, [`codec`] how values become bytes, [`report`] how each part shows its state.
//!
//! Nothing here knows what a part does.

pub mod channel;
pub mod codec;
pub mod entry;
pub mod guard;
pub mod link;
pub mod memory;
pub mod report;
pub mod role;
pub mod row;
pub mod state_file;
pub mod work;

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A descriptor that is kept and passed on more than once.
pub type Shared = Arc<OwnedFd>;
