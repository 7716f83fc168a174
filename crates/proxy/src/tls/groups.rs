//! Groups of key exchange (`curves`, `ecdhe`): OpenSSL's names and NIST's, and
//! which of them there are.

use rustls::NamedGroup;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;

/// The groups where nothing is said, the preferred first.
///
/// A client that sends shares of several groups gets the first of ours that it
/// has a share of. X25519 is the cheapest. The hybrid with ML-KEM comes last:
/// who offers both pays nothing for it here, and who offers nothing else gets it.
/// Whoever wants it for everyone writes `curves X25519MLKEM768:X25519:P-256`.
pub static DEFAULT: &[NamedGroup] = &[
    NamedGroup::X25519,
    NamedGroup::secp256r1,
    NamedGroup::secp384r1,
    NamedGroup::X25519MLKEM768,
];

/// Every name, and its group if there is one here. Names of OpenSSL are
/// compared without case.
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
    ("P-521", None),
    ("secp521r1", None),
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

/// The names, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// The group of a name: None where no group has it, Some(None) where rustls
/// does not have the group.
pub fn by_name(name: &str) -> Option<Option<NamedGroup>> {
    let found = NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, group)| *group)
}

/// The name that IANA's list has for a group, which is also OpenSSL's in TLS.
pub fn iana_name(group: NamedGroup) -> Option<&'static str> {
    Some(match group {
        NamedGroup::X25519 => "x25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::secp256r1MLKEM768 => "SecP256r1MLKEM768",
        NamedGroup::MLKEM768 => "MLKEM768",
        NamedGroup::MLKEM1024 => "MLKEM1024",
        _ => return None,
    })
}

/// What rustls does the exchange with.
pub fn implementation(group: NamedGroup) -> Option<&'static dyn SupportedKxGroup> {
    Some(match group {
        NamedGroup::X25519 => kx_group::X25519,
        NamedGroup::secp256r1 => kx_group::SECP256R1,
        NamedGroup::secp384r1 => kx_group::SECP384R1,
        NamedGroup::X25519MLKEM768 => kx_group::X25519MLKEM768,
        NamedGroup::secp256r1MLKEM768 => kx_group::SECP256R1MLKEM768,
        NamedGroup::MLKEM768 => kx_group::MLKEM768,
        NamedGroup::MLKEM1024 => kx_group::MLKEM1024,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_openssl_and_nist_mean_the_same_group() {
        for name in ["P-256", "prime256v1", "secp256r1", "p-256"] {
            assert_eq!(by_name(name), Some(Some(NamedGroup::secp256r1)), "{name}");
        }
        assert_eq!(by_name("P-521"), Some(None));
        assert_eq!(by_name("P-257"), None);
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
