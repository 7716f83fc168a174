//! Network boot: machines without disks of their own, which a node gives an address, a boot loader,
//! and the image that the file names for them.
//!
//! - [`config`] is what the files say, [`keyword`] how they say it.
//! - [`mac`] is the address of a network card, by which a machine is known.
//! - [`content`] is what a client may fetch, whatever it fetches it with.
//! - [`source`] is a content that is open, [`counters`] is how much was fetched.
//! - [`tftp`] is how firmware fetches files, [`http`] how boot loaders and installers do.
//!
//! This crate never reads a file that no section names, and never decides who runs a volume.

pub mod config;
pub mod content;
pub mod counters;
pub mod http;
pub mod keyword;
pub mod mac;
pub mod source;
pub mod tftp;
