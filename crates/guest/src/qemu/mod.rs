//! Runs QEMU on this machine. Nothing here decides whether a guest may run.
//!
//! - [`home`] is the directory with the files of a guest.
//! - [`command`] is the command line, [`process`] the process, and [`user`] the user to which the
//!   process changes.
//! - [`mod@volume`] has the disks, [`tap`] the network cards, and [`monitor`] the monitor
//!   connection.

pub mod command;
pub mod external;
mod filter;
pub mod home;
pub mod host;
pub mod monitor;
pub mod process;
pub mod tap;
pub mod user;
pub mod volume;
