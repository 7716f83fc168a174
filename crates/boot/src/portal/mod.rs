//! Disks of a network by TCP: a target of iSCSI, and exports of NBD, for the machines that boot from them.
//!
//! - [`keeper`] keeps a disk within reach, and gives it to a machine; [`clients`] knows the connections that there are.
//! - [`stream`] is the bytes of a connection, with their deadlines; [`iscsi`] and [`nbd`] are what is said
//!   on it, each on a thread of its own.
//! - [`server`] joins all of it.
//!
//! Neither protocol has a login here: a disk is for the address of the machine whose image names it.

pub mod clients;
pub mod iscsi;
pub mod keeper;
pub mod nbd;
pub mod server;
pub mod stream;

pub use server::{Change, Finds, Portal, Served, Status};
