//! Parses DHCPv6 messages of clients, also inside relay messages: checks their identifiers, and
//! finds the MAC address, the boot stage and the requested addresses and options.

use super::option::{self, Options};
use super::relay::{self, RelayHop};
use crate::dhcp::request::BootStage;
use crate::mac::Mac;
use std::net::Ipv6Addr;
use thiserror::Error;

/// Longest DUID, bytes (RFC 8415, 11.1: a type, and at most 128).
const DUID_MAX: usize = 130;
/// Maximum number of associations of a message that are considered, and of addresses of each.
const ASSOCIATIONS_MAX: usize = 8;
/// Maximum number of requested options that are considered.
const WANTED_MAX: usize = 64;
/// DUID type DUID-LLT, which contains a MAC address and a time (RFC 8415, 11.2).
const WITH_TIME: [u8; 2] = [0, 1];
const WITH_CARD: [u8; 2] = [0, 3];

/// Reason for which a packet is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Dhcpv6PacketError {
    /// Shorter than a DHCPv6 message, or inside a malformed relay message.
    #[error("broken, or from too many relays")]
    Broken,
    /// A message type that servers do not receive.
    #[error("a DHCPv6 message that no server is sent")]
    Kind,
    /// A required identifier is missing, or a forbidden one is present (RFC 8415, 16).
    #[error("without an identifier that it needs, or with one that it may not have")]
    Identifiers,
    /// The MAC address of the client is unknown.
    #[error("from a machine whose card is not known")]
    Card,
}

/// DHCPv6 message type (RFC 8415, 7.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dhcpv6MessageType {
    /// SOLICIT: the client looks for servers.
    Solicit,
    /// REQUEST: the client requests an address.
    Request,
    /// CONFIRM: the client asks whether its address is still on-link.
    Confirm,
    /// RENEW: the client wants to keep its address, from the server that assigned it.
    Renew,
    /// REBIND: the client wants to keep its address, from any server.
    Rebind,
    /// RELEASE: the client no longer needs the address.
    Release,
    /// DECLINE: another host uses the address.
    Decline,
    /// INFORMATION-REQUEST: the client needs no address, only the other parameters.
    Information,
}

impl Dhcpv6MessageType {
    fn of(code: u8) -> Option<Dhcpv6MessageType> {
        Some(match code {
            1 => Dhcpv6MessageType::Solicit,
            3 => Dhcpv6MessageType::Request,
            4 => Dhcpv6MessageType::Confirm,
            5 => Dhcpv6MessageType::Renew,
            6 => Dhcpv6MessageType::Rebind,
            8 => Dhcpv6MessageType::Release,
            9 => Dhcpv6MessageType::Decline,
            11 => Dhcpv6MessageType::Information,
            _ => return None,
        })
    }

    /// Returns the message type as operators know it.
    pub fn word(self) -> &'static str {
        match self {
            Dhcpv6MessageType::Solicit => "SOLICIT",
            Dhcpv6MessageType::Request => "REQUEST",
            Dhcpv6MessageType::Confirm => "CONFIRM",
            Dhcpv6MessageType::Renew => "RENEW",
            Dhcpv6MessageType::Rebind => "REBIND",
            Dhcpv6MessageType::Release => "RELEASE",
            Dhcpv6MessageType::Decline => "DECLINE",
            Dhcpv6MessageType::Information => "INFORMATION-REQUEST",
        }
    }

    /// Returns whether a message has the identifiers that it needs, and none that it must not
    /// have (RFC 8415, 16).
    fn fits(self, has_client: bool, has_server: bool, has_associations: bool) -> bool {
        match self {
            Dhcpv6MessageType::Solicit | Dhcpv6MessageType::Confirm | Dhcpv6MessageType::Rebind => {
                has_client && !has_server
            }
            Dhcpv6MessageType::Request
            | Dhcpv6MessageType::Renew
            | Dhcpv6MessageType::Release
            | Dhcpv6MessageType::Decline => has_client && has_server,
            Dhcpv6MessageType::Information => !has_associations,
        }
    }
}

/// Identity association: addresses of one interface of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Association {
    /// Identifier of the association (IAID).
    pub id: [u8; 4],
    /// Addresses that the client has or requests.
    pub addresses: Vec<Ipv6Addr>,
}

/// DHCPv6 message of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub kind: Dhcpv6MessageType,
    /// Transaction ID, by which the client recognizes the response.
    pub xid: [u8; 3],
    /// MAC address of the client.
    pub mac: Mac,
    /// Program that sends the request.
    pub stage: BootStage,
    /// Client architecture (RFC 5970 and IANA's list).
    pub architecture: Option<u16>,
    /// Client DUID; empty: the message has none.
    pub client: Vec<u8>,
    /// DUID of the server that the message names.
    pub server: Option<Vec<u8>>,
    /// Identity associations for which the client requests addresses.
    pub associations: Vec<Association>,
    /// True if the client requests an exchange of two messages (Rapid Commit).
    pub is_rapid: bool,
    /// Codes of the options that the client requests.
    pub wants: Vec<u16>,
    /// Enterprise number in the vendor class, as IANA assigns them.
    pub enterprise: [u8; 4],
    /// Relays that the message passed, the nearest to this server first.
    pub hops: Vec<RelayHop>,
}

