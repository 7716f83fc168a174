//! Scenarios across crates: the real binary, real peers, network namespaces.

mod logs;
mod personality;
mod program;
mod proxy_protocol;
mod small_business;
