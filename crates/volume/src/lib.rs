//! Volumes: a block device with a copy on each of two nodes, exported by the node that
//! holds its lease, which loses no acknowledged write.
//!
//! - [`device`] opens what a copy is stored on, and says what is wrong with it.
//! - [`disk`] does the operations on what a copy is stored on.
//! - [`export`] serves NBD clients.
//! - [`layout`] is the metadata of a copy as bytes.
//! - [`store`] writes changes of the metadata.
//! - [`replica`] is a copy of a volume and its side of the replication, as a value.
//! - [`single`] joins both for a volume with one copy.
//!
//! This crate never decides which node holds the lease, and never knows what a guest
//! or the proxy does with a volume.

pub mod device;
pub mod disk;
pub mod export;
pub mod layout;
pub mod replica;
pub mod single;
pub mod store;
