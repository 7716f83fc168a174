//! DHCP for IPv4 (RFC 2131 and 2132) without I/O: requests, responses and decisions.
//!
//! - [`request`] parses a packet of a client, [`reply`] writes the response.
//! - [`range`] numbers addresses, [`pool`] tracks which client may use which.
//! - [`moves`] tracks which leases a node knows when the range changes.
//! - [`mirror`] copies the leases of a part to other nodes.
//! - [`desk`] decides about requests, [`loads`] selects what a client loads.
//! - [`attempts`] tracks clients that no other server answers.
//! - [`limit`] is the rate limit of clients, [`lacks`] explains why a range has no address.
//!
//! No module here has a socket or a clock.

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
