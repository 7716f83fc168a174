//! QEMU on this machine: where a guest's files are ([`home`]), its command line ([`command`]), its
//! process ([`process`]) and the user that this becomes ([`user`]), its disks ([`mod@volume`]), its network cards ([`tap`]) and its monitor ([`monitor`]).
//!
//! Nothing here decides whether a guest may run.

pub mod command;
pub mod external;
mod filter;
pub mod home;
pub mod monitor;
pub mod process;
pub mod tap;
pub mod user;
pub mod volume;
