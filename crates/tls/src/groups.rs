//! Lists the key exchange groups (`curves`, `ecdhe`): the names of OpenSSL and NIST, and the
//! groups that Evenkeel supports.

use aws_lc_rs::agreement;
use aws_lc_rs::rand::SystemRandom;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// The default groups, in order of preference.
///
/// If a client sends key shares of several groups, the first of ours that it sent is
/// used. X25519 is the cheapest. The hybrid with ML-KEM follows the curves: a client that
/// offers both has no extra cost here, and a client that offers nothing else gets it.
/// P-521 is the most expensive and comes last. To prefer the hybrid for all clients,
/// write `curves X25519MLKEM768:X25519:P-256`.
pub static DEFAULT: &[NamedGroup] = &[
    NamedGroup::X25519,
    NamedGroup::secp256r1,
    NamedGroup::secp384r1,
    NamedGroup::X25519MLKEM768,
    NamedGroup::secp521r1,
];

/// All known names with their groups. None if the group is not supported. OpenSSL's names are
/// case-insensitive.
const NAMES: &[(&str, Option<NamedGroup>)] = &[
    ("X25519", Some(NamedGroup::X25519)),
    ("P-256", Some(NamedGroup::secp256r1)),
    ("prime256v1", Some(NamedGroup::secp256r1)),
    ("secp256r1", Some(NamedGroup::secp256r1)),
    ("P-384", Some(NamedGroup::secp384r1)),
    ("secp384r1", Some(NamedGroup::secp384r1)),
    ("X25519MLKEM768", Some(NamedGroup::X25519MLKEM768)),
    ("SecP256r1MLKEM768", Some(NamedGroup::secp256r1MLKEM768)),
    ("MLKEM768", Some(NamedGroup::MLKEM768)),
    ("MLKEM1024", Some(NamedGroup::MLKEM1024)),
    ("P-521", Some(NamedGroup::secp521r1)),
    ("secp521r1", Some(NamedGroup::secp521r1)),
    ("X448", None),
    ("P-224", None),
    ("P-192", None),
    ("secp224r1", None),
    ("prime192v1", None),
    ("secp192r1", None),
    ("secp256k1", None),
    ("secp224k1", None),
    ("secp192k1", None),
    ("secp160k1", None),
    ("secp160r1", None),
    ("secp160r2", None),
    ("sect163k1", None),
    ("sect163r2", None),
    ("sect233k1", None),
    ("sect233r1", None),
    ("sect283k1", None),
    ("sect283r1", None),
    ("sect409k1", None),
    ("sect409r1", None),
    ("sect571k1", None),
    ("sect571r1", None),
    ("brainpoolP256r1", None),
    ("brainpoolP384r1", None),
    ("brainpoolP512r1", None),
    ("ffdhe2048", None),
    ("ffdhe3072", None),
    ("ffdhe4096", None),
    ("ffdhe6144", None),
    ("ffdhe8192", None),
];

pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// Returns the group with this name. None: the name is unknown. Some(None): rustls does not
/// support the group.
pub fn by_name(name: &str) -> Option<Option<NamedGroup>> {
    let found = NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, group)| *group)
}

/// Returns the IANA name of a group, which is also OpenSSL's in TLS.
pub fn iana_name(group: NamedGroup) -> Option<&'static str> {
    Some(match group {
        NamedGroup::X25519 => "x25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        NamedGroup::secp521r1 => "secp521r1",
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::secp256r1MLKEM768 => "SecP256r1MLKEM768",
        NamedGroup::MLKEM768 => "MLKEM768",
        NamedGroup::MLKEM1024 => "MLKEM1024",
        _ => return None,
    })
}

pub fn implementation(group: NamedGroup) -> Option<&'static dyn SupportedKxGroup> {
    Some(match group {
        NamedGroup::X25519 => kx_group::X25519,
        NamedGroup::secp256r1 => kx_group::SECP256R1,
        NamedGroup::secp384r1 => kx_group::SECP384R1,
        NamedGroup::secp521r1 => &Secp521r1,
        NamedGroup::X25519MLKEM768 => kx_group::X25519MLKEM768,
        NamedGroup::secp256r1MLKEM768 => kx_group::SECP256R1MLKEM768,
        NamedGroup::MLKEM768 => kx_group::MLKEM768,
        NamedGroup::MLKEM1024 => kx_group::MLKEM1024,
        _ => return None,
    })
}

/// Key exchange over P-521 by aws-lc, which rustls does not offer.
#[derive(Debug)]
struct Secp521r1;

struct Secp521r1Exchange {
    private: agreement::EphemeralPrivateKey,
    public: agreement::PublicKey,
}

impl SupportedKxGroup for Secp521r1 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let random = SystemRandom::new();
        let private = agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P521, &random);
        let private = private.map_err(|_| Error::FailedToGetRandomBytes)?;
        let public = private.compute_public_key();
        let public = public.map_err(|_| Error::FailedToGetRandomBytes)?;
        Ok(Box::new(Secp521r1Exchange { private, public }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

impl ActiveKeyExchange for Secp521r1Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        /// First byte of an uncompressed point. TLS 1.3 permits no other form.
        const UNCOMPRESSED: u8 = 4;
        let bad = PeerMisbehaved::InvalidKeyShare;
        if peer.first() != Some(&UNCOMPRESSED) {
            return Err(bad.into());
        }
        let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P521, peer);
        agreement::agree_ephemeral(self.private, peer, Error::from(bad), |secret| {
            Ok(SharedSecret::from(secret))
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_openssl_and_nist_mean_the_same_group() {
        for name in ["P-256", "prime256v1", "secp256r1", "p-256"] {
            assert_eq!(by_name(name), Some(Some(NamedGroup::secp256r1)), "{name}");
        }
        assert_eq!(by_name("p-521"), Some(Some(NamedGroup::secp521r1)));
        assert_eq!(by_name("X448"), Some(None));
        assert_eq!(by_name("P-257"), None);
    }

    #[test]
    fn both_ends_of_an_exchange_over_p521_have_the_same_secret() {
        let group = implementation(NamedGroup::secp521r1).expect("it is there");
        let (one, other) = (group.start().expect("one"), group.start().expect("other"));
        let (of_one, of_other) = (one.pub_key().to_vec(), other.pub_key().to_vec());
        let secret = one.complete(&of_other).expect("a secret");
        let same = other.complete(&of_one).expect("a secret");
        assert_eq!(secret.secret_bytes(), same.secret_bytes());
        let bad = [&[2][..], &of_one[1..]].concat();
        let refused = group.start().expect("a third").complete(&bad).map(|_| ());
        assert_eq!(refused, Err(PeerMisbehaved::InvalidKeyShare.into()));
    }

    #[test]
    fn every_group_that_is_kept_has_an_implementation() {
        for group in NAMES.iter().filter_map(|(_, group)| *group) {
            assert_eq!(implementation(group).map(|found| found.name()), Some(group));
        }
        for group in DEFAULT {
            assert!(implementation(*group).is_some());
        }
    }
}
