//! Implements the fetches of TLS sessions: the parameters that the client's and the server's
//! connection negotiated. Certificates are in `tls_certificate`, the client's offer in `tls_offer`,
//! keys and random bytes in `tls_secret`.

use super::{FetchBuild, FetchRow, boolean, int, string};
use crate::rules::argument::Arguments;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use tls::Info;

const fn front(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::Nothing, one)
}

const fn back(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::Server, one)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "ssl_fc",
        front(Type::Bool, |_, s| boolean(client(s).is_some())), "acl encrypted ssl_fc",
        "True if the client's connection uses TLS, on a listener with `ssl`.";
    "ssl_fc_protocol", front(Type::Str, |_, s| protocol(client(s))), "acl newest ssl_fc_protocol TLSv1.3",
        "The TLS version of the client's connection: `TLSv1.2` or `TLSv1.3`.";
    "ssl_fc_cipher", front(Type::Str, |_, s| cipher(client(s))), "acl chacha ssl_fc_cipher -m sub CHACHA20",
        "The cipher suite of the client's connection, by OpenSSL's name: `ECDHE-RSA-AES128-GCM-SHA256`, \
         `TLS_AES_256_GCM_SHA384`.";
    "ssl_fc_alg_keysize", front(Type::Int, |_, s| key_size(client(s))), "acl strong ssl_fc_alg_keysize ge 256",
        "The key size of the cipher on the client's connection, in bits.";
    "ssl_fc_use_keysize", front(Type::Int, |_, s| key_size(client(s))), "acl strong ssl_fc_use_keysize ge 256",
        "The effective key size on the client's connection, in bits. With current ciphers it equals the key size of \
         the cipher.";
    "ssl_fc_curve", front(Type::Str, |_, s| group(client(s))), "acl hybrid ssl_fc_curve X25519MLKEM768",
        "The group (elliptic curve) of the key exchange with the client, by IANA's name: `x25519`, `secp256r1`, \
         `X25519MLKEM768`.";
    "ssl_fc_early_rcvd", front(Type::Bool, |_, s| boolean(client(s)?.early_data)), "acl early ssl_fc_early_rcvd",
        "True if the client sent early data, even after the handshake. See `allow-0rtt`.";
    "ssl_fc_alpn", front(Type::Str, |_, s| alpn(client(s))), "acl h2 ssl_fc_alpn h2",
        "The protocol negotiated with the client by ALPN (`alpn` on the `bind` line): `h2`, `http/1.1`. No value \
         without negotiation.";
    "ssl_fc_npn", front(Type::Str, npn), "acl old ssl_fc_npn -m found",
        "The protocol of the obsolete NPN extension, which is not supported: never has a value.";
    "ssl_fc_sni", front(Type::Str, sni).variants(), "acl shop ssl_fc_sni -i shop.example.com",
        "The SNI of the client's handshake. It selects the certificate; the Host header selects the site.";
    "ssl_fc_has_sni", front(Type::Bool, has_sni), "acl named ssl_fc_has_sni",
        "True if the client sent an SNI.";
    "ssl_fc_has_crt", front(Type::Bool, has_certificate), "acl certified ssl_fc_has_crt",
        "True if the client sent a certificate on this connection. A resumed session has none: see `ssl_c_used`.";
    "ssl_fc_is_resumed", front(Type::Bool, |_, s| resumed(client(s))), "acl again ssl_fc_is_resumed",
        "True if the client's session was resumed with a short handshake.";
    "ssl_fc_has_early",
        front(Type::Bool, |_, s| boolean(client(s)?.early_data)),
        "acl replayed ssl_fc_has_early",
        "True if the request arrived as early data, before the end of the handshake, and could be a replay. See \
         `allow-0rtt`.";
    "ssl_fc_err", front(Type::Int, |_, s| error(client(s))), "acl broken ssl_fc_err gt 0",
        "The OpenSSL number of the error that ended the client's handshake, for `error-log-format`; otherwise 0, \
         because a stream only exists after a successful handshake.";
    "ssl_fc_err_str", front(Type::Str, |_, s| error_text(client(s))), "acl broken ssl_fc_err_str -m found",
        "The OpenSSL text of the error that ended the client's handshake, for `error-log-format`. No value without an \
         error.";
    "ssl_bc",
        back(Type::Bool, |_, s| boolean(server(s).is_some())), "acl inner_tls ssl_bc",
        "True if the server connection uses TLS.";
    "ssl_bc_protocol", back(Type::Str, |_, s| protocol(server(s))), "acl old_server ssl_bc_protocol TLSv1.2",
        "The TLS version of the server connection: `TLSv1.2` or `TLSv1.3`.";
    "ssl_bc_cipher", back(Type::Str, |_, s| cipher(server(s))), "acl chacha ssl_bc_cipher -m sub CHACHA20",
        "The cipher suite of the server connection, by OpenSSL's name.";
    "ssl_bc_alg_keysize", back(Type::Int, |_, s| key_size(server(s))), "acl strong ssl_bc_alg_keysize ge 256",
        "The key size of the cipher on the server connection, in bits.";
    "ssl_bc_use_keysize", back(Type::Int, |_, s| key_size(server(s))), "acl strong ssl_bc_use_keysize ge 256",
        "The effective key size on the server connection, in bits.";
    "ssl_bc_curve", back(Type::Str, |_, s| group(server(s))), "acl example ssl_bc_curve X25519MLKEM768",
        "The group (elliptic curve) of the key exchange with the server, by IANA's name.";
    "ssl_bc_sni", back(Type::Str, |_, s| string(server(s)?.sni.as_deref()?)), "acl example ssl_bc_sni app.example.com",
        "The SNI sent to the server, from `sni` on its line. No value without it.";
    "ssl_bc_alpn", back(Type::Str, |_, s| alpn(server(s))), "acl inner_h2 ssl_bc_alpn h2",
        "The protocol negotiated with the server by ALPN (`alpn` on the `server` line).";
    "ssl_bc_npn", back(Type::Str, npn), "acl old ssl_bc_npn -m found",
        "The protocol of the obsolete NPN extension, which is not supported: never has a value.";
    "ssl_bc_is_resumed", back(Type::Bool, |_, s| resumed(server(s))), "acl again ssl_bc_is_resumed",
        "True if the session with the server was resumed with a short handshake.";
    "ssl_bc_err", back(Type::Int, |_, s| error(server(s))), "acl broken ssl_bc_err gt 0",
        "The number of the last TLS error of the server connection; 0 without one.";
    "ssl_bc_err_str", back(Type::Str, |_, s| error_text(server(s))), "acl broken ssl_bc_err_str -m found",
        "The text of the last TLS error of the server connection. No value without one.";
};

