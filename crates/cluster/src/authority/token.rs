//! Creates, parses and prints join tokens: invitations for new members, on paper or by copying.
//! Each is valid once. Proves to the bearer of a token that a node has its invitation.
//!
//! The format is `EK1-` and groups of base32 in Crockford's alphabet: no case, no
//! letters that look like digits, hyphens anywhere. The last bytes are a checksum, so
//! that a typing error is distinguished from an expired token.

use super::certificate::{Authority, sha256};
use super::der::are_signed_by;
use super::error::AuthorityError;
use crate::member::{Digest, MemberKind};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::fill;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use zeroize::Zeroize;

pub const TOKEN_PREFIX: &str = "EK1";
pub const ADDRESSES_MAX: usize = 8;
const FINGERPRINT_BYTES: usize = 20;
const SECRET_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 3;
const GROUP: usize = 6;
/// Longest token, with hyphens and what people add.
const TOKEN_BYTES_MAX: usize = 1024;
const SECRET_CONTEXT: &[u8] = b"evenkeel token 1\0";
const HINT_CONTEXT: &[u8] = b"evenkeel token hint 1\0";
const PROOF_CONTEXT: &[u8] = b"evenkeel join proof 1\0";

/// Context of the signature of a CA. No certificate begins with these bytes.
const SIGNED_CONTEXT: &[u8] = b"evenkeel join authority proof 1\0";
const PROOF_BYTES: usize = 32;

fn proven_words(known: &[u8], binding: &[u8]) -> Vec<u8> {
    [SIGNED_CONTEXT, known, binding].concat()
}

/// An invitation, as its bearer has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: MemberKind,
    pub addresses: Vec<SocketAddr>,
    /// First bytes of the SHA-256 of the CA's certificate.
    fingerprint: [u8; FINGERPRINT_BYTES],
    secret: [u8; SECRET_BYTES],
}

/// Reason why a token cannot be parsed or created.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    #[error("invalid token: it must begin with {TOKEN_PREFIX}-")]
    Prefix,
    #[error("invalid token: `{0}` is not a valid character")]
    Letter(char),
    #[error("invalid token (checksum mismatch): copy the whole token again")]
    Checksum,
    /// The token is from an incompatible version, or not a token.
    #[error("the token was created by an incompatible version of evenkeel")]
    Form,
    #[error("a token has between 1 and {ADDRESSES_MAX} addresses")]
    Addresses,
    #[error("the system provides no random numbers")]
    Random,
}

