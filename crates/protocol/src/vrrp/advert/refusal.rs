//! Why a packet is no advert for us.

use crate::vrrp::Counter;
use std::fmt;

/// Why a packet is no advert for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It ends too early, or does not end where it should.
    Length {
        /// Bytes that it has.
        is: usize,
        /// Bytes that it should have.
        should: usize,
    },
    /// Another protocol version.
    Version {
        /// The received version.
        is: u8,
    },
    /// Its checksum is wrong.
    Checksum,
    /// Not an advertisement.
    Type {
        /// The received type.
        is: u8,
    },
    /// Another virtual router.
    Router {
        /// The received router id.
        is: u8,
    },
    /// Nobody knows such an authentication.
    AuthenticationUnknown {
        /// Its number.
        is: u8,
    },
    /// The authentication types differ.
    AuthenticationMismatch {
        /// Its number: 0 none, 1 a password, 2 the authentication header.
        is: u8,
    },
    /// The password, or the sum of the authentication header, is wrong.
    AuthenticationFailed,
    /// Its interval is zero.
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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Length { is, should } => {
                write!(f, "malformed: {is} bytes instead of {should}")
            }
            Refusal::Version { is } => write!(f, "its VRRP version is {is}"),
            Refusal::Checksum => f.write_str("its checksum is wrong"),
            Refusal::Type { is } => write!(f, "malformed: its type is {is}, adverts have 1"),
            Refusal::Router { is } => write!(f, "its virtual router id is {is}"),
            Refusal::AuthenticationUnknown { is } => {
                write!(f, "unknown authentication type {is}")
            }
            Refusal::AuthenticationMismatch { is } => write!(f, "it has {}", authentication(*is)),
            Refusal::AuthenticationFailed => f.write_str("wrong password or key"),
            Refusal::Interval => f.write_str("malformed: its advert interval is zero"),
        }
    }
}

impl std::error::Error for Refusal {}
