//! DHCP for IPv4 (RFC 2131 and 2132), as far as values go: what is asked, what is answered and why.
//!
//! - [`request`] reads a packet of a client, [`reply`] writes one for it.
//! - [`range`] counts addresses, [`pool`] is who may use which one of a range.
//! - [`moves`] is what of its addresses a node knows when the range changes.
//! - [`mirror`] is what other nodes know of the leases of a part.
//! - [`desk`] decides what a client is answered, [`loads`] what it loads.
//! - [`attempts`] is which clients no other server answers.
//! - [`limit`] is how often one is answered, [`lacks`] why one is offered no address.
//!
//! Nothing here has a socket or a clock.

pub mod attempts;
pub mod desk;
mod holder;
pub mod lacks;
pub mod limit;
pub mod loads;
pub mod mirror;
pub mod moves;
pub mod pool;
pub mod range;
pub mod reply;
pub mod request;
mod uses;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod simulation;
