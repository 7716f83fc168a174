//! Implements the fetches of a client's offer in the hello of TLS that is terminated here, used to
//! distinguish kinds of clients (JA3). They have values only if `tune.ssl.capture-buffer-size`
//! reserves room for them.

use super::tls::client;
use super::{FetchBuild, FetchRow, int};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use std::borrow::Cow;
use tls::{ClientHelloOffer, cipher_name};

const fn of_offer(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::Nothing, one)
}

const fn list(output: Type, one: super::One) -> FetchBuild {
    of_offer(output, one).takes(&[ArgumentKind::Int], 0)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "ssl_fc_protocol_hello_id",
        of_offer(Type::Int, |_, s| int(offer(s)?.version)),
        "acl old ssl_fc_protocol_hello_id lt 771",
        "The version in the ClientHello: 769 is TLS 1.0, 771 is TLS 1.2 and also the value of TLS 1.3 clients. Needs \
         `tune.ssl.capture-buffer-size`.";
    "ssl_fc_cipherlist_bin[(<filter>)]",
        list(Type::Bin, |a, s| bytes(filtered(a, &offer(s)?.ciphers))),
        "acl bot ssl_fc_cipherlist_bin(1),be2dec(-,2) -m beg 4865-4866",
        "The cipher suites that the client offered, two bytes each. A filter of 1 removes GREASE values. Needs \
         `tune.ssl.capture-buffer-size`.";
    "ssl_fc_cipherlist_hex[(<filter>)]", list(Type::Str, cipher_hex), "acl bot ssl_fc_cipherlist_hex(1) -m beg 13011302",
        "The same in hexadecimal digits.";
    "ssl_fc_cipherlist_str[(<filter>)]", list(Type::Str, cipher_names), "acl old ssl_fc_cipherlist_str -m sub DES-CBC3-SHA",
        "The same with OpenSSL's names, separated by commas. Unnamed suites are written as `UNKNOWN(9a9a)`.";
    "ssl_fc_cipherlist_xxh", of_offer(Type::Int, cipher_hash), "acl bot ssl_fc_cipherlist_xxh 5763151207011539301",
        "A hash (XXH64) of all cipher suites that the client offered, including those that did not fit into the \
         buffer.";
    "ssl_fc_extlist_bin[(<filter>)]",
        list(Type::Bin, |a, s| bytes(filtered(a, &offer(s)?.extensions))),
        "acl bot ssl_fc_extlist_bin(1),be2dec(-,2) -m beg 0-11-10",
        "The numbers of the extensions in the ClientHello, two bytes each and in order. A filter of 1 removes GREASE \
         values. Needs `tune.ssl.capture-buffer-size`.";
    "ssl_fc_eclist_bin[(<filter>)]",
        list(Type::Bin, |a, s| bytes(filtered(a, &offer(s)?.groups))),
        "acl bot ssl_fc_eclist_bin(1),be2dec(-,2) -m beg 29-23",
        "The groups (elliptic curves) that the client offered, two bytes each. A filter of 1 removes GREASE values. \
         Needs `tune.ssl.capture-buffer-size`.";
    "ssl_fc_ecformats_bin",
        of_offer(Type::Bin, |_, s| bytes(Cow::Borrowed(&offer(s)?.point_formats))),
        "acl bot ssl_fc_ecformats_bin,be2dec(-,1) 0",
        "The elliptic curve point formats that the client offered, one byte each. Needs \
         `tune.ssl.capture-buffer-size`.";
    "ssl_fc_supported_versions_bin[(<filter>)]",
        list(Type::Bin, |a, s| bytes(filtered(a, &offer(s)?.versions))),
        "acl newest ssl_fc_supported_versions_bin(1),be2dec(-,2) -m beg 772",
        "The TLS versions that the client offered in the extension of TLS 1.3, two bytes each. A filter of 1 removes \
         GREASE values. Needs `tune.ssl.capture-buffer-size`.";
    "ssl_fc_sigalgs_bin[(<filter>)]",
        list(Type::Bin, |a, s| bytes(filtered(a, &offer(s)?.signature_schemes))),
        "acl bot ssl_fc_sigalgs_bin(1),be2dec(-,2) -m beg 1027",
        "The signature schemes that the client offered, two bytes each. A filter of 1 removes GREASE values. Needs \
         `tune.ssl.capture-buffer-size`.";
};

fn offer(stream: &ProxyStream) -> Option<&ClientHelloOffer> {
    client(stream)?.offer.as_deref()
}

/// Returns whether a number is reserved for GREASE (RFC 8701): 0a0a, 1a1a, … fafa. Clients put such
/// numbers into their lists so that servers learn to ignore unknown ones.
fn is_grease(number: [u8; 2]) -> bool {
    number[0] == number[1] && number[0] & 0x0f == 0x0a
}

