//! What a client asks for: a packet, read.

use crate::mac::Mac;
use dhcproto::v4::borrowed::{DhcpOptionIterator, Message};
use dhcproto::v4::{HType, MessageType, Opcode, OptionCode};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use thiserror::Error;

/// Bytes of an option that are kept.
const OPTION_MAX: usize = 255;
/// The heads of IP and UDP.
const HEADS: usize = 28;
/// Bytes of an answer: what each client takes (RFC 2131, 2), and what an Ethernet frame has.
const ROOM: RangeInclusive<usize> = 548..=1_472;
/// Characters of a host name that are kept.
const HOST_NAME_MAX: usize = 63;

/// Why a packet is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Unreadable {
    /// It is shorter than a DHCP packet.
    #[error("shorter than a DHCP packet")]
    Short,
    /// It is what a server sends.
    #[error("a reply, which a server sends and none gets")]
    Reply,
    /// The card is not an Ethernet card.
    #[error("not from an Ethernet card")]
    NotEthernet,
    /// It has no type: BOOTP.
    #[error("BOOTP without DHCP, which has no lease")]
    Bootp,
    /// A server does not get this type.
    #[error("a DHCP message that no server is sent")]
    Kind,
}

/// What kind of message it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Who is there?
    Discover,
    /// May I have, or keep, this address?
    Request,
    /// Somebody else uses the address.
    Decline,
    /// I do not need the address any more.
    Release,
    /// I have an address; what else do I need?
    Inform,
}

impl Kind {
    /// As operators know it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Discover => "DISCOVER",
            Kind::Request => "REQUEST",
            Kind::Decline => "DECLINE",
            Kind::Release => "RELEASE",
            Kind::Inform => "INFORM",
        }
    }
}

/// What asks on the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// Its firmware, which loads a file by TFTP.
    Firmware,
    /// Its firmware, which loads a file by HTTP (UEFI 2.5 and later).
    HttpFirmware,
    /// iPXE, which runs a script.
    Ipxe,
    /// An operating system.
    System,
}

impl Stage {
    /// As operators know it.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Firmware => "PXE",
            Stage::HttpFirmware => "UEFI HTTP boot",
            Stage::Ipxe => "iPXE",
            Stage::System => "operating system",
        }
    }
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// What kind of message.
    pub kind: Kind,
    /// The number by which the client knows its answer.
    pub xid: u32,
    /// Its card.
    pub mac: Mac,
    /// What asks there.
    pub stage: Stage,
    /// The kind of its firmware (RFC 4578 and IANA's list).
    pub architecture: Option<u16>,
    /// Where the request comes from, and where its answer has to go.
    pub route: Route,
    /// The addresses that it speaks of.
    pub claims: Claims,
    /// What the answer has to repeat.
    pub echo: Echo,
    /// What it calls itself.
    pub host_name: String,
    /// Bytes of an answer that it takes.
    pub room: usize,
}

/// The way of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The client cannot receive packets for an address that it does not have yet.
    pub broadcast: bool,
    /// The relay through which it came.
    pub relay: Option<Ipv4Addr>,
    /// The network that a relay or the client selects (RFC 3527 and 3011).
    pub link: Option<Ipv4Addr>,
    /// How many relays it has passed.
    pub hops: u8,
}

/// The addresses in a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claims {
    /// The one that the client uses.
    pub uses: Option<Ipv4Addr>,
    /// The one that it wants.
    pub wants: Option<Ipv4Addr>,
    /// The server whose offer it takes.
    pub server: Option<Ipv4Addr>,
}

/// What is repeated in the answer, as bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Echo {
    /// The client's identifier (option 61, RFC 6842).
    pub client: Vec<u8>,
    /// The machine's identifier (option 97, RFC 4578).
    pub machine: Vec<u8>,
    /// What relays added (option 82, RFC 3046).
    pub relay: Vec<u8>,
}

/// The options of a packet, raw.
#[derive(Default)]
struct Options {
    kind: Option<MessageType>,
    class: Vec<u8>,
    user_class: Vec<u8>,
    has_ipxe: bool,
    architecture: Option<u16>,
    wants: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    subnet: Option<Ipv4Addr>,
    overload: u8,
    host_name: String,
    room: usize,
    echo: Echo,
}

fn address(data: &[u8]) -> Option<Ipv4Addr> {
    let address: [u8; 4] = data.try_into().ok()?;
    some(address.into())
}

fn some(address: Ipv4Addr) -> Option<Ipv4Addr> {
    (!address.is_unspecified()).then_some(address)
}

fn bounded(data: &[u8]) -> Vec<u8> {
    data.iter().take(OPTION_MAX).copied().collect()
}

/// The bytes of an answer that a client takes (option 57), which counts the heads of IP and UDP.
fn room(data: &[u8]) -> usize {
    let most = <[u8; 2]>::try_from(data).map_or(0, u16::from_be_bytes);
    usize::from(most)
        .saturating_sub(HEADS)
        .clamp(*ROOM.start(), *ROOM.end())
}

