//! Encrypts and decrypts TLS records (RFC 8446 section 5, RFC 5246 section 6.2.3), with the keys
//! that rustls negotiated for one direction of a connection. aws-lc implements the ciphers; this
//! code handles only the format of a record, its sequence number and its nonce.
//!
//! rustls can do this too, but it allocates memory for the plaintext of each record and holds
//! more than a kilobyte per connection.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::ConnectionTrafficSecrets;
use std::io::IoSlice;
use std::ops::Range;
use zeroize::Zeroize;

pub(super) const CONTENT_MAX: usize = 16 * 1024;
/// Length of the record header: type, version and length.
pub(super) const HEADER: usize = 5;
/// Maximum number of bytes by which encryption lengthens a record in TLS 1.3 (RFC 8446).
const GROWTH_MAX_13: usize = 256;
const GROWTH_MAX_12: usize = 2048;
const TAG: usize = 16;
/// Length of the part of the nonce that a TLS 1.2 record with AES-GCM contains, bytes.
const EXPLICIT: usize = 8;
/// Maximum number of records with one key: AES-GCM is safe for 2^24.5 full ones.
const RECORDS_MAX: u64 = 1 << 24;

pub(super) mod kind {
    pub(crate) const CHANGE_CIPHER: u8 = 20;
    pub(crate) const ALERT: u8 = 21;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const DATA: u8 = 23;
}

/// Errors of a received record, by the alert to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecordError {
    Unexpected = 10,
    BadMac = 20,
    Overflow = 22,
    Illegal = 47,
    Decode = 50,
    Internal = 80,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RecordFormat {
    /// TLS 1.3: the true content type is encrypted, after the content.
    New,
    /// TLS 1.2 with AES-GCM: the record contains a part of the nonce before the content.
    Explicit,
    /// TLS 1.2 with ChaCha20-Poly1305, without such a part.
    Old,
}

/// Keys and state of one direction of a connection.
pub(super) struct Protection {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    form: RecordFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    kind: u8,
    version: [u8; 2],
    length: usize,
}

/// Several pieces of plaintext that are read as if they were one.
pub(super) struct Pieces<'p, 'd> {
    pieces: &'p [IoSlice<'d>],
    /// Number of consumed bytes of the first piece.
    offset: usize,
}

impl<'p, 'd> Pieces<'p, 'd> {
    pub(super) fn new(pieces: &'p [IoSlice<'d>]) -> Self {
        let mut new = Pieces { pieces, offset: 0 };
        new.advance(0);
        new
    }

    fn advance(&mut self, n: usize) {
        self.offset += n;
        while let Some((first, rest)) = self.pieces.split_first() {
            if self.offset < first.len() {
                break;
            }
            self.offset -= first.len();
            self.pieces = rest;
        }
    }

    fn first(&self) -> &'p [u8] {
        let first = self.pieces.first();
        first.map_or(&[], |first| &first[self.offset.min(first.len())..])
    }

    pub(super) fn len(&self) -> usize {
        let all: usize = self.pieces.iter().map(|piece| piece.len()).sum();
        all - self.offset.min(all)
    }

    /// Moves the next bytes into `out`, which must not be longer than the rest.
    fn copy(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            let first = self.first();
            let n = first.len().min(out.len());
            if n == 0 {
                return;
            }
            let (now, later) = out.split_at_mut(n);
            now.copy_from_slice(&first[..n]);
            out = later;
            self.advance(n);
        }
    }
}

