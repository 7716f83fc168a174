//! Implements the fetches of the fields in a client's PROXY header of version 2, besides addresses.
//! A field is kept only if the configuration reads its type.

use super::{FetchBuild, FetchRow};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use protocol::proxy_protocol::{kind, ssl_kind};

const fn text(one: super::One, prepare: super::Prepare) -> FetchBuild {
    FetchBuild::new(Type::Str, Needs::Nothing, one).prepare(prepare)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "fc_pp_authority",
        text(|_, s| Some(SampleValue::text(s.session.proxy_field(kind::AUTHORITY)?)), ask_authority),
        "acl shop fc_pp_authority shop.example.com",
        "The host name that the client requested, from the PROXY header.";
    "fc_pp_unique_id",
        text(|_, s| Some(SampleValue::text(s.session.proxy_field(kind::UNIQUE_ID)?)), ask_unique_id),
        "acl named fc_pp_unique_id -m found",
        "The unique id of the connection from the proxy in front, from the PROXY header.";
    "fc_pp_tlv(<type>)", text(field, check_type).takes(&[ArgumentKind::Text], 1), "acl shop fc_pp_tlv(AUTHORITY) shop.example.com",
        "A field of the client's PROXY header by its type: a number from 0 to 255, also as `0xEA`, or `ALPN`, \
         `AUTHORITY`, `UNIQUE_ID`, `NETNS`, `SSL`, and inside that `SSL_VERSION`, `SSL_CN`, `SSL_CIPHER`, \
         `SSL_SIG_ALG`, `SSL_KEY_ALG`. Of several the last one. Checksum and padding are not available.";
};

/// Field types that have names.
const NAMES: [(&str, u8); 12] = [
    ("ALPN", kind::ALPN),
    ("AUTHORITY", kind::AUTHORITY),
    ("CRC32C", kind::CRC32C),
    ("NOOP", kind::NOOP),
    ("UNIQUE_ID", kind::UNIQUE_ID),
    ("NETNS", kind::NETNS),
    ("SSL", kind::SSL),
    ("SSL_VERSION", ssl_kind::VERSION),
    ("SSL_CN", ssl_kind::COMMON_NAME),
    ("SSL_CIPHER", ssl_kind::CIPHER),
    ("SSL_SIG_ALG", ssl_kind::SIGNATURE_ALGORITHM),
    ("SSL_KEY_ALG", ssl_kind::KEY_ALGORITHM),
];

fn is_of_tls(kind: u8) -> bool {
    (ssl_kind::VERSION..=ssl_kind::KEY_ALGORITHM).contains(&kind)
}

fn ask(loader: &mut ConfigDraft, kind: u8) {
    let kind = if is_of_tls(kind) { kind::SSL } else { kind };
    let asked = &mut loader.config.global.recording.proxy_fields;
    if !asked.contains(&kind) {
        asked.push(kind);
    }
}

fn ask_authority(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    ask(loader, kind::AUTHORITY);
    Ok(())
}

fn ask_unique_id(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    ask(loader, kind::UNIQUE_ID);
    Ok(())
}

/// Parses a field type: decimal, or hexadecimal with `0x`.
pub fn number(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok()?;
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u8::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

fn check_type(loader: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let text = arguments.text(0).unwrap_or_default();
    let named = NAMES.iter().find(|(name, _)| name.as_bytes() == text);
    let Some(kind) = named.map(|(_, kind)| *kind).or_else(|| number(text)) else {
        let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        let message = format!("a number from 0 to 255 or {}", names.join(", "));
        return Err(bad_argument(span, message));
    };
    ask(loader, kind);
    arguments.list[0] = Some(Argument::Int(kind.into()));
    Ok(())
}

fn field<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let kind = u8::try_from(arguments.int(0)?).ok()?;
    if !is_of_tls(kind) {
        return Some(SampleValue::text(stream.session.proxy_field(kind)?));
    }
    let inner = stream.session.proxy_tls()?;
    let found = inner.iter().filter(|field| field.kind == kind).last()?;
    Some(SampleValue::text(found.value))
}
