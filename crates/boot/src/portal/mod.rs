//! Serves the disks of a network over TCP: an iSCSI target, and NBD exports, for the machines that
//! boot from them.
//!
//! - [`keeper`] keeps a disk reachable, and returns it as a machine sees it; [`clients`] tracks
//!   the connections.
//! - [`stream`] is the byte stream of a connection, with its timeouts; [`iscsi`] and [`nbd`]
//!   serve a connection, each on a thread of its own.
//! - [`server`] owns the disks, accepts connections and decides about access.
//!
//! Neither protocol has authentication here: a disk is for the address of a machine whose image
//! names the disk, or with `open` for all addresses.

pub mod clients;
pub mod iscsi;
pub mod keeper;
pub mod nbd;
pub mod server;
pub mod stream;

pub use server::{MachineFinder, Portal, PortalConfig, PortalDiskConfig, PortalDiskStatus};