impl Request {
    /// Parses a packet. `from`: the address of its sender. `card`: the MAC address of its sender,
    /// where that is known.
    ///
    /// # Errors
    ///
    /// The packet is malformed or of a type that no server receives, has wrong identifiers, or the
    /// MAC address of the client is unknown.
    pub fn read(
        packet: &[u8],
        from: Ipv6Addr,
        card: Option<Mac>,
    ) -> Result<Request, Dhcpv6PacketError> {
        let (hops, message) = relay::read(packet).ok_or(Dhcpv6PacketError::Broken)?;
        let (head, options) = message
            .split_first_chunk::<4>()
            .ok_or(Dhcpv6PacketError::Broken)?;
        let [code, xid @ ..] = *head;
        let kind = Dhcpv6MessageType::of(code).ok_or(Dhcpv6PacketError::Kind)?;
        let options = Options(options);
        let client = options.find(option::CLIENT_ID).unwrap_or_default();
        let server = options.find(option::SERVER_ID);
        let is_long = |duid: &[u8]| duid.len() > DUID_MAX;
        if is_long(client) || server.is_some_and(is_long) {
            return Err(Dhcpv6PacketError::Broken);
        }
        let associations = associations(options);
        if !kind.fits(
            !client.is_empty(),
            server.is_some(),
            !associations.is_empty(),
        ) {
            return Err(Dhcpv6PacketError::Identifiers);
        }
        let of_sender = match hops.last() {
            Some(hop) => hop.card.or_else(|| relay::card_of(hop.peer)),
            None => card.or_else(|| relay::card_of(from)),
        };
        let mac = of_sender.or_else(|| card_of(client));
        let words = options.find(option::WANTED).unwrap_or_default();
        Ok(Request {
            kind,
            xid,
            mac: mac.ok_or(Dhcpv6PacketError::Card)?,
            stage: stage(options),
            architecture: options.find(option::ARCHITECTURES).and_then(first_word),
            client: client.to_vec(),
            server: server.map(<[u8]>::to_vec),
            associations,
            is_rapid: options.find(option::RAPID_COMMIT).is_some(),
            wants: words
                .chunks_exact(2)
                .take(WANTED_MAX)
                .filter_map(first_word)
                .collect(),
            enterprise: options
                .find(option::VENDOR_CLASS)
                .and_then(|class| class.first_chunk().copied())
                .unwrap_or_default(),
            hops,
        })
    }

    /// Returns whether a client requests an option.
    pub fn asks_for(&self, code: u16) -> bool {
        self.wants.contains(&code)
    }
}

fn first_word(data: &[u8]) -> Option<u16> {
    data.first_chunk().map(|word| u16::from_be_bytes(*word))
}

/// Returns the MAC address in a client's DUID.
fn card_of(duid: &[u8]) -> Option<Mac> {
    let (kind, rest) = duid.split_first_chunk()?;
    match *kind {
        WITH_CARD => relay::card(rest),
        WITH_TIME => {
            let (hardware, card) = (rest.get(..2)?, rest.get(6..)?);
            relay::card(&[hardware, card].concat())
        }
        _ => None,
    }
}

fn associations(options: Options<'_>) -> Vec<Association> {
    let all = options.filter(|(code, _)| *code == option::IA_NA);
    let read = |(_, data): (u16, &[u8])| {
        let id = *data.first_chunk()?;
        // Skips T1 and T2, which the server sets, to get to the options of the association.
        let inside = Options(data.get(12..)?);
        let addresses = inside.filter(|(code, _)| *code == option::IA_ADDRESS);
        let addresses = addresses.filter_map(|(_, data)| option::address(data));
        Some(Association {
            id,
            addresses: addresses.take(ASSOCIATIONS_MAX).collect(),
        })
    };
    all.filter_map(read).take(ASSOCIATIONS_MAX).collect()
}

/// Returns the program that sends the request, by its user class and its vendor class.
fn stage(options: Options<'_>) -> BootStage {
    let has = |class: &[u8], word: &[u8]| class.windows(word.len()).any(|part| part == word);
    let user = options.find(option::USER_CLASS).unwrap_or_default();
    if has(user, b"iPXE") {
        return BootStage::Ipxe;
    }
    // Skips the enterprise number and the length of the class.
    let vendor = options
        .find(option::VENDOR_CLASS)
        .and_then(|class| class.get(6..));
    match vendor.unwrap_or_default() {
        class if class.starts_with(b"HTTPClient") => BootStage::HttpFirmware,
        class if class.starts_with(b"PXEClient") => BootStage::Firmware,
        _ => BootStage::System,
    }
}

#[cfg(test)]
mod tests;
