//! Parses DHCP messages of clients (RFC 2131): checks that a server may answer the packet, and
//! bounds each option. No I/O.

use crate::mac::Mac;
use dhcproto::v4::borrowed::{DhcpOptionIterator, Message};
use dhcproto::v4::{HType, MessageType, Opcode, OptionCode};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use thiserror::Error;

/// Most bytes of an option that are kept.
const OPTION_MAX: usize = 255;
/// Length of the IP and UDP headers, bytes.
const HEADS: usize = 28;
/// Length limits of a response, bytes: the least that each client accepts (RFC 2131, 2), and the
/// most that fits into an Ethernet frame.
const ROOM: RangeInclusive<usize> = 548..=1_472;
/// Longest host name that is kept, characters.
const HOST_NAME_MAX: usize = 63;

/// Reason for which a packet is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DhcpPacketError {
    /// Shorter than a DHCP packet.
    #[error("shorter than a DHCP packet")]
    Short,
    /// A message of a server (BOOTREPLY).
    #[error("a reply, which a server sends and none gets")]
    Reply,
    /// The hardware type is not Ethernet.
    #[error("not from an Ethernet card")]
    NotEthernet,
    #[error("BOOTP without DHCP, which has no lease")]
    Bootp,
    /// A message type that servers do not receive.
    #[error("a DHCP message that no server is sent")]
    Kind,
}

/// DHCP message type (RFC 2131, 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DhcpMessageType {
    /// DISCOVER: the client looks for servers.
    Discover,
    /// REQUEST: the client requests an address, or wants to keep one.
    Request,
    /// DECLINE: another host uses the address.
    Decline,
    /// RELEASE: the client no longer needs the address.
    Release,
    /// INFORM: the client has an address and requests the other parameters.
    Inform,
}

impl DhcpMessageType {
    /// Returns the message type as operators know it.
    pub fn word(self) -> &'static str {
        match self {
            DhcpMessageType::Discover => "DISCOVER",
            DhcpMessageType::Request => "REQUEST",
            DhcpMessageType::Decline => "DECLINE",
            DhcpMessageType::Release => "RELEASE",
            DhcpMessageType::Inform => "INFORM",
        }
    }
}

/// Program on the machine that sends the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BootStage {
    /// PXE firmware, which loads a file by TFTP.
    Firmware,
    /// UEFI firmware that loads a file by HTTP (UEFI 2.5 and later).
    HttpFirmware,
    /// iPXE, which runs a script.
    Ipxe,
    System,
}

impl BootStage {
    /// Returns the name of the stage, as operators know it.
    pub fn word(self) -> &'static str {
        match self {
            BootStage::Firmware => "PXE",
            BootStage::HttpFirmware => "UEFI HTTP boot",
            BootStage::Ipxe => "iPXE",
            BootStage::System => "operating system",
        }
    }
}

/// DHCP message of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub kind: DhcpMessageType,
    pub xid: u32,
    /// MAC address of the client.
    pub mac: Mac,
    /// Program that sends the request.
    pub stage: BootStage,
    /// Client architecture (option 93, RFC 4578 and IANA's list).
    pub architecture: Option<u16>,
    /// Origin of the request, and destination of its response.
    pub route: RelayRoute,
    pub claims: RequestedAddresses,
    /// Options that the response has to repeat.
    pub echo: EchoedOptions,
    /// Host name of the client (option 12); empty: none.
    pub host_name: String,
    /// Longest response that the client accepts, bytes.
    pub room: usize,
}

/// Relay agents that the request has passed, and fields for the way back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayRoute {
    /// True if the client cannot receive packets for an address that it does not have yet
    /// (broadcast flag).
    pub broadcast: bool,
    /// Relay agent that forwarded the request (giaddr).
    pub relay: Option<Ipv4Addr>,
    /// Network that a relay or the client selects (RFC 3527 and 3011).
    pub link: Option<Ipv4Addr>,
    /// Number of relays that the request has passed (hops).
    pub hops: u8,
}

