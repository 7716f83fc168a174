//! Builds the PROXY header at the beginning of a server connection: the addresses of the stream's
//! client and, in version 2, details of the client's TLS.

use model::config::{ProxyExtensions, Server};
use model::transaction::{Endpoint, ProxyStream};
use protocol::proxy_protocol::{
    Checksum, Endpoints, Header, MAX_UNIQUE_ID_BYTES, Proxied, ProxiedTransport as Layer4,
    SslFields, TlvError, Tlvs, kind,
};
use std::borrow::Cow;
use tls::{CertificateFields, Info, describe};

pub(super) fn of(stream: &ProxyStream, server: &Server, version: u8) -> Vec<u8> {
    let endpoints = match (stream.source(), stream.destination()) {
        (Endpoint::Inet(source), Endpoint::Inet(destination)) => {
            Endpoints::between(Layer4::Stream, source, destination)
        }
        _ => Endpoints::Unknown,
    };
    let mut bytes = Vec::new();
    if version == 1 {
        let tlvs = Tlvs::default();
        Header::Proxied(Proxied { endpoints, tlvs }).encode_text(&mut bytes);
        return bytes;
    }
    let wanted = server.options.proxy_extensions;
    let checksum = if wanted.checksum {
        Checksum::Crc32c
    } else {
        Checksum::None
    };
    let mut tlvs = extensions(stream, wanted);
    for field in &server.options.proxy_fields {
        let mut value = Vec::new();
        if let Some(format) = &field.format {
            format.append(stream, &mut value);
        }
        let _left_out = tlvs.push(field.kind, &value);
    }
    Header::Proxied(Proxied { endpoints, tlvs }).encode_binary(checksum, &mut bytes);
    bytes
}

/// Builds the extensions (TLVs). An extension that does not fit is left out, because otherwise a
/// client could make its stream fail by a long name.
fn extensions(stream: &ProxyStream, wanted: ProxyExtensions) -> Tlvs {
    let mut tlvs = Tlvs::default();
    let info = stream.session.tls.as_deref();
    let alpn = info.and_then(|info| info.alpn.as_deref());
    let sni = info.and_then(|info| info.sni.as_deref());
    if let Some(alpn) = alpn {
        let _left_out = tlvs.push(kind::ALPN, alpn);
    }
    if let Some(name) = sni.filter(|_| wanted.authority) {
        let _left_out = tlvs.push(kind::AUTHORITY, name.as_bytes());
    }
    if wanted.unique_id {
        let id = stream.unique_id().unwrap_or_default();
        let _left_out = tlvs.push(kind::UNIQUE_ID, &id[..id.len().min(MAX_UNIQUE_ID_BYTES)]);
    }
    if wanted.tls {
        let _left_out = push_tls(&mut tlvs, info, wanted);
    }
    tlvs
}

fn push_tls(tlvs: &mut Tlvs, info: Option<&Info>, wanted: ProxyExtensions) -> Result<(), TlvError> {
    let Some(info) = info else {
        return tlvs.push_ssl(&SslFields::default());
    };
    let peer = info.peer_certificate();
    let own = info.shown_certificate();
    let client = peer
        .filter(|_| wanted.common_name)
        .and_then(CertificateFields::parse);
    let shown = own
        .filter(|_| wanted.signature)
        .and_then(CertificateFields::parse);
    let signature: Option<Cow<'static, str>> = shown.and_then(|own| own.signature_algorithm());
    let key = own.filter(|_| wanted.key).and_then(describe::key);
    tlvs.push_ssl(&SslFields {
        used: true,
        certificate_on_connection: peer.is_some() && !info.resumed,
        certificate_in_session: peer.is_some(),
        verify_result: info.verified.verify_code().into(),
        version: Some(info.version_name().as_bytes()),
        common_name: client.and_then(|client| client.subject.entry(b"CN", 1)),
        cipher: wanted.cipher.then(|| info.suite_name().as_bytes()),
        signature_algorithm: signature.as_deref().map(str::as_bytes),
        key_algorithm: key.as_deref().map(str::as_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::transaction::sample;
    use rustls::{CipherSuite, ProtocolVersion};
    use std::rc::Rc;

    const ALL: ProxyExtensions = ProxyExtensions {
        checksum: false,
        authority: true,
        unique_id: true,
        tls: true,
        common_name: true,
        cipher: true,
        signature: true,
        key: true,
    };

    fn told(info: Option<Info>, wanted: ProxyExtensions) -> Tlvs {
        let mut stream = sample::request(b"GET / HTTP/1.1\r\n\r\n");
        if let Some(session) = Rc::get_mut(&mut stream.session) {
            session.tls = info.map(Rc::new);
        }
        extensions(&stream, wanted)
    }

    #[test]
    fn proxy_header_has_the_requested_tls_data() {
        let info = Info {
            sni: Some("www.example.com".into()),
            alpn: Some(b"h2".as_slice().into()),
            ..Info::new(
                ProtocolVersion::TLSv1_3,
                CipherSuite::TLS13_AES_128_GCM_SHA256,
            )
        };
        let tlvs = told(Some(info.clone()), ALL);
        let kinds: Vec<u8> = tlvs.iter().map(|tlv| tlv.kind).collect();
        assert_eq!(kinds, [1, 2, 5, 0x20]);
        assert_eq!(tlvs.authority(), Some(&b"www.example.com"[..]));
        let ssl = tlvs.ssl().unwrap();
        assert!(ssl.is_used() && !ssl.certificate_in_session());
        assert_eq!(ssl.version(), Some(&b"TLSv1.3"[..]));
        assert_eq!(ssl.cipher(), Some(&b"TLS_AES_128_GCM_SHA256"[..]));
        let plain = told(Some(info), ProxyExtensions::default());
        let kinds: Vec<u8> = plain.iter().map(|tlv| tlv.kind).collect();
        assert_eq!(kinds, [1], "ALPN is always told");
    }

    #[test]
    fn proxy_header_without_client_tls_reports_only_that() {
        let tlvs = told(None, ALL);
        let ssl = tlvs.ssl().unwrap();
        assert!(!ssl.is_used() && ssl.version().is_none());
        assert!(told(None, ProxyExtensions::default()).is_empty());
    }
}
