//! Serves disks over Ethernet: a server of AoE (ATA over Ethernet, revision 11), like vblade.
//!
//! - [`frame`] is the header of every frame, [`ata`] the commands of a disk, and [`request`] a
//!   request to one target and its reply, all without a socket.
//! - [`queue`] orders the requests of one target, and [`bay`] executes them.
//! - [`wire`] sends and receives the frames of an interface, and [`server`] combines all of it.
//!
//! AoE has no session and no authentication: every machine of the Ethernet network can use its
//! targets. A client repeats a request that gets no reply, so a node that cannot reach a disk stays
//! silent.

pub mod ata;
pub mod bay;
pub mod frame;
pub mod queue;
pub mod request;
pub mod server;
#[cfg(test)]
mod tests;
pub mod wire;

pub use server::Server;
