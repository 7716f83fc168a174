//! What a client is answered: a packet, written.

use super::option::{self, put};
use super::relay;
use super::request::Request;
use crate::config::Six;
use crate::dhcp::request::Stage;
use std::net::Ipv6Addr;

/// What a client is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Whether it gets what it asks for, or may ask for it.
    pub verdict: Verdict,
    /// Its addresses, for each of its associations.
    pub grants: Vec<Grant>,
    /// What became of the message.
    pub status: Option<Status>,
    /// It took two messages.
    pub is_rapid: bool,
    /// The URL of what it loads.
    pub file: Option<String>,
}

/// The kind of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may ask for it.
    Advertise,
    /// It has it, or something was done.
    Reply,
}

impl Verdict {
    /// As operators know it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Advertise => "ADVERTISE",
            Verdict::Reply => "REPLY",
        }
    }

    fn code(self) -> u8 {
        match self {
            Verdict::Advertise => 2,
            Verdict::Reply => 7,
        }
    }
}

/// What an association gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The number of the association.
    pub id: [u8; 4],
    /// The address that it has.
    pub address: Option<Ipv6Addr>,
    /// Addresses that it may not use any more.
    pub ended: Vec<Ipv6Addr>,
    /// Why it has none.
    pub status: Option<Status>,
}

/// Whether something was done (RFC 8415, 21.13).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It was.
    Success,
    /// There is no address for it.
    NoAddress,
    /// This server knows no such address of it.
    NoBinding,
    /// The address is of another network.
    NotOnLink,
}

impl Status {
    /// As operators know it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Success => "Success",
            Status::NoAddress => "NoAddrsAvail",
            Status::NoBinding => "NoBinding",
            Status::NotOnLink => "NotOnLink",
        }
    }

    fn code(self) -> u16 {
        match self {
            Status::Success => 0,
            Status::NoAddress => 2,
            Status::NoBinding => 3,
            Status::NotOnLink => 4,
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
        // RFC 8415, 21.4.
        data.extend((lease_s / 2).to_be_bytes());
        data.extend((lease_s / 5 * 4).to_be_bytes());
        let ended = self.ended.iter().map(|address| (*address, 0));
        let all = self.address.map(|address| (address, lease_s));
        for (address, lease_s) in all.into_iter().chain(ended) {
            let mut inside = address.octets().to_vec();
            // The time for new connections, and that for all.
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

/// Writes an answer. `server`: this server's identifier.
pub fn write(
    request: &Request,
    answer: &Answer,
    server: &[u8],
    six: &Six,
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

/// What a client loads. Firmware needs it also where it does not ask for it.
fn load(request: &Request, file: &str, bytes: &mut Vec<u8>) {
    put(bytes, option::BOOT_FILE, file.as_bytes());
    if request.stage == Stage::HttpFirmware {
        // UEFI takes no other offer for one of HTTP.
        let class = b"HTTPClient";
        let data = [&request.enterprise[..], &[0, class.len() as u8], class].concat();
        put(bytes, option::VENDOR_CLASS, &data);
    }
}

/// A domain as messages of DNS have it (RFC 1035, 3.1).
fn labels(domain: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in domain.split('.') {
        // No label of a section is longer than 63.
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests;
