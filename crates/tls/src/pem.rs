//! Parses PEM files with certificates and a key, in any order, between other text, which is
//! ignored. Decoded keys are wiped when they are dropped. rustls' own reader is not used, because
//! it leaves copies of decoded keys in memory and silently skips keys that must be reported:
//! encrypted ones, or those of an obsolete type.

use super::der::Der;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use std::fmt;
use zeroize::Zeroizing;

/// Maximum number of certificates in a file. A chain has three or four.
const CHAIN_MAX: usize = 1_000;

/// Base64 decoder that accepts missing padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PemError {
    #[error("its '{0}' has no end")]
    Unfinished(Box<str>),
    #[error("its '{0}' is not Base64")]
    NotBase64(Box<str>),
    #[error("its private key is encrypted")]
    Encrypted,
    #[error("its private key is a {0} key")]
    OldKey(&'static str),
    #[error("it has more than {CHAIN_MAX} certificates")]
    TooMany,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum KeyForm {
    Pkcs1,
    Sec1,
    Pkcs8,
}

/// A private key. Its bytes are wiped when dropped, and never displayed.
#[derive(Clone)]
pub struct Key {
    form: KeyForm,
    der: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.form)
    }
}

impl Key {
    /// Returns the key for rustls without a copy.
    pub fn der(&self) -> PrivateKeyDer<'_> {
        let der = &self.der[..];
        match self.form {
            KeyForm::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
            KeyForm::Sec1 => PrivateSec1KeyDer::from(der).into(),
            KeyForm::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
        }
    }
}

/// The parts of a certificate in a file.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The certificates, in the order of the file.
    pub certificates: Vec<CertificateDer<'static>>,
    pub key: Option<Key>,
}

struct PemBlock<'t> {
    label: &'t str,
    body: &'t [u8],
    encrypted: bool,
}

impl PemBlock<'_> {
    fn decode(&self) -> Result<Zeroizing<Vec<u8>>, PemError> {
        let mut text = Zeroizing::new(Vec::with_capacity(self.body.len()));
        text.extend(self.body.iter().filter(|b| !b.is_ascii_whitespace()));
        let room = base64::decoded_len_estimate(text.len());
        let mut der = Zeroizing::new(vec![0; room]);
        let length = BASE64
            .decode_slice(&text[..], &mut der)
            .map_err(|_| PemError::NotBase64(self.label.into()))?;
        der.truncate(length);
        Ok(der)
    }
}

fn line(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    Some((rest[..end].trim_ascii_end(), at + (end + 1).min(rest.len())))
}

fn label<'t>(line: &'t [u8], verb: &str) -> Option<&'t str> {
    let name = line.strip_prefix(verb.as_bytes())?.strip_suffix(b"-----")?;
    std::str::from_utf8(name).ok()
}

fn block(text: &[u8], mut at: usize) -> Result<Option<(PemBlock<'_>, usize)>, PemError> {
    while let Some((first, mut next)) = line(text, at) {
        at = next;
        let Some(label_text) = label(first, "-----BEGIN ") else {
            continue;
        };
        let (mut body, mut encrypted) = (at, false);
        while let Some((one, behind)) = line(text, next) {
            if label(one, "-----END ") == Some(label_text) {
                let block = PemBlock {
                    label: label_text,
                    body: &text[body..next],
                    encrypted,
                };
                return Ok(Some((block, behind)));
            }
            // Skips the headers of RFC 1421, which end with an empty line.
            encrypted |= one.starts_with(b"Proc-Type:") && one.ends_with(b"ENCRYPTED");
            let between = one.is_empty() && (body == next || encrypted);
            if one.contains(&b':') || between {
                body = behind;
            }
            next = behind;
        }
        return Err(PemError::Unfinished(label_text.into()));
    }
    Ok(None)
}

/// Returns the first DER value: OpenSSL's trusted certificates have further data after it.
fn first_value(der: &[u8]) -> &[u8] {
    Der(der).next().map_or(der, |first| first.whole)
}

impl Contents {
    /// Parses the content of a file. Blocks of other kinds (Diffie-Hellman or curve
    /// parameters) are ignored.
    ///
    /// # Errors
    /// `Unfinished` or `NotBase64` at a malformed block. `Encrypted` or `OldKey` if the key cannot
    /// be used. `TooMany` if there are too many certificates.
    pub fn parse(text: &[u8]) -> Result<Contents, PemError> {
        let mut found = Contents::default();
        let mut at = 0;
        while let Some((block, next)) = block(text, at)? {
            at = next;
            found.take(&block)?;
        }
        Ok(found)
    }

