//! Parses and writes the extensions in version 2 of the PROXY header: type, length, value.
//!
//! Extensions stay in wire format and are checked once, because most connections never use them.

use super::{MAX_TLV_BYTES, TlvError};

pub mod kind {
    /// Protocol that was negotiated by ALPN.
    pub const ALPN: u8 = 0x01;
    /// Host name that the client requested (for example by SNI).
    pub const AUTHORITY: u8 = 0x02;
    /// Checksum of the header; see [`Checksum`](super::super::Checksum).
    pub const CRC32C: u8 = 0x03;
    /// Padding, which must be ignored.
    pub const NOOP: u8 = 0x04;
    /// Id of the connection that the first proxy chose.
    pub const UNIQUE_ID: u8 = 0x05;
    pub const SSL: u8 = 0x20;
    /// Name of the network namespace.
    pub const NETNS: u8 = 0x30;
    /// First of the sixteen types for private use.
    pub const CUSTOM_FIRST: u8 = 0xe0;
    pub const CUSTOM_LAST: u8 = 0xef;
}

/// Types of extensions within [`kind::SSL`].
pub mod ssl_kind {
    /// Version of TLS, such as `TLSv1.3`.
    pub const VERSION: u8 = 0x21;
    pub const COMMON_NAME: u8 = 0x22;
    pub const CIPHER: u8 = 0x23;
    /// Signature algorithm of the frontend's certificate, such as `SHA256`.
    pub const SIGNATURE_ALGORITHM: u8 = 0x24;
    /// Key algorithm of the frontend's certificate, such as `RSA2048`.
    pub const KEY_ALGORITHM: u8 = 0x25;
}

/// Maximum length of a unique id in bytes, from the specification.
pub const MAX_UNIQUE_ID_BYTES: usize = 128;

/// Maximum length of an authority in bytes: that of a DNS name; HAProxy refuses longer ones, too.
pub const MAX_AUTHORITY_BYTES: usize = 255;

pub(super) const TLV_HEAD_BYTES: usize = 3;
pub(super) const CHECKSUM_BYTES: usize = 4;
const SSL_FIXED_BYTES: usize = 5;

const SSL_CLIENT: u8 = 0x01;
const SSL_CERTIFICATE_CONNECTION: u8 = 0x02;
const SSL_CERTIFICATE_SESSION: u8 = 0x04;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tlv<'a> {
    pub kind: u8,
    pub value: &'a [u8],
}

/// Extensions of a header in order, without the checksum, which the encoder computes. The list is
/// always well-formed and never longer than [`MAX_TLV_BYTES`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tlvs(Vec<u8>);

impl Tlvs {
    pub(super) fn from_wire(wire: &[u8]) -> Result<Self, TlvError> {
        let mut tlvs = Tlvs::default();
        for tlv in Walk::new(wire) {
            let tlv = tlv?;
            if tlv.kind != kind::CRC32C {
                tlvs.push(tlv.kind, tlv.value)?;
            }
        }
        Ok(tlvs)
    }

    pub(super) fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Appends an extension of any type except the checksum.
    ///
    /// # Errors
    /// The value is invalid for its type, or does not fit.
    pub fn push(&mut self, kind: u8, value: &[u8]) -> Result<(), TlvError> {
        check(kind, value)?;
        let found_bytes = self.0.len() + TLV_HEAD_BYTES + value.len();
        if found_bytes > MAX_TLV_BYTES {
            return Err(TlvError::TooManyBytes { found_bytes });
        }
        append(&mut self.0, kind, value);
        Ok(())
    }

    /// Appends the TLS information.
    ///
    /// # Errors
    /// A value is invalid, or does not fit.
    pub fn push_ssl(&mut self, fields: &SslFields<'_>) -> Result<(), TlvError> {
        self.push(kind::SSL, &fields.encode()?)
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns all extensions except padding, in order.
    pub fn iter(&self) -> TlvIter<'_> {
        TlvIter(Walk::new(&self.0))
    }

