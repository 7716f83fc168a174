//! Reads and builds the three NTLM messages ([MS-NLMP] 2.2.1) on the server's side.

use super::crypt::{hmac_md5, rc4, response_key, same};

pub const MESSAGE_BYTES_MAX: usize = 8 << 10;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// Flags of all three messages ([MS-NLMP] 2.2.2.5).
const UNICODE: u32 = 0x1;
const REQUEST_TARGET: u32 = 0x4;
const NTLM: u32 = 0x200;
const TARGET_IS_SERVER: u32 = 0x2_0000;
const EXTENDED_SECURITY: u32 = 0x8_0000;
const TARGET_INFO: u32 = 0x80_0000;
const VERSION: u32 = 0x200_0000;
const KEY_EXCHANGE: u32 = 0x4000_0000;
/// Flags that are accepted if the client sets them: signatures, encryption, the lengths of their
/// keys, key exchange, and versions. FreeRDP computes a wrong length for messages without a
/// version.
const CHOSEN: u32 = 0x10 | 0x20 | 0x8000 | VERSION | 0x2000_0000 | KEY_EXCHANGE | 0x8000_0000;
/// NTLM version of this server: revision 15, on a system 10.0.
const OUR_VERSION: [u8; 8] = [10, 0, 0, 0, 0, 0, 0, 15];
/// Attributes in CHALLENGE and in responses ([MS-NLMP] 2.2.2.1).
const AV_END: u16 = 0;
const AV_COMPUTER: u16 = 1;
const AV_DOMAIN: u16 = 2;
const AV_DNS_COMPUTER: u16 = 3;
const AV_FLAGS: u16 = 6;
const AV_TIMESTAMP: u16 = 7;
const AV_CHANNEL: u16 = 10;
/// Flag: AUTHENTICATE has a message integrity code.
const HAS_MIC: u32 = 0x2;
const MIC: std::ops::Range<usize> = 72..88;
/// Length of the proof at the start of a response.
const PROOF_BYTES: usize = 16;
const RESPONSE_HEAD_BYTES: usize = 28;

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a valid NTLM message: invalid {field}")]
pub struct NtlmMessageError {
    pub field: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NtlmAuthenticationError {
    /// The client used an older protocol than NTLMv2.
    #[error("the client uses LM or NTLMv1; NTLMv2 is needed")]
    Old,
    #[error("wrong password")]
    Wrong,
    /// The client has not protected the messages by an integrity code.
    #[error("the client sent no message integrity code")]
    NoMic,
    #[error("the NTLM messages were modified in transit")]
    Changed,
    /// The client believes it is connected to another server.
    #[error("the channel binding of the client belongs to another TLS connection")]
    OtherChannel,
}

#[derive(Clone, Copy, Debug)]
pub struct NtlmTarget<'a> {
    /// NetBIOS name of the server.
    pub name: &'a str,
    /// DNS name of the server.
    pub host: &'a str,
}

/// An authentication in progress, with the messages exchanged so far.
#[derive(Clone, Debug)]
pub struct Exchange {
    negotiate: Vec<u8>,
    challenge: Vec<u8>,
    nonce: [u8; 8],
}

impl Exchange {
    /// Responds to NEGOTIATE with CHALLENGE. `nonce` must be random; the time is in units of 100
    /// ns since 1601.
    ///
    /// # Errors
    /// The message is not NEGOTIATE, or its client does not support Unicode.
    pub fn new(
        negotiate: &[u8],
        nonce: [u8; 8],
        target: NtlmTarget<'_>,
        time: u64,
    ) -> Result<Exchange, NtlmMessageError> {
        if negotiate.len() > MESSAGE_BYTES_MAX {
            return Err(NtlmMessageError { field: "length" });
        }
        head(negotiate, 1)?;
        let asked = u32_at(negotiate, 12)?;
        if asked & UNICODE == 0 {
            return Err(NtlmMessageError { field: "flags" });
        }
        let flags = UNICODE
            | REQUEST_TARGET
            | NTLM
            | TARGET_IS_SERVER
            | EXTENDED_SECURITY
            | TARGET_INFO
            | asked & CHOSEN;
        let name = wide(&target.name.to_uppercase());
        let mut info = Vec::new();
        for (kind, value) in [
            (AV_DOMAIN, name.as_slice()),
            (AV_COMPUTER, &name),
            (AV_DNS_COMPUTER, &wide(target.host)),
            // With this attribute a client must send an integrity code.
            (AV_TIMESTAMP, &time.to_le_bytes()),
            (AV_END, &[]),
        ] {
            info.extend_from_slice(&kind.to_le_bytes());
            info.extend_from_slice(&length(value).to_le_bytes());
            info.extend_from_slice(value);
        }
        let mut challenge = SIGNATURE.to_vec();
        challenge.extend_from_slice(&2_u32.to_le_bytes());
        push_place(&mut challenge, &name, 56);
        challenge.extend_from_slice(&flags.to_le_bytes());
        challenge.extend_from_slice(&nonce);
        challenge.extend_from_slice(&[0; 8]);
        push_place(&mut challenge, &info, 56 + u32::from(length(&name)));
        challenge.extend_from_slice(&OUR_VERSION);
        challenge.extend_from_slice(&name);
        challenge.extend_from_slice(&info);
        Ok(Exchange {
            negotiate: negotiate.to_vec(),
            challenge,
            nonce,
        })
    }

    pub fn challenge(&self) -> &[u8] {
        &self.challenge
    }
}

#[derive(Clone, Debug)]
pub struct Authenticate {
    pub user: String,
    /// Domain of the user or of the machine; may be empty.
    pub domain: String,
    bytes: Vec<u8>,
    response: Vec<u8>,
    session_key: Vec<u8>,
    flags: u32,
}

