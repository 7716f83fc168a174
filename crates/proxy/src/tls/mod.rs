//! TLS: certificates and who is shown which, what is negotiated, who is
//! believed, and the records of one connection. Built on rustls; no
//! cryptography of our own.

pub mod acceptor;
pub mod authorities;
pub mod build;
mod bytes;
pub mod certificate;
pub mod certified;
pub mod chain;
pub mod connector;
pub mod crt_list;
mod cipher_names;
pub mod der;
pub mod describe;
pub mod groups;
mod hostname;
pub mod handshake;
pub mod hello;
pub mod ignore;
mod info;
pub mod keylog;
mod names;
pub mod ocsp;
pub mod pem;
pub mod revocation;
pub mod schemes;
pub mod sni;
pub mod store;
mod objects;
mod record;
mod session;
mod shown;
pub mod suites;
mod turn;
pub mod verify;
pub mod versions;

pub use connector::Connector;
pub use cipher_names::cipher_name;
pub use info::{Clear, Info, Offer};
pub use session::Session;
pub use shown::{Name, Shown};
pub use versions::NoVersion;
