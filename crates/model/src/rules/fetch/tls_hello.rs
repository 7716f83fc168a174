//! Implements the fetches of the unencrypted hello of a TLS client, parsed from the first bytes of
//! a TCP stream, so that rules can route TLS by server name without terminating it. Of a server's
//! hello, only the type is available.

use super::{FetchBuild, FetchRow, MessageSide, number, payload, side_of};
use crate::rules::argument::Arguments;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use std::borrow::Cow;
use tls::hello::{Cursor, Hello};

const fn list(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Bin, Needs::Request, one).of_hello()
}

const NAME: FetchBuild = FetchBuild::new(Type::Str, Needs::Request, |a, s| {
    client_hello(payload(a, s))?
        .server_name()
        .map(SampleValue::text)
})
.variants()
.of_hello();
const VERSION: FetchBuild = number(Needs::Request, version).versions().of_hello();
const HELLO: FetchBuild = number(Needs::Request, hello_type).of_hello();
const ANSWER: FetchBuild = number(Needs::Response, hello_type);

pub(super) static ROWS: &[FetchRow] = rows! {
    "req.ssl_hello_type", HELLO, "acl client_hello req.ssl_hello_type 1",
        "The type of the TLS handshake message at the beginning of the stream: 1 is a ClientHello. No value for other \
         protocols. Use it with `tcp-request inspect-delay`.";
    "req_ssl_hello_type", HELLO, "acl client_hello req_ssl_hello_type 1",
        "The older name of `req.ssl_hello_type`.";
    "req.ssl_sni", NAME, "acl shop req.ssl_sni -i shop.example.com",
        "The SNI of the ClientHello, for TLS that passes through. It takes the place of the Host header of encrypted \
         requests.";
    "req_ssl_sni", NAME, "acl shop req_ssl_sni -i shop.example.com",
        "The older name of `req.ssl_sni`.";
    "req.ssl_ver", VERSION, "acl old req.ssl_ver lt 3.1",
        "The version of the ClientHello, as 65536 times its major number plus the minor one. In ACLs it is written \
         `3.1`; TLS 1.2 and 1.3 both have 3.3.";
    "req_ssl_ver", VERSION, "acl old req_ssl_ver lt 3.1",
        "The older name of `req.ssl_ver`.";
    "req.ssl_alpn", FetchBuild::new(Type::Str, Needs::Request, protocol).of_hello(), "acl h2 req.ssl_alpn h2",
        "The first protocol that the ClientHello offers by ALPN: `h2`, `acme-tls/1`.";
    "req.ssl_cipherlist",
        FetchBuild::new(Type::Bin, Needs::Request, |a, s| Some(SampleValue::bytes(client_hello(payload(a, s))?.ciphers))).of_hello(),
        "acl offers req.ssl_cipherlist -m found",
        "The list of cipher suites in the ClientHello, two bytes each.";
    "req.ssl_st_ext", number(Needs::Request, ticket).of_hello(), "acl ticket req.ssl_st_ext 2",
        "The session ticket support of the ClientHello: 0 none, 1 it requests a ticket, 2 it sends one.";
    "req.ssl_ec_ext", FetchBuild::new(Type::Bool, Needs::Request, curves).of_hello(), "acl curves req.ssl_ec_ext",
        "True if the ClientHello supports elliptic curves.";
    "req.ssl_sigalgs",
        list(|a, s| listed(payload(a, s), 13)), "acl bot req.ssl_sigalgs,be2dec(-,2) -m beg 1027",
        "The signature schemes in the ClientHello, two bytes each.";
    "req.ssl_supported_groups",
        list(|a, s| listed(payload(a, s), 10)),
        "acl bot req.ssl_supported_groups,be2dec(-,2) -m beg 29-23",
        "The groups (elliptic curves) in the ClientHello, two bytes each.";
    "req.ssl_keyshare_groups", list(key_shares), "acl hybrid req.ssl_keyshare_groups,be2dec(-,2) -m beg 4588",
        "The groups of the key shares in the ClientHello, two bytes each.";
    "res.ssl_hello_type", ANSWER, "acl server_hello res.ssl_hello_type 2",
        "The type of the TLS handshake message at the beginning of the server's response: 2 is a ServerHello.";
    "rep_ssl_hello_type", ANSWER, "acl server_hello rep_ssl_hello_type 2",
        "The older name of `res.ssl_hello_type`.";
};

/// Type of a record with handshake messages.
const RECORD_HANDSHAKE: u8 = 0x16;
/// Handshake type of a client's hello.
const CLIENT_HELLO: u8 = 1;

/// Returns the type and the length of the first handshake message, and the part of it in the first
/// record.
fn handshake(bytes: &[u8]) -> Option<(u8, usize, Cursor<'_>)> {
    let mut cursor = Cursor(bytes);
    if cursor.take(1)? != [RECORD_HANDSHAKE] {
        return None;
    }
    let version = cursor.take(2)?;
    if version[0] != 3 {
        return None;
    }
    let length = cursor.number(2)?;
    let mut record = Cursor(cursor.0.get(..length).unwrap_or(cursor.0));
    let kind = *record.take(1)?.first()?;
    let length = record.number(3)?;
    Some((kind, length, record))
}

