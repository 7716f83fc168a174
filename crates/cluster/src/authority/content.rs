//! Encrypts and decrypts contents (the files of configuration versions) and small secrets with
//! content keys, by AES-256-GCM. All members store the chunks; only nodes can decrypt them.
//!
//! A chunk is a random number of its content, a random nonce, the ciphertext and its
//! tag. The associated data are the epoch, the content's number and size, the chunk's
//! position and the number of chunks. So no chunk can replace another one.

use super::ring::{KEY_BYTES, Rings};
use super::{AuthorityError, certificate::sha256};
use crate::command::{CHUNK_BYTES_MAX, EncryptedContent, Epoch};
use crate::file_set::SET_BYTES_MAX;
use crate::member::Digest;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::fill;
use std::fmt;
use zeroize::Zeroizing;

const CONTENT_ID_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = CONTENT_ID_BYTES + NONCE_LEN;
pub const CHUNK_PLAIN_BYTES: usize = CHUNK_BYTES_MAX - HEAD_BYTES - TAG_BYTES;
const CONTENT_CONTEXT: &[u8] = b"evenkeel content 1\0";
const SMALL_CONTEXT: &[u8] = b"evenkeel secret 1\0";

/// An encrypted content: its part of the proposal, and its chunks.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    pub content: EncryptedContent,
    /// Chunks by their digests, in order.
    pub chunks: Vec<(Digest, Vec<u8>)>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.content.bytes;
        write!(f, "Sealed({bytes} bytes in {} pieces)", self.chunks.len())
    }
}

/// Fields that the associated data of a chunk consist of.
struct ChunkContext<'a> {
    epoch: Epoch,
    content: &'a [u8],
    bytes: u64,
    index: u64,
    count: u64,
}

impl ChunkContext<'_> {
    fn aad(&self) -> Aad<Vec<u8>> {
        Aad::from(
            [
                CONTENT_CONTEXT,
                &self.epoch.0.to_be_bytes(),
                self.content,
                &self.bytes.to_be_bytes(),
                &self.index.to_be_bytes(),
                &self.count.to_be_bytes(),
            ]
            .concat(),
        )
    }
}

impl Rings {
    /// Seals a content with the newest key.
    ///
    /// # Errors
    /// - [`AuthorityError::NoRings`]: this member has no content key.
    /// - [`AuthorityError::TooLarge`]: the content exceeds the largest size.
    /// - [`AuthorityError::Key`]: the system has no random numbers.
    pub fn seal(&self, plain: &[u8]) -> Result<Sealed, AuthorityError> {
        let epoch = self.newest().ok_or(AuthorityError::NoRings)?;
        let key = aead(self.key(epoch)?)?;
        let bytes = plain.len() as u64;
        check_size(bytes)?;
        let mut content = [0; CONTENT_ID_BYTES];
        fill(&mut content).map_err(|_| AuthorityError::Key)?;
        let count = pieces(bytes);
        let mut chunks = Vec::new();
        for (index, piece) in plain.chunks(CHUNK_PLAIN_BYTES).enumerate() {
            let place = ChunkContext {
                epoch,
                content: &content,
                bytes,
                index: index as u64,
                count,
            };
            let chunk = [content.to_vec(), seal_with(&key, place.aad(), piece)?].concat();
            chunks.push((sha256(&chunk), chunk));
        }
        Ok(Sealed {
            content: EncryptedContent {
                bytes,
                epoch,
                chunks: chunks.iter().map(|(digest, _)| *digest).collect(),
            },
            chunks,
        })
    }

