//! TLS: certificates and who is shown which, what is negotiated, who is
//! believed, and the records of one connection. Built on rustls; no
//! cryptography of our own.

pub mod authorities;
pub mod build;
pub mod certificate;
pub mod chain;
pub mod connector;
pub mod der;
pub mod groups;
mod hostname;
pub mod ignore;
mod names;
pub mod revocation;
pub mod schemes;
pub mod suites;
pub mod verify;
pub mod versions;

pub use connector::Connector;
pub use versions::NoVersion;