fn client_hello(bytes: &[u8]) -> Option<Hello<'_>> {
    let (kind, length, mut cursor) = handshake(bytes)?;
    if kind != CLIENT_HELLO {
        return None;
    }
    Hello::of_body(cursor.take(length)?)
}

/// Returns whether more bytes cannot change the parsed values: the hello is complete, or the bytes
/// are not a hello.
pub(in crate::rules) fn hello_is_whole(arguments: &Arguments, stream: &ProxyStream) -> bool {
    let bytes = payload(arguments, stream);
    match bytes.first() {
        Some(&RECORD_HANDSHAKE) => handshake(bytes)
            .is_some_and(|(kind, length, rest)| kind != CLIENT_HELLO || rest.0.len() >= length),
        Some(_) => true,
        None => false,
    }
}

fn hello_type<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let bytes = payload(arguments, stream);
    let (kind, length, rest) = handshake(bytes)?;
    // Accepts a truncated hello of a server, of which only the type is read. The hello of a client
    // must be complete.
    let whole = side_of(arguments, stream) == MessageSide::Response || rest.0.len() >= length;
    whole.then_some(SampleValue::Int(kind.into()))
}

fn version<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let (major, minor) = client_hello(payload(arguments, stream))?.version;
    Some(SampleValue::Int(
        (i64::from(major) << 16) + i64::from(minor),
    ))
}

fn protocol<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let hello = client_hello(payload(arguments, stream))?;
    hello.protocols().next().map(SampleValue::text)
}

fn ticket<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let hello = client_hello(payload(arguments, stream))?;
    Some(SampleValue::Int(match hello.extension(35) {
        None => 0,
        Some(Cursor([])) => 1,
        Some(_) => 2,
    }))
}

fn curves<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let hello = client_hello(payload(arguments, stream))?;
    // As in HAProxy, a hello without this extension has no value.
    hello.extension(10).map(|_| SampleValue::Bool(true))
}

fn listed<'a>(stream_bytes: &'a [u8], extension: u16) -> Sample<'a> {
    let list = client_hello(stream_bytes)?
        .extension(extension)?
        .counted(2)?;
    (!list.0.is_empty()).then_some(SampleValue::bytes(list.0))
}

fn key_shares<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let hello = client_hello(payload(arguments, stream))?;
    let mut shares = hello.extension(51)?.counted(2)?;
    let mut out = Vec::new();
    while let Some(group) = shares.take(2) {
        shares.counted(2)?;
        out.extend_from_slice(group);
    }
    (!out.is_empty()).then_some(SampleValue::Bin(Cow::Owned(out)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [
            &kind.to_be_bytes()[..],
            &(content.len() as u16).to_be_bytes(),
            content,
        ]
        .concat()
    }

    fn hello(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend([0, 4, 0x13, 0x01, 0xc0, 0x2f]);
        body.extend([1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend_from_slice(extensions);
        let mut record = vec![0x16, 3, 1];
        record.extend((body.len() as u16 + 4).to_be_bytes());
        record.extend([1, 0]);
        record.extend((body.len() as u16).to_be_bytes());
        record.extend(body);
        record
    }

    fn sni(name: &str) -> Vec<u8> {
        let entry = [
            &[0][..],
            &(name.len() as u16).to_be_bytes(),
            name.as_bytes(),
        ]
        .concat();
        extension(
            0,
            &[&(entry.len() as u16).to_be_bytes()[..], &entry].concat(),
        )
    }

    #[test]
    fn a_hello_tells_its_server_name_and_nothing_before_it_is_whole() {
        let bytes = hello(&[extension(10, &[0, 2, 0, 29]), sni("shop.example.com")].concat());
        let name =
            |bytes: &[u8]| client_hello(bytes).and_then(|h| h.server_name().map(<[u8]>::to_vec));
        assert_eq!(name(&bytes).as_deref(), Some(&b"shop.example.com"[..]));
        for cut in 0..bytes.len() {
            assert_eq!(name(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(name(&hello(&extension(10, &[]))), None);
    }

    #[test]
    fn versions_ciphers_and_extensions_are_found() {
        let bytes = hello(&extension(35, &[1]));
        let found = client_hello(&bytes).unwrap();
        assert_eq!(found.version, (3, 3));
        assert_eq!(found.ciphers, [0x13, 0x01, 0xc0, 0x2f]);
        assert_eq!(found.extension(35).map(|c| c.0), Some(&[1][..]));
        assert!(found.extension(10).is_none());
    }

    #[test]
    fn other_protocols_are_no_hello() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"SSH-2.0-x\r\n",
            b"",
            b"\x16",
            b"\x16\x02\x00\x00\x05\x01",
        ] {
            assert!(handshake(bytes).is_none(), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), cut in 0_usize..120) {
            let _ = client_hello(&bytes).map(|hello| hello.server_name().map(<[u8]>::len));
            let mut broken = hello(&sni("a.example"));
            let at = cut.min(broken.len() - 1);
            broken[at] = bytes.first().copied().unwrap_or(0);
            let _ = client_hello(&broken).map(|hello| (hello.server_name().map(<[u8]>::len), hello.extension(16).is_some()));
        }
    }
}
