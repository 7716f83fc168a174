//! The driver from outside: raw clients, half-broken servers, a data plane
//! between them.

mod bed;
mod exchange;
mod limits;