pub(super) fn client(stream: &ProxyStream) -> Option<&Info> {
    stream.session.tls.as_deref()
}

pub(super) fn server(stream: &ProxyStream) -> Option<&Info> {
    stream.links.server_tls.as_deref()
}

fn protocol(info: Option<&Info>) -> Sample<'_> {
    string(info?.version_name())
}

fn cipher(info: Option<&Info>) -> Sample<'_> {
    string(info?.suite_name())
}

fn key_size(info: Option<&Info>) -> Sample<'_> {
    int(info?.key_bits())
}

fn group(info: Option<&Info>) -> Sample<'_> {
    string(info?.group_name()?)
}

fn alpn(info: Option<&Info>) -> Sample<'_> {
    info?.alpn.as_deref().map(SampleValue::text)
}

fn npn<'a>(_: &Arguments, _: &'a ProxyStream) -> Sample<'a> {
    None
}

fn sni<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let name = client(stream)?.sni.as_deref()?;
    string(name)
}

fn has_sni<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let named = client(stream).is_some_and(|info| info.sni.is_some());
    boolean(named)
}

fn has_certificate<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let info = client(stream)?;
    let shown = info.peer_certificate().is_some() && !info.resumed;
    boolean(shown)
}

/// Returns whether the session was resumed; false also without TLS, as in HAProxy.
fn resumed(info: Option<&Info>) -> Sample<'_> {
    boolean(info.is_some_and(|info| info.resumed))
}

/// Returns the TLS error of the connection. A connection whose TLS fails is closed, so no rule sees
/// it any more; its log format does.
fn error(info: Option<&Info>) -> Sample<'_> {
    let broken = info?.broken.unwrap_or_default();
    int(broken.library())
}

