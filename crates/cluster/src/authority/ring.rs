//! Creates, distributes and decrypts content keys. A ring is a random key with an epoch, encrypted
//! for every node by HPKE (X25519, HKDF-SHA-256, AES-256-GCM). A ciphertext names its epoch, so
//! older rings remain usable for reading. The removal of a node leads to a new ring; a new node
//! receives all rings.

use super::AuthorityError;
use crate::command::{Epoch, Ring, SealedKey};
use crate::member::MemberId;
use aws_lc_rs::rand::fill;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

pub const RINGS_MAX: usize = 1024;
/// Length of either half of an X25519 key pair, and of the key that HPKE encapsulates.
pub(super) const X25519_BYTES: usize = 32;
pub(super) const KEY_BYTES: usize = 32;
const RING_CONTEXT: &str = "evenkeel ring 1";

/// Key pair for which this node's secrets are encrypted.
pub struct SealingKey {
    public: [u8; X25519_BYTES],
    private: Zeroizing<[u8; X25519_BYTES]>,
}

impl SealingKey {
    /// Generates a random X25519 key pair.
    ///
    /// # Errors
    /// Fails if the library cannot generate a key, for example without random numbers.
    pub fn generate() -> Result<SealingKey, AuthorityError> {
        let (public, private) = DH_KEM_X25519_HKDF_SHA256_AES_256.generate_key_pair()?;
        SealingKey::from_halves(&public.0, private.secret_bytes())
    }

    pub(super) fn from_halves(public: &[u8], private: &[u8]) -> Result<SealingKey, AuthorityError> {
        let public = public.try_into().map_err(|_| AuthorityError::Key)?;
        let private: [u8; X25519_BYTES] = private.try_into().map_err(|_| AuthorityError::Key)?;
        Ok(SealingKey {
            public,
            private: Zeroizing::new(private),
        })
    }

    pub fn public(&self) -> &[u8] {
        &self.public
    }

    pub(super) fn private(&self) -> &[u8] {
        self.private.as_slice()
    }

    /// Returns whether the private key opens what is sealed to the public key. In a file
    /// with one wrong bit the two do not belong together.
    pub(super) fn is_a_pair(&self) -> Result<bool, AuthorityError> {
        const PURPOSE: &str = "evenkeel self-test 1";
        let sealed = seal_to(&self.public, PURPOSE, &[])?;
        Ok(self.open(PURPOSE, &sealed).is_ok())
    }

    /// Decrypts the output of [`seal_to`] for this key and purpose.
    ///
    /// # Errors
    /// Fails with [`AuthorityError::NotSealed`] if the bytes were encrypted for another key or
    /// purpose, or changed.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
        let (encapsulated, ciphertext) = sealed
            .split_at_checked(X25519_BYTES)
            .ok_or(AuthorityError::NotSealed)?;
        DH_KEM_X25519_HKDF_SHA256_AES_256
            .open(
                &EncapsulatedSecret(encapsulated.to_vec()),
                purpose.as_bytes(),
                &[],
                ciphertext,
                &HpkePrivateKey::from(self.private.to_vec()),
            )
            .map(Zeroizing::new)
            .map_err(|_| AuthorityError::NotSealed)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

/// Seals to the public half of a sealing key, for a purpose: HPKE's encapsulated key,
/// then the ciphertext.
///
/// # Errors
/// Fails with [`AuthorityError::Key`] if `public` is no X25519 public key by its length, or if the
/// library cannot encrypt for it.
pub fn seal_to(public: &[u8], purpose: &str, plain: &[u8]) -> Result<Vec<u8>, AuthorityError> {
    if public.len() != X25519_BYTES {
        return Err(AuthorityError::Key);
    }
    let (encapsulated, ciphertext) = DH_KEM_X25519_HKDF_SHA256_AES_256.seal(
        purpose.as_bytes(),
        &[],
        plain,
        &HpkePublicKey(public.to_vec()),
    )?;
    Ok([encapsulated.0, ciphertext].concat())
}

/// Returns the purpose for which a ring key is encrypted, so that it cannot be used as
/// another one.
fn purpose(cluster: &str, epoch: Epoch, member: MemberId) -> String {
    format!("{RING_CONTEXT} {cluster} {} {member}", epoch.0)
}

/// The content keys that this node can use.
#[derive(Default)]
pub struct Rings {
    keys: BTreeMap<Epoch, Zeroizing<[u8; KEY_BYTES]>>,
}

impl Rings {
    /// Creates a content key, encrypted for nodes, given by their numbers and sealing keys. Its
    /// creator applies it like every other member, once it is committed.
    ///
    /// # Errors
    /// Fails with [`AuthorityError::SealingKey`] if the key of a node is unusable, and with
    /// [`AuthorityError::Key`] if the system has no random numbers.
    pub fn begin<'a>(
        cluster: &str,
        epoch: Epoch,
        nodes: impl IntoIterator<Item = (MemberId, &'a [u8])>,
    ) -> Result<Ring, AuthorityError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        fill(key.as_mut_slice()).map_err(|_| AuthorityError::Key)?;
        sealed_ring(cluster, epoch, key.as_slice(), nodes)
    }

