//! Implements the fetches of certificates: the client's (`ssl_c_…`), the one presented to the
//! client (`ssl_f_…`) and the server's (`ssl_s_…`); also the result of verifying the client's. Each
//! fetch parses the raw certificate on demand.

use super::tls::{client, server};
use super::{FetchBuild, FetchRow, boolean, int};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use rustls::pki_types::CertificateDer;
use std::borrow::Cow;
use tls::verify::Verified;
use tls::{CertificateFields, CertificateName};

/// Owner of the certificate that a fetch reads.
trait CertificateOwner {
    const NEEDS: Needs;
    /// Returns the certificate, as DER.
    fn certificate(stream: &ProxyStream) -> Option<&[u8]>;
}

struct Client;
struct Frontend;
struct Server;

impl CertificateOwner for Client {
    const NEEDS: Needs = Needs::Nothing;
    fn certificate(stream: &ProxyStream) -> Option<&[u8]> {
        client(stream)?.peer_certificate()
    }
}

impl CertificateOwner for Frontend {
    const NEEDS: Needs = Needs::Nothing;
    fn certificate(stream: &ProxyStream) -> Option<&[u8]> {
        client(stream)?.shown_certificate()
    }
}

impl CertificateOwner for Server {
    const NEEDS: Needs = Needs::Server;
    fn certificate(stream: &ProxyStream) -> Option<&[u8]> {
        server(stream)?.peer_certificate()
    }
}

const fn part<O: CertificateOwner>(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, O::NEEDS, one)
}

const fn name<O: CertificateOwner>(one: super::One) -> FetchBuild {
    part::<O>(Type::Str, one)
        .takes(
            &[ArgumentKind::Text, ArgumentKind::Int, ArgumentKind::Text],
            0,
        )
        .prepare(check_format)
}

macro_rules! certificate_rows {
    ($prefix:literal, $owner:ident, $whose:literal) => {
        certificate_rows! { @rows $prefix, $whose,
            "version", "", part::<$owner>(Type::Int, version::<$owner>), "3",
                "The version of ", " as a number: nearly always 3.";
            "key_alg", "", part::<$owner>(Type::Str, key_algorithm::<$owner>), "id-ecPublicKey",
                "The key type of ", ", by OpenSSL's name: `rsaEncryption`, `id-ecPublicKey`.";
            "sig_alg", "", part::<$owner>(Type::Str, signature_algorithm::<$owner>), "RSA-SHA256",
                "How ", " was signed, by OpenSSL's name: `RSA-SHA256`, `ecdsa-with-SHA256`.";
            "notbefore", "", part::<$owner>(Type::Str, not_before::<$owner>), "-m beg 26",
                "The start of validity of ", ", as `YYMMDDhhmmssZ`.";
            "notafter", "", part::<$owner>(Type::Str, not_after::<$owner>), "-m beg 26",
                "The end of validity of ", ", as `YYMMDDhhmmssZ`. Dates after 2099 have no such form, and no value.";
            "serial", "", part::<$owner>(Type::Bin, serial::<$owner>), "-m bin 0A1B2C3D",
                "The serial number of ", ", as bytes: in ACLs as hexadecimal digits, in texts with `,hex`.";
            "sha1", "", part::<$owner>(Type::Bin, sha1::<$owner>), "-m bin 82D55CAEBACD9887F7A8B59633317CF60A111867",
                "The SHA-1 fingerprint of ", ", as bytes: in ACLs as hexadecimal digits, in texts with `,hex`.";
            "der", "", part::<$owner>(Type::Bin, der::<$owner>), "-m found",
                "The complete DER encoding of ", ". To pass it on, encode it with `,base64`.";
            "s_dn", "[([<entry>[,<occurrence>[,<format>]]])]", name::<$owner>(subject::<$owner>), "-m sub /O=Example/",
                "The subject of ", ": the complete distinguished name as `/C=DE/O=Example/CN=www.example.com`, or the value of one entry (`CN`). `<occurrence>` selects the second, third or last (-1) entry of that name. The format `rfc2253` returns the name in LDAP's form.";
            "i_dn", "[([<entry>[,<occurrence>[,<format>]]])]", name::<$owner>(issuer::<$owner>), "-m sub /CN=Example",
                "The issuer of ", ": the distinguished name, with the same arguments as for the subject.";
        }
    };
    (@rows $prefix:literal, $whose:literal, $($name:literal, $arguments:literal, $build:expr, $pattern:literal, $before:literal, $after:literal;)*) => {
        &[$(FetchRow {
            places: super::PLACE,
            syntax: concat!($prefix, $name, $arguments),
            doc: concat!($before, $whose, $after),
            example: concat!("acl certificate ", $prefix, $name, " ", $pattern),
            build: $build,
        }),*]
    };
}