    /// Decrypts a content. `chunk` returns the stored chunk with a digest, and is called in order.
    ///
    /// # Errors
    /// - [`AuthorityError::TooLarge`]: the content exceeds the largest size.
    /// - [`AuthorityError::NoRing`]: this member does not have the key of its epoch.
    /// - [`AuthorityError::MissingChunk`]: `chunk` returned None.
    /// - [`AuthorityError::NotSealed`]: the chunks do not form this content, or cannot be
    ///   decrypted.
    pub fn open(
        &self,
        content: &EncryptedContent,
        mut chunk: impl FnMut(&Digest) -> Option<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
        check_size(content.bytes)?;
        let key = aead(self.key(content.epoch)?)?;
        let count = pieces(content.bytes);
        if content.chunks.len() as u64 != count {
            return Err(AuthorityError::NotSealed);
        }
        let mut number: Option<Vec<u8>> = None;
        let size = usize::try_from(content.bytes).map_err(|_| AuthorityError::NotSealed)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(size));
        for (index, digest) in content.chunks.iter().enumerate() {
            let bytes = chunk(digest).ok_or(AuthorityError::MissingChunk(*digest))?;
            let (id, sealed) = bytes
                .split_at_checked(CONTENT_ID_BYTES)
                .ok_or(AuthorityError::NotSealed)?;
            if number.get_or_insert_with(|| id.to_vec()).as_slice() != id {
                return Err(AuthorityError::NotSealed);
            }
            let place = ChunkContext {
                epoch: content.epoch,
                content: id,
                bytes: content.bytes,
                index: index as u64,
                count,
            };
            plain.extend_from_slice(&open_with(&key, place.aad(), sealed)?);
        }
        if plain.len() != size {
            return Err(AuthorityError::NotSealed);
        }
        Ok(plain)
    }

    /// Encrypts a small secret that is not a content, for a purpose: the epoch, then nonce,
    /// ciphertext and tag.
    ///
    /// # Errors
    /// Fails with [`AuthorityError::NoRings`] if this member has no content key, and with
    /// [`AuthorityError::Key`] if the system has no random numbers.
    pub fn seal_secret(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        let epoch = self.newest().ok_or(AuthorityError::NoRings)?;
        let key = aead(self.key(epoch)?)?;
        let sealed = seal_with(&key, secret_aad(purpose, epoch), plain)?;
        Ok([epoch.0.to_be_bytes().to_vec(), sealed].concat())
    }

    /// Decrypts the output of [`Rings::seal_secret`] for the same purpose.
    ///
    /// # Errors
    /// Fails with [`AuthorityError::NoRing`] if this member does not have the key of its epoch, and
    /// with [`AuthorityError::NotSealed`] if the secret cannot be decrypted for this purpose.
    pub fn open_secret(
        &self,
        purpose: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
        let (epoch, sealed) = sealed
            .split_first_chunk::<8>()
            .ok_or(AuthorityError::NotSealed)?;
        let epoch = Epoch(u64::from_be_bytes(*epoch));
        let key = aead(self.key(epoch)?)?;
        open_with(&key, secret_aad(purpose, epoch), sealed)
    }
}

fn secret_aad(purpose: &str, epoch: Epoch) -> Aad<Vec<u8>> {
    Aad::from([SMALL_CONTEXT, &epoch.0.to_be_bytes(), purpose.as_bytes()].concat())
}

fn check_size(bytes: u64) -> Result<(), AuthorityError> {
    if bytes > SET_BYTES_MAX {
        return Err(AuthorityError::TooLarge {
            bytes,
            bytes_max: SET_BYTES_MAX,
        });
    }
    Ok(())
}

fn pieces(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK_PLAIN_BYTES as u64)
}

fn aead(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, AuthorityError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| AuthorityError::Key)?;
    Ok(LessSafeKey::new(key))
}

/// Encrypts bytes. Returns a fresh nonce, then ciphertext and tag.
fn seal_with(
    key: &LessSafeKey,
    aad: Aad<Vec<u8>>,
    plain: &[u8],
) -> Result<Vec<u8>, AuthorityError> {
    let mut nonce = [0; NONCE_LEN];
    fill(&mut nonce).map_err(|_| AuthorityError::Key)?;
    let mut sealed = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
        .map_err(|_| AuthorityError::Key)?;
    Ok([nonce.to_vec(), sealed].concat())
}

fn open_with(
    key: &LessSafeKey,
    aad: Aad<Vec<u8>>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    let (nonce, ciphertext) = sealed
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(AuthorityError::NotSealed)?;
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    let opened = key
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            aad,
            plain.as_mut_slice(),
        )
        .map_err(|_| AuthorityError::NotSealed)?
        .len();
    plain.truncate(opened);
    Ok(plain)
}
