//! Writes DHCP responses of IPv4, and selects the destination of each (RFC 2131, 4.1). No I/O.

use super::request::{BootStage, Request};
use crate::config::{ClientParameters, Ipv4Network};
use dhcproto::v4::{HType, MessageType, Opcode, OptionCode};
use std::net::Ipv4Addr;

/// Least length of a packet, bytes: old firmware drops shorter ones (RFC 951).
const PACKET_MIN: usize = 300;
/// Length of the fixed header with the magic cookie, bytes.
const HEAD: usize = 240;
/// Position of the `file` field (boot file name), bytes.
const FILE: std::ops::Range<usize> = 108..236;
/// Magic cookie before the options (RFC 2131, 3).
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// PXE option that makes firmware load the offered file at once, without a menu or a search (PXE
/// 2.1, option 43).
const LOAD_AT_ONCE: &[u8] = &[6, 1, 8, 255];

/// Length limit of the message option (56), bytes.
pub const MESSAGE_MAX: usize = 60;

/// iPXE option (176 in 175) that stops iPXE from waiting ten seconds for a proxyDHCP offer.
const NOBODY_ELSE: &[u8] = &[0xb0, 1, 1];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhcpReply {
    /// Message type of the response.
    pub verdict: DhcpReplyType,
    /// Address and network of the client; None if another server assigns them.
    pub address: Option<AssignedAddress>,
    /// Boot file; None: the client boots nothing from here.
    pub file: Option<File>,
    /// Reason of a refusal: at most [`MESSAGE_MAX`] bytes of it are sent.
    pub message: Option<String>,
}

/// Message type of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DhcpReplyType {
    /// OFFER: the client may request the address.
    Offer,
    /// ACK: the client has what it requested.
    Yes,
    /// NAK: the client has to restart its configuration.
    No,
}

impl DhcpReplyType {
    /// Returns the message type as operators know it.
    pub fn word(self) -> &'static str {
        match self {
            DhcpReplyType::Offer => "OFFER",
            DhcpReplyType::Yes => "ACK",
            DhcpReplyType::No => "NAK",
        }
    }
}

/// Address that a client gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssignedAddress {
    /// Address; None if the client has one already (INFORM).
    pub address: Option<Ipv4Addr>,
    /// Lease time, seconds; None without an address.
    pub lease_s: Option<u32>,
    /// The network of the address.
    pub network: Ipv4Network,
}

/// Boot file on a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// The server with the file.
    pub server: Ipv4Addr,
    /// File name on the server, or its URL.
    pub name: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyDestination {
    /// The relay agent with this address.
    Relay(Ipv4Addr),
    /// The client at the address that it uses.
    Configured(Ipv4Addr),
    /// The client at an address that it does not have yet, by its MAC address.
    Fresh(Ipv4Addr),
    All,
    /// Broadcast, and unicast to the address that the client uses. While they renew, some clients
    /// receive only unicasts (systemd-networkd), and others receive none (RFC 2131, 4.1).
    AllAnd(Ipv4Addr),
}

/// Returns the destination of the response to a request (RFC 2131, 4.1).
pub fn receiver(request: &Request, answer: &DhcpReply) -> ReplyDestination {
    if let Some(relay) = request.route.relay {
        return ReplyDestination::Relay(relay);
    }
    let given = answer.address.and_then(|given| given.address);
    match (answer.verdict, request.claims.uses, given) {
        (DhcpReplyType::No, uses, _) => {
            uses.map_or(ReplyDestination::All, ReplyDestination::AllAnd)
        }
        (_, Some(uses), _) => ReplyDestination::Configured(uses),
        (_, None, Some(given)) if !request.route.broadcast => ReplyDestination::Fresh(given),
        (_, None, _) => ReplyDestination::All,
    }
}

/// Options of a packet, most important first: as many as the receiver takes.
struct Options {
    bytes: Vec<u8>,
    /// Limit of the packet's length including the end option, bytes.
    limit: usize,
}

impl Options {
    /// Adds an option. Returns false where it does not fit; the packet then lacks the option.
    fn put(&mut self, code: OptionCode, data: &[u8]) -> bool {
        let Ok(length) = u8::try_from(data.len()) else {
            return false;
        };
        if self.bytes.len() + 2 + data.len() >= self.limit {
            return false;
        }
        self.bytes.extend([u8::from(code), length]);
        self.bytes.extend(data);
        true
    }

    fn put_addresses(&mut self, code: OptionCode, addresses: &[Ipv4Addr]) {
        if !addresses.is_empty() {
            let octets: Vec<u8> = addresses.iter().flat_map(|one| one.octets()).collect();
            self.put(code, &octets);
        }
    }
}