pub(super) static CLIENT: &[FetchRow] =
    certificate_rows! { "ssl_c_", Client, "the client's certificate" };
pub(super) static FRONTEND: &[FetchRow] =
    certificate_rows! { "ssl_f_", Frontend, "the certificate sent to the client" };
pub(super) static SERVER: &[FetchRow] =
    certificate_rows! { "ssl_s_", Server, "the server's certificate" };

const fn verification(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::Nothing, one)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "ssl_c_used",
        verification(Type::Bool, |_, s| boolean(client(s)?.peer_certificate().is_some())),
        "acl certified ssl_c_used",
        "True if the TLS session has a client certificate, even from an earlier connection that was resumed.";
    "ssl_c_verify", verification(Type::Int, verify), "acl trusted ssl_c_verify 0",
        "The error number of the verification of the client certificate, as in OpenSSL; 0 on success or without a \
         certificate.";
    "ssl_c_err", verification(Type::Int, own_error), "acl expired ssl_c_err 10",
        "The number of the first error of the client's own certificate, as in OpenSSL (10 is expired), even if \
         `crt-ignore-err` ignores it; 0 without an error.";
    "ssl_c_ca_err", verification(Type::Int, authority_error), "acl unknown_ca ssl_c_ca_err gt 0",
        "The number of the first error of the issuers of the client certificate, as in OpenSSL, even if \
         `ca-ignore-err` ignores it; 0 without an error.";
    "ssl_c_ca_err_depth", verification(Type::Int, authority_depth), "acl root_wrong ssl_c_ca_err_depth gt 1",
        "The depth of the error of `ssl_c_ca_err` above the client certificate; 0 without one.";
    "ssl_c_chain_der", verification(Type::Bin, client_chain), "acl chained ssl_c_chain_der -m found",
        "The issuer certificates that the client sent, concatenated in DER. No value for a resumed session.";
    "ssl_s_chain_der", FetchBuild::new(Type::Bin, Needs::Server, server_chain), "acl chained ssl_s_chain_der -m found",
        "The certificates that the server sent, its own first, concatenated in DER. No value for a resumed session.";
};

fn shown<O: CertificateOwner>(stream: &ProxyStream) -> Option<CertificateFields<'_>> {
    CertificateFields::parse(O::certificate(stream)?)
}

fn text(text: Cow<'static, str>) -> SampleValue<'static> {
    SampleValue::Str(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

fn version<'a, O: CertificateOwner>(_: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    int(shown::<O>(stream)?.version())
}

fn key_algorithm<'a, O: CertificateOwner>(_: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    shown::<O>(stream)?.key_algorithm().map(text)
}

fn signature_algorithm<'a, O: CertificateOwner>(
    _: &'a Arguments,
    stream: &'a ProxyStream,
) -> Sample<'a> {
    shown::<O>(stream)?.signature_algorithm().map(text)
}

fn not_before<'a, O: CertificateOwner>(_: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    shown::<O>(stream)?.not_before().map(SampleValue::text)
}

fn not_after<'a, O: CertificateOwner>(_: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    shown::<O>(stream)?.not_after().map(SampleValue::text)
}

fn serial<'a, O: CertificateOwner>(_: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    Some(SampleValue::bytes(shown::<O>(stream)?.serial()))
}

