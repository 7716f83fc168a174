//! Volumes: a block device with a copy on each of two nodes, exported by the node that
//! holds its lease, which loses no acknowledged write.
//!
//! - [`config`] is what a file says of volumes, and [`keyword`] reads it.
//! - [`role`] runs the volumes of this node, each on a thread of its own, and [`report`]
//!   shows how they are ([`status`], [`verified`]).
//! - [`command`] creates and removes volumes.
//! - [`attach`] makes a volume a block device of the host.
//! - [`copy`] sends a whole disk to a volume of another node.
//! - [`client`] is a client of NBD servers, and [`transfer`] copies whole disks with it.
//! - [`device`] opens what a copy is stored on, and says what is wrong with it.
//! - [`disk`] does the operations on what a copy is stored on.
//! - [`export`] serves NBD clients.
//! - [`network`] lets clients of other machines in, over TCP with TLS.
//! - [`layout`] is the metadata of a copy as bytes.
//! - [`store`] writes changes of the metadata.
//! - [`sums`] are the checksums of a copy on its disk.
//! - [`replica`] is a copy of a volume and its side of the replication, as a value.
//! - [`single`] joins both for a volume with one copy, and [`meter`] counts what it does.
//!
//! This crate never decides which node holds the lease, and never knows what a guest
//! or the proxy does with a volume.

pub mod attach;
pub mod client;
mod clock;
pub mod command;
pub mod config;
pub mod copy;
pub mod device;
pub mod disk;
pub mod export;
pub mod keyword;
pub mod layout;
pub mod link;
pub mod message;
pub mod meter;
pub mod mirror;
pub mod network;
pub mod replica;
pub mod report;
pub mod role;
pub mod single;
pub mod status;
pub mod store;
mod stream;
pub mod sums;
pub mod transfer;
pub mod verified;
