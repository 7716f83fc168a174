//! What the parts of Evenkeel (the proxy, the virtual addresses, the cluster) share as
//! processes: [`role`] is how supervisor, loader, roles and commands speak to each other,
//! [`codec`] how their values become bytes, [`report`] how each part shows its state.
//!
//! Nothing here knows what a part does.

pub mod codec;
pub mod report;
pub mod role;