    /// Returns the value of a type. If it is repeated, the last one counts, as in HAProxy.
    pub fn get(&self, kind: u8) -> Option<&[u8]> {
        let found = self.iter().filter(|tlv| tlv.kind == kind).last();
        found.map(|tlv| tlv.value)
    }

    pub fn alpn(&self) -> Option<&[u8]> {
        self.get(kind::ALPN)
    }

    /// The host name that the client requested. The specification requires UTF-8, but the
    /// sender may not have checked it.
    pub fn authority(&self) -> Option<&[u8]> {
        self.get(kind::AUTHORITY)
    }

    pub fn unique_id(&self) -> Option<&[u8]> {
        self.get(kind::UNIQUE_ID)
    }

    pub fn network_namespace(&self) -> Option<&[u8]> {
        self.get(kind::NETNS)
    }

    pub fn ssl(&self) -> Option<Ssl<'_>> {
        Ssl::read(self.get(kind::SSL)?)
    }
}

/// Iterator over all extensions except padding.
#[derive(Clone, Debug)]
pub struct TlvIter<'a>(Walk<'a>);

impl<'a> Iterator for TlvIter<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        // The list was validated before, so no extension is truncated.
        self.0
            .by_ref()
            .filter_map(Result::ok)
            .find(|tlv| tlv.kind != kind::NOOP)
    }
}

impl<'a> IntoIterator for &'a Tlvs {
    type Item = Tlv<'a>;
    type IntoIter = TlvIter<'a>;

    fn into_iter(self) -> TlvIter<'a> {
        self.iter()
    }
}

/// TLS information about the connection between the client and the first proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ssl<'a> {
    client: u8,
    verify: u32,
    nested: &'a [u8],
}

impl<'a> Ssl<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        let (fixed, nested) = value.split_first_chunk::<SSL_FIXED_BYTES>()?;
        let [client, a, b, c, d] = *fixed;
        Some(Ssl {
            client,
            verify: u32::from_be_bytes([a, b, c, d]),
            nested,
        })
    }

    pub fn is_used(&self) -> bool {
        self.client & SSL_CLIENT != 0
    }

    /// Returns whether the client presented a certificate on this connection.
    pub fn certificate_on_connection(&self) -> bool {
        self.client & SSL_CERTIFICATE_CONNECTION != 0
    }

    /// Returns whether the client presented a certificate at least once in this TLS session.
    pub fn certificate_in_session(&self) -> bool {
        self.client & SSL_CERTIFICATE_SESSION != 0
    }

    /// Returns the result of the certificate verification: zero if a certificate was
    /// presented and is valid.
    pub fn verify_result(&self) -> u32 {
        self.verify
    }

    /// Returns all nested extensions except padding.
    pub fn iter(&self) -> TlvIter<'a> {
        TlvIter(Walk::new(self.nested))
    }

    fn get(&self, kind: u8) -> Option<&'a [u8]> {
        let found = self.iter().filter(|tlv| tlv.kind == kind).last();
        found.map(|tlv| tlv.value)
    }

    pub fn version(&self) -> Option<&'a [u8]> {
        self.get(ssl_kind::VERSION)
    }

    pub fn common_name(&self) -> Option<&'a [u8]> {
        self.get(ssl_kind::COMMON_NAME)
    }

    pub fn cipher(&self) -> Option<&'a [u8]> {
        self.get(ssl_kind::CIPHER)
    }

    pub fn signature_algorithm(&self) -> Option<&'a [u8]> {
        self.get(ssl_kind::SIGNATURE_ALGORITHM)
    }

    pub fn key_algorithm(&self) -> Option<&'a [u8]> {
        self.get(ssl_kind::KEY_ALGORITHM)
    }
}

impl<'a> IntoIterator for &Ssl<'a> {
    type Item = Tlv<'a>;
    type IntoIter = TlvIter<'a>;

    fn into_iter(self) -> TlvIter<'a> {
        self.iter()
    }
}

