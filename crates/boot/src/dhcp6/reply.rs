//! Describes the responses of the DHCPv6 server, and encodes a response for its client and for the
//! relays on the path (RFC 8415). No I/O.

use super::option::{self, put};
use super::relay;
use super::request::Request;
use crate::config::Ipv6Config;
use crate::dhcp::request::BootStage;
use std::net::Ipv6Addr;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dhcpv6Response {
    /// Message type of the response.
    pub verdict: Dhcpv6ResponseType,
    /// Result for each identity association of the client.
    pub grants: Vec<Grant>,
    /// Status of the whole message; None: no status option.
    pub status: Option<Dhcpv6StatusCode>,
    /// True if the exchange had two messages (Rapid Commit).
    pub is_rapid: bool,
    /// Boot file URL; None: the client loads nothing from here.
    pub file: Option<String>,
}

/// Message type of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dhcpv6ResponseType {
    /// ADVERTISE: the client may request the address.
    Advertise,
    /// REPLY: the client has the address, or its message was handled.
    Reply,
}

impl Dhcpv6ResponseType {
    /// Returns the message type as operators know it.
    pub fn word(self) -> &'static str {
        match self {
            Dhcpv6ResponseType::Advertise => "ADVERTISE",
            Dhcpv6ResponseType::Reply => "REPLY",
        }
    }

    fn code(self) -> u8 {
        match self {
            Dhcpv6ResponseType::Advertise => 2,
            Dhcpv6ResponseType::Reply => 7,
        }
    }
}

/// Result for an identity association.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Identifier of the association (IAID).
    pub id: [u8; 4],
    /// Address that the client gets; None: none.
    pub address: Option<Ipv6Addr>,
    /// Addresses that the client may no longer use; their lifetimes are zero.
    pub ended: Vec<Ipv6Addr>,
    /// Reason why the association has no address.
    pub status: Option<Dhcpv6StatusCode>,
}

/// Status code (RFC 8415, 21.13).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dhcpv6StatusCode {
    Success,
    /// NoAddrsAvail: there is no address for the client.
    NoAddress,
    /// NoBinding: this server has no such lease of the client.
    NoBinding,
    /// NotOnLink: the address is of another network.
    NotOnLink,
}

impl Dhcpv6StatusCode {
    /// Returns the status code's name in the RFC.
    pub fn word(self) -> &'static str {
        match self {
            Dhcpv6StatusCode::Success => "Success",
            Dhcpv6StatusCode::NoAddress => "NoAddrsAvail",
            Dhcpv6StatusCode::NoBinding => "NoBinding",
            Dhcpv6StatusCode::NotOnLink => "NotOnLink",
        }
    }

    fn code(self) -> u16 {
        match self {
            Dhcpv6StatusCode::Success => 0,
            Dhcpv6StatusCode::NoAddress => 2,
            Dhcpv6StatusCode::NoBinding => 3,
            Dhcpv6StatusCode::NotOnLink => 4,
        }
    }

    fn write(self, bytes: &mut Vec<u8>) {
        let data = [&self.code().to_be_bytes(), self.word().as_bytes()].concat();
        put(bytes, option::STATUS, &data);
    }
}

impl Grant {
    fn write(&self, lease_s: u32, bytes: &mut Vec<u8>) {
        let lease_s = self.address.map_or(0, |_| lease_s);
        let mut data = self.id.to_vec();
        // T1 and T2: half of the lease, and four fifths (RFC 8415, 21.4).
        data.extend((lease_s / 2).to_be_bytes());
        data.extend((lease_s / 5 * 4).to_be_bytes());
        let ended = self.ended.iter().map(|address| (*address, 0));
        let all = self.address.map(|address| (address, lease_s));
        for (address, lease_s) in all.into_iter().chain(ended) {
            let mut inside = address.octets().to_vec();
            // Preferred lifetime and valid lifetime.
            inside.extend(lease_s.to_be_bytes());
            inside.extend(lease_s.to_be_bytes());
            put(&mut data, option::IA_ADDRESS, &inside);
        }
        if let Some(status) = self.status {
            status.write(&mut data);
        }
        put(bytes, option::IA_NA, &data);
    }
}

/// Encodes a response. `server`: DUID of this server.
pub fn write(
    request: &Request,
    answer: &Dhcpv6Response,
    server: &[u8],
    six: &Ipv6Config,
    domain: Option<&str>,
) -> Vec<u8> {
    let mut bytes = vec![answer.verdict.code()];
    bytes.extend(request.xid);
    if !request.client.is_empty() {
        put(&mut bytes, option::CLIENT_ID, &request.client);
    }
    put(&mut bytes, option::SERVER_ID, server);
    if let Some(status) = answer.status {
        status.write(&mut bytes);
    }
    if answer.is_rapid {
        put(&mut bytes, option::RAPID_COMMIT, &[]);
    }
    for grant in &answer.grants {
        grant.write(six.lease_s, &mut bytes);
    }
    if let Some(file) = &answer.file {
        load(request, file, &mut bytes);
    }
    if request.asks_for(option::DNS) && !six.dns.is_empty() {
        let octets: Vec<u8> = six.dns.iter().flat_map(|one| one.octets()).collect();
        put(&mut bytes, option::DNS, &octets);
    }
    if let Some(domain) = domain.filter(|_| request.asks_for(option::DOMAINS)) {
        put(&mut bytes, option::DOMAINS, &labels(domain));
    }
    relay::wrap(&request.hops, bytes)
}

/// Appends the boot file URL. Firmware needs it even where it does not request the option.
fn load(request: &Request, file: &str, bytes: &mut Vec<u8>) {
    put(bytes, option::BOOT_FILE, file.as_bytes());
    if request.stage == BootStage::HttpFirmware {
        // Adds the vendor class HTTPClient: UEFI HTTP boot ignores offers without this class.
        let class = b"HTTPClient";
        let data = [&request.enterprise[..], &[0, class.len() as u8], class].concat();
        put(bytes, option::VENDOR_CLASS, &data);
    }
}

/// Encodes a domain as a DNS message does (RFC 1035, 3.1).
fn labels(domain: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in domain.split('.') {
        // No label of a section is longer than 63 bytes.
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests;
