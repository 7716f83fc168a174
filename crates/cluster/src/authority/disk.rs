//! Reads and writes a member's secrets in the state directory: `member.pem`, `member.key`,
//! `authority.pem`, and on nodes `sealing.key` and `authority.key`, which is encrypted for the key
//! in `sealing.key`. A file is written under a temporary name, flushed and renamed: a power cut
//! leaves the old file or the new one.

use super::ring::{SealingKey, X25519_BYTES, seal_to};
use super::{Authority, AuthorityError, MemberIdentity, MemberKey};
use crate::durable;
use crate::member::{Digest, MemberId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use zeroize::Zeroizing;

const FILE_BYTES_MAX: u64 = 256 << 10;
const CERTIFICATES_MAX: usize = 16;
const LINE: usize = 64;
const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";
const SEALING_KEY: &str = "EVENKEEL SEALING KEY";
const FORMER_KEY: &str = "EVENKEEL FORMER KEY";
const SEALED_KEY: &str = "EVENKEEL SEALED KEY";
const AUTHORITY_PURPOSE: &str = "evenkeel authority key 1";

/// Writes a member's certificate and key, and the digests of its former keys.
///
/// # Errors
/// Fails if a file cannot be written.
pub fn write_identity(directory: &Path, identity: &MemberIdentity) -> Result<(), AuthorityError> {
    let key = pem(PRIVATE_KEY, &identity.key().pkcs8());
    let before = identity.predecessors().iter();
    let chain = identity.chain().iter();
    let shown: String = chain
        .map(|der| pem(CERTIFICATE, der).to_string())
        .chain(before.map(|digest| pem(FORMER_KEY, &digest.0).to_string()))
        .collect();
    // A key without its certificate is useless, so both are in one file, which is
    // replaced atomically.
    let both = Zeroizing::new(format!("{}{shown}", key.as_str()));
    write(&directory.join("member.key"), &both)?;
    write(&directory.join("member.pem"), &shown)
}

/// Reads the identity of the member. Everything needed is in `member.key`; `member.pem`
/// is for people and their programs.
///
/// # Errors
/// - [`AuthorityError::File`]: the file cannot be read.
/// - [`AuthorityError::Malformed`]: the file has no key or no certificate, or invalid PEM.
/// - The errors of [`MemberKey::from_pkcs8`] and [`MemberIdentity::new`].
pub fn read_identity(
    directory: &Path,
    cluster: &str,
    member: MemberId,
) -> Result<MemberIdentity, AuthorityError> {
    let at = directory.join("member.key");
    let key = MemberKey::from_pkcs8(&read_one(&at, PRIVATE_KEY)?)?;
    let mut chain = read_all(&at, CERTIFICATE)?.into_iter();
    let malformed = || AuthorityError::Malformed(at.clone());
    let first = chain.next().ok_or_else(malformed)?;
    let others: Vec<Vec<u8>> = chain.map(|der| der.to_vec()).collect();
    let before = read_any(&at, FORMER_KEY)?.into_iter();
    let before = before.map(|bytes| {
        bytes
            .as_slice()
            .try_into()
            .map(Digest)
            .map_err(|_| malformed())
    });
    let before = before.collect::<Result<Vec<Digest>, _>>()?;
    let identity = MemberIdentity::new(cluster, member, key, first.to_vec(), &others)?;
    Ok(identity.with_predecessors(before))
}

/// Writes the certificates (DER) of CAs.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write_authorities(directory: &Path, authorities: &[Vec<u8>]) -> Result<(), AuthorityError> {
    let all: String = authorities
        .iter()
        .map(|der| pem(CERTIFICATE, der).to_string())
        .collect();
    write(&directory.join("authority.pem"), &all)
}

/// Writes a node's decryption key to the state directory.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write_sealing_key(directory: &Path, key: &SealingKey) -> Result<(), AuthorityError> {
    let both = Zeroizing::new([key.public(), key.private()].concat());
    write(&directory.join("sealing.key"), &pem(SEALING_KEY, &both))
}

/// Reads this node's decryption key; None if the file is missing, as on an arbiter.
///
/// # Errors
/// Fails if the file cannot be read, or if it does not contain a key pair.
pub fn read_sealing_key(directory: &Path) -> Result<Option<SealingKey>, AuthorityError> {
    let at = directory.join("sealing.key");
    if missing(&at) {
        return Ok(None);
    }
    let both = read_one(&at, SEALING_KEY)?;
    let (public, private) = both
        .split_at_checked(X25519_BYTES)
        .ok_or_else(|| AuthorityError::Malformed(at.clone()))?;
    let key = SealingKey::from_halves(public, private)?;
    if key.is_a_pair()? {
        Ok(Some(key))
    } else {
        Err(AuthorityError::Malformed(at))
    }
}