fn sha1<'a, O: CertificateOwner>(_: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let fingerprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, O::certificate(stream)?);
    Some(SampleValue::Bin(Cow::Owned(fingerprint.as_ref().to_vec())))
}

fn der<'a, O: CertificateOwner>(_: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    O::certificate(stream).map(SampleValue::bytes)
}

fn subject<'a, O: CertificateOwner>(
    arguments: &'a Arguments,
    stream: &'a ProxyStream,
) -> Sample<'a> {
    name_of(arguments, shown::<O>(stream)?.subject)
}

fn issuer<'a, O: CertificateOwner>(
    arguments: &'a Arguments,
    stream: &'a ProxyStream,
) -> Sample<'a> {
    name_of(arguments, shown::<O>(stream)?.issuer)
}

fn name_of<'a>(arguments: &Arguments, name: CertificateName<'a>) -> Sample<'a> {
    if let Some(entry) = arguments.text(0) {
        let occurrence = arguments.int(1).unwrap_or(1);
        return name.entry(entry, occurrence).map(SampleValue::text);
    }
    let whole = match arguments.text(2) {
        Some(_) => name.rfc2253(),
        None => name.one_line(),
    };
    whole.map(|whole| SampleValue::Str(Cow::Owned(whole)))
}

fn check_format(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.text(2) {
        None | Some(b"rfc2253") => Ok(()),
        Some(other) => Err(bad_argument(
            span,
            format!(
                "'{}' is not a name format: only rfc2253 is supported",
                String::from_utf8_lossy(other)
            ),
        )),
    }
}

fn outcome(stream: &ProxyStream) -> Option<&Verified> {
    Some(&client(stream)?.verified)
}

fn verify<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    // As in HAProxy, a failed handshake has no value.
    super::tls::client(stream).filter(|info| info.broken.is_none())?;
    int(outcome(stream)?.verify_code())
}

fn own_error<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let code = outcome(stream)?.own.map_or(0, |failure| failure.code);
    int(code)
}

fn authority_error<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let code = outcome(stream)?.authority.map_or(0, |failure| failure.code);
    int(code)
}

fn authority_depth<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let depth = outcome(stream)?
        .authority
        .map_or(0, |failure| failure.depth);
    int(depth)
}

fn chain(certificates: &[CertificateDer<'_>]) -> Sample<'static> {
    let parts: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
    (!parts.is_empty()).then(|| SampleValue::Bin(Cow::Owned(parts.concat())))
}

fn client_chain<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let info = client(stream).filter(|info| !info.resumed)?;
    chain(info.peer_certificates.as_deref()?.get(1..)?)
}

fn server_chain<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let info = server(stream).filter(|info| !info.resumed)?;
    chain(info.peer_certificates.as_deref()?)
}

#[cfg(test)]
mod tests {
    use super::super::tls::tests::{all_give, info, stream};
    use super::*;
    use crate::rules::Usage;
    use crate::transaction::sample;
    use lab::pki::{Authority, Issued, Leaf};
    use tls::Info;
    use tls::chain::ChainError;

    const SUBJECT: &[(&str, &str)] = &[
        ("C", "DE"),
        ("O", "Example"),
        ("OU", "one"),
        ("OU", "two"),
        ("CN", "somebody"),
    ];

    fn issued(below: &Authority) -> Issued {
        let leaf = Leaf {
            subject: SUBJECT,
            client: true,
            serial: Some(&[0x0a, 0x1b]),
            ..Leaf::default()
        };
        below.issue(&leaf).unwrap()
    }

    fn with_certificates(issued: &Issued) -> Info {
        Info {
            peer_certificates: Some(issued.certificates().into()),
            ..info()
        }
    }

