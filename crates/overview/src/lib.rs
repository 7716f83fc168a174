//! Collects the state of one machine from the reports of its parts and the statistics of its proxy,
//! for `evenkeel top` and the console. [`look`] has the state of all parts, [`traffic`] that of the
//! proxy.
//!
//! The crate decodes reports. It requests none and draws nothing.

pub mod look;
pub mod sample;
pub mod traffic;
