//! Implements a DHCP server for IPv6 (RFC 8415, and RFC 5970 for boot options) without I/O: parses
//! requests, decides about them, and writes responses.
//!
//! - [`option`] parses and encodes options, [`relay`] the relay messages around those of clients.
//! - [`request`] parses a packet of a client, [`reply`] writes the response.
//! - [`desk`] decides about requests. Its addresses are a [`Pool`](crate::dhcp::pool::Pool).
//! - [`advert`] schedules router advertisements (RFC 4861), without which no client sends a
//!   request.
//!
//! A machine is identified by its MAC address, as over IPv4, whatever identifier (DUID) its
//! firmware or its system sends: the machine keeps its address from boot loader to operating
//! system. No module here has a socket or a clock.

pub mod advert;
pub mod desk;
pub mod option;
pub mod relay;
pub mod reply;
pub mod request;

#[cfg(test)]
mod samples;