    #[test]
    fn certificates_of_both_peers_are_told_of() {
        let root = Authority::new("Root").unwrap();
        let issued = issued(&root.intermediate("Below").unwrap());
        let peer = with_certificates(&issued);
        let chain: String = issued.certificates()[1]
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let stream = stream(Some(peer.clone()), Some(peer));
        all_give(
            &stream,
            &[
                ("ssl_c_used", Some("1")),
                ("ssl_fc_has_crt", Some("1")),
                ("ssl_c_version", Some("3")),
                ("ssl_c_key_alg", Some("id-ecPublicKey")),
                ("ssl_s_sig_alg", Some("ecdsa-with-SHA256")),
                ("ssl_c_serial,hex", Some("0A1B")),
                (
                    "ssl_c_s_dn",
                    Some("/C=DE/O=Example/OU=one/OU=two/CN=somebody"),
                ),
                ("ssl_s_i_dn", Some("/O=Evenkeel Lab/CN=Below")),
                ("ssl_c_s_dn(CN)", Some("somebody")),
                ("ssl_c_s_dn(cn)", Some("somebody")),
                ("ssl_c_s_dn(OU,2)", Some("two")),
                ("ssl_c_s_dn(OU,-2)", Some("one")),
                ("ssl_c_s_dn(OU,0)", None),
                ("ssl_c_s_dn(CN,1,rfc2253)", Some("somebody")),
                (
                    "ssl_s_s_dn(,0,rfc2253)",
                    Some("CN=somebody,OU=two,OU=one,O=Example,C=DE"),
                ),
                ("ssl_c_chain_der,hex", Some(&chain)),
                ("ssl_f_s_dn", None),
            ],
        );
        let length = |fetch: &str| {
            sample::evaluate(&format!("{fetch},hex"), &stream)
                .unwrap()
                .len()
        };
        assert_eq!(length("ssl_c_der"), 2 * issued.der.len());
        assert_eq!(length("ssl_c_sha1"), 40);
        assert_eq!(
            length("ssl_s_chain_der"),
            length("ssl_c_der") + length("ssl_c_chain_der")
        );
    }

    #[test]
    fn a_resumed_session_has_its_certificate_and_no_chain() {
        let root = Authority::new("Root").unwrap();
        let issued = issued(&root.intermediate("Below").unwrap());
        let resumed = Info {
            resumed: true,
            ..with_certificates(&issued)
        };
        all_give(
            &stream(Some(resumed), None),
            &[
                ("ssl_c_used", Some("1")),
                ("ssl_fc_has_crt", Some("0")),
                ("ssl_c_s_dn(CN)", Some("somebody")),
                ("ssl_c_chain_der", None),
            ],
        );
    }

    #[test]
    fn errors_of_the_verification_have_their_numbers() {
        let verified = Verified {
            verified: true,
            authority: Some(ChainError { depth: 2, code: 19 }),
            own: Some(ChainError { depth: 0, code: 10 }),
            last: Some(ChainError { depth: 0, code: 10 }),
            refused: None,
        };
        let front = Info { verified, ..info() };
        all_give(
            &stream(Some(front), None),
            &[
                ("ssl_c_verify", Some("10")),
                ("ssl_c_err", Some("10")),
                ("ssl_c_ca_err", Some("19")),
                ("ssl_c_ca_err_depth", Some("2")),
                ("ssl_c_used", Some("0")),
            ],
        );
    }

    #[test]
    fn what_was_shown_to_the_client_is_told_of() {
        let issued = issued(&Authority::new("Root").unwrap());
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&issued.key()).unwrap();
        let own = rustls::sign::CertifiedKey::new(issued.certificates(), key);
        let front = Info {
            own_certificate: Some(own.into()),
            ..info()
        };
        all_give(
            &stream(Some(front), None),
            &[
                ("ssl_f_s_dn(CN)", Some("somebody")),
                ("ssl_f_version", Some("3")),
                ("ssl_c_version", None),
            ],
        );
    }

    #[test]
    fn other_formats_of_names_are_refused() {
        let usage = Usage::http_request(crate::config::ProxyKind::Listen);
        assert!(sample::expression("ssl_c_s_dn(CN,1,rfc2253)", usage).is_ok());
        let refused = sample::expression("ssl_c_s_dn(CN,1,ldap)", usage).unwrap_err();
        assert!(refused.message.contains("rfc2253"), "{}", refused.message);
        assert!(sample::expression("ssl_c_s_dn(CN,x)", usage).is_err());
    }
}
