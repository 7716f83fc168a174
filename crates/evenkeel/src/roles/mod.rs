//! How one process starts another of the same binary, and sees whether it lives.
//!
//! Nothing here knows what a message leads to.

pub mod checks;
pub mod heart;
pub mod spawn;
pub mod vitals;
