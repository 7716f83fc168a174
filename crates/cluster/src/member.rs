//! Defines what all members of a cluster know of each member (number, kind, name, addresses, keys),
//! and the SHA-256 [`Digest`].

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;

/// Member number: assigned once and never reused, even after the member was removed.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberKind {
    /// Carries traffic, votes, stores, reads contents.
    #[default]
    Node,
    /// Votes and stores; can decrypt no contents.
    Arbiter,
}

/// SHA-256 digest. Encoded as bytes in the log and on the wire, and as hexadecimal
/// digits where people read it (JSON).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Digest(pub [u8; 32]);

pub fn digest(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    Digest(out)
}

impl Digest {
    pub fn from_hex(text: &str) -> Option<Digest> {
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != bytes.len() * 2 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(DigestVisitor)
        } else {
            deserializer.deserialize_bytes(DigestVisitor)
        }
    }
}

/// Encodings of a digest: older files contain a list of numbers.
struct DigestVisitor;

impl<'de> Visitor<'de> for DigestVisitor {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 hexadecimal digits, or 32 bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Digest, E> {
        Digest::from_hex(text).ok_or_else(|| E::invalid_length(text.len(), &self))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Digest, E> {
        let whole = <[u8; 32]>::try_from(bytes);
        whole
            .map(Digest)
            .map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Digest, A::Error> {
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let next = items.next_element()?;
            *byte = next.ok_or_else(|| A::Error::invalid_length(at, &self))?;
        }
        Ok(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A member, as all members know it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterMember {
    pub id: MemberId,
    /// Name of the member: the host name, unless another one was configured.
    pub name: String,
    pub kind: MemberKind,
    /// Addresses on which it listens for members, the preferred one first.
    pub addresses: Vec<SocketAddr>,
    /// SHA-256 of the public key (SPKI) of its certificate.
    pub certificate: Digest,
    /// Public key for which contents are encrypted (HPKE, X25519); an arbiter has none.
    #[serde(with = "serde_bytes")]
    pub sealing_key: Option<Vec<u8>>,
    /// Newest format of commands that the member's release of evenkeel supports.
    pub format: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::codec;
    use std::collections::BTreeMap;

    #[test]
    fn people_read_digits_and_the_log_holds_bytes() {
        let digest = Digest(std::array::from_fn(|at| at as u8 * 8));
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        // Older files contain a list of numbers, and a table has digests as keys.
        let numbers = serde_json::to_string(&digest.0).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&numbers).unwrap(), digest);
        let table = BTreeMap::from([(digest, 1)]);
        let text = serde_json::to_string(&table).unwrap();
        let read: BTreeMap<Digest, i32> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, table);
        let bytes = codec::encode(&digest);
        assert_eq!(bytes.len(), 34, "two of a head, then the bytes themselves");
        assert_eq!(codec::decode::<Digest>(&bytes).unwrap(), digest);
        let table = codec::encode(&table);
        assert!(codec::decode::<BTreeMap<Digest, i32>>(&table).is_ok());
        for wrong in ["\"\"", "\"abc\"", "[1,2]", "7", "\"zz\""] {
            assert!(serde_json::from_str::<Digest>(wrong).is_err(), "{wrong}");
        }
    }
}
