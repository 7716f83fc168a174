//! Creates certificates for tests: signing authorities, leaves with any names, subject, key and
//! dates, bundles as operators write them, and revocation lists.
//!
//! The certificates must never be trusted outside of tests: the only RSA key is public.
//!
//! ```
//! # fn main() -> Result<(), lab::LabError> {
//! use lab::pki::{Authority, KeyKind, Leaf};
//! let authority = Authority::new("Test CA")?;
//! let site = authority.issue(&Leaf {
//!     names: &["example.com", "*.example.com"],
//!     key: KeyKind::Rsa2048,
//!     ..Leaf::default()
//! })?;
//! assert!(site.bundle().starts_with("-----BEGIN CERTIFICATE-----"));
//! # Ok(())
//! # }
//! ```

use namespace::LabError;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, NameConstraints, RevocationReason, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Number of seconds in a day, for the dates of a [`Leaf`].
pub const DAY_S: u64 = 24 * 60 * 60;

/// Default time in seconds from the start of validity until now.
const USUAL_PAST_S: u64 = DAY_S;
const USUAL_FUTURE_S: u64 = 3650 * DAY_S;

/// Key type of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyKind {
    /// ECDSA over P-256: fast to generate, the choice of most tests.
    #[default]
    Ecdsa,
    EcdsaP384,
    /// RSA of 2048 bits: always the same key, see [`TEST_RSA_KEY`].
    Rsa2048,
    Ed25519,
}

/// Contents of a certificate. `Leaf::default()` is a server certificate with an ECDSA key, valid
/// now, with a unique serial number and no name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaf<'a> {
    /// DNS names (also wildcards) and addresses.
    pub names: &'a [&'a str],
    /// Fields of the subject in order, by their short names: C, ST, L, O, OU, CN, DC, UID, SN, GN,
    /// serialNumber, title, emailAddress. A field may occur twice. Empty: the first name becomes
    /// the CN.
    pub subject: &'a [(&'a str, &'a str)],
    pub key: KeyKind,
    /// For a client instead of a server.
    pub client: bool,
    /// Start of validity, in seconds since 1970; None: yesterday.
    pub not_before: Option<u64>,
    /// End of validity, in seconds since 1970; None: in ten years.
    pub not_after: Option<u64>,
    /// Serial number; None: a unique one.
    pub serial: Option<&'a [u8]>,
}

impl Leaf<'_> {
    /// Returns the leaf with a validity that ended yesterday.
    #[must_use]
    pub fn expired(self) -> Self {
        let now = now_s();
        Leaf {
            not_before: Some(now - 10 * DAY_S),
            not_after: Some(now - DAY_S),
            ..self
        }
    }

    /// Returns the leaf with a validity that starts tomorrow.
    #[must_use]
    pub fn not_yet_valid(self) -> Self {
        let now = now_s();
        Leaf {
            not_before: Some(now + DAY_S),
            not_after: Some(now + 10 * DAY_S),
            ..self
        }
    }
}

/// Restrictions of an authority. `Powers::default()` has none.
#[derive(Clone, Copy, Debug)]
pub struct Powers<'a> {
    /// End of validity, in seconds since 1970.
    pub not_after: Option<u64>,
    /// True if the basic constraints mark the certificate as a CA.
    pub is_ca: bool,
    /// The key usage allows signing certificates.
    pub signs: bool,
    /// Maximum number of intermediate CAs below this authority.
    pub path_len: Option<u8>,
    /// Host names for which the CA may sign; empty permits all.
    pub permitted: &'a [&'a str],
}

impl Default for Powers<'_> {
    fn default() -> Self {
        Powers {
            not_after: None,
            is_ca: true,
            signs: true,
            path_len: None,
            permitted: &[],
        }
    }
}

