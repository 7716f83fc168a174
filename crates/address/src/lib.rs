//! Virtual addresses: who of several machines owns an address, by VRRP, and all
//! that hangs on it: addresses, routes and rules of the kernel, neighbours that
//! are told, what is tracked, who is notified. Two languages lead to one
//! [`config::Config`]: keepalived's ([`dialect`]) and ours ([`keyword`]).
//!
//! What is decided is [`protocol::vrrp`], a value; here it meets sockets, the
//! kernel and the clock. This crate knows nothing of the proxy: that an address
//! cannot be served is told to it as a number ([`role::RoleInputs::vitals`]).

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
