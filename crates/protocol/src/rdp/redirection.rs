//! Encodes and decodes Server Redirection of RDP ([MS-RDPBCGR] 2.2.13), in the form for enhanced
//! security (2.2.13.3): the client ends this connection and connects to another host.

use super::reader::{Reader, push_u16_le, utf16};
use super::{Pdu, RdpPacketError};
use super::{gcc, mcs};

/// Maximum length of `LoadBalanceInfo` in bytes: a client repeats it in a Connection Request.
pub const LOAD_BALANCE_BYTES_MAX: usize = 200;
/// Maximum length in bytes of an address in UTF-16, with its terminator.
const ADDRESS_BYTES_MAX: usize = 80;
const NAME_BYTES_MAX: usize = 512;
/// `PDUTYPE_SERVER_REDIR_PKT` with the version of the protocol.
const PDU_TYPE: usize = 0x1a;
/// Flag `SEC_REDIRECTION_PKT` of the security header.
const FLAGS: usize = 0x0400;
/// Flags of the fields that are present.
const TARGET_NET_ADDRESS: u32 = 0x1;
const LOAD_BALANCE_INFO: u32 = 0x2;
const TARGET_FQDN: u32 = 0x100;
/// Length of a share control header with its padding.
const SHARE_BYTES: usize = 8;
const HEAD_BYTES: usize = 12;
/// Length of the padding at the end, which clients expect.
const PAD_BYTES: usize = 9;

/// Server to which the client shall connect instead (MS-RDPBCGR, 2.2.13.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Redirection {
    /// Address to which the client connects; empty: the same as for this connection.
    pub target_net_address: String,
    /// Routing token for the Connection Request, with its CR LF; empty: none.
    pub load_balance_info: Vec<u8>,
    /// Host name to which the client connects; empty: the same as for this connection.
    pub target_fqdn: String,
}

impl Redirection {
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut flags = 0;
        if !self.target_net_address.is_empty() {
            flags |= TARGET_NET_ADDRESS;
            push_text(&mut fields, &self.target_net_address, ADDRESS_BYTES_MAX);
        }
        if !self.load_balance_info.is_empty() {
            flags |= LOAD_BALANCE_INFO;
            let info = &self.load_balance_info;
            push_field(&mut fields, &info[..info.len().min(LOAD_BALANCE_BYTES_MAX)]);
        }
        if !self.target_fqdn.is_empty() {
            flags |= TARGET_FQDN;
            push_text(&mut fields, &self.target_fqdn, NAME_BYTES_MAX);
        }
        let redirection_bytes = HEAD_BYTES + fields.len();
        let mut data = Vec::new();
        push_u16_le(&mut data, SHARE_BYTES + redirection_bytes + PAD_BYTES);
        push_u16_le(&mut data, PDU_TYPE);
        push_u16_le(&mut data, mcs::SERVER.into());
        push_u16_le(&mut data, 0);
        push_u16_le(&mut data, FLAGS);
        push_u16_le(&mut data, redirection_bytes);
        // The session id is zero: the new host knows which session belongs to the user.
        data.extend_from_slice(&0_u32.to_le_bytes());
        data.extend_from_slice(&u32::to_le_bytes(flags));
        data.extend_from_slice(&fields);
        data.extend_from_slice(&[0; PAD_BYTES]);
        let mut packet = Vec::new();
        mcs::push_send_data(&mut packet, gcc::IO_CHANNEL, &data);
        packet
    }

    /// Parses a whole packet.
    ///
    /// # Errors
    /// The packet is not a redirection, or contains unsupported fields.
    pub fn decode(packet: &[u8]) -> Result<Redirection, RdpPacketError> {
        let mut reader = mcs::send_data_indication(packet)?.within(Pdu::Redirection);
        reader.u16_le()?;
        if usize::from(reader.u16_le()?) != PDU_TYPE {
            return Err(reader.invalid("pduType"));
        }
        reader.take(4)?;
        if usize::from(reader.u16_le()?) != FLAGS {
            return Err(reader.invalid("Flags"));
        }
        let length = usize::from(reader.u16_le()?).checked_sub(4);
        let mut reader = reader.part(length.ok_or_else(|| reader.invalid("Length"))?)?;
        reader.u32_le()?;
        let flags = reader.u32_le()?;
        if flags & !(TARGET_NET_ADDRESS | LOAD_BALANCE_INFO | TARGET_FQDN) != 0 {
            return Err(reader.invalid("RedirFlags"));
        }
        let mut redirection = Redirection::default();
        if flags & TARGET_NET_ADDRESS != 0 {
            redirection.target_net_address = text(&mut reader, "TargetNetAddress")?;
        }
        if flags & LOAD_BALANCE_INFO != 0 {
            redirection.load_balance_info = field(&mut reader)?.to_vec();
        }
        if flags & TARGET_FQDN != 0 {
            redirection.target_fqdn = text(&mut reader, "TargetFQDN")?;
        }
        Ok(redirection)
    }
}

fn push_field(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a zero-terminated text, truncated to `bytes_max` bytes of UTF-16, which clients read.
fn push_text(out: &mut Vec<u8>, text: &str, bytes_max: usize) {
    let units = text.encode_utf16().take(bytes_max / 2 - 1).chain([0]);
    let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
    push_field(out, &bytes);
}

fn field<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], RdpPacketError> {
    let length = usize::try_from(reader.u32_le()?).unwrap_or(usize::MAX);
    reader.take(length)
}

fn text(reader: &mut Reader<'_>, name: &'static str) -> Result<String, RdpPacketError> {
    let bytes = field(reader)?;
    utf16(bytes).ok_or_else(|| reader.invalid(name))
}