fn error_text(info: Option<&Info>) -> Sample<'_> {
    let text = info?.broken?.library_words()?;
    Some(SampleValue::Str(text.into_bytes().into()))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::transaction::sample;
    use rustls::{CipherSuite, ProtocolVersion};
    use std::rc::Rc;

    /// Creates TLS 1.2 state with only a protocol version and a cipher suite.
    pub(in crate::rules::fetch) fn info() -> Info {
        Info::new(
            ProtocolVersion::TLSv1_2,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        )
    }

    pub(in crate::rules::fetch) fn stream(front: Option<Info>, back: Option<Info>) -> ProxyStream {
        let mut stream = sample::request(b"GET / HTTP/1.1\r\n\r\n");
        Rc::get_mut(&mut stream.session).unwrap().tls = front.map(Rc::new);
        stream.links.server_tls = back.map(Rc::new);
        stream
    }

    /// Checks the values of fetches; None expects no value.
    pub(in crate::rules::fetch) fn all_give(stream: &ProxyStream, table: &[(&str, Option<&str>)]) {
        for (fetch, wanted) in table {
            let found = sample::evaluate(fetch, stream);
            assert_eq!(found.as_deref(), *wanted, "{fetch}");
        }
    }

    #[test]
    fn a_connection_without_tls_has_what_haproxy_says_of_it() {
        all_give(
            &stream(None, None),
            &[
                ("ssl_fc", Some("0")),
                ("ssl_bc", Some("0")),
                ("ssl_fc_has_sni", Some("0")),
                ("ssl_fc_is_resumed", Some("0")),
                ("ssl_fc_has_crt", None),
                ("ssl_fc_has_early", None),
                ("ssl_fc_protocol", None),
                ("ssl_fc_cipher", None),
                ("ssl_fc_err", None),
                ("ssl_c_used", None),
                ("ssl_c_verify", None),
                ("ssl_f_version", None),
                ("ssl_fc_alg_keysize", None),
            ],
        );
    }

    #[test]
    fn failed_handshakes_tell_their_error_to_logs() {
        use tls::handshake::{ClientHelloAlert, Failure};
        let failure = Failure::Refused(ClientHelloAlert::UNRECOGNIZED_NAME);
        let front = Info::failed(&failure, ProtocolVersion::TLSv1_3);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
        let failure = Failure::Tls(alert, tls::verify::Verified::default(), None);
        let back = Info::failed_with_server(&failure);
        all_give(
            &stream(Some(front), Some(back)),
            &[
                ("fc_err", Some("34")),
                ("fc_err_str", Some("SSL handshake failure")),
                ("ssl_fc_err,hex", Some("000000000A0000EA")),
                (
                    "ssl_fc_err_str",
                    Some("error:0A0000EA:SSL routines::callback failed"),
                ),
                ("ssl_fc_protocol", Some("TLSv1.3")),
                ("ssl_fc_cipher", Some("(NONE)")),
                ("bc_err", Some("34")),
                ("bc_err_str", Some("SSL handshake failure")),
                (
                    "ssl_bc_err_str",
                    Some("error:0A000418:SSL routines::tlsv1 alert unknown ca"),
                ),
            ],
        );
    }

    #[test]
    fn both_sides_tell_what_was_agreed_on() {
        let front = Info {
            sni: Some("www.example.com".into()),
            alpn: Some(b"h2".as_slice().into()),
            early_data: true,
            ..info()
        };
        let back = Info {
            resumed: true,
            ..Info::new(
                ProtocolVersion::TLSv1_3,
                CipherSuite::TLS13_AES_256_GCM_SHA384,
            )
        };
        all_give(
            &stream(Some(front), Some(back)),
            &[
                ("ssl_fc", Some("1")),
                ("ssl_fc_protocol", Some("TLSv1.2")),
                ("ssl_fc_cipher", Some("ECDHE-RSA-AES128-GCM-SHA256")),
                ("ssl_fc_alg_keysize", Some("128")),
                ("ssl_fc_use_keysize", Some("128")),
                ("ssl_fc_alpn", Some("h2")),
                ("ssl_fc_npn", None),
                ("ssl_fc_sni", Some("www.example.com")),
                ("ssl_fc_has_sni", Some("1")),
                ("ssl_fc_has_crt", Some("0")),
                ("ssl_fc_is_resumed", Some("0")),
                ("ssl_fc_has_early", Some("1")),
                ("ssl_fc_err", Some("0")),
                ("ssl_fc_err_str", None),
                ("ssl_bc", Some("1")),
                ("ssl_bc_protocol", Some("TLSv1.3")),
                ("ssl_bc_cipher", Some("TLS_AES_256_GCM_SHA384")),
                ("ssl_bc_alg_keysize", Some("256")),
                ("ssl_bc_alpn", None),
                ("ssl_bc_is_resumed", Some("1")),
                ("ssl_bc_err", Some("0")),
            ],
        );
    }
}
