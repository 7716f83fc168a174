//! Contains the scenarios of virtual addresses, and their setup.

pub mod complaints;
pub mod hand_over;
pub mod interop;
pub mod packets;
pub mod pair;
pub mod site;
