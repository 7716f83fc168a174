//! Tests cipher lists. The expected orders are those of `openssl ciphers`.

use super::*;

fn kept(text: &str) -> Vec<&'static str> {
    let made = ciphers(text);
    made.supported.into_iter().map(openssl_name).collect()
}

const EC256: &str = "ECDHE-ECDSA-AES256-GCM-SHA384";
const RSA256: &str = "ECDHE-RSA-AES256-GCM-SHA384";
const EC_CHACHA: &str = "ECDHE-ECDSA-CHACHA20-POLY1305";
const RSA_CHACHA: &str = "ECDHE-RSA-CHACHA20-POLY1305";
const EC128: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";
const RSA128: &str = "ECDHE-RSA-AES128-GCM-SHA256";

#[test]
fn names_keep_the_order_of_the_list() {
    assert_eq!(kept("ECDHE-RSA-AES128-GCM-SHA256"), [RSA128]);
    assert_eq!(
        kept("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"),
        [RSA128, EC256]
    );
}

#[test]
fn keywords_name_groups_and_plus_combines_them() {
    let all = [EC256, RSA256, EC_CHACHA, RSA_CHACHA, EC128, RSA128];
    assert_eq!(kept("ALL"), all);
    assert_eq!(kept("HIGH:!aNULL:!MD5"), all);
    assert_eq!(kept("DEFAULT"), all);
    assert_eq!(kept("EECDH+aRSA+AESGCM"), [RSA256, RSA128]);
    assert_eq!(
        kept("ECDHE+CHACHA20:ECDHE+AES128"),
        [EC_CHACHA, RSA_CHACHA, EC128, RSA128]
    );
    assert_eq!(kept("AES256+aECDSA"), [EC256]);
}

#[test]
fn operators_strike_out_remove_and_put_last() {
    assert_eq!(
        kept("ALL:!AES256:ALL"),
        [EC_CHACHA, RSA_CHACHA, EC128, RSA128]
    );
    assert_eq!(
        kept("ALL:-AES256:AES256"),
        [EC_CHACHA, RSA_CHACHA, EC128, RSA128, EC256, RSA256]
    );
    assert_eq!(
        kept("ALL:+ECDSA"),
        [RSA256, RSA_CHACHA, RSA128, EC256, EC_CHACHA, EC128]
    );
    assert_eq!(
        kept("AES128:AES256:@STRENGTH"),
        [EC256, RSA256, EC128, RSA128]
    );
    assert_eq!(kept("ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=1"), [RSA128]);
    assert_eq!(kept("AESGCM:@SECLEVEL=5"), [EC256, RSA256]);
}

#[test]
fn retired_names_differ_from_unknown_ones() {
    let made =
        ciphers("DHE-RSA-AES128-GCM-SHA256:RC4-SHA:3DES:FOO:ECDHE-RSA-AES128-GCM-SHA256:!DSS");
    let words = |list: &[Box<str>]| list.iter().map(|w| w.to_string()).collect::<Vec<_>>();
    assert_eq!(
        words(&made.lacking),
        ["DHE-RSA-AES128-GCM-SHA256", "RC4-SHA", "3DES"]
    );
    assert_eq!(words(&made.unknown), ["FOO"]);
    assert_eq!(made.supported.len(), 1);
    assert!(ciphers("kRSA:AES128-SHA:FOO").supported.is_empty());
}

#[test]
fn suites_of_tls_1_3_are_plain_names() {
    let made = ciphersuites(
        "TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_FOO:TLS_AES_256_GCM_SHA384",
    );
    assert_eq!(
        made.supported,
        [
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_AES_256_GCM_SHA384
        ]
    );
    assert_eq!((made.lacking.len(), made.unknown.len()), (1, 1));
}

#[test]
fn lists_of_the_mozilla_generator_report_supported_suites() {
    let intermediate = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
         ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
         DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305";
    assert_eq!(
        kept(intermediate),
        [EC128, RSA128, EC256, RSA256, EC_CHACHA, RSA_CHACHA]
    );
    assert_eq!(ciphers(intermediate).lacking.len(), 3);
    assert!(ciphers(intermediate).unknown.is_empty());
}
