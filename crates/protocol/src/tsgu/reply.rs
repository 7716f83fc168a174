//! Builds the packets that a remote desktop gateway sends to its client.

use super::Code;
use super::packet::TsguPacketType;
use super::tunnel::Limits;

pub const DATA_BYTES_MAX: usize = u16::MAX as usize;
const SERVER_VERSION: u16 = 1;
/// Capabilities of this side: idle timeout, and re-authentication.
const CAPABILITIES: u32 = 0x2 | 0x10;
/// Extended authentication with a cookie.
pub(super) const AUTHENTICATION_COOKIE: u16 = 0x2;

fn packet(kind: TsguPacketType, fields: &[&[u8]]) -> Vec<u8> {
    let fields = fields.concat();
    let length = u32::try_from(8 + fields.len()).unwrap_or(u32::MAX);
    let mut packet = Vec::with_capacity(8 + fields.len());
    packet.extend_from_slice(&kind.0.to_le_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&length.to_le_bytes());
    packet.extend_from_slice(&fields);
    packet
}

pub(super) fn handshake(code: Code) -> Vec<u8> {
    let version = SERVER_VERSION.to_le_bytes();
    let authentication = AUTHENTICATION_COOKIE.to_le_bytes();
    let fields: [&[u8]; 4] = [&code.0.to_le_bytes(), &[1, 0], &version, &authentication];
    packet(TsguPacketType::HANDSHAKE_RESPONSE, &fields)
}

pub(super) fn tunnel(answer: Result<u32, Code>) -> Vec<u8> {
    let version = SERVER_VERSION.to_le_bytes();
    match answer {
        Ok(number) => packet(
            TsguPacketType::TUNNEL_RESPONSE,
            &[
                &version,
                &Code::OK.0.to_le_bytes(),
                &[3, 0, 0, 0],
                &number.to_le_bytes(),
                &CAPABILITIES.to_le_bytes(),
            ],
        ),
        Err(code) => packet(
            TsguPacketType::TUNNEL_RESPONSE,
            &[&version, &code.0.to_le_bytes(), &[0; 4]],
        ),
    }
}

pub(super) fn authorised(answer: Result<Limits, Code>) -> Vec<u8> {
    match answer {
        Ok(limits) => packet(
            TsguPacketType::TUNNEL_AUTHORISE_RESPONSE,
            &[
                &Code::OK.0.to_le_bytes(),
                &[3, 0, 0, 0],
                &limits.redirection.to_le_bytes(),
                &limits.idle_minutes.to_le_bytes(),
            ],
        ),
        Err(code) => packet(
            TsguPacketType::TUNNEL_AUTHORISE_RESPONSE,
            &[&code.0.to_le_bytes(), &[0; 4]],
        ),
    }
}

pub(super) fn channel(answer: Result<u32, Code>) -> Vec<u8> {
    match answer {
        Ok(number) => packet(
            TsguPacketType::CHANNEL_RESPONSE,
            &[
                &Code::OK.0.to_le_bytes(),
                &[1, 0, 0, 0],
                &number.to_le_bytes(),
            ],
        ),
        Err(code) => packet(
            TsguPacketType::CHANNEL_RESPONSE,
            &[&code.0.to_le_bytes(), &[0; 4]],
        ),
    }
}

/// Returns a packet with data of the host for the client; at most [`DATA_BYTES_MAX`] bytes, the
/// rest is dropped.
pub fn data(bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.get(..DATA_BYTES_MAX).unwrap_or(bytes);
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    packet(TsguPacketType::DATA, &[&length.to_le_bytes(), bytes])
}

pub fn keep_alive() -> Vec<u8> {
    packet(TsguPacketType::KEEP_ALIVE, &[])
}

/// Returns the request to re-authenticate; the client opens another tunnel that contains this
/// number.
pub fn reauthenticate(number: u64) -> Vec<u8> {
    packet(TsguPacketType::REAUTHENTICATE, &[&number.to_le_bytes()])
}

pub fn close(code: Code) -> Vec<u8> {
    packet(TsguPacketType::CLOSE, &[&code.0.to_le_bytes()])
}

/// Returns the packet that confirms the client's end of the channel.
pub fn closed() -> Vec<u8> {
    packet(TsguPacketType::CLOSED, &[&Code::OK.0.to_le_bytes()])
}
