//! Who comes in: sessions, second factors, tokens, and how often somebody may try. Values, without I/O.

pub mod device;
pub mod limiter;
pub mod second_factor;
pub mod session;
pub mod token;