    fn take(&mut self, block: &PemBlock<'_>) -> Result<(), PemError> {
        let form = match block.label {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                if self.certificates.len() == CHAIN_MAX {
                    return Err(PemError::TooMany);
                }
                let der = first_value(&block.decode()?).to_vec();
                self.certificates.push(der.into());
                return Ok(());
            }
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => KeyForm::Pkcs8,
            "RSA PRIVATE KEY" => KeyForm::Pkcs1,
            "EC PRIVATE KEY" => KeyForm::Sec1,
            "DSA PRIVATE KEY" if self.key.is_none() => return Err(PemError::OldKey("DSA")),
            _ => return Ok(()),
        };
        if self.key.is_some() {
            return Ok(());
        }
        if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
            return Err(PemError::Encrypted);
        }
        let der = block.decode()?;
        self.key = Some(Key { form, der });
        Ok(())
    }
}

/// Returns the first public key of a text, or that of its first certificate, as DER.
pub fn public_key(text: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0;
    while let Ok(Some((block, next))) = block(text, at) {
        at = next;
        let der = || block.decode().ok();
        match block.label {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => return Some(der()?.to_vec()),
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                let certificate = CertificateDer::from(first_value(&der()?).to_vec());
                let parsed = webpki::EndEntityCert::try_from(&certificate).ok()?;
                return Some(parsed.subject_public_key_info().to_vec());
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nMAMCAQI=\n-----END EC PRIVATE KEY-----\n";

    #[test]
    fn certificates_and_a_key_are_found_in_any_order_between_other_texts() {
        let dh = "-----BEGIN DH PARAMETERS-----\nMAMCAQE=\n-----END DH PARAMETERS-----\n";
        for text in [
            format!("{A}{KEY}{dh}{A}"),
            format!("subject=x\n{KEY}\n\n{A}{A}"),
            format!("{dh}{A}{A}{KEY}").replace('\n', "\r\n"),
            format!("{A}{A}{KEY}").trim_end().to_owned(),
        ] {
            let found = Contents::parse(text.as_bytes()).unwrap();
            assert_eq!(found.certificates.len(), 2, "{text}");
            assert_eq!(&*found.certificates[0], b"\x30\x03\x02\x01\x01");
            let key = found.key.unwrap();
            assert_eq!(key.der().secret_der(), b"\x30\x03\x02\x01\x02");
            assert_eq!(format!("{key:?}"), "Key(Sec1)");
        }
        assert!(Contents::parse(b"hello\n").unwrap().key.is_none());
    }

    #[test]
    fn unusable_key_differs_from_a_missing_one() {
        let error = |text: &str| Contents::parse(text.as_bytes()).unwrap_err();
        let pkcs8 = KEY.replace("EC", "ENCRYPTED");
        assert_eq!(error(&pkcs8), PemError::Encrypted);
        let old = KEY.replace(
            "MAMC",
            "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAMC",
        );
        assert_eq!(error(&old), PemError::Encrypted);
        assert_eq!(error(&KEY.replace("EC", "DSA")), PemError::OldKey("DSA"));
        let label = "EC PRIVATE KEY".into();
        assert_eq!(
            error(&KEY.replace("MAMC", "M%MC")),
            PemError::NotBase64(label)
        );
        let label = "EC PRIVATE KEY".into();
        assert_eq!(
            error(&KEY.replace("-----END", "")),
            PemError::Unfinished(label)
        );
    }

    #[test]
    fn openssl_trust_settings_after_a_certificate_are_ignored() {
        let text = "-----BEGIN TRUSTED CERTIFICATE-----\nMAMCAQEwAA==\n-----END TRUSTED CERTIFICATE-----\n";
        let found = Contents::parse(text.as_bytes()).unwrap();
        assert_eq!(&*found.certificates[0], b"\x30\x03\x02\x01\x01");
    }

    #[test]
    fn any_bytes_are_read_to_their_end() {
        let text = format!("{A}{KEY}");
        for cut in 0..text.len() {
            let _ = Contents::parse(&text.as_bytes()[cut..]);
            let _ = Contents::parse(&text.as_bytes()[..cut]);
        }
    }
}
