//! Lists the signature algorithms (`sigalgs`, `client-sigalgs`) by the names of OpenSSL and of
//! TLS 1.3, and restricts a key to some of them.

use rustls::SignatureAlgorithm;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use std::fmt;
use std::sync::Arc;

use SignatureScheme as S;

/// Names from TLS 1.3, and names of the form `algorithm+digest`. None if rustls deliberately does
/// not support the algorithm.
const NAMES: &[(&str, Option<SignatureScheme>)] = &[
    ("ecdsa_secp256r1_sha256", Some(S::ECDSA_NISTP256_SHA256)),
    ("ecdsa_secp384r1_sha384", Some(S::ECDSA_NISTP384_SHA384)),
    ("ecdsa_secp521r1_sha512", Some(S::ECDSA_NISTP521_SHA512)),
    ("ed25519", Some(S::ED25519)),
    ("ed448", None),
    ("rsa_pss_rsae_sha256", Some(S::RSA_PSS_SHA256)),
    ("rsa_pss_rsae_sha384", Some(S::RSA_PSS_SHA384)),
    ("rsa_pss_rsae_sha512", Some(S::RSA_PSS_SHA512)),
    ("rsa_pss_pss_sha256", None),
    ("rsa_pss_pss_sha384", None),
    ("rsa_pss_pss_sha512", None),
    ("rsa_pkcs1_sha256", Some(S::RSA_PKCS1_SHA256)),
    ("rsa_pkcs1_sha384", Some(S::RSA_PKCS1_SHA384)),
    ("rsa_pkcs1_sha512", Some(S::RSA_PKCS1_SHA512)),
    ("rsa_pkcs1_sha1", None),
    ("ecdsa_sha1", None),
    ("mldsa44", Some(S::ML_DSA_44)),
    ("mldsa65", Some(S::ML_DSA_65)),
    ("mldsa87", Some(S::ML_DSA_87)),
    ("ECDSA+SHA256", Some(S::ECDSA_NISTP256_SHA256)),
    ("ECDSA+SHA384", Some(S::ECDSA_NISTP384_SHA384)),
    ("ECDSA+SHA512", Some(S::ECDSA_NISTP521_SHA512)),
    ("ECDSA+SHA224", None),
    ("ECDSA+SHA1", None),
    ("RSA+SHA256", Some(S::RSA_PKCS1_SHA256)),
    ("RSA+SHA384", Some(S::RSA_PKCS1_SHA384)),
    ("RSA+SHA512", Some(S::RSA_PKCS1_SHA512)),
    ("RSA+SHA224", None),
    ("RSA+SHA1", None),
    ("RSA+MD5", None),
    ("RSA-PSS+SHA256", Some(S::RSA_PSS_SHA256)),
    ("RSA-PSS+SHA384", Some(S::RSA_PSS_SHA384)),
    ("RSA-PSS+SHA512", Some(S::RSA_PSS_SHA512)),
    ("PSS+SHA256", Some(S::RSA_PSS_SHA256)),
    ("PSS+SHA384", Some(S::RSA_PSS_SHA384)),
    ("PSS+SHA512", Some(S::RSA_PSS_SHA512)),
    ("DSA+SHA1", None),
    ("DSA+SHA224", None),
    ("DSA+SHA256", None),
    ("DSA+SHA384", None),
    ("DSA+SHA512", None),
];

pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// Returns the signature scheme with this name. None: the name is unknown. Some(None): rustls does
/// not support the scheme.
pub fn by_name(name: &str) -> Option<Option<SignatureScheme>> {
    let found = NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, scheme)| *scheme)
}

/// A private key that signs only with some schemes.
struct Restricted {
    key: Arc<dyn SigningKey>,
    schemes: Arc<[SignatureScheme]>,
}

impl fmt::Debug for Restricted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Restricted").field(&self.schemes).finish()
    }
}

impl SigningKey for Restricted {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        // Prefers the schemes in the order of the configuration, as OpenSSL's servers do.
        let mut both = self.schemes.iter().filter(|own| offered.contains(own));
        both.find_map(|scheme| self.key.choose_scheme(&[*scheme]))
    }

    fn public_key(&self) -> Option<rustls::pki_types::SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

/// Returns the certificate with a key that signs with these schemes only.
pub fn restricted(certified: &CertifiedKey, schemes: &Arc<[SignatureScheme]>) -> CertifiedKey {
    CertifiedKey {
        cert: certified.cert.clone(),
        key: Arc::new(Restricted {
            key: Arc::clone(&certified.key),
            schemes: Arc::clone(schemes),
        }),
        ocsp: certified.ocsp.clone(),
    }
}

/// Certificate resolver whose certificates sign only with some schemes (`sigalgs`).
#[derive(Debug)]
pub struct RestrictedResolver {
    pub inner: Arc<dyn ResolvesServerCert>,
    pub schemes: Arc<[SignatureScheme]>,
}

impl ResolvesServerCert for RestrictedResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certified = self.inner.resolve(hello)?;
        Some(Arc::new(restricted(&certified, &self.schemes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same_scheme() {
        assert_eq!(by_name("RSA+SHA256"), by_name("rsa_pkcs1_sha256"));
        assert_eq!(
            by_name("ecdsa+sha256"),
            Some(Some(S::ECDSA_NISTP256_SHA256))
        );
        assert_eq!(by_name("RSA+SHA1"), Some(None));
        assert_eq!(by_name("RSA+SHA257"), None);
    }
}
