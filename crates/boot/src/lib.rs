//! Network boot: machines without disks of their own, which a node gives an address, a boot loader,
//! and the image that the file names for them.
//!
//! - [`config`] is what the files say, [`keyword`] how they say it.
//! - [`mac`] is the address of a network card, by which a machine is known.
//! - [`assignment`] is what a machine boots now, and [`script`] how its loader does that.
//! - [`journal`] keeps leases on the disk, and [`history`] what each machine asked.
//! - [`content`] is what a client may fetch, whatever it fetches it with.
//! - [`loader`] is what a machine gets first.
//! - [`dhcp`] gives addresses, and says what to load.
//! - [`tftp`] is how firmware fetches files.
//!
//! This crate never reads a file that no section names, and never decides who runs a volume.

pub mod assignment;
pub mod config;
pub mod content;
pub mod dhcp;
mod difference;
pub mod history;
pub mod journal;
pub mod keyword;
pub mod loader;
pub mod mac;
pub mod script;
pub mod tftp;
