//! The state of one machine, as its parts and its proxy report it: what `evenkeel top` and the
//! console show. [`look`] is the state of all parts, [`traffic`] that of the proxy.
//!
//! The crate reads reports. It requests none and draws nothing.

pub mod look;
pub mod sample;
pub mod traffic;
