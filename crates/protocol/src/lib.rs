//! Protocols as values. A protocol is a state machine which takes bytes and
//! the time and returns bytes and the next deadline. It owns no socket, reads
//! no clock, draws no random number of its own; `clippy.toml` beside this
//! crate's manifest refuses what would.

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
pub mod socks4;
pub mod spice;
pub mod tsgu;
pub mod vitals;
pub mod vrrp;
