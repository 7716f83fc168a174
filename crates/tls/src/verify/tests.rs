//! Tests the verification of certificates. The expected error numbers are those of HAProxy 2.6
//! for the same certificates.

use super::*;
use crate::settings::{ClientAuth, Parameters, Verify};
use lab::pki::{self, Authority, Issued, Leaf, Powers};

fn believe(pem: &str) -> Option<Arc<Authorities>> {
    Some(Arc::new(
        Authorities::from_pem(pem.as_bytes()).expect("certificates"),
    ))
}

fn crl(pem: &str) -> Option<Arc<Revocations>> {
    Some(Arc::new(
        Revocations::from_pem(pem.as_bytes()).expect("lists"),
    ))
}

fn client(name: &str) -> Leaf<'_> {
    Leaf {
        subject: std::slice::from_ref(Box::leak(Box::new(("CN", &*name.to_owned().leak())))),
        client: true,
        ..Leaf::default()
    }
}

/// Returns whether a chain is accepted, and the resulting numbers: `ssl_c_verify`, `ssl_c_err`, and
/// code and depth of `ssl_c_ca_err`.
fn ask(settings: &ClientAuth, shown: &[CertificateDer<'static>]) -> (bool, [u8; 4]) {
    let verifier = client_verifier(settings, &Parameters::default())
        .expect("it builds")
        .expect("it asks");
    let (leaf, others) = shown.split_first().expect("a certificate");
    let (found, outcome) =
        with_outcome(|| verifier.verify_client_cert(leaf, others, UnixTime::now()));
    assert!(outcome.verified);
    assert_eq!(found.is_err(), outcome.refused.is_some());
    let code = |failure: Option<ChainError>| failure.map_or(0, |f| f.code);
    let numbers = [
        outcome.verify_code(),
        code(outcome.own),
        code(outcome.authority),
        outcome.authority.map_or(0, |f| f.depth),
    ];
    (found.is_ok(), numbers)
}

fn settings(authorities: Option<Arc<Authorities>>, crls: Option<Arc<Revocations>>) -> ClientAuth {
    ClientAuth {
        mode: Verify::Required,
        authorities,
        crls,
        ..ClientAuth::default()
    }
}

fn all_ignored(strict: &ClientAuth) -> ClientAuth {
    ClientAuth {
        ca_ignore_err: IgnoredErrors::ALL,
        crt_ignore_err: IgnoredErrors::ALL,
        ..strict.clone()
    }
}

/// Checks that a chain is refused, and that with all errors ignored the numbers are these, which
/// HAProxy 2.6 reports for such a client.
#[track_caller]
fn refused_with(strict: &ClientAuth, shown: &[CertificateDer<'static>], numbers: [u8; 4]) {
    assert!(!ask(strict, shown).0, "it was believed");
    assert_eq!(ask(&all_ignored(strict), shown), (true, numbers));
}

fn certificates(issued: &Issued) -> Vec<CertificateDer<'static>> {
    issued.certificates()
}

#[test]
fn certificate_signed_by_the_ca_is_trusted() {
    let root = Authority::new("root").expect("made");
    let between = root.intermediate("between").expect("made");
    let strict = settings(believe(root.certificate_pem()), None);
    let direct = root.issue(&client("direct")).expect("issued");
    assert_eq!(ask(&strict, &certificates(&direct)), (true, [0; 4]));
    let far = between.issue(&client("far")).expect("issued");
    assert_eq!(ask(&strict, &certificates(&far)), (true, [0; 4]));
    // The leaf alone, without the intermediate certificate.
    refused_with(&strict, &certificates(&far)[..1], [21, 20, 0, 0]);
    // The intermediate certificate may be in the CA file together with its root.
    let both = format!("{}{}", root.certificate_pem(), between.certificate_pem());
    let strict = settings(believe(&both), None);
    assert_eq!(ask(&strict, &certificates(&far)[..1]), (true, [0; 4]));
}

#[test]
fn intermediate_ca_without_its_root_is_no_trust_anchor() {
    let root = Authority::new("root").expect("made");
    let between = root.intermediate("between").expect("made");
    let far = between.issue(&client("far")).expect("issued");
    let strict = settings(believe(between.certificate_pem()), None);
    refused_with(&strict, &certificates(&far)[..1], [2, 0, 2, 1]);
}

#[test]
fn strangers_are_refused_with_openssls_numbers() {
    let root = Authority::new("root").expect("made");
    let other = Authority::new("other").expect("made");
    let strict = settings(believe(root.certificate_pem()), None);
    let stranger = other.issue(&client("stranger")).expect("issued");
    refused_with(&strict, &certificates(&stranger), [21, 20, 0, 0]);
    let mut with_root = certificates(&stranger);
    with_root.push(CertificateDer::from(other.der().to_vec()));
    refused_with(&strict, &with_root, [19, 0, 19, 1]);
    let own = pki::self_signed(&client("own")).expect("made");
    refused_with(&strict, &certificates(&own), [18, 18, 0, 0]);
}

#[test]
fn listed_self_signed_certificate_is_trusted() {
    let own = pki::self_signed(&client("own")).expect("made");
    let strict = settings(believe(&own.certificate_pem), None);
    assert_eq!(ask(&strict, &certificates(&own)), (true, [0; 4]));
    // A certificate in the CA file that another CA has signed is not trusted.
    let root = Authority::new("root").expect("made");
    let direct = root.issue(&client("direct")).expect("issued");
    let strict = settings(believe(&direct.certificate_pem), None);
    refused_with(&strict, &certificates(&direct), [21, 20, 0, 0]);
}

#[test]
fn times_and_purposes_have_their_numbers() {
    let root = Authority::new("root").expect("made");
    let strict = settings(believe(root.certificate_pem()), None);
    let old = root.issue(&client("old").expired()).expect("issued");
    refused_with(&strict, &certificates(&old), [10, 10, 0, 0]);
    let young = root
        .issue(&client("young").not_yet_valid())
        .expect("issued");
    refused_with(&strict, &certificates(&young), [9, 9, 0, 0]);
    let server = Leaf {
        names: &["server"],
        ..Leaf::default()
    };
    let server = root.issue(&server).expect("issued");
    refused_with(&strict, &certificates(&server), [26, 26, 0, 0]);
}

#[test]
fn only_listed_errors_are_ignored() {
    let root = Authority::new("root").expect("made");
    let old = root.issue(&client("old").expired()).expect("issued");
    let of = |crt: &str, ca: &str| ClientAuth {
        crt_ignore_err: IgnoredErrors::parse(crt).expect("numbers"),
        ca_ignore_err: IgnoredErrors::parse(ca).expect("numbers"),
        ..settings(believe(root.certificate_pem()), None)
    };
    assert!(ask(&of("10", "1"), &certificates(&old)).0);
    assert!(!ask(&of("9", "all"), &certificates(&old)).0);
    let stranger = Authority::new("other").expect("made");
    let stranger = stranger
        .issue(&client("stranger").expired())
        .expect("issued");
    assert!(!ask(&of("10,20", "all"), &certificates(&stranger)).0);
    assert!(ask(&of("10,20,21", "1"), &certificates(&stranger)).0);
}

#[test]
fn crl_is_required_for_every_certificate() {
    let root = Authority::new("root").expect("made");
    let between = root.intermediate("between").expect("made");
    let good = root.issue(&client("good")).expect("issued");
    let gone = root.issue(&client("gone")).expect("issued");
    let far = between.issue(&client("far")).expect("issued");
    let list = root.crl(&[&gone.serial]).expect("list");
    let strict = settings(believe(root.certificate_pem()), crl(&list));
    assert_eq!(ask(&strict, &certificates(&good)), (true, [0; 4]));
    refused_with(&strict, &certificates(&gone), [23, 23, 0, 0]);
    refused_with(&strict, &certificates(&far), [3, 3, 0, 0]);
    let both = format!("{list}{}", between.crl(&[]).expect("list"));
    let strict = settings(believe(root.certificate_pem()), crl(&both));
    assert_eq!(ask(&strict, &certificates(&far)), (true, [0; 4]));
    let old = root.expired_crl(&[]).expect("list");
    let strict = settings(believe(root.certificate_pem()), crl(&old));
    refused_with(&strict, &certificates(&good), [12, 12, 12, 1]);
    // A file with certificates only contains no CRL.
    let strict = settings(believe(root.certificate_pem()), crl(root.certificate_pem()));
    refused_with(&strict, &certificates(&good), [3, 3, 3, 1]);
}

#[test]
fn crl_of_another_issuer_is_ignored() {
    let root = Authority::new("root").expect("made");
    // A CA with the same name but another key.
    let fake = Authority::new("root").expect("made");
    let good = root.issue(&client("good")).expect("issued");
    let list = fake.crl(&[]).expect("list");
    let strict = settings(believe(root.certificate_pem()), crl(&list));
    assert!(!ask(&strict, &certificates(&good)).0);
    // A certificate of the other CA is not accepted either.
    let forged = fake.issue(&client("forged")).expect("issued");
    let strict = settings(believe(root.certificate_pem()), None);
    let (believed, numbers) = ask(&strict, &certificates(&forged));
    assert!(!believed && numbers[1] != 0, "{numbers:?}");
}

#[test]
fn malformed_certificate_is_always_refused() {
    let root = Authority::new("root").expect("made");
    let strict = settings(believe(root.certificate_pem()), None);
    let mut broken = certificates(&root.issue(&client("a")).expect("issued"))[0].to_vec();
    let end = broken.len();
    broken[end - 1] ^= 1;
    let shown = [CertificateDer::from(broken)];
    refused_with(&strict, &shown, [7, 7, 0, 0]);
    for length in 0..end {
        let cut =
            certificates(&root.issue(&client("a")).expect("issued"))[0][..length.min(40)].to_vec();
        let (believed, _) = ask(&all_ignored(&strict), &[CertificateDer::from(cut)]);
        assert!(!believed);
        if length > 40 {
            break;
        }
    }
}

#[test]
fn no_verification_unless_requested() {
    let none = client_verifier(&ClientAuth::default(), &Parameters::default()).expect("it builds");
    assert!(none.is_none());
    let empty = ClientAuth {
        mode: Verify::Optional,
        ..ClientAuth::default()
    };
    assert!(matches!(
        client_verifier(&empty, &Parameters::default()),
        Err(BuildError::NoAuthorities)
    ));
}

#[test]
fn ca_names_are_sent_unless_disabled() {
    let root = Authority::new("root").expect("made");
    let more = Authority::new("more").expect("made");
    let mut settings = settings(believe(root.certificate_pem()), None);
    settings.more_authorities = believe(more.certificate_pem());
    let named = |settings: &ClientAuth| {
        let verifier = client_verifier(settings, &Parameters::default()).expect("it builds");
        verifier.expect("it asks").root_hint_subjects().len()
    };
    assert_eq!(named(&settings), 1);
    // The CA certificates of `ca-verify-file` are trusted nevertheless.
    let one = more.issue(&client("one")).expect("issued");
    assert!(ask(&settings, &certificates(&one)).0);
    settings.no_ca_names = true;
    assert_eq!(named(&settings), 0);
}

const LONG_AGO_S: u64 = 1_000_000_000;

#[test]
fn root_must_be_a_valid_ca() {
    let of = |powers: Powers<'_>| {
        let root = Authority::limited("root", &powers).expect("made");
        let strict = settings(believe(root.certificate_pem()), None);
        let leaf = root.issue(&client("leaf")).expect("issued");
        (strict, certificates(&leaf))
    };
    let (strict, shown) = of(Powers::default());
    assert_eq!(ask(&strict, &shown), (true, [0; 4]));
    let (strict, shown) = of(Powers {
        not_after: Some(LONG_AGO_S),
        ..Powers::default()
    });
    refused_with(&strict, &shown, [10, 0, 10, 1]);
    let (strict, shown) = of(Powers {
        is_ca: false,
        signs: false,
        ..Powers::default()
    });
    assert!(!ask(&strict, &shown).0);
    let (strict, shown) = of(Powers {
        signs: false,
        ..Powers::default()
    });
    assert!(!ask(&strict, &shown).0);
}

