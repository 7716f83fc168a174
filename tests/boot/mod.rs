//! Contains the scenarios of network boot, and their setup.

pub mod cluster;
pub mod dhcp;
pub mod dhcp_site;
pub mod image;
pub mod keep;
pub mod kills;
pub mod leases;
pub mod machines;
pub mod networkd;
pub mod power;
pub mod roots;
pub mod site;
