//! Implements protocols without IO. A protocol is a state machine that accepts bytes and the time
//! and returns bytes and the next deadline. It owns no socket, reads no clock, and gets random
//! numbers only as a seed; `clippy.toml` next to this crate's manifest refuses code that would.

pub mod bfd;
pub mod dns;
pub mod fcgi;
pub mod http2;
pub mod ldap;
pub mod nbd;
pub mod netscaler;
pub mod ntlm;
pub mod peers;
pub mod proxy_protocol;
pub mod rdp;
pub mod smtp;
pub mod socks4;
pub mod spice;
pub mod tsgu;
pub mod vitals;
pub mod vrrp;
