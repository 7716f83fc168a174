//! Implements a DHCP server for IPv4 (RFC 2131 and 2132) without I/O: parses requests, decides
//! about them, and writes responses.
//!
//! - [`request`] parses a packet of a client, [`reply`] writes the response.
//! - [`range`] divides a range into one part per node, [`pool`] tracks which client may use which
//!   address.
//! - [`moves`] decides which leases of a part a node knows after the range or its parts changed.
//! - [`mirror`] copies the leases of a part to the nodes that do not hold it.
//! - [`desk`] decides about requests, [`loads`] selects the boot file of a client.
//! - [`attempts`] counts the requests of a client that no server answers: a node whose version no
//!   majority has confirmed answers only after enough of them.
//! - [`limit`] limits the requests per client, [`lacks`] explains why a range has no address.
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
