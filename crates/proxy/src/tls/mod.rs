//! TLS: certificates and who is shown which, what is negotiated, who is
//! believed, and the records of one connection. Built on rustls; no
//! cryptography of our own.

pub mod authorities;
pub mod build;
mod bytes;
pub mod certificate;
pub mod chain;
mod cipher_names;
pub mod der;
pub mod groups;
pub mod handshake;
pub mod hello;
pub mod ignore;
mod info;
pub mod keylog;
mod names;
mod objects;
mod record;
pub mod revocation;
pub mod schemes;
mod session;
mod shown;
pub mod suites;
mod turn;
pub mod verify;
pub mod versions;

pub use cipher_names::cipher_name;
pub use info::{Clear, Info, Offer};
pub use session::Session;
pub use shown::{Name, Shown};
pub use versions::NoVersion;