#[test]
fn valid_root_wins_over_an_expired_one_with_the_same_key() {
    let root = Authority::new("root").expect("made");
    let old = Authority::limited(
        "root",
        &Powers {
            not_after: Some(LONG_AGO_S),
            ..Powers::default()
        },
    )
    .expect("made");
    let leaf = root.issue(&client("leaf")).expect("issued");
    for both in [[&old, &root], [&root, &old]] {
        let text = both.map(Authority::certificate_pem).concat();
        let strict = settings(believe(&text), None);
        assert_eq!(ask(&strict, &certificates(&leaf)), (true, [0; 4]));
    }
}

#[test]
fn intermediate_needs_signing_rights_and_name_constraints() {
    let root = Authority::new("root").expect("made");
    let strict = settings(believe(root.certificate_pem()), None);
    let below = |powers: Powers<'_>| root.limited_intermediate("between", &powers).expect("made");
    let weak = below(Powers {
        signs: false,
        ..Powers::default()
    });
    let leaf = weak.issue(&client("leaf")).expect("issued");
    refused_with(&strict, &certificates(&leaf), [79, 0, 79, 1]);
    let narrow = below(Powers {
        permitted: &["inside.example"],
        ..Powers::default()
    });
    let named = |names: &'static [&'static str], common: &'static str| {
        let leaf = Leaf {
            names,
            subject: &[("CN", common)],
            client: true,
            ..Leaf::default()
        };
        certificates(&narrow.issue(&leaf).expect("issued"))
    };
    assert!(ask(&strict, &named(&["a.inside.example"], "a.inside.example")).0);
    assert!(ask(&strict, &named(&["a.inside.example"], "John Doe")).0);
    assert!(!ask(&strict, &named(&["a.outside.example"], "John Doe")).0);
    // Name constraints also apply to a common name that is a host name.
    assert!(!ask(&strict, &named(&["a.inside.example"], "www.bank.example")).0);
    assert!(!ask(&strict, &named(&[], "www.bank.example")).0);
    let flat = below(Powers {
        path_len: Some(0),
        ..Powers::default()
    });
    let far = flat.intermediate("far").expect("made");
    let leaf = far.issue(&client("leaf")).expect("issued");
    assert!(!ask(&strict, &certificates(&leaf)).0);
}