/// TLS information to send; `used` sets the flag that the client connected over TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SslFields<'a> {
    pub used: bool,
    pub certificate_on_connection: bool,
    pub certificate_in_session: bool,
    pub verify_result: u32,
    pub version: Option<&'a [u8]>,
    pub common_name: Option<&'a [u8]>,
    pub cipher: Option<&'a [u8]>,
    pub signature_algorithm: Option<&'a [u8]>,
    pub key_algorithm: Option<&'a [u8]>,
}

impl SslFields<'_> {
    fn encode(&self) -> Result<Vec<u8>, TlvError> {
        let mut client = if self.used { SSL_CLIENT } else { 0 };
        if self.certificate_on_connection {
            client |= SSL_CERTIFICATE_CONNECTION;
        }
        if self.certificate_in_session {
            client |= SSL_CERTIFICATE_SESSION;
        }
        let mut out = vec![client];
        out.extend_from_slice(&self.verify_result.to_be_bytes());
        for (kind, value) in [
            (ssl_kind::VERSION, self.version),
            (ssl_kind::COMMON_NAME, self.common_name),
            (ssl_kind::KEY_ALGORITHM, self.key_algorithm),
            (ssl_kind::SIGNATURE_ALGORITHM, self.signature_algorithm),
            (ssl_kind::CIPHER, self.cipher),
        ] {
            let Some(value) = value else { continue };
            let found_bytes = out.len() + TLV_HEAD_BYTES + value.len();
            if found_bytes > MAX_TLV_BYTES {
                return Err(TlvError::TooManyBytes { found_bytes });
            }
            append(&mut out, kind, value);
        }
        Ok(out)
    }
}

/// Appends an extension. The caller has limited the value to [`MAX_TLV_BYTES`], which fits the
/// length field.
fn append(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

fn check(kind: u8, value: &[u8]) -> Result<(), TlvError> {
    let fits = match kind {
        kind::CRC32C => return Err(TlvError::ChecksumIsComputed),
        kind::AUTHORITY => value.len() <= MAX_AUTHORITY_BYTES,
        kind::UNIQUE_ID => value.len() <= MAX_UNIQUE_ID_BYTES,
        kind::SSL => match value.get(SSL_FIXED_BYTES..) {
            Some(nested) => return Walk::new(nested).try_for_each(|tlv| tlv.map(drop)),
            None => false,
        },
        _ => true,
    };
    if fits {
        Ok(())
    } else {
        Err(TlvError::Length {
            kind,
            found_bytes: value.len(),
        })
    }
}

pub(super) fn find_checksum(wire: &[u8]) -> Result<Option<(usize, u32)>, TlvError> {
    let mut found = None;
    let mut walk = Walk::new(wire);
    while let Some(tlv) = walk.next() {
        let tlv = tlv?;
        if tlv.kind != kind::CRC32C {
            continue;
        }
        let bytes: [u8; CHECKSUM_BYTES] = tlv.value.try_into().map_err(|_| TlvError::Length {
            kind: kind::CRC32C,
            found_bytes: tlv.value.len(),
        })?;
        let at = walk.at_byte - CHECKSUM_BYTES;
        if found.replace((at, u32::from_be_bytes(bytes))).is_some() {
            return Err(TlvError::ChecksumRepeated);
        }
    }
    Ok(found)
}

/// Iterator over extensions that ends after an error.
#[derive(Clone, Debug)]
struct Walk<'a> {
    wire: &'a [u8],
    at_byte: usize,
}

impl<'a> Walk<'a> {
    fn new(wire: &'a [u8]) -> Self {
        Walk { wire, at_byte: 0 }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.wire.get(self.at_byte..).filter(|r| !r.is_empty())?;
        let whole = rest
            .split_first_chunk::<TLV_HEAD_BYTES>()
            .and_then(|(head, rest)| {
                let [kind, high, low] = *head;
                let value = rest.get(..usize::from(u16::from_be_bytes([high, low])))?;
                Some(Tlv { kind, value })
            });
        let at_byte = self.at_byte;
        self.at_byte = match whole {
            Some(tlv) => at_byte + TLV_HEAD_BYTES + tlv.value.len(),
            None => self.wire.len(),
        };
        Some(whole.ok_or(TlvError::Truncated { at_byte }))
    }
}
