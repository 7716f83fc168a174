//! Scenarios of virtual addresses.

pub mod complaints;
pub mod hand_over;
pub mod interop;
pub mod packets;
pub mod pair;
pub mod site;