impl Token {
    /// Creates a token for the CA with this fingerprint.
    ///
    /// # Errors
    /// Fails with [`TokenError::Addresses`] if the number of addresses is out of range, and with
    /// [`TokenError::Random`] if the system has no random numbers.
    pub fn new(
        kind: MemberKind,
        addresses: Vec<SocketAddr>,
        authority: &Digest,
    ) -> Result<Token, TokenError> {
        if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
            return Err(TokenError::Addresses);
        }
        let mut secret = [0; SECRET_BYTES];
        fill(&mut secret).map_err(|_| TokenError::Random)?;
        let mut fingerprint = [0; FINGERPRINT_BYTES];
        for (to, from) in fingerprint.iter_mut().zip(authority.0) {
            *to = from;
        }
        Ok(Token {
            kind,
            addresses,
            fingerprint,
            secret,
        })
    }

    pub fn digest(&self) -> Digest {
        Token::digest_of(&self.secret)
    }

    pub(crate) fn digest_of(secret: &[u8]) -> Digest {
        sha256(&[SECRET_CONTEXT, secret].concat())
    }

    /// Returns the hint by which a member finds the invitation. It reveals the digest
    /// only to those that have it.
    pub(crate) fn hint(&self) -> Digest {
        Token::hint_of(&self.digest())
    }

    pub(crate) fn hint_of(digest: &Digest) -> Digest {
        sha256(&[HINT_CONTEXT, &digest.0].concat())
    }

    /// Returns the proof by the responder on this connection that the invitation is in its log, so
    /// it was a member when the invitation was created, and that it has the CA key. An arbiter does
    /// not have that key, so it cannot impersonate a node and learn the secret.
    pub(crate) fn proof_of(
        digest: &Digest,
        binding: &[u8],
        authority: &Authority,
    ) -> Result<Vec<u8>, AuthorityError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &digest.0);
        let mut proof = hmac::sign(&key, &[PROOF_CONTEXT, binding].concat())
            .as_ref()
            .to_vec();
        let signature = authority.sign_words(&proven_words(&proof, binding))?;
        proof.extend(signature);
        Ok(proof)
    }

    /// Verifies a node's proof that it has this token's invitation, and the key of the CA
    /// with this certificate (DER).
    pub(crate) fn is_proven_by(&self, proof: &[u8], binding: &[u8], authority: &[u8]) -> bool {
        let Some((known, signature)) = proof.split_at_checked(PROOF_BYTES) else {
            return false;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.digest().0);
        hmac::verify(&key, &[PROOF_CONTEXT, binding].concat(), known).is_ok()
            && self.names(authority)
            && are_signed_by(&proven_words(known, binding), signature, authority)
    }

    /// Returns the secret, which is sent only to a member that has proven that it knows
    /// the invitation.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Returns whether a certificate (DER) is that of the token's CA.
    pub fn names(&self, authority: &[u8]) -> bool {
        sha256(authority).0.starts_with(&self.fingerprint)
    }

    fn bytes(&self) -> Vec<u8> {
        let kind = match self.kind {
            MemberKind::Node => 0,
            MemberKind::Arbiter => 1,
        };
        let mut bytes = vec![kind << 4 | self.addresses.len() as u8];
        for address in &self.addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    bytes.push(4);
                    bytes.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(6);
                    bytes.extend(ip.octets());
                }
            }
            bytes.extend(address.port().to_be_bytes());
        }
        bytes.extend(self.fingerprint);
        bytes.extend(self.secret);
        let checksum = sha256(&bytes).0;
        bytes.extend(checksum.iter().take(CHECKSUM_BYTES));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Token, TokenError> {
        let split = bytes.len().checked_sub(CHECKSUM_BYTES);
        let (body, checksum) = split
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(TokenError::Checksum)?;
        if !sha256(body).0.starts_with(checksum) {
            return Err(TokenError::Checksum);
        }
        let mut rest = body;
        let [head] = take::<1>(&mut rest)?;
        let kind = match head >> 4 {
            0 => MemberKind::Node,
            1 => MemberKind::Arbiter,
            _ => return Err(TokenError::Form),
        };
        let count = usize::from(head & 0x0f);
        if !(1..=ADDRESSES_MAX).contains(&count) {
            return Err(TokenError::Form);
        }
        let addresses = (0..count)
            .map(|_| take_address(&mut rest))
            .collect::<Result<Vec<_>, _>>()?;
        let fingerprint = take(&mut rest)?;
        let secret = take(&mut rest)?;
        if !rest.is_empty() {
            return Err(TokenError::Form);
        }
        Ok(Token {
            kind,
            addresses,
            fingerprint,
            secret,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], TokenError> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(TokenError::Form)?;
    *rest = left;
    Ok(*taken)
}

fn take_address(rest: &mut &[u8]) -> Result<SocketAddr, TokenError> {
    let ip = match take::<1>(rest)? {
        [4] => IpAddr::V4(Ipv4Addr::from(take::<4>(rest)?)),
        [6] => IpAddr::V6(Ipv6Addr::from(take::<16>(rest)?)),
        _ => return Err(TokenError::Form),
    };
    let port = u16::from_be_bytes(take::<2>(rest)?);
    Ok(SocketAddr::new(ip, port))
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TOKEN_PREFIX)?;
        for (at, letter) in base32::encode(&self.bytes()).chars().enumerate() {
            if at % GROUP == 0 {
                f.write_str("-")?;
            }
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

/// Prints kind and addresses, and never the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?}, {:?})", self.kind, self.addresses)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Token, TokenError> {
        let text = text.trim();
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Form);
        }
        let body = text
            .split_at_checked(TOKEN_PREFIX.len())
            .filter(|(prefix, _)| prefix.eq_ignore_ascii_case(TOKEN_PREFIX))
            .map(|(_, body)| body)
            .ok_or(TokenError::Prefix)?;
        Token::from_bytes(&base32::decode(body)?)
    }
}

pub(super) mod base32 {
    use super::TokenError;

    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    pub(in super::super) fn encode(bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len() * 8 / 5 + 1);
        let (mut held, mut bits) = (0u32, 0u32);
        let push = |out: &mut String, value: u32| {
            let letter = ALPHABET.get((value & 31) as usize).copied();
            out.push(char::from(letter.unwrap_or(b'0')));
        };
        for byte in bytes {
            held = held << 8 | u32::from(*byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                push(&mut out, held >> bits);
            }
            held &= (1 << bits) - 1;
        }
        if bits > 0 {
            push(&mut out, held << (5 - bits));
        }
        out
    }

    /// Decodes letters; ignores hyphens and blanks.
    pub(super) fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
        let mut out = Vec::with_capacity(text.len() * 5 / 8);
        let (mut held, mut bits) = (0u32, 0u32);
        for letter in text.chars() {
            if letter == '-' || letter.is_ascii_whitespace() {
                continue;
            }
            held = held << 5 | value(letter).ok_or(TokenError::Letter(letter))?;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                out.push((held >> bits) as u8);
            }
            held &= (1 << bits) - 1;
        }
        // Fails unless fewer than five bits remain and all of them are zero.
        if bits >= 5 || held != 0 {
            return Err(TokenError::Checksum);
        }
        Ok(out)
    }

    fn value(letter: char) -> Option<u32> {
        let upper = match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let at = ALPHABET
            .iter()
            .position(|known| char::from(*known) == upper);
        at.and_then(|at| u32::try_from(at).ok())
    }
}
