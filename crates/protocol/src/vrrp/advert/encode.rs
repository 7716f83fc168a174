//! Encodes VRRP adverts for sending, with their checksum and authentication data.

use super::super::checksum::Sum;
use super::{
    ADDRESSES_MAX, ADVERTISEMENT, AUTHENTICATION_BYTES, Advert, HEADER_BYTES, PROTOCOL,
    centiseconds, seconds,
};
use crate::vrrp::{Authentication, VrrpVersion};
use std::net::IpAddr;

const CHECKSUM: std::ops::Range<usize> = 6..8;

impl Advert {
    /// Encodes the packet without its IP header, with the addresses of the family of `from`. The
    /// checksum of version 3 covers `from` and `to`; that of version 2 does not. With
    /// `old_unicast_checksum` (keepalived up to 1.3.6), version 3 covers the multicast group
    /// instead of the peer: then `to` is [`super::GROUP_V4`].
    pub fn encode(&self, from: IpAddr, to: IpAddr) -> Vec<u8> {
        let named = self.addresses.iter();
        let named = named.filter(|a| a.is_ipv4() == from.is_ipv4());
        let named: Vec<&IpAddr> = named.take(ADDRESSES_MAX).collect();
        let mut out = Vec::with_capacity(HEADER_BYTES + named.len() * 16 + AUTHENTICATION_BYTES);
        let [upper, lower] = match self.version {
            VrrpVersion::V2 => [self.authentication_type(), seconds(self.interval)],
            VrrpVersion::V3 => centiseconds(self.interval).to_be_bytes(),
        };
        let first = self.version_number() << 4 | ADVERTISEMENT;
        // The count fits into a byte: there are at most ADDRESSES_MAX addresses.
        out.extend([first, self.vrid, self.priority, named.len() as u8]);
        out.extend([upper, lower, 0, 0]);
        for address in named {
            match address {
                IpAddr::V4(v4) => out.extend(v4.octets()),
                IpAddr::V6(v6) => out.extend(v6.octets()),
            }
        }
        if self.version == VrrpVersion::V2 {
            out.extend(self.authentication_data());
        }
        let sum = match self.version {
            VrrpVersion::V2 => Sum::default(),
            VrrpVersion::V3 => Sum::default().with_pseudo_header(from, to, PROTOCOL, out.len()),
        };
        let checksum = sum.with(&out).checksum();
        if let Some(field) = out.get_mut(CHECKSUM) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
        out
    }

    fn version_number(&self) -> u8 {
        match self.version {
            VrrpVersion::V2 => 2,
            VrrpVersion::V3 => 3,
        }
    }

    fn authentication_type(&self) -> u8 {
        match self.authentication {
            None => 0,
            Some(Authentication::Pass(_)) => 1,
            Some(Authentication::Ah(_)) => 2,
        }
    }

    /// Returns the password, or zeroes: the authentication header precedes the packet.
    fn authentication_data(&self) -> [u8; AUTHENTICATION_BYTES] {
        match self.authentication {
            Some(Authentication::Pass(password)) => password,
            Some(Authentication::Ah(_)) | None => [0; AUTHENTICATION_BYTES],
        }
    }
}