impl Authenticate {
    /// Parses the message.
    ///
    /// # Errors
    /// The message is not a valid AUTHENTICATE.
    pub fn decode(bytes: &[u8]) -> Result<Authenticate, NtlmMessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(NtlmMessageError { field: "length" });
        }
        head(bytes, 3)?;
        let flags = u32_at(bytes, 60)?;
        if flags & UNICODE == 0 {
            return Err(NtlmMessageError { field: "flags" });
        }
        Ok(Authenticate {
            user: text(place(bytes, 36, "UserName")?, "UserName")?,
            domain: text(place(bytes, 28, "DomainName")?, "DomainName")?,
            response: place(bytes, 20, "NtChallengeResponse")?.to_vec(),
            session_key: place(bytes, 52, "EncryptedRandomSessionKey")?.to_vec(),
            bytes: bytes.to_vec(),
            flags,
        })
    }

    /// Verifies the message with the hash of the user's password. `channels` are the acceptable
    /// hashes of the TLS connection that carried it.
    ///
    /// # Errors
    /// The reason why the message does not authenticate this user.
    pub fn verify(
        &self,
        exchange: &Exchange,
        nt_hash: &[u8; 16],
        channels: &[[u8; 16]],
    ) -> Result<(), NtlmAuthenticationError> {
        let (proof, rest) = self
            .response
            .split_first_chunk::<PROOF_BYTES>()
            .filter(|(_, rest)| rest.len() >= RESPONSE_HEAD_BYTES && rest.starts_with(&[1, 1]))
            .ok_or(NtlmAuthenticationError::Old)?;
        let key = response_key(nt_hash, &self.user, &self.domain);
        if !same(proof, &hmac_md5(&key, &[&exchange.nonce, rest])) {
            return Err(NtlmAuthenticationError::Wrong);
        }
        // The client's proof covers the attributes, so nobody has changed them.
        let pairs = rest.get(RESPONSE_HEAD_BYTES..).unwrap_or_default();
        let flags = pair(pairs, AV_FLAGS).and_then(|value| u32_at(value, 0).ok());
        if flags.unwrap_or_default() & HAS_MIC == 0 {
            return Err(NtlmAuthenticationError::NoMic);
        }
        let base = hmac_md5(&key, &[proof]);
        let session = match self.flags & KEY_EXCHANGE {
            0 => base,
            _ => {
                let sealed = self.session_key.as_slice().try_into();
                rc4(&base, sealed.map_err(|_| NtlmAuthenticationError::Changed)?)
            }
        };
        let (Some(before), Some(after)) = (self.bytes.get(..MIC.start), self.bytes.get(MIC.end..))
        else {
            return Err(NtlmAuthenticationError::NoMic);
        };
        let expected = hmac_md5(
            &session,
            &[
                &exchange.negotiate,
                &exchange.challenge,
                before,
                &[0; 16],
                after,
            ],
        );
        let found = self.bytes.get(MIC).and_then(|mic| mic.try_into().ok());
        if !found.is_some_and(|mic| same(mic, &expected)) {
            return Err(NtlmAuthenticationError::Changed);
        }
        match pair(pairs, AV_CHANNEL) {
            Some(channel) if channel.iter().any(|byte| *byte != 0) => {
                let is_here = channels.iter().any(|own| own == channel);
                is_here
                    .then_some(())
                    .ok_or(NtlmAuthenticationError::OtherChannel)
            }
            _ => Ok(()),
        }
    }
}

fn pair(mut pairs: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (head, rest) = pairs.split_first_chunk::<4>()?;
        let [a, b, c, d] = *head;
        let kind = u16::from_le_bytes([a, b]);
        let (value, rest) = rest.split_at_checked(u16::from_le_bytes([c, d]).into())?;
        match kind {
            AV_END => return None,
            _ if kind == wanted => return Some(value),
            _ => pairs = rest,
        }
    }
}

fn head(bytes: &[u8], kind: u32) -> Result<(), NtlmMessageError> {
    if bytes.starts_with(SIGNATURE) && u32_at(bytes, 8)? == kind {
        Ok(())
    } else {
        Err(NtlmMessageError { field: "head" })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, NtlmMessageError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    let found = found.ok_or(NtlmMessageError { field: "length" })?;
    Ok(u32::from_le_bytes(*found))
}

/// Returns the bytes to which the field at `at` refers. The field contains a length, the same
/// length again, and an offset.
fn place<'a>(
    bytes: &'a [u8],
    at: usize,
    field: &'static str,
) -> Result<&'a [u8], NtlmMessageError> {
    let lengths = u32_at(bytes, at)?;
    let begin = usize::try_from(u32_at(bytes, at + 4)?).unwrap_or(usize::MAX);
    let length = usize::try_from(lengths & 0xffff).unwrap_or(usize::MAX);
    if length == 0 {
        return Ok(&[]);
    }
    let end = begin
        .checked_add(length)
        .ok_or(NtlmMessageError { field })?;
    bytes.get(begin..end).ok_or(NtlmMessageError { field })
}

fn text(bytes: &[u8], field: &'static str) -> Result<String, NtlmMessageError> {
    let (units, odd) = bytes.as_chunks::<2>();
    let units = units.iter().map(|pair| u16::from_le_bytes(*pair));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    text.ok()
        .filter(|_| odd.is_empty())
        .ok_or(NtlmMessageError { field })
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn length(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

fn push_place(out: &mut Vec<u8>, bytes: &[u8], at: u32) {
    out.extend_from_slice(&length(bytes).to_le_bytes());
    out.extend_from_slice(&length(bytes).to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
}