/// The addresses in a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestedAddresses {
    /// Address that the client uses (ciaddr).
    pub uses: Option<Ipv4Addr>,
    /// Address that the client requests (option 50).
    pub wants: Option<Ipv4Addr>,
    /// Server whose offer the client accepts (option 54).
    pub server: Option<Ipv4Addr>,
}

/// Raw options that the response repeats.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EchoedOptions {
    /// Client identifier (option 61, RFC 6842).
    pub client: Vec<u8>,
    /// Machine identifier, a UUID (option 97, RFC 4578).
    pub machine: Vec<u8>,
    /// Relay agent information (option 82, RFC 3046).
    pub relay: Vec<u8>,
}

/// Raw options of a packet.
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
    echo: EchoedOptions,
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

/// Returns the response length that a client accepts (option 57, which includes the IP and UDP
/// headers).
fn room(data: &[u8]) -> usize {
    let most = <[u8; 2]>::try_from(data).map_or(0, u16::from_be_bytes);
    usize::from(most)
        .saturating_sub(HEADS)
        .clamp(*ROOM.start(), *ROOM.end())
}

/// Returns a printable host name: characters that are invalid in one are dropped.
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
                    // The option may list several architectures; the first is that of the running
                    // firmware.
                    self.architecture = data.first_chunk().map(|first| u16::from_be_bytes(*first));
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
                // Option 175, which only iPXE sends, contains iPXE's own options.
                OptionCode::Unknown(175) => self.has_ipxe = true,
                _ => {}
            }
        }
    }

    fn stage(&self) -> BootStage {
        let has = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|part| part == word);
        if self.has_ipxe || has(&self.user_class, b"iPXE") {
            BootStage::Ipxe
        } else if self.class.starts_with(b"PXEClient") {
            BootStage::Firmware
        } else if self.class.starts_with(b"HTTPClient") {
            BootStage::HttpFirmware
        } else {
            BootStage::System
        }
    }

    /// Returns the network that a relay selects: suboption 5 of option 82.
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
    /// Parses a packet.
    ///
    /// # Errors
    ///
    /// The packet is too short, a reply, from another card than Ethernet, BOOTP, or of a message
    /// type that servers do not receive.
    pub fn read(packet: &[u8]) -> Result<Request, DhcpPacketError> {
        let message = Message::new(packet).map_err(|_| DhcpPacketError::Short)?;
        if message.opcode() != Opcode::BootRequest {
            return Err(DhcpPacketError::Reply);
        }
        // Checks the length of the MAC address before the address is read: the length is under the
        // sender's control.
        if message.htype() != HType::Eth || message.hlen() != 6 {
            return Err(DhcpPacketError::NotEthernet);
        }
        let mac: [u8; 6] = message
            .chaddr()
            .try_into()
            .map_err(|_| DhcpPacketError::NotEthernet)?;
        let mac = Mac(mac);
        if !mac.is_of_a_card() {
            return Err(DhcpPacketError::NotEthernet);
        }
        let mut options = Options::default();
        options.take(message.opts());
        // Options may continue in the `file` and `sname` fields (RFC 2131, 4.1).
        let (file, name) = (packet.get(108..236), packet.get(44..108));
        let fields = [
            file.filter(|_| options.overload & 1 != 0),
            name.filter(|_| options.overload & 2 != 0),
        ];
        for field in fields.into_iter().flatten() {
            options.take(DhcpOptionIterator::new(field));
        }
        let kind = match options.kind {
            Some(MessageType::Discover) => DhcpMessageType::Discover,
            Some(MessageType::Request) => DhcpMessageType::Request,
            Some(MessageType::Decline) => DhcpMessageType::Decline,
            Some(MessageType::Release) => DhcpMessageType::Release,
            Some(MessageType::Inform) => DhcpMessageType::Inform,
            Some(_) => return Err(DhcpPacketError::Kind),
            None => return Err(DhcpPacketError::Bootp),
        };
        Ok(Request {
            kind,
            xid: message.xid(),
            mac,
            stage: options.stage(),
            architecture: options.architecture,
            route: RelayRoute {
                broadcast: message.flags().broadcast(),
                relay: some(message.giaddr()),
                link: options.link().or(options.subnet),
                hops: message.hops(),
            },
            claims: RequestedAddresses {
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