/// Writes a response. `server`: this server's address in the network.
///
/// The parameter request list (option 55) is ignored: the options are so few that all fit, and
/// firmware needs some that it does not request. The message type comes first, as some firmware
/// requires.
///
/// Returns None if a mandatory option does not fit, which no boot file of a valid section causes.
pub fn write(
    request: &Request,
    answer: &DhcpReply,
    server: Ipv4Addr,
    tells: &ClientParameters,
) -> Option<Vec<u8>> {
    let head = head(request, answer);
    let relay = &request.echo.relay;
    let mut options = Options {
        limit: request.room.saturating_sub(2 + relay.len()),
        bytes: head,
    };
    let kind = match answer.verdict {
        DhcpReplyType::Offer => MessageType::Offer,
        DhcpReplyType::Yes => MessageType::Ack,
        DhcpReplyType::No => MessageType::Nak,
    };
    let mut fits = options.put(OptionCode::MessageType, &[u8::from(kind)]);
    fits &= options.put(OptionCode::ServerIdentifier, &server.octets());
    if let Some(given) = &answer.address {
        fits &= lease(given, &mut options);
    }
    if let Some(file) = &answer.file {
        fits &= load(request, file, answer.address.is_some(), &mut options);
    }
    let echo = [
        (OptionCode::ClientIdentifier, &request.echo.client),
        (OptionCode::ClientMachineIdentifier, &request.echo.machine),
    ];
    for (code, data) in echo.into_iter().filter(|(_, data)| !data.is_empty()) {
        fits &= options.put(code, data);
    }
    if let Some(given) = &answer.address {
        network(given, tells, &mut options);
    }
    if let Some(message) = &answer.message {
        // The message is optional, so it is shortened to fit (RFC 2132, 9.9).
        let mut ends = (0..=message.len().min(MESSAGE_MAX)).rev();
        let fitting = ends.find_map(|end| message.get(..end));
        options.put(OptionCode::Message, fitting.unwrap_or_default().as_bytes());
    }
    // The relay option is last and unchanged: a relay recognises its own bytes (RFC 3046, 2.1).
    options.limit = request.room;
    if !relay.is_empty() {
        fits &= options.put(OptionCode::RelayAgentInformation, relay);
    }
    let mut bytes = options.bytes;
    bytes.push(u8::from(OptionCode::End));
    bytes.resize(bytes.len().max(PACKET_MIN), 0);
    fits.then_some(bytes)
}

/// Writes the header before the options.
fn head(request: &Request, answer: &DhcpReply) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * PACKET_MIN);
    // A relay has to broadcast a NAK.
    let broadcast = request.route.broadcast || answer.verdict == DhcpReplyType::No;
    bytes.extend([u8::from(Opcode::BootReply), u8::from(HType::Eth), 6, 0]);
    bytes.extend(request.xid.to_be_bytes());
    bytes.extend([0, 0, if broadcast { 0x80 } else { 0 }, 0]);
    let uses = request.claims.uses;
    let uses = uses.filter(|_| answer.verdict == DhcpReplyType::Yes);
    let yours = answer.address.and_then(|given| given.address);
    let file = answer.file.as_ref();
    let addresses = [
        uses,
        yours,
        file.map(|file| file.server),
        request.route.relay,
    ];
    for address in addresses {
        bytes.extend(address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    }
    bytes.extend(request.mac.0);
    bytes.resize(HEAD - MAGIC.len(), 0);
    // BIOS firmware reads the field, and other firmware the option. The field ends with a zero.
    if let Some(name) = file.map(|file| file.name.as_bytes())
        && name.len() < FILE.len()
    {
        bytes[FILE][..name.len()].copy_from_slice(name);
    }
    bytes.extend(MAGIC);
    bytes
}

/// Adds the options without which an address is unusable. Returns whether they fit.
fn lease(given: &AssignedAddress, options: &mut Options) -> bool {
    let mut fits = true;
    if let Some(lease) = given.lease_s {
        let times = [
            (OptionCode::AddressLeaseTime, lease),
            // Renewal and rebinding times as in RFC 2131, 4.4.5: half of the lease, and seven
            // eighths.
            (OptionCode::Renewal, lease / 2),
            (OptionCode::Rebinding, lease / 8 * 7),
        ];
        for (code, time) in times {
            fits &= options.put(code, &time.to_be_bytes());
        }
    }
    fits & options.put(OptionCode::SubnetMask, &given.network.mask().octets())
}

fn network(given: &AssignedAddress, tells: &ClientParameters, options: &mut Options) {
    options.put_addresses(OptionCode::Router, tells.gateway.as_slice());
    options.put_addresses(OptionCode::DomainNameServer, &tells.dns);
    if let Some(domain) = &tells.domain {
        options.put(OptionCode::DomainName, domain.as_bytes());
    }
    options.put_addresses(OptionCode::BroadcastAddr, &[given.network.broadcast()]);
    options.put_addresses(OptionCode::NtpServers, &tells.ntp);
}

fn load(request: &Request, file: &File, gives_address: bool, options: &mut Options) -> bool {
    let class: &[u8] = match request.stage {
        BootStage::Firmware | BootStage::Ipxe => b"PXEClient",
        BootStage::HttpFirmware => b"HTTPClient",
        BootStage::System => b"",
    };
    let mut fits = options.put(OptionCode::BootfileName, file.name.as_bytes());
    if !class.is_empty() {
        fits &= options.put(OptionCode::ClassIdentifier, class);
    }
    if request.stage == BootStage::Firmware {
        let server = file.server.to_string();
        fits &= options.put(OptionCode::TFTPServerName, server.as_bytes());
        fits &= options.put(OptionCode::VendorExtensions, LOAD_AT_ONCE);
    }
    if request.stage == BootStage::Ipxe && gives_address {
        fits &= options.put(OptionCode::Unknown(175), NOBODY_ELSE);
    }
    fits
}

#[cfg(test)]
mod tests;
