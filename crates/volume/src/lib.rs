//! Serves volumes: block devices with one replica, or with a replica on each of two nodes. The node
//! that holds the lease exports the volume. With two replicas, no acknowledged write is lost when
//! one node fails.
//!
//! - [`config`] is the configuration of volumes, and [`keyword`] parses it.
//! - [`role`] runs the volumes of this node, each on its own thread. [`report`] shows their status
//!   ([`status`], [`verified`]).
//! - [`command`] creates and removes volumes.
//! - [`attach`] attaches a volume to the host as a block device.
//! - [`copy`] sends a whole disk to a volume of another node.
//! - [`client`] is a client of NBD servers, and [`transfer`] copies whole disks with it.
//! - [`device`] opens the backing store of a replica and diagnoses faults of it.
//! - [`disk`] runs I/O operations on the backing store.
//! - [`export`] serves NBD clients.
//! - [`network`] accepts clients of other machines over TCP with TLS.
//! - [`overwrite`] is the mark of a volume that a command is overwriting.
//! - [`layout`] encodes the on-disk metadata of a replica.
//! - [`store`] writes metadata updates.
//! - [`sums`] keeps the checksums of a replica's blocks on its disk.
//! - [`replica`] is the replication state machine of one replica, without I/O.
//! - [`cli`] has the commands of operators: `evenkeel volume` and `evenkeel copy`.
//! - [`single`] runs a volume with one replica, and [`meter`] counts its I/O.
//!
//! This crate never decides which node holds the lease. It does not know what a guest or the proxy
//! uses a volume for.

pub mod attach;
pub mod cli;
pub mod client;
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
pub mod overwrite;
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