/// A host name as it can be shown: what has no place in one is left out.
fn host_name(data: &[u8]) -> String {
    let text = data.iter().map(|byte| char::from(*byte));
    let fits = |letter: &char| letter.is_ascii_alphanumeric() || "-._".contains(*letter);
    text.filter(fits).take(HOST_NAME_MAX).collect()
}

impl Options {
    fn take(&mut self, all: DhcpOptionIterator<'_>) {
        for option in all {
            let data = option.data();
            match option.code() {
                OptionCode::MessageType => {
                    self.kind = data.first().map(|kind| MessageType::from(*kind));
                }
                OptionCode::ClassIdentifier => self.class = bounded(data),
                OptionCode::UserClass => self.user_class = bounded(data),
                OptionCode::ClientSystemArchitecture => {
                    // There may be several; the first is the one that asks.
                    self.architecture =
                        { data.first_chunk() }.map(|first| u16::from_be_bytes(*first));
                }
                OptionCode::RequestedIpAddress => self.wants = address(data),
                OptionCode::ServerIdentifier => self.server = address(data),
                OptionCode::SubnetSelection => self.subnet = address(data),
                OptionCode::OptionOverload => self.overload = data.first().copied().unwrap_or(0),
                OptionCode::Hostname => self.host_name = host_name(data),
                OptionCode::MaxMessageSize => self.room = room(data),
                OptionCode::ClientIdentifier => self.echo.client = bounded(data),
                OptionCode::ClientMachineIdentifier => self.echo.machine = bounded(data),
                OptionCode::RelayAgentInformation => self.echo.relay = bounded(data),
                // iPXE's own options.
                OptionCode::Unknown(175) => self.has_ipxe = true,
                _ => {}
            }
        }
    }

    fn stage(&self) -> Stage {
        let has = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|part| part == word);
        if self.has_ipxe || has(&self.user_class, b"iPXE") {
            Stage::Ipxe
        } else if self.class.starts_with(b"PXEClient") {
            Stage::Firmware
        } else if self.class.starts_with(b"HTTPClient") {
            Stage::HttpFirmware
        } else {
            Stage::System
        }
    }

    /// The network that a relay selects: suboption 5 of option 82.
    fn link(&self) -> Option<Ipv4Addr> {
        let mut left = &*self.echo.relay;
        while let [code, length, rest @ ..] = left {
            let (data, further) = rest.split_at_checked(usize::from(*length))?;
            if *code == 5 {
                return address(data);
            }
            left = further;
        }
        None
    }
}

impl Request {
    /// Reads a packet.
    ///
    /// # Errors
    /// It is none that a server answers.
    pub fn read(packet: &[u8]) -> Result<Request, Unreadable> {
        let message = Message::new(packet).map_err(|_| Unreadable::Short)?;
        if message.opcode() != Opcode::BootRequest {
            return Err(Unreadable::Reply);
        }
        // Before the card's address is read: its length is the sender's.
        if message.htype() != HType::Eth || message.hlen() != 6 {
            return Err(Unreadable::NotEthernet);
        }
        let mac: [u8; 6] = message
            .chaddr()
            .try_into()
            .map_err(|_| Unreadable::NotEthernet)?;
        let mac = Mac(mac);
        if !mac.is_of_a_card() {
            return Err(Unreadable::NotEthernet);
        }
        let mut options = Options::default();
        options.take(message.opts());
        // Options may go on in the fields for names (RFC 2131, 4.1).
        let (file, name) = (packet.get(108..236), packet.get(44..108));
        let fields = [
            file.filter(|_| options.overload & 1 != 0),
            name.filter(|_| options.overload & 2 != 0),
        ];
        for field in fields.into_iter().flatten() {
            options.take(DhcpOptionIterator::new(field));
        }
        let kind = match options.kind {
            Some(MessageType::Discover) => Kind::Discover,
            Some(MessageType::Request) => Kind::Request,
            Some(MessageType::Decline) => Kind::Decline,
            Some(MessageType::Release) => Kind::Release,
            Some(MessageType::Inform) => Kind::Inform,
            Some(_) => return Err(Unreadable::Kind),
            None => return Err(Unreadable::Bootp),
        };
        Ok(Request {
            kind,
            xid: message.xid(),
            mac,
            stage: options.stage(),
            architecture: options.architecture,
            route: Route {
                broadcast: message.flags().broadcast(),
                relay: some(message.giaddr()),
                link: options.link().or(options.subnet),
                hops: message.hops(),
            },
            claims: Claims {
                uses: some(message.ciaddr()),
                wants: options.wants,
                server: options.server,
            },
            echo: options.echo,
            host_name: options.host_name,
            room: options.room.max(*ROOM.start()),
        })
    }
}

#[cfg(test)]
mod tests;
