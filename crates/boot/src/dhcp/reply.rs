//! What a client is answered: a packet, written.

use super::request::{Request, Stage};
use crate::config::{Network, Tells};
use dhcproto::v4::{
    DhcpOption, Flags, HType, Message, MessageType, Opcode, OptionCode, UnknownOption,
};
use dhcproto::{Encodable, Encoder};
use std::net::Ipv4Addr;

/// The least length of a packet: old firmware drops shorter ones (RFC 951).
const PACKET_MIN: usize = 300;
/// Bytes of the field for a file's name, with a zero at its end.
const FILE_FIELD: usize = 127;
/// Tells firmware to load the file that the offer names, without a menu or a search (PXE 2.1, option 43).
const LOAD_AT_ONCE: &[u8] = &[6, 1, 8, 255];

/// Tells iPXE not to wait for another server that says what to boot (its option 176 in 175): that
/// takes it ten seconds.
const NOBODY_ELSE: &[u8] = &[0xb0, 1, 1];

/// What a client is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Whether it gets what it asks for.
    pub verdict: Verdict,
    /// What it hears of the network and its address; None if another server does.
    pub address: Option<Given>,
    /// What it loads.
    pub file: Option<File>,
}

/// The kind of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may ask for it.
    Offer,
    /// It has it.
    Yes,
    /// It has to begin again.
    No,
}

impl Verdict {
    /// As operators know it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Offer => "OFFER",
            Verdict::Yes => "ACK",
            Verdict::No => "NAK",
        }
    }
}

/// The address of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    /// The address; None if it has one already (INFORM).
    pub address: Option<Ipv4Addr>,
    /// For how long, seconds; None without an address.
    pub lease_s: Option<u32>,
    /// The network of the address.
    pub network: Network,
}

/// A file to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// The server with the file.
    pub server: Ipv4Addr,
    /// Its name there, or its URL.
    pub name: String,
}

/// Where an answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// To the relay.
    Relay(Ipv4Addr),
    /// To the client at the address that it uses.
    Configured(Ipv4Addr),
    /// To the client at an address that it does not have yet, by the address of its card.
    Fresh(Ipv4Addr),
    /// To all.
    All,
}

/// Where the answer to a request goes (RFC 2131, 4.1).
pub fn receiver(request: &Request, answer: &Answer) -> To {
    if let Some(relay) = request.route.relay {
        return To::Relay(relay);
    }
    let given = answer.address.and_then(|given| given.address);
    match (answer.verdict, request.claims.uses, given) {
        (Verdict::No, ..) => To::All,
        (_, Some(uses), _) => To::Configured(uses),
        (_, None, Some(given)) if !request.route.broadcast => To::Fresh(given),
        (_, None, _) => To::All,
    }
}

/// Writes an answer. `server`: this server's address there.
///
/// None if something does not fit, which no file of a valid section makes happen.
pub fn write(
    request: &Request,
    answer: &Answer,
    server: Ipv4Addr,
    tells: &Tells,
) -> Option<Vec<u8>> {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_xid(request.xid)
        .set_chaddr(&request.mac.0)
        .set_giaddr(request.route.relay.unwrap_or(Ipv4Addr::UNSPECIFIED));
    // A relay has to send a refusal to all.
    let broadcast = request.route.broadcast || answer.verdict == Verdict::No;
    message.set_flags(if broadcast {
        Flags::default().set_broadcast()
    } else {
        Flags::default()
    });
    if answer.verdict != Verdict::No {
        let uses = request
            .claims
            .uses
            .filter(|_| answer.verdict == Verdict::Yes);
        message.set_ciaddr(uses.unwrap_or(Ipv4Addr::UNSPECIFIED));
    }
    let mut set = |option: DhcpOption| {
        message.opts_mut().insert(option);
    };
    set(DhcpOption::MessageType(match answer.verdict {
        Verdict::Offer => MessageType::Offer,
        Verdict::Yes => MessageType::Ack,
        Verdict::No => MessageType::Nak,
    }));
    set(DhcpOption::ServerIdentifier(server));
    echo(request, &mut set);
    if let Some(given) = &answer.address {
        network(given, tells, &mut set);
        if let Some(address) = given.address {
            message.set_yiaddr(address);
        }
    }
    if let Some(file) = &answer.file {
        load(request, file, &mut message);
        if request.stage == Stage::Ipxe && answer.address.is_some() {
            let option = UnknownOption::new(OptionCode::Unknown(175), NOBODY_ELSE.to_vec());
            message.opts_mut().insert(DhcpOption::Unknown(option));
        }
    }
    let mut bytes = Vec::with_capacity(PACKET_MIN);
    message.encode(&mut Encoder::new(&mut bytes)).ok()?;
    bytes.resize(bytes.len().max(PACKET_MIN), 0);
    Some(bytes)
}

fn echo(request: &Request, set: &mut impl FnMut(DhcpOption)) {
    let echo = &request.echo;
    let all = [
        (OptionCode::ClientIdentifier, &echo.client),
        (OptionCode::ClientMachineIdentifier, &echo.machine),
        (OptionCode::RelayAgentInformation, &echo.relay),
    ];
    for (code, data) in all.into_iter().filter(|(_, data)| !data.is_empty()) {
        match code {
            OptionCode::ClientIdentifier => set(DhcpOption::ClientIdentifier(data.clone())),
            OptionCode::ClientMachineIdentifier => {
                set(DhcpOption::ClientMachineIdentifier(data.clone()))
            }
            // As it came: a relay recognises its own bytes.
            code => set(DhcpOption::Unknown(UnknownOption::new(code, data.clone()))),
        }
    }
}

fn network(given: &Given, tells: &Tells, set: &mut impl FnMut(DhcpOption)) {
    set(DhcpOption::SubnetMask(given.network.mask()));
    set(DhcpOption::BroadcastAddr(given.network.broadcast()));
    if let Some(gateway) = tells.gateway {
        set(DhcpOption::Router(vec![gateway]));
    }
    if !tells.dns.is_empty() {
        set(DhcpOption::DomainNameServer(tells.dns.clone()));
    }
    if !tells.ntp.is_empty() {
        set(DhcpOption::NtpServers(tells.ntp.clone()));
    }
    if let Some(domain) = &tells.domain {
        set(DhcpOption::DomainName(domain.clone()));
    }
    if let Some(lease) = given.lease_s {
        set(DhcpOption::AddressLeaseTime(lease));
        // RFC 2131, 4.4.5.
        set(DhcpOption::Renewal(lease / 2));
        set(DhcpOption::Rebinding(lease / 8 * 7));
    }
}

fn load(request: &Request, file: &File, message: &mut Message) {
    message.set_siaddr(file.server);
    // BIOS firmware reads the field, and others the option.
    if file.name.len() <= FILE_FIELD {
        message.set_fname_str(&file.name);
    }
    let options = message.opts_mut();
    options.insert(DhcpOption::BootfileName(file.name.clone().into_bytes()));
    match request.stage {
        Stage::Firmware => {
            options.insert(DhcpOption::TFTPServerName(
                file.server.to_string().into_bytes(),
            ));
            options.insert(DhcpOption::ClassIdentifier(b"PXEClient".to_vec()));
            options.insert(DhcpOption::VendorExtensions(LOAD_AT_ONCE.to_vec()));
        }
        Stage::HttpFirmware => {
            options.insert(DhcpOption::ClassIdentifier(b"HTTPClient".to_vec()));
        }
        Stage::Ipxe => {
            options.insert(DhcpOption::ClassIdentifier(b"PXEClient".to_vec()));
        }
        Stage::System => {}
    }
}
