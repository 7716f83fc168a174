//! DHCP for IPv6 (RFC 8415, and RFC 5970 for what to boot), as far as values go: what is asked, what is
//! answered and why.
//!
//! - [`option`] reads and writes options, [`relay`] the messages of relays around those of clients.
//! - [`request`] reads a packet of a client, [`reply`] writes one for it.
//! - [`desk`] decides what a client is answered. Its addresses are a [`Pool`](crate::dhcp::pool::Pool).
//! - [`advert`] is when routers advertise (RFC 4861): without that, no client asks.
//!
//! A machine is known by its card here, too, whatever identifier (DUID) its firmware or its system
//! sends: it keeps its address from boot loader to operating system. Nothing here has a socket or a
//! clock.

pub mod advert;
pub mod desk;
pub mod option;
pub mod relay;
pub mod reply;
pub mod request;

#[cfg(test)]
mod samples;
