//! Defines the reasons why a VRRP packet is refused.

use crate::vrrp::Counter;

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdvertError {
    #[error("malformed: {is} bytes instead of {should}")]
    Length { is: usize, should: usize },
    #[error("its VRRP version is {is}")]
    Version { is: u8 },
    #[error("its checksum is wrong")]
    Checksum,
    #[error("malformed: its type is {is}, adverts have 1")]
    Type { is: u8 },
    #[error("its virtual router id is {is}")]
    Router { is: u8 },
    #[error("unknown authentication type {is}")]
    AuthenticationUnknown { is: u8 },
    #[error("it has {}", authentication(*.is))]
    AuthenticationMismatch {
        /// Authentication type in the packet: 0 none, 1 a password, 2 the authentication header.
        is: u8,
    },
    /// The password, or the digest of the authentication header, is wrong.
    #[error("wrong password or key")]
    AuthenticationFailed,
    #[error("malformed: its advert interval is zero")]
    Interval,
}

impl AdvertError {
    /// Returns the counter of keepalived's statistics for this reason.
    pub fn counter(&self) -> Counter {
        match self {
            AdvertError::Length { .. } => Counter::PacketLengthErrors,
            AdvertError::Version { .. } => Counter::VersionErrors,
            AdvertError::Checksum => Counter::ChecksumErrors,
            AdvertError::Type { .. } => Counter::InvalidType,
            AdvertError::Router { .. } => Counter::VridErrors,
            AdvertError::AuthenticationUnknown { .. } => Counter::InvalidAuthenticationType,
            AdvertError::AuthenticationMismatch { .. } => Counter::AuthenticationTypeMismatch,
            AdvertError::AuthenticationFailed => Counter::AuthenticationFailures,
            AdvertError::Interval => Counter::IntervalErrors,
        }
    }
}

fn authentication(number: u8) -> &'static str {
    match number {
        0 => "no authentication",
        1 => "a password",
        2 => "an authentication header",
        _ => "an unknown authentication",
    }
}
