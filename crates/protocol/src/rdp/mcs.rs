//! Reads and builds the MCS packets (T.125) of an RDP login, until the client has sent the name
//! of its user.

use super::gcc::Conference;
use super::reader::{Reader, push_ber_length, push_per_length, push_u16_be};
use super::tpkt;
use super::{Pdu, RdpPacketError};

/// BER tag of Connect Initial (application 101).
const CONNECT_INITIAL: [u8; 2] = [0x7f, 0x65];
const CONNECT_RESPONSE: [u8; 2] = [0x7f, 0x66];
const BOOLEAN: u8 = 1;
const OCTET_STRING: u8 = 4;
const SEQUENCE: u8 = 0x30;
/// Result of a Connect Response, and the identifier of the connection.
const SUCCESS: [u8; 6] = [0x0a, 1, 0, 2, 1, 0];
/// Domain parameters: 34 channels, 3 users, no tokens, 1 priority, no throughput, height 1, packets
/// of 65,528 bytes, version 2.
const PARAMETERS: [u8; 28] = [
    SEQUENCE, 26, 2, 1, 34, 2, 1, 3, 2, 1, 0, 2, 1, 1, 2, 1, 0, 2, 1, 1, 2, 3, 0, 0xff, 0xf8, 2, 1,
    2,
];

/// Choices of domain PDUs, in the high six bits of their first byte.
const ERECT_DOMAIN: u8 = 1 << 2;
const ATTACH_USER: u8 = 10 << 2;
const CHANNEL_JOIN: u8 = 14 << 2;
const SEND_DATA: u8 = 25 << 2;
const ATTACH_USER_CONFIRM: u8 = 11 << 2 | 2;
const CHANNEL_JOIN_CONFIRM: u8 = 15 << 2 | 2;
const SEND_DATA_INDICATION: u8 = 26 << 2;
/// Byte of Send Data that states priority and segmentation: high priority, a whole message.
const WHOLE: u8 = 0x70;

/// Lowest identifier of a user; the packets contain identifiers relative to it.
const FIRST_USER: u16 = 1001;
/// Identifier of the user that sends for the server.
pub(super) const SERVER: u16 = 1002;

pub(super) fn connect_initial(packet: &[u8]) -> Result<Conference, RdpPacketError> {
    let mut reader = tpkt::data(packet, Pdu::ConnectInitial)?;
    if let Some(found) = reader
        .rest()
        .first()
        .filter(|first| **first != CONNECT_INITIAL[0])
    {
        return Err(RdpPacketError::OutOfOrder {
            due: Pdu::ConnectInitial,
            found: *found,
        });
    }
    reader.fixed(&CONNECT_INITIAL, "tag")?;
    let length = reader.ber_length()?;
    let mut reader = reader.part(length)?;
    reader.ber(OCTET_STRING, "callingDomainSelector")?;
    reader.ber(OCTET_STRING, "calledDomainSelector")?;
    reader.ber(BOOLEAN, "upwardFlag")?;
    for parameters in ["targetParameters", "minimumParameters", "maximumParameters"] {
        reader.ber(SEQUENCE, parameters)?;
    }
    Conference::decode(reader.ber(OCTET_STRING, "userData")?)
}

pub(super) fn push_connect_response(out: &mut Vec<u8>, conference: &Conference, requested: u32) {
    let mut user_data = Vec::new();
    conference.push_response(&mut user_data, requested);
    let mut body = [SUCCESS.as_slice(), &PARAMETERS, &[OCTET_STRING]].concat();
    push_ber_length(&mut body, user_data.len());
    body.extend_from_slice(&user_data);
    let mut data = CONNECT_RESPONSE.to_vec();
    push_ber_length(&mut data, body.len());
    data.extend_from_slice(&body);
    tpkt::push_data(out, &data);
}

/// Returns the content of a domain PDU after its first byte, which must be `choice`.
fn domain(packet: &[u8], choice: u8, due: Pdu) -> Result<Reader<'_>, RdpPacketError> {
    let mut reader = tpkt::data(packet, due)?;
    let found = reader.u8()?;
    if found & 0xfc == choice {
        Ok(reader)
    } else {
        Err(RdpPacketError::OutOfOrder { due, found })
    }
}

/// Parses Erect Domain Request, whose numbers mean nothing with a single server.
pub(super) fn erect_domain(packet: &[u8]) -> Result<(), RdpPacketError> {
    domain(packet, ERECT_DOMAIN, Pdu::ErectDomain).map(drop)
}

pub(super) fn attach_user(packet: &[u8]) -> Result<(), RdpPacketError> {
    domain(packet, ATTACH_USER, Pdu::AttachUser).map(drop)
}

pub(super) fn push_attach_user_confirm(out: &mut Vec<u8>, user: u16) {
    let mut data = vec![ATTACH_USER_CONFIRM, 0];
    push_u16_be(&mut data, (user - FIRST_USER).into());
    tpkt::push_data(out, &data);
}

/// Packet that a client sends after it was attached as a user.
pub(super) enum Attached<'a> {
    Join(u16),
    Data(u16, Reader<'a>),
}

/// Parses Channel Join Request or Send Data Request.
pub(super) fn attached(packet: &[u8]) -> Result<Attached<'_>, RdpPacketError> {
    let mut reader = tpkt::data(packet, Pdu::ChannelJoin)?;
    let found = reader.u8()?;
    match found & 0xfc {
        CHANNEL_JOIN => {
            reader.u16_be()?;
            Ok(Attached::Join(reader.u16_be()?))
        }
        SEND_DATA => {
            let mut reader = reader.within(Pdu::SendData);
            reader.u16_be()?;
            let channel = reader.u16_be()?;
            if reader.u8()? & 0x30 != WHOLE & 0x30 {
                return Err(reader.invalid("segmentation"));
            }
            let length = reader.per_length()?;
            Ok(Attached::Data(channel, reader.part(length)?))
        }
        _ => Err(RdpPacketError::OutOfOrder {
            due: Pdu::ChannelJoin,
            found,
        }),
    }
}

pub(super) fn push_channel_join_confirm(out: &mut Vec<u8>, user: u16, channel: u16) {
    let mut data = vec![CHANNEL_JOIN_CONFIRM, 0];
    push_u16_be(&mut data, (user - FIRST_USER).into());
    push_u16_be(&mut data, channel.into());
    push_u16_be(&mut data, channel.into());
    tpkt::push_data(out, &data);
}

pub(super) fn push_send_data(out: &mut Vec<u8>, channel: u16, data: &[u8]) {
    let mut packet = vec![SEND_DATA_INDICATION];
    push_u16_be(&mut packet, (SERVER - FIRST_USER).into());
    push_u16_be(&mut packet, channel.into());
    packet.push(WHOLE);
    push_per_length(&mut packet, data.len());
    packet.extend_from_slice(data);
    tpkt::push_data(out, &packet);
}

pub(super) fn send_data_indication(packet: &[u8]) -> Result<Reader<'_>, RdpPacketError> {
    let mut reader = domain(packet, SEND_DATA_INDICATION, Pdu::SendData)?;
    reader.take(4)?;
    reader.u8()?;
    let length = reader.per_length()?;
    reader.part(length)
}
