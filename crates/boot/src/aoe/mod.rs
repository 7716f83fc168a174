//! Disks over Ethernet: a server of AoE (ATA over Ethernet, revision 11), vblade's job.
//!
//! - [`frame`] is the header of every frame, [`ata`] the commands of a disk, and [`request`] what a
//!   frame asks of one target and the reply, all as values.
//! - [`queue`] orders the requests of one target, and [`bay`] carries them out.
//! - [`wire`] is the frames of an interface, and [`server`] joins all of it.
//!
//! AoE has no session and no login: every machine of the Ethernet network can use its targets. A request
//! that gets no reply is repeated by its client, so a node that cannot reach a disk says nothing of it.

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
