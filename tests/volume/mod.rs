//! Contains the scenarios of volumes, and their setup.

pub mod admission;
pub mod anew;
pub mod complaints;
pub mod copy;
pub mod disks;
pub mod guest;
pub mod in_use;
pub mod network;
pub mod only;
pub mod orders;
pub mod overwrite;
pub mod pair;
pub mod power;
pub mod restored;
pub mod rot;
pub mod site;
pub mod usage;
pub mod verify;
