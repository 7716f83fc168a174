//! TLS: certificates and who is shown which, what is negotiated, who is
//! believed, and the records of one connection. Built on rustls; no
//! cryptography of our own.

pub mod hello;
