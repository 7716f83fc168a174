//! Reads and builds GCC conferences ([MS-RDPBCGR] 2.2.1.3 and 2.2.1.4), in which RDP client and
//! server announce their properties.

use super::reader::{Reader, push_per_length, push_u16_le, utf16};
use super::{Pdu, RdpPacketError};

/// Maximum number of static virtual channels of a client.
pub const CHANNELS_MAX: usize = 31;
/// Id of the channel for input and output; those of static virtual channels follow it.
pub(super) const IO_CHANNEL: u16 = 1003;

/// Identifier of T.124 at the start of both messages, an object identifier in PER.
const T124: [u8; 7] = [0, 5, 0, 0x14, 0x7c, 0, 1];
/// Bytes of the request before its user data: choice, conference "1", one set with the client's
/// key, "Duca".
const REQUEST: [u8; 12] = [0, 8, 0, 0x10, 0, 1, 0xc0, 0, b'D', b'u', b'c', b'a'];
/// Bytes of the response before its user data: a length that clients must ignore, choice, node
/// 31219, tag 1, success, one set with the server's key, "McDn".
const RESPONSE: [u8; 14] = [
    0x2a, 0x14, 0x76, 0x0a, 1, 1, 0, 1, 0xc0, 0, b'M', b'c', b'D', b'n',
];

const CS_CORE: u16 = 0xc001;
const CS_NET: u16 = 0xc003;
const CS_CLUSTER: u16 = 0xc004;
const SC_CORE: usize = 0x0c01;
const SC_SECURITY: usize = 0x0c02;
const SC_NET: usize = 0x0c03;
const HEAD_BYTES: usize = 4;
/// Version number of RDP 5.0 and later.
const VERSION: u32 = 0x0008_0004;
/// Number of bytes before the client's name in its core data.
const BEFORE_NAME_BYTES: usize = 20;
const CLIENT_NAME_BYTES: usize = 32;
const CHANNEL_BYTES: usize = 12;
const REDIRECTION_SUPPORTED: u32 = 1;
const BLOCKS_MAX: usize = 32;

/// Relevant content of a client's request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Conference {
    pub(super) client_name: String,
    pub(super) channels: usize,
    pub(super) follows: bool,
}

impl Conference {
    pub(super) fn decode(reader: Reader<'_>) -> Result<Conference, RdpPacketError> {
        let mut reader = reader.within(Pdu::ConferenceCreateRequest);
        reader.fixed(&T124, "key")?;
        reader.per_length()?;
        reader.fixed(&REQUEST, "head")?;
        let length = reader.per_length()?;
        let mut blocks = reader.part(length)?;
        let mut conference = Conference::default();
        let (mut has_core, mut left) = (false, BLOCKS_MAX);
        while !blocks.is_empty() {
            left = left
                .checked_sub(1)
                .ok_or_else(|| blocks.invalid("number of blocks"))?;
            let (kind, length) = (blocks.u16_le()?, blocks.u16_le()?);
            let length = usize::from(length).checked_sub(HEAD_BYTES);
            let mut block =
                blocks.part(length.ok_or_else(|| blocks.invalid("length of a block"))?)?;
            match kind {
                CS_CORE => {
                    has_core = true;
                    block.take(BEFORE_NAME_BYTES)?;
                    // The name is only displayed, so an invalid one is replaced by an empty name.
                    conference.client_name =
                        utf16(block.take(CLIENT_NAME_BYTES)?).unwrap_or_default();
                }
                CS_NET => conference.channels = channels(&mut block)?,
                CS_CLUSTER => conference.follows = block.u32_le()? & REDIRECTION_SUPPORTED != 0,
                _ => {}
            }
        }
        if has_core {
            Ok(conference)
        } else {
            Err(blocks.invalid("set of blocks: no core data"))
        }
    }

    pub(super) fn channel_ids(&self) -> impl Iterator<Item = u16> {
        (IO_CHANNEL + 1..).take(self.channels)
    }

    /// Appends the Conference Create Response to a client that requested these protocols.
    pub(super) fn push_response(&self, out: &mut Vec<u8>, requested: u32) {
        let mut blocks = Vec::new();
        push_block(
            &mut blocks,
            SC_CORE,
            &[VERSION, requested].map(u32::to_le_bytes).concat(),
        );
        let mut net = Vec::new();
        push_u16_le(&mut net, IO_CHANNEL.into());
        push_u16_le(&mut net, self.channels);
        self.channel_ids()
            .for_each(|id| push_u16_le(&mut net, id.into()));
        if !self.channels.is_multiple_of(2) {
            push_u16_le(&mut net, 0);
        }
        push_block(&mut blocks, SC_NET, &net);
        // No RDP encryption, because TLS is used.
        push_block(&mut blocks, SC_SECURITY, &[0; 8]);
        out.extend_from_slice(&T124);
        out.extend_from_slice(&RESPONSE);
        push_per_length(out, blocks.len());
        out.extend_from_slice(&blocks);
    }
}

fn channels(block: &mut Reader<'_>) -> Result<usize, RdpPacketError> {
    let count = usize::try_from(block.u32_le()?).unwrap_or(usize::MAX);
    if count > CHANNELS_MAX {
        return Err(block.invalid("number of channels"));
    }
    block.take(count * CHANNEL_BYTES)?;
    Ok(count)
}

fn push_block(out: &mut Vec<u8>, kind: usize, data: &[u8]) {
    push_u16_le(out, kind);
    push_u16_le(out, HEAD_BYTES + data.len());
    out.extend_from_slice(data);
}