impl Powers<'_> {
    fn limit(&self, params: &mut CertificateParams) {
        if let Some(until) = self.not_after {
            params.not_before = date_time_ymd(1970, 1, 1);
            params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(until);
        }
        params.is_ca = match (self.is_ca, self.path_len) {
            (false, _) => IsCa::ExplicitNoCa,
            (true, None) => IsCa::Ca(BasicConstraints::Unconstrained),
            (true, Some(most)) => IsCa::Ca(BasicConstraints::Constrained(most)),
        };
        if !self.signs {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }
        if !self.permitted.is_empty() {
            let names = self.permitted.iter();
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: names
                    .map(|name| GeneralSubtree::DnsName((*name).to_owned()))
                    .collect(),
                excluded_subtrees: Vec::new(),
            });
        }
    }
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Issued {
    pub certificate_pem: String,
    /// Intermediate CAs between the certificate and the root, without the root.
    pub chain_pem: String,
    /// Private key as PKCS #8.
    pub key_pem: String,
    pub der: Vec<u8>,
    /// Serial number of the certificate.
    pub serial: Vec<u8>,
}

impl Issued {
    /// Returns certificate, chain and key in one text, as `crt` expects it.
    pub fn bundle(&self) -> String {
        format!("{}{}{}", self.certificate_pem, self.chain_pem, self.key_pem)
    }

    /// Returns certificate and chain, without the key.
    pub fn full_chain(&self) -> String {
        format!("{}{}", self.certificate_pem, self.chain_pem)
    }

    /// Returns certificate and chain for rustls.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let text = self.full_chain();
        let found = CertificateDer::pem_slice_iter(text.as_bytes());
        // Drops nothing, because rcgen has just written the PEM text, so each item is valid.
        found.filter_map(Result::ok).collect()
    }

    /// Returns the key for rustls.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .expect("a generated key can be parsed")
    }
}

