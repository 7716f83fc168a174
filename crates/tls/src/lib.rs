//! Implements TLS for the proxy: certificates and their selection, negotiation, verification, and
//! the records of a connection. Built on rustls; no cryptography of our own.

pub mod acceptor;
pub mod authorities;
pub mod build;
mod bytes;
pub mod certificate;
pub mod certified;
pub mod chain;
mod cipher_names;
pub mod connector;
mod counters;
pub mod crt_list;
pub mod der;
pub mod describe;
mod failure;
pub mod groups;
pub mod handshake;
pub mod hello;
mod hostname;
pub mod ignore;
mod info;
pub mod keylog;
mod names;
mod objects;
pub mod ocsp;
mod ocsp_text;
pub mod pem;
mod provider;
mod record;
pub mod resume;
pub mod revocation;
pub mod schemes;
mod session;
mod settings;
mod shown;
pub mod side;
pub mod sni;
pub mod store;
pub mod suites;
pub mod tickets;
pub mod transport;
mod turn;
pub mod verify;
pub mod versions;

#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;

pub use cipher_names::cipher_name;
pub use connector::Connector;
pub use counters::{Counted, TlsCounters, counters};
pub use failure::FailureCodes;
pub use info::{Clear, ClientHelloOffer, Info};

pub use ignore::constant as verify_error;
pub use pem::public_key;
pub use session::Session;
pub use settings::{
    BindTls, CertificateSource, ClientAuth, ExtraFiles, Listed, Parameters, ServerSettings,
    TicketKeys, TlsDefaults, TlsLine, TlsSide, Verify,
};
pub use shown::{CertificateFields, CertificateName};
pub use versions::{NoVersion, SpokenVersions, TlsVersion, TlsVersions};
