//! Boots machines over the network that have no disks of their own: a node gives each machine an
//! address, a boot loader, and the image that the configuration names for the machine.
//!
//! - [`config`] is the configuration, [`keyword`] its syntax.
//! - [`mac`] is the MAC address, by which a machine is identified.
//! - [`loader`] selects the boot loader, [`assignment`] the image that a machine boots now, and
//!   [`script`] generates the scripts of the loaders.
//! - [`dhcp`] assigns addresses, and says what to load; [`dhcp6`] does so over IPv6.
//! - [`journal`] stores leases, [`turns`] the progress of single boots, and [`history`] remembers
//!   the requests of each machine.
//! - [`content`] is what clients may fetch; [`source`] is opened content, [`counters`] counts
//!   fetches.
//! - [`disk`] is the storage of disks that machines use over the network, [`aoe`] serves disks
//!   over Ethernet.
//! - [`tftp`] serves files to firmware, [`http`] to boot loaders and installers.
//! - [`iscsi`] handles the PDUs of iSCSI, [`portal`] serves disks over TCP by iSCSI and NBD.
//! - [`cli`] has the commands `evenkeel boot`.
//! - [`site`] is the state of one network, shared by all of its servers. [`net`] has their
//!   sockets.
//! - [`link`] copies the leases of this node to other nodes.
//! - [`message`] has the operators' orders, and [`role`] combines all of it.
//!
//! This crate never reads a file that no section names, and never decides which node runs a
//! volume.

pub mod aoe;
pub mod assignment;
pub mod cli;
pub mod config;
pub mod content;
pub mod counters;
pub mod dhcp;
pub mod dhcp6;
mod difference;
pub mod disk;
pub mod history;
pub mod http;
pub mod iscsi;
pub mod journal;
pub mod keyword;
pub mod link;
pub mod loader;
pub mod message;
pub mod net;
pub mod portal;
pub mod role;
pub mod script;
pub mod site;
pub mod source;
pub mod tftp;
pub mod turns;

pub use image::mac;