#[test]
fn newest_crl_of_an_issuer_applies_in_any_order() {
    let root = Authority::new("root").expect("made");
    let leaf = root.issue(&client("leaf")).expect("issued");
    let before = root.crl_of_before(3600, &[]).expect("list");
    let now = root.crl_of_before(60, &[&leaf.serial]).expect("list");
    for both in [[&before, &now], [&now, &before]] {
        let text = both.map(String::as_str).concat();
        let strict = settings(believe(root.certificate_pem()), crl(&text));
        refused_with(&strict, &certificates(&leaf), [23, 23, 0, 0]);
    }
    // A certificate that a newer CRL no longer lists is accepted again.
    let again = root.crl_of_before(10, &[]).expect("list");
    let text = [&*before, &*now, &*again].concat();
    let strict = settings(believe(root.certificate_pem()), crl(&text));
    assert!(ask(&strict, &certificates(&leaf)).0);
}

#[test]
fn many_certificates_with_one_name_are_verified_quickly() {
    let root = Authority::new("root").expect("made");
    let strict = settings(believe(root.certificate_pem()), None);
    let mut shown = Vec::new();
    // Each certificate could have been signed by each of the others.
    let evil = Authority::new("evil").expect("made");
    for _ in 0..100 {
        let one = evil.intermediate("evil").expect("made");
        shown.extend(certificates(&one.issue(&client("leaf")).expect("issued")));
    }
    assert!(!ask(&strict, &shown).0);
    assert!(readable(&shown).0.len() <= chain::DEPTH_MAX);
    // A valid chain among other certificates is still found.
    let between = root.intermediate("between").expect("made");
    let mut shown = certificates(&between.issue(&client("leaf")).expect("issued"));
    for n in 0..20 {
        let other = Authority::new(&format!("other {n}")).expect("made");
        shown.insert(1, CertificateDer::from(other.der().to_vec()));
    }
    assert!(ask(&strict, &shown).0);
}