    /// Decrypts the keys that are encrypted for this node; returns how many are new. Keys
    /// for others only are ignored.
    ///
    /// # Errors
    /// Fails with [`AuthorityError::UnusableRing`] if no key for this node in a ring can be
    /// decrypted. The first such ring is reported, and all others are loaded.
    pub fn decrypt_keys<'a>(
        &mut self,
        cluster: &str,
        me: MemberId,
        key: &SealingKey,
        rings: impl IntoIterator<Item = &'a Ring>,
    ) -> Result<usize, AuthorityError> {
        let mut taken = 0;
        let mut unusable = None;
        for ring in rings {
            if self.keys.contains_key(&ring.epoch) || self.keys.len() >= RINGS_MAX {
                continue;
            }
            let mut broken = false;
            for sealed in ring.sealed.iter().filter(|sealed| sealed.member == me) {
                // If several are present, one that decrypts is enough: a hostile member may
                // send garbage.
                let opened = key.open(&purpose(cluster, ring.epoch, me), &sealed.bytes);
                let bytes = opened
                    .ok()
                    .and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok());
                if let Some(bytes) = bytes {
                    self.keys.insert(ring.epoch, Zeroizing::new(bytes));
                    taken += 1;
                    broken = false;
                    break;
                }
                broken = true;
            }
            if broken {
                // Continues with the next rings, which newer content needs: a hostile member must
                // not block them.
                unusable.get_or_insert(ring.epoch);
            }
        }
        match unusable {
            Some(epoch) => Err(AuthorityError::UnusableRing(epoch)),
            None => Ok(taken),
        }
    }

    /// Encrypts all known keys for another node.
    ///
    /// # Errors
    /// Fails with [`AuthorityError::SealingKey`] if `public` is unusable.
    pub fn seal_all_to(
        &self,
        cluster: &str,
        node: MemberId,
        public: &[u8],
    ) -> Result<Vec<Ring>, AuthorityError> {
        self.keys
            .iter()
            .map(|(epoch, key)| sealed_ring(cluster, *epoch, key.as_slice(), [(node, public)]))
            .collect()
    }

    /// Returns the newest epoch, whose key encrypts new content.
    pub fn newest(&self) -> Option<Epoch> {
        self.keys.keys().next_back().copied()
    }

    pub fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.keys.keys().copied()
    }

    pub(super) fn key(&self, epoch: Epoch) -> Result<&[u8; KEY_BYTES], AuthorityError> {
        let key = self.keys.get(&epoch).ok_or(AuthorityError::NoRing(epoch))?;
        Ok(key)
    }
}

impl fmt::Debug for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rings({:?})", self.keys.keys())
    }
}

fn sealed_ring<'a>(
    cluster: &str,
    epoch: Epoch,
    key: &[u8],
    nodes: impl IntoIterator<Item = (MemberId, &'a [u8])>,
) -> Result<Ring, AuthorityError> {
    let seal = |(member, public): (MemberId, &[u8])| {
        let bytes = seal_to(public, &purpose(cluster, epoch, member), key)
            .map_err(|_| AuthorityError::SealingKey(member))?;
        Ok(SealedKey { member, bytes })
    };
    let sealed = nodes
        .into_iter()
        .map(seal)
        .collect::<Result<_, AuthorityError>>()?;
    Ok(Ring { epoch, sealed })
}
