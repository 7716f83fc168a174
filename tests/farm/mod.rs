//! Contains the scenarios of remote desktops, and their setup.

pub mod agents;
pub mod collections;
pub mod consoles;
pub mod desktops;
pub mod gateway;
pub mod nodes;
