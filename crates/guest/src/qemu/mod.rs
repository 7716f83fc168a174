//! Runs QEMU on this machine. Nothing here decides whether a guest may run.
//!
//! - [`home`] is the directory with the files of a guest.
//! - [`command`] is the command line, [`process`] the process, [`user`] the user to which the
//!   process changes, and [`group`] its control group.
//! - [`mod@volume`] has the disks, [`tap`] the network cards, and [`monitor`] the monitor
//!   connection.

pub mod command;
pub mod external;
mod filter;
pub mod group;
pub mod home;
pub mod host;
pub mod monitor;
pub mod process;
pub mod tap;
pub mod user;
pub mod volume;
