//! Who comes in: sessions, and how often a password may be tried. Values, without I/O.

pub mod limiter;
pub mod session;