/// Filters a list of two-byte numbers as the argument requests. An incomplete number at its end,
/// where the capture buffer was full, is kept.
fn filtered<'a>(arguments: &Arguments, list: &'a [u8]) -> Cow<'a, [u8]> {
    if arguments.int(0) != Some(1) {
        return Cow::Borrowed(list);
    }
    let keep = |pair: &&[u8]| <[u8; 2]>::try_from(*pair).map_or(true, |n| !is_grease(n));
    let kept = list.chunks(2).filter(keep);
    Cow::Owned(kept.flatten().copied().collect())
}

fn bytes(list: Cow<'_, [u8]>) -> Sample<'_> {
    (!list.is_empty()).then_some(SampleValue::Bin(list))
}

fn cipher_hex<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let list = filtered(arguments, &offer(stream)?.ciphers);
    let text = tls::describe::hex(&list, true);
    (!text.is_empty()).then(|| SampleValue::Str(Cow::Owned(text.into_bytes())))
}

fn cipher_names<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let list = filtered(arguments, &offer(stream)?.ciphers);
    let mut text = String::new();
    for pair in list.chunks_exact(2) {
        if !text.is_empty() {
            text.push(',');
        }
        let number = u16::from_be_bytes([pair[0], pair[1]]);
        match cipher_name(number) {
            Some(name) => text.push_str(name),
            None => text.push_str(&format!("UNKNOWN({number:04x})")),
        }
    }
    (!text.is_empty()).then(|| SampleValue::Str(Cow::Owned(text.into_bytes())))
}

fn cipher_hash<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    // As in HAProxy, the value is signed with the same bits.
    Some(SampleValue::Int(offer(stream)?.ciphers_hash.cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::super::tls::tests::{all_give, info, stream};
    use super::*;
    use tls::Info;

    #[test]
    fn what_the_client_offered_is_told_with_and_without_grease() {
        let ciphers = [0x9a, 0x9a, 0x13, 0x01, 0xc0, 0x2f, 0, 0xff];
        let offer = ClientHelloOffer {
            version: 771,
            ciphers: ciphers.into(),
            ciphers_hash: twox_hash::XxHash64::oneshot(0, &ciphers),
            extensions: [0xea, 0xea, 0, 0x0d].into(),
            groups: [0x2a, 0x2a, 0, 29].into(),
            point_formats: [0].into(),
            versions: [0xda, 0xda, 3, 4, 3, 3].into(),
            signature_schemes: [4, 3].into(),
        };
        let front = Info {
            offer: Some(Box::new(offer)),
            ..info()
        };
        let names =
            "TLS_AES_128_GCM_SHA256,ECDHE-RSA-AES128-GCM-SHA256,TLS_EMPTY_RENEGOTIATION_INFO_SCSV";
        let all_names = format!("UNKNOWN(9a9a),{names}");
        all_give(
            &stream(Some(front), None),
            &[
                ("ssl_fc_protocol_hello_id", Some("771")),
                ("ssl_fc_cipherlist_bin,hex", Some("9A9A1301C02F00FF")),
                ("ssl_fc_cipherlist_bin(0),hex", Some("9A9A1301C02F00FF")),
                ("ssl_fc_cipherlist_bin(1),hex", Some("1301C02F00FF")),
                ("ssl_fc_cipherlist_hex(1)", Some("1301C02F00FF")),
                ("ssl_fc_cipherlist_str", Some(&all_names)),
                ("ssl_fc_cipherlist_str(1)", Some(names)),
                ("ssl_fc_extlist_bin(1),hex", Some("000D")),
                ("ssl_fc_eclist_bin(1),hex", Some("001D")),
                ("ssl_fc_eclist_bin,be2dec(-,2)", Some("10794-29")),
                ("ssl_fc_ecformats_bin,hex", Some("00")),
                ("ssl_fc_supported_versions_bin(1),hex", Some("03040303")),
                ("ssl_fc_sigalgs_bin,hex", Some("0403")),
            ],
        );
    }

    #[test]
    fn the_hash_of_all_ciphers_is_haproxys() {
        let ciphers = crate::rules::argument::unhex(
            b"C02CC030009FCCA9CCA8CCAAC02BC02F009EC024C028006BC023C0270067C00AC0140039C009C0130033\
              009D009C003D003C0035002F00FF",
        )
        .unwrap();
        let offer = ClientHelloOffer {
            ciphers_hash: twox_hash::XxHash64::oneshot(0, &ciphers),
            ..ClientHelloOffer::default()
        };
        let front = Info {
            offer: Some(Box::new(offer)),
            ..info()
        };
        all_give(
            &stream(Some(front), None),
            &[
                ("ssl_fc_cipherlist_xxh", Some("5763151207011539301")),
                ("ssl_fc_cipherlist_bin", None),
                ("ssl_fc_cipherlist_str", None),
                ("ssl_fc_ecformats_bin", None),
            ],
        );
        all_give(
            &stream(Some(info()), None),
            &[
                ("ssl_fc_cipherlist_xxh", None),
                ("ssl_fc_protocol_hello_id", None),
            ],
        );
    }
}
