//! Why a packet is no advert for us.

use crate::vrrp::Counter;

/// Why a packet is no advert for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It ends too early, or does not end where it should.
    #[error("malformed: {is} bytes instead of {should}")]
    Length {
        /// Bytes that it has.
        is: usize,
        /// Bytes that it should have.
        should: usize,
    },
    /// Another protocol version.
    #[error("its VRRP version is {is}")]
    Version {
        /// The received version.
        is: u8,
    },
    /// Its checksum is wrong.
    #[error("its checksum is wrong")]
    Checksum,
    /// Not an advertisement.
    #[error("malformed: its type is {is}, adverts have 1")]
    Type {
        /// The received type.
        is: u8,
    },
    /// Another virtual router.
    #[error("its virtual router id is {is}")]
    Router {
        /// The received router id.
        is: u8,
    },
    /// Nobody knows such an authentication.
    #[error("unknown authentication type {is}")]
    AuthenticationUnknown {
        /// Its number.
        is: u8,
    },
    /// The authentication types differ.
    #[error("it has {}", authentication(*.is))]
    AuthenticationMismatch {
        /// Its number: 0 none, 1 a password, 2 the authentication header.
        is: u8,
    },
    /// The password, or the sum of the authentication header, is wrong.
    #[error("wrong password or key")]
    AuthenticationFailed,
    /// Its interval is zero.
    #[error("malformed: its advert interval is zero")]
    Interval,
}

impl Refusal {
    /// The counter of keepalived's statistics that counts it.
    pub fn counter(&self) -> Counter {
        match self {
            Refusal::Length { .. } => Counter::PacketLengthErrors,
            Refusal::Version { .. } => Counter::VersionErrors,
            Refusal::Checksum => Counter::ChecksumErrors,
            Refusal::Type { .. } => Counter::InvalidType,
            Refusal::Router { .. } => Counter::VridErrors,
            Refusal::AuthenticationUnknown { .. } => Counter::InvalidAuthenticationType,
            Refusal::AuthenticationMismatch { .. } => Counter::AuthenticationTypeMismatch,
            Refusal::AuthenticationFailed => Counter::AuthenticationFailures,
            Refusal::Interval => Counter::IntervalErrors,
        }
    }
}

/// A number of authentication in words.
fn authentication(number: u8) -> &'static str {
    match number {
        0 => "no authentication",
        1 => "a password",
        2 => "an authentication header",
        _ => "an unknown authentication",
    }
}