impl Protection {
    /// Creates the protection from the secrets that rustls returns after a handshake or a key
    /// update.
    pub(super) fn new(
        is_13: bool,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Protection, RecordError> {
        let (algorithm, key, iv, form) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (&AES_128_GCM, key, iv, RecordFormat::Explicit)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                (&AES_256_GCM, key, iv, RecordFormat::Explicit)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, key, iv, RecordFormat::Old)
            }
            _ => return Err(RecordError::Internal),
        };
        let length = algorithm.key_len();
        let bytes = key.as_ref().get(..length).ok_or(RecordError::Internal)?;
        let key = UnboundKey::new(algorithm, bytes).map_err(|_| RecordError::Internal)?;
        Ok(Protection {
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().map_err(|_| RecordError::Internal)?,
            sequence,
            form: if is_13 { RecordFormat::New } else { form },
        })
    }

    pub(super) fn overhead(&self) -> usize {
        HEADER
            + TAG
            + match self.form {
                RecordFormat::New => 1,
                RecordFormat::Explicit => EXPLICIT,
                RecordFormat::Old => 0,
            }
    }

    pub(super) fn is_key_exhausted(&self) -> bool {
        self.form != RecordFormat::Old && self.sequence >= RECORDS_MAX
    }

    fn nonce(&self, sequence: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, of) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= of;
        }
        nonce
    }

    /// Returns the additional data that TLS 1.2 authenticates with a record.
    fn additional(&self, kind: u8, length: usize) -> [u8; 13] {
        let mut bytes = [0; 13];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..11].copy_from_slice(&[kind, 3, 3]);
        bytes[11..].copy_from_slice(&(length as u16).to_be_bytes());
        bytes
    }

    /// Encrypts the next `length` bytes of some pieces as one record at the front of `out`. Returns
    /// the length of the record.
    pub(super) fn seal(
        &mut self,
        kind: u8,
        pieces: &mut Pieces<'_, '_>,
        length: usize,
        out: &mut [u8],
    ) -> Result<usize, RecordError> {
        let total = length + self.overhead();
        let next = self.sequence.checked_add(1).ok_or(RecordError::Internal)?;
        let out = out.get_mut(..total).ok_or(RecordError::Internal)?;
        let shown = if self.form == RecordFormat::New {
            kind::DATA
        } else {
            kind
        };
        let (header, rest) = out.split_at_mut(HEADER);
        header[..3].copy_from_slice(&[shown, 3, 3]);
        header[3..].copy_from_slice(&((total - HEADER) as u16).to_be_bytes());
        let nonce = self.nonce(self.sequence);
        let rest = if self.form == RecordFormat::Explicit {
            let (explicit, rest) = rest.split_at_mut(EXPLICIT);
            explicit.copy_from_slice(&nonce[4..]);
            rest
        } else {
            rest
        };
        let (content, tail) = rest.split_at_mut(length);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let inner: &[u8] = if self.form == RecordFormat::New {
            &[kind]
        } else {
            &[]
        };
        let additional = self.additional(kind, length);
        let aad = Aad::from(if self.form == RecordFormat::New {
            &*header
        } else {
            &additional[..]
        });
        let together = pieces.first();
        let sealed = if let Some(plain) = together.get(..length) {
            // Encrypts the plaintext directly from the caller's memory into the record, if it is in
            // one piece, as usual.
            let sealed = self
                .key
                .seal_out_of_place_scatter(nonce, aad, plain, content, inner, tail);
            pieces.advance(length);
            sealed
        } else {
            pieces.copy(content);
            self.key
                .seal_in_place_scatter(nonce, aad, content, inner, tail)
        };
        sealed.map_err(|_| RecordError::Internal)?;
        self.sequence = next;
        Ok(total)
    }

    /// Checks the header of a record. None if more bytes are needed.
    pub(super) fn header(&self, bytes: &[u8]) -> Result<Option<Header>, RecordError> {
        let Some(&[kind, major, minor, high, low]) = bytes.get(..HEADER) else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if major != 3 {
            return Err(RecordError::Decode);
        }
        let most = match self.form {
            RecordFormat::New => CONTENT_MAX + GROWTH_MAX_13,
            RecordFormat::Explicit | RecordFormat::Old => CONTENT_MAX + GROWTH_MAX_12,
        };
        if length > most {
            return Err(RecordError::Overflow);
        }
        let header = Header {
            kind,
            version: [major, minor],
            length,
        };
        Ok((bytes.len() >= HEADER + length).then_some(header))
    }

    /// Decrypts the record at the front of `bytes` in place. Returns the content type, the range of
    /// the content, and the length of the whole record.
    pub(super) fn open(
        &mut self,
        header: Header,
        bytes: &mut [u8],
    ) -> Result<(u8, Range<usize>, usize), RecordError> {
        let total = HEADER + header.length;
        let record = bytes.get_mut(..total).ok_or(RecordError::Internal)?;
        let next = self.sequence.checked_add(1).ok_or(RecordError::Internal)?;
        let before = if self.form == RecordFormat::Explicit {
            HEADER + EXPLICIT
        } else {
            HEADER
        };
        let length = total.checked_sub(before + TAG).ok_or(RecordError::BadMac)?;
        let mut nonce = self.nonce(self.sequence);
        let (front, sealed) = record.split_at_mut(before);
        if self.form == RecordFormat::Explicit {
            nonce[..4].copy_from_slice(&self.iv[..4]);
            nonce[4..].copy_from_slice(&front[HEADER..]);
        }
        let additional = self.additional(header.kind, length);
        let aad = Aad::from(if self.form == RecordFormat::New {
            if header.kind != kind::DATA {
                return Err(RecordError::Unexpected);
            }
            &*front
        } else {
            if header.version != [3, 3] {
                return Err(RecordError::Decode);
            }
            &additional[..]
        });
        let (content, tag) = sealed.split_at_mut(length);
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .open_in_place_separate_tag(nonce, aad, tag, content)
            .map_err(|_| RecordError::BadMac)?;
        self.sequence = next;
        if self.form == RecordFormat::New && length > CONTENT_MAX + 1 {
            // Applies the length limit including padding and the content type.
            return Err(RecordError::Overflow);
        }
        let (kind, length) = if self.form == RecordFormat::New {
            // Finds the content type, the last byte that is not zero; the zeros after it are
            // padding.
            let at = content.iter().rposition(|byte| *byte != 0);
            let at = at.ok_or(RecordError::Unexpected)?;
            (content[at], at)
        } else {
            (header.kind, length)
        };
        if length > CONTENT_MAX {
            return Err(RecordError::Overflow);
        }
        Ok((kind, before..before + length, total))
    }
}

impl Drop for Protection {
    fn drop(&mut self) {
        // Wipes the initialization vector; the key wipes itself when dropped.
        self.iv.zeroize();
    }
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Leaves out the key, which debug output must never contain.
        f.debug_struct("Protection")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