/// Reads a node's decryption key, or creates a new one if it is missing or damaged: the other nodes
/// then encrypt for the new key what was encrypted for the old one. Returns the key, and the reason
/// if it was created.
///
/// # Errors
/// Fails if the existing file cannot be read, or if a new key cannot be generated or written.
pub fn sealing_key_or_new(
    directory: &Path,
) -> Result<(SealingKey, Option<&'static str>), AuthorityError> {
    let why = match read_sealing_key(directory) {
        Ok(Some(key)) => return Ok((key, None)),
        Ok(None) => "missing",
        Err(AuthorityError::File { error, .. }) if error.kind() == io::ErrorKind::InvalidData => {
            "damaged"
        }
        Err(error @ AuthorityError::File { .. }) => return Err(error),
        Err(_) => "damaged",
    };
    let key = SealingKey::generate()?;
    write_sealing_key(directory, &key)?;
    Ok((key, Some(why)))
}

/// Writes the encrypted CA keys in place of all previous ones: one, or two during a replacement.
///
/// # Errors
/// Fails if a key cannot be encrypted, or if the file cannot be written.
pub fn write_authority_keys(
    directory: &Path,
    authorities: &[Authority],
    sealing: &SealingKey,
) -> Result<(), AuthorityError> {
    let mut all = String::new();
    for authority in authorities {
        let sealed = seal_to(sealing.public(), AUTHORITY_PURPOSE, &authority.pkcs8())?;
        all.push_str(&pem(SEALED_KEY, &sealed));
    }
    write(&directory.join("authority.key"), &all)
}

/// Reads the CA with this certificate; None if the key of that CA is not in the file, or if there
/// is no file, as on an arbiter.
///
/// # Errors
/// Fails if the file cannot be read or is invalid, or as [`Authority::from_parts`]. A key that was
/// encrypted for another decryption key is no error.
pub fn read_authority(
    directory: &Path,
    cluster: &str,
    certificate: &[u8],
    sealing: &SealingKey,
) -> Result<Option<Authority>, AuthorityError> {
    let at = directory.join("authority.key");
    if missing(&at) {
        return Ok(None);
    }
    for sealed in read_all(&at, SEALED_KEY)? {
        let key = match sealing.open(AUTHORITY_PURPOSE, &sealed) {
            // Skips a key that was encrypted for a decryption key that this node lost.
            Err(AuthorityError::NotSealed) => continue,
            opened => opened?,
        };
        match Authority::from_parts(cluster, certificate, &key) {
            Ok(authority) => return Ok(Some(authority)),
            Err(AuthorityError::NotOurs) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn missing(at: &Path) -> bool {
    fs::metadata(at).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut out = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, left) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        out.push_str(line);
        out.push('\n');
        rest = left;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

fn read_one(at: &Path, label: &str) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    read_all(at, label)?
        .into_iter()
        .next()
        .ok_or_else(|| AuthorityError::Malformed(at.to_owned()))
}

/// Reads the PEM blocks with this label from a file; at least one.
fn read_all(at: &Path, label: &str) -> Result<Vec<Zeroizing<Vec<u8>>>, AuthorityError> {
    let found = read_any(at, label)?;
    if found.is_empty() {
        return Err(AuthorityError::Malformed(at.to_owned()));
    }
    Ok(found)
}

fn read_any(at: &Path, label: &str) -> Result<Vec<Zeroizing<Vec<u8>>>, AuthorityError> {
    let malformed = || AuthorityError::Malformed(at.to_owned());
    let text = read(at)?;
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut found = Vec::new();
    let mut inside: Option<Zeroizing<String>> = None;
    for line in text.lines().map(str::trim) {
        if line == begin {
            inside = Some(Zeroizing::new(String::new()));
        } else if line == end {
            let body = inside.take().ok_or_else(malformed)?;
            let der = STANDARD.decode(body.as_bytes()).map_err(|_| malformed())?;
            found.push(Zeroizing::new(der));
        } else if let Some(body) = inside.as_mut() {
            body.push_str(line);
        }
    }
    if inside.is_some() || found.len() > CERTIFICATES_MAX {
        return Err(malformed());
    }
    Ok(found)
}

fn read(at: &Path) -> Result<Zeroizing<String>, AuthorityError> {
    let told = |error| AuthorityError::File {
        path: at.to_owned(),
        error,
    };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(at).map_err(told)?;
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(told)?;
    Ok(text)
}

fn write(at: &Path, text: &str) -> Result<(), AuthorityError> {
    durable::write(at, text.as_bytes()).map_err(|error| AuthorityError::File {
        path: at.to_owned(),
        error,
    })
}
