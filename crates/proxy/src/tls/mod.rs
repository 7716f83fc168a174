//! TLS: certificates and who is shown which, what is negotiated, who is
//! believed, and the records of one connection. Built on rustls; no
//! cryptography of our own.

pub mod acceptor;
pub mod authorities;
pub mod build;
pub mod certificate;
pub mod certified;
pub mod chain;
pub mod connector;
pub mod crt_list;
pub mod der;
pub mod describe;
pub mod groups;
mod hostname;
pub mod ignore;
mod names;
pub mod ocsp;
pub mod pem;
pub mod revocation;
pub mod schemes;
pub mod sni;
pub mod store;
pub mod suites;
pub mod verify;
pub mod versions;

pub use connector::Connector;
pub use versions::NoVersion;
