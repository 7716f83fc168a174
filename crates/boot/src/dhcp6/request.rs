//! What a client asks for: a packet, read.

use super::option::{self, Options};
use super::relay::{self, Hop};
use crate::dhcp::request::Stage;
use crate::mac::Mac;
use std::net::Ipv6Addr;
use thiserror::Error;

/// Bytes of an identifier (RFC 8415, 11.1: a type, and at most 128).
const DUID_MAX: usize = 130;
/// Associations of a message, and addresses of one, that are looked at.
const ASSOCIATIONS_MAX: usize = 8;
/// Options that a client may ask for.
const WANTED_MAX: usize = 64;
/// The types of identifiers that have a card (RFC 8415, 11.2 and 11.4).
const WITH_TIME: [u8; 2] = [0, 1];
const WITH_CARD: [u8; 2] = [0, 3];

/// Why a packet is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Unreadable {
    /// It is shorter than a DHCPv6 message, or what a relay made of it is broken.
    #[error("broken, or from too many relays")]
    Broken,
    /// A server does not get this type.
    #[error("a DHCPv6 message that no server is sent")]
    Kind,
    /// It has to have an identifier that it has not, or the other way round (RFC 8415, 16).
    #[error("without an identifier that it needs, or with one that it may not have")]
    Identifiers,
    /// Which card sent it cannot be found out.
    #[error("from a machine whose card is not known")]
    Card,
}

/// What kind of message it is (RFC 8415, 7.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Who is there?
    Solicit,
    /// May I have this address?
    Request,
    /// Does my address still fit?
    Confirm,
    /// May I keep this address, of this server?
    Renew,
    /// May I keep this address, of any server?
    Rebind,
    /// I do not need the address any more.
    Release,
    /// Somebody else uses the address.
    Decline,
    /// I need no address; what else is there?
    Information,
}

impl Kind {
    fn of(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::Solicit,
            3 => Kind::Request,
            4 => Kind::Confirm,
            5 => Kind::Renew,
            6 => Kind::Rebind,
            8 => Kind::Release,
            9 => Kind::Decline,
            11 => Kind::Information,
            _ => return None,
        })
    }

    /// As operators know it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Solicit => "SOLICIT",
            Kind::Request => "REQUEST",
            Kind::Confirm => "CONFIRM",
            Kind::Renew => "RENEW",
            Kind::Rebind => "REBIND",
            Kind::Release => "RELEASE",
            Kind::Decline => "DECLINE",
            Kind::Information => "INFORMATION-REQUEST",
        }
    }

    /// Whether a message has what it needs, and not what it may not have (RFC 8415, 16).
    fn fits(self, has_client: bool, has_server: bool, has_associations: bool) -> bool {
        match self {
            Kind::Solicit | Kind::Confirm | Kind::Rebind => has_client && !has_server,
            Kind::Request | Kind::Renew | Kind::Release | Kind::Decline => has_client && has_server,
            Kind::Information => !has_associations,
        }
    }
}

/// The addresses of one interface of a client, by its number for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Association {
    /// The number.
    pub id: [u8; 4],
    /// The addresses that the client has or wants.
    pub addresses: Vec<Ipv6Addr>,
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// What kind of message.
    pub kind: Kind,
    /// The number by which the client knows its answer.
    pub xid: [u8; 3],
    /// Its card.
    pub mac: Mac,
    /// What asks there.
    pub stage: Stage,
    /// The kind of its firmware (RFC 5970 and IANA's list).
    pub architecture: Option<u16>,
    /// The client's identifier; empty: it has none.
    pub client: Vec<u8>,
    /// The identifier of the server that it means.
    pub server: Option<Vec<u8>>,
    /// What it asks addresses for.
    pub associations: Vec<Association>,
    /// Two messages are enough.
    pub is_rapid: bool,
    /// The options that it asks for.
    pub wants: Vec<u16>,
    /// Who named its class, as IANA numbers them.
    pub enterprise: [u8; 4],
    /// The relays that it passed, the nearest to this server first.
    pub hops: Vec<Hop>,
}

impl Request {
    /// Reads a packet. `from`: the address of its sender. `card`: the card of its sender, where that is
    /// known.
    ///
    /// # Errors
    /// It is none that a server answers.
    pub fn read(packet: &[u8], from: Ipv6Addr, card: Option<Mac>) -> Result<Request, Unreadable> {
        let (hops, message) = relay::read(packet).ok_or(Unreadable::Broken)?;
        let (head, options) = { message.split_first_chunk::<4>() }.ok_or(Unreadable::Broken)?;
        let [code, xid @ ..] = *head;
        let kind = Kind::of(code).ok_or(Unreadable::Kind)?;
        let options = Options(options);
        let client = options.find(option::CLIENT_ID).unwrap_or_default();
        let server = options.find(option::SERVER_ID);
        let is_long = |duid: &[u8]| duid.len() > DUID_MAX;
        if is_long(client) || server.is_some_and(is_long) {
            return Err(Unreadable::Broken);
        }
        let associations = associations(options);
        if !kind.fits(
            !client.is_empty(),
            server.is_some(),
            !associations.is_empty(),
        ) {
            return Err(Unreadable::Identifiers);
        }
        let of_sender = match hops.last() {
            Some(hop) => hop.card.or_else(|| relay::card_of(hop.peer)),
            None => card.or_else(|| relay::card_of(from)),
        };
        let mac = of_sender.or_else(|| card_of(client));
        let words = { options.find(option::WANTED) }.unwrap_or_default();
        Ok(Request {
            kind,
            xid,
            mac: mac.ok_or(Unreadable::Card)?,
            stage: stage(options),
            architecture: { options.find(option::ARCHITECTURES) }.and_then(first_word),
            client: client.to_vec(),
            server: server.map(<[u8]>::to_vec),
            associations,
            is_rapid: options.find(option::RAPID_COMMIT).is_some(),
            wants: { words.chunks_exact(2).take(WANTED_MAX) }
                .filter_map(first_word)
                .collect(),
            enterprise: { options.find(option::VENDOR_CLASS) }
                .and_then(|class| class.first_chunk().copied())
                .unwrap_or_default(),
            hops,
        })
    }

    /// Whether a client asks for an option.
    pub fn asks_for(&self, code: u16) -> bool {
        self.wants.contains(&code)
    }
}

fn first_word(data: &[u8]) -> Option<u16> {
    data.first_chunk().map(|word| u16::from_be_bytes(*word))
}

/// The card in a client's identifier.
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
        // Behind two times, which are the server's to say.
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

/// What asks.
fn stage(options: Options<'_>) -> Stage {
    let has = |class: &[u8], word: &[u8]| class.windows(word.len()).any(|part| part == word);
    let user = { options.find(option::USER_CLASS) }.unwrap_or_default();
    if has(user, b"iPXE") {
        return Stage::Ipxe;
    }
    // Behind the number of who named it, and its length.
    let vendor = { options.find(option::VENDOR_CLASS) }.and_then(|class| class.get(6..));
    match vendor.unwrap_or_default() {
        class if class.starts_with(b"HTTPClient") => Stage::HttpFirmware,
        class if class.starts_with(b"PXEClient") => Stage::Firmware,
        _ => Stage::System,
    }
}

#[cfg(test)]
mod tests;
