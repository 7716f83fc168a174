//! Network boot: machines without disks of their own, which a node gives an address, a boot loader,
//! and the image that the file names for them.
//!
//! - [`config`] is what the files say, [`keyword`] how they say it.
//! - [`mac`] is the address of a network card, by which a machine is known.
//! - [`loader`] is what a machine gets first, [`assignment`] what it boots now, and [`script`] how its
//!   loader does that.
//! - [`dhcp`] gives addresses, and says what to load; [`dhcp6`] does so over IPv6.
//! - [`journal`] keeps leases on the disk, [`turns`] what was booted once, and [`history`] what each machine asked.
//! - [`content`] is what a client may fetch, whatever it fetches it with; [`source`] is a content that
//!   is open, [`counters`] is how much was fetched.
//! - [`disk`] is what stores the disks that machines use over the network, [`aoe`] disks over Ethernet.
//! - [`tftp`] is how firmware fetches files, [`http`] how boot loaders and installers do.
//! - [`site`] is one network: what all of its servers know. [`net`] is their sockets.
//! - [`link`] tells other nodes of the leases of this one.
//! - [`message`] is what operators order, and [`role`] joins all of it.
//!
//! This crate never reads a file that no section names, and never decides who runs a volume.

pub mod aoe;
pub mod assignment;
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
pub mod mac;
pub mod message;
pub mod net;
pub mod portal;
pub mod role;
pub mod script;
pub mod site;
pub mod source;
pub mod tftp;
pub mod turns;