#[test]
fn certificate_with_any_broken_byte_is_refused() {
    let root = Authority::new("root").expect("made");
    let between = root.intermediate("between").expect("made");
    let strict = settings(believe(root.certificate_pem()), None);
    let list = format!(
        "{}{}",
        root.crl(&[]).expect("list"),
        between.crl(&[]).expect("list")
    );
    let listed = settings(believe(root.certificate_pem()), crl(&list));
    let shown = certificates(&between.issue(&client("leaf")).expect("issued"));
    for which in 0..shown.len() {
        for at in 0..shown[which].len() {
            let mut bytes = shown[which].to_vec();
            // Over all bytes every bit of tags and lengths is flipped somewhere.
            bytes[at] ^= 1 << (at % 8);
            let mut broken = shown.clone();
            broken[which] = CertificateDer::from(bytes);
            assert!(!ask(&strict, &broken).0, "certificate {which}, byte {at}");
            let _ = (ask(&listed, &broken), ask(&all_ignored(&listed), &broken));
        }
    }
}

/// Tests RFC 8422, section 5.1.1; OpenSSL calls the error "wrong curve".
#[test]
fn a_key_of_a_client_is_of_a_curve_that_is_listed() {
    let issued = pki::self_signed(&client("c")).expect("a certificate");
    let shown = &issued.certificates()[0];
    let verifier = |curves: Option<&[NamedGroup]>| ClientVerifier {
        belief: Belief {
            authorities: None,
            crls: None,
            ca_ignore: IgnoredErrors::default(),
            crt_ignore: IgnoredErrors::default(),
            purpose: Purpose::Client,
        },
        required: false,
        names: Vec::new(),
        schemes: schemes(None),
        curves: curves.map(Arc::from),
    };
    let allowed = |curves| verifier(curves).check_curve(shown).is_ok();
    assert!(allowed(None));
    assert!(allowed(Some(&[
        NamedGroup::secp384r1,
        NamedGroup::secp256r1
    ])));
    assert!(!allowed(Some(&[NamedGroup::secp384r1])));
    let rsa = Leaf {
        key: pki::KeyKind::Rsa2048,
        ..client("r")
    };
    let rsa = pki::self_signed(&rsa).expect("a certificate");
    let of_rsa = verifier(Some(&[NamedGroup::secp384r1]));
    assert!(of_rsa.check_curve(&rsa.certificates()[0]).is_ok());
}
