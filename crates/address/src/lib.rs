//! Implements virtual addresses: VRRP decides which of several machines owns an address, and this
//! crate does everything that depends on the decision: addresses, routes and rules of the kernel,
//! announcements to neighbours, tracked objects, notifications. Two languages lead to one
//! [`config::Config`]: keepalived's ([`dialect`]) and Evenkeel's own ([`keyword`]).
//!
//! Decisions are made by [`protocol::vrrp`], which does no IO; this crate connects it to sockets,
//! the kernel and the clock. This crate knows nothing of the proxy: the number in
//! [`role::RoleInputs::vitals`] shows that an address cannot be served.

pub mod cli;
pub mod codes;
pub mod config;
pub mod dialect;
pub mod given;
pub mod kernel;
pub mod keyword;
pub mod message;
mod programs;
pub mod rights;
pub mod role;
pub mod standing;
pub mod wire;