/// A signing authority: a root, or an intermediate CA.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    der: Vec<u8>,
    serial: Vec<u8>,
    /// Certificates that are presented after a certificate that this authority issued.
    chain_pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self, LabError> {
        Authority::with_key(name, KeyKind::Ecdsa)
    }

    /// Creates a root with this key type.
    pub fn with_key(name: &str, kind: KeyKind) -> Result<Self, LabError> {
        Authority::root(name, kind, &Powers::default())
    }

    /// Creates a root with limited powers.
    pub fn limited(name: &str, powers: &Powers<'_>) -> Result<Self, LabError> {
        Authority::root(name, KeyKind::Ecdsa, powers)
    }

    fn root(name: &str, kind: KeyKind, powers: &Powers<'_>) -> Result<Self, LabError> {
        let key = key_pair(kind)?;
        let (mut params, serial) = authority_params(name)?;
        powers.limit(&mut params);
        let certificate = params.self_signed(&key).map_err(pki("sign"))?;
        Ok(Authority {
            certificate_pem: certificate.pem(),
            der: certificate.der().to_vec(),
            serial,
            chain_pem: String::new(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Creates an intermediate CA below this one. Certificates that the new CA issues contain the
    /// new CA's certificate in their chain.
    pub fn intermediate(&self, name: &str) -> Result<Self, LabError> {
        self.limited_intermediate(name, &Powers::default())
    }

    /// Creates an intermediate CA with limited powers below this one.
    pub fn limited_intermediate(&self, name: &str, powers: &Powers<'_>) -> Result<Self, LabError> {
        let key = key_pair(KeyKind::Ecdsa)?;
        let (mut params, serial) = authority_params(name)?;
        powers.limit(&mut params);
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(pki("sign"))?;
        Ok(Authority {
            certificate_pem: certificate.pem(),
            der: certificate.der().to_vec(),
            serial,
            chain_pem: certificate.pem() + &self.chain_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Returns the authority's certificate as PEM, for a `ca-file`.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the serial number of its certificate.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Issues a certificate with a new key.
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, LabError> {
        let key = key_pair(leaf.key)?;
        let (mut params, serial) = leaf_params(leaf)?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(pki("sign"))?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            chain_pem: self.chain_pem.clone(),
            key_pem: key.serialize_pem(),
            der: certificate.der().to_vec(),
            serial,
        })
    }

    /// Returns a revocation list (CRL) in PEM with these serial numbers.
    pub fn crl(&self, revoked: &[&[u8]]) -> Result<String, LabError> {
        let now = now_s();
        self.crl_between(revoked, now - USUAL_PAST_S, now + USUAL_FUTURE_S)
    }

    /// Returns a revocation list whose time of the next update was yesterday.
    pub fn expired_crl(&self, revoked: &[&[u8]]) -> Result<String, LabError> {
        let now = now_s();
        self.crl_between(revoked, now - 10 * DAY_S, now - DAY_S)
    }

    /// Returns a valid revocation list that was created this number of seconds ago.
    pub fn crl_of_before(&self, age_s: u64, revoked: &[&[u8]]) -> Result<String, LabError> {
        let now = now_s();
        self.crl_between(revoked, now - age_s, now + USUAL_FUTURE_S)
    }

    fn crl_between(&self, revoked: &[&[u8]], from: u64, to: u64) -> Result<String, LabError> {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: date_time_ymd(1970, 1, 1) + Duration::from_secs(from),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(1970, 1, 1) + Duration::from_secs(from),
            next_update: date_time_ymd(1970, 1, 1) + Duration::from_secs(to),
            crl_number: SerialNumber::from_slice(&next_serial()),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).map_err(pki("sign"))?;
        list.pem().map_err(pki("write"))
    }
}

pub fn self_signed(leaf: &Leaf) -> Result<Issued, LabError> {
    let key = key_pair(leaf.key)?;
    let (params, serial) = leaf_params(leaf)?;
    let certificate = params.self_signed(&key).map_err(pki("sign"))?;
    Ok(Issued {
        certificate_pem: certificate.pem(),
        chain_pem: String::new(),
        key_pem: key.serialize_pem(),
        der: certificate.der().to_vec(),
        serial,
    })
}

fn pki(doing: &'static str) -> impl FnOnce(rcgen::Error) -> LabError {
    move |source| LabError::Certificate {
        doing,
        source: Box::new(source),
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Returns a serial number that no other certificate of this process has.
fn next_serial() -> [u8; 8] {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Sets the first byte, which keeps the number positive and of constant length.
    (0x4c00_0000_0000_0000 | u64::from(std::process::id()) << 32 | u64::from(number)).to_be_bytes()
}

fn key_pair(kind: KeyKind) -> Result<KeyPair, LabError> {
    let pair = match kind {
        KeyKind::Ecdsa => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyKind::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyKind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        KeyKind::Rsa2048 => KeyPair::from_pem(TEST_RSA_KEY),
    };
    pair.map_err(pki("make a key for"))
}

fn authority_params(name: &str) -> Result<(CertificateParams, Vec<u8>), LabError> {
    let leaf = Leaf {
        subject: &[("O", "Evenkeel Lab"), ("CN", name)],
        ..Leaf::default()
    };
    let (mut params, serial) = leaf_params(&leaf)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.extended_key_usages.clear();
    Ok((params, serial))
}

fn leaf_params(leaf: &Leaf) -> Result<(CertificateParams, Vec<u8>), LabError> {
    let names: Vec<String> = leaf.names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(pki("name"))?;
    let first = leaf.names.first().map(|&name| ("CN", name));
    params.distinguished_name = if leaf.subject.is_empty() {
        distinguished_name(first.as_slice())?
    } else {
        distinguished_name(leaf.subject)?
    };
    let now = now_s();
    let from = leaf.not_before.unwrap_or(now - USUAL_PAST_S);
    let to = leaf.not_after.unwrap_or(now + USUAL_FUTURE_S);
    params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(from);
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(to);
    let serial = leaf
        .serial
        .map_or_else(|| next_serial().to_vec(), <[u8]>::to_vec);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![if leaf.client {
        ExtendedKeyUsagePurpose::ClientAuth
    } else {
        ExtendedKeyUsagePurpose::ServerAuth
    }];
    Ok((params, serial))
}

/// Object identifiers of the subject's fields.
const FIELDS: &[(&str, &[u64])] = &[
    ("CN", &[2, 5, 4, 3]),
    ("SN", &[2, 5, 4, 4]),
    ("serialNumber", &[2, 5, 4, 5]),
    ("C", &[2, 5, 4, 6]),
    ("L", &[2, 5, 4, 7]),
    ("ST", &[2, 5, 4, 8]),
    ("O", &[2, 5, 4, 10]),
    ("OU", &[2, 5, 4, 11]),
    ("title", &[2, 5, 4, 12]),
    ("GN", &[2, 5, 4, 42]),
    ("UID", &[0, 9, 2342, 19_200_300, 100, 1, 1]),
    ("DC", &[0, 9, 2342, 19_200_300, 100, 1, 25]),
    ("emailAddress", &[1, 2, 840, 113_549, 1, 9, 1]),
];

fn distinguished_name(fields: &[(&str, &str)]) -> Result<DistinguishedName, LabError> {
    let mut name = DistinguishedName::new();
    let mut seen = HashSet::new();
    for &(field, value) in fields {
        let unknown = || LabError::SubjectField(field.to_owned());
        let (_, oid) = FIELDS
            .iter()
            .find(|(n, _)| *n == field)
            .ok_or_else(unknown)?;
        let value = match field {
            "C" | "serialNumber" => {
                DnValue::PrintableString(value.try_into().map_err(pki("name"))?)
            }
            "emailAddress" | "DC" => DnValue::Ia5String(value.try_into().map_err(pki("name"))?),
            _ => DnValue::Utf8String(value.to_owned()),
        };
        // Uses two names of a type: rcgen keeps one value per type, but treats its own name of a
        // type and its number as two. So a field may occur twice, not three times.
        let custom = DnType::CustomDnType(oid.to_vec());
        let kind = match DnType::from_oid(oid) {
            own if seen.insert(field) => own,
            own if own == custom || name.get(&custom).is_some() => return Err(unknown()),
            _ => custom,
        };
        name.push(kind, value);
    }
    Ok(name)
}

/// RSA key of all tests, because generating one takes seconds without optimisation. The key is
/// public: use it only in tests.
pub const TEST_RSA_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDA+c9cRtCQzscb
n06ihwG7UQbRat/I21CEDWGT6g/TDzN+s0m+OFu0TYt7ewYv44p4NtQm97DcxyKA
k4jbSSyw0Lky/Maa9CHoczMGvpzCXJk1jo1Io2UWO5WE463SaTK/hib4A1bsPh9r
BcmmwNpTn4vWAqeU+uezMHw2Og8YTlUplPYBJDOAOp3QMIQ92gMHbe5WmCs6lDHN
5XvGzfKiPmdPbS9vy1m96gx/5lWM4qpE8iYomfkhG+9fBDDwETDqTI50+CVV7yC6
IzdxsixmUx2X1DyeIz6VCnKbGIHuGe8unlIvRFdfo1mmezL0U2XWS1c4Um5sFVcw
GBPfWrqNAgMBAAECggEAAZTKby4hXV5kYUSP52MFz5wdWy/t/35UjZBygTzEvmz8
dghQDV/22GZeQzfB2DicFNoWKO+Uomp7TORolatm01gSfGl30yM29+mhvGdpb2pE
0xyE6dh05pa8ZedbsEKuaMVXomacmrjzlvPoMBaac172TV2eM+lOZrh5/BPDteZC
wPRax+O8zYRL6DBRtuBnd4hrrS5+rhcDzcrtQoUg3jIm5gAzx7XrtLB8kn4EwZbc
QtEXX9tZo3k5NlB+r+6nKEkIP/FC6gEwuLJQb5y4rlcXRlCRAlFsNydQKCQ5CGQH
jF7ZrzHrWr/DpRGpMz1stCYHhEciqf3iM7wqqfzd4QKBgQD2Y3H4YSUgW8AeBJyt
HViZQWWjN74TqutXQ3MWDVdl7jxyHHqAvbhATDMPeTeJYfHnf78Aw3mYMA5Jd31q
liPajziqc7VOS1c34b4DNFOjJS0Ck/c+lR60+A5Whpnqd+B/IwleBvnka5nzIHAw
iudj4eoT86uvuUjDGVmOiGTrWQKBgQDIgPXUCKDUkhPNRQiu/SvqhMZn6dqifEJo
siSqot8+XbYdK7/HDMtkebozYe6PVY0yei+3xghObvlMgDejWM+84WxOU32Ll6dL
lK8IapU4LqpXXZAV7Sl3syOHmkXHUXyvQjcDZBHvDyc/CP72in6gbhJJUbBOm6fH
R6u9CuiGVQKBgEakQHr8L07Vv4FbxSgFL+/QxjlDtCWjbZI5bne2H4bEBWSaMa1T
t84HiuQ21ut2v4qmH7cyVFyD+rSpo7W5klIJmi+UuTjXdQw6luYITKqL8Bm7Hro8
uu8b59B7CwokkKMjAn6I9YC+MQd6F3BzguAqV5ic1m6tauU1EW5CQN0RAoGBAJpP
VeKXuV+gBQln5eT3B8N36FK1EgUXaOy2na2NqA6RhMUylGgXGrn7TSiaaEV77C07
CFqBWIc0tT0BONDIWyjcvMQTUX4Lez+Z8JOjo7AXihWu9mNJoS50ehW0z5s0xacE
aN59N6gqm2PSApevwwCpdf1jlzMIbLncGPpm2Mn5AoGBALq4tLbxysvjBuhzzIa4
g/bHzdl411pV6SksHdz7fKvvpLssiO/MES+vPqx35JfV3O6erimBAfJeVMrlH7Wv
XW7NWcwRZ8SCmk8BMiZFLEUAi7fR5rQt1V+O/alkHpTS5IE2ZhrLJXq/wtChpFSN
6vwXfuePunZJnYnQsiLZCN5F
-----END PRIVATE KEY-----
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_key_makes_a_bundle_of_certificate_chain_and_key() {
        let root = Authority::new("Root").unwrap();
        let below = root.intermediate("Below").unwrap();
        for key in [
            KeyKind::Ecdsa,
            KeyKind::EcdsaP384,
            KeyKind::Rsa2048,
            KeyKind::Ed25519,
        ] {
            let leaf = Leaf {
                names: &["a.example", "*.a.example", "127.0.0.1"],
                key,
                ..Leaf::default()
            };
            let issued = below.issue(&leaf).unwrap();
            assert_eq!(issued.certificates().len(), 2);
            assert_eq!(issued.certificates()[1].as_ref(), below.der());
            assert!(issued.bundle().contains("PRIVATE KEY"));
            assert!(!issued.key().secret_der().is_empty());
            assert_eq!(root.issue(&leaf).unwrap().certificates().len(), 1);
        }
    }

    #[test]
    fn a_subject_has_its_fields_in_order_and_some_twice() {
        let subject = [
            ("C", "DE"),
            ("O", "Kiel & Söhne"),
            ("OU", "one"),
            ("OU", "two"),
            ("emailAddress", "a@example.com"),
        ];
        let name = distinguished_name(&subject).unwrap();
        assert_eq!(name.iter().count(), 5);
        assert!(matches!(
            distinguished_name(&[("XY", "z")]),
            Err(LabError::SubjectField(field)) if field == "XY"
        ));
        let thrice = [("OU", "a"), ("OU", "b"), ("OU", "c")];
        assert!(distinguished_name(&thrice).is_err());
    }

    #[test]
    fn serial_numbers_and_crls_are_as_requested() {
        let root = Authority::new("Root").unwrap();
        let one = root.issue(&Leaf::default()).unwrap();
        let two = self_signed(&Leaf::default().expired()).unwrap();
        assert_ne!(one.serial, two.serial);
        let own = Leaf {
            serial: Some(&[1, 2, 3]),
            ..Leaf::default()
        };
        assert_eq!(root.issue(&own).unwrap().serial, [1, 2, 3]);
        let list = root.crl(&[&one.serial, &[1, 2, 3]]).unwrap();
        assert!(list.starts_with("-----BEGIN X509 CRL-----"));
        assert!(root.expired_crl(&[]).is_ok());
    }
}
