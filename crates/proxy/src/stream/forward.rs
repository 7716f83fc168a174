//! Sets header fields that report the origin of a request to a server (`option forwarded`,
//! `option forwardfor`, `option originalto`), and removes those that are not forwarded.

use super::{Endpoint, ProxyStream, server};
use http::message::HttpMessage;
use model::config::{Forwarded, HeaderNames, ParameterSource, ProxyOption, Rare};
use model::rules::SampleValue;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

/// Adds the header fields about the origin of the request and about the server, and sets the
/// spelling of field names. Called after all rules.
pub fn tell(stream: &mut ProxyStream) {
    let rare = stream.route.rare.has(Rare::TOLD);
    if rare {
        forwarded(stream);
    }
    forward_for(stream);
    if rare {
        tell_more(stream);
    }
}

fn tell_more(stream: &mut ProxyStream) {
    original_to(stream);
    if stream
        .backend()
        .is_some_and(|backend| backend.has(ProxyOption::H1CaseServer))
    {
        stream
            .request
            .set_cases(stream.config.global.header_cases.clone());
    }
    server::name_server(stream);
}

/// Removes header fields whose names applications do not expect
/// (`option http-restrict-req-hdr-names`). Returns false if the option rejects the request because
/// of such a name.
pub fn restrict_names(stream: &mut ProxyStream) -> bool {
    let policies = [
        stream.frontend().header_names,
        stream.backend().map(|b| b.header_names).unwrap_or_default(),
    ];
    if policies == [HeaderNames::Preserve; 2] {
        return true;
    }
    let is_odd = |name: &[u8]| !name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    if policies.contains(&HeaderNames::Reject) {
        return !stream.request.fields().iter().any(|(name, _)| is_odd(name));
    }
    stream.request.remove_if(|name, _| is_odd(name));
    true
}

/// Adds `X-Forwarded-For` (`option forwardfor`). The backend's setting determines the name of the
/// header. Frontend or backend can exempt clients. If every setting has `if-none`, a header that
/// the client sent is left as it is.
fn forward_for(stream: &mut ProxyStream) {
    let config = &stream.config;
    let backend = stream
        .route
        .backend
        .and_then(|b| config.proxy(b).forward_for.as_ref());
    let frontend = config.proxy(stream.route.frontend).forward_for.as_ref();
    let (Some(settings), Some(ip)) = (backend.or(frontend), stream.source().ip()) else {
        return;
    };
    let both = || [backend, frontend].into_iter().flatten();
    let trusts = both().all(|settings| settings.if_none);
    if (trusts && stream.request.get(&settings.header).is_some())
        || both().any(|settings| settings.excepts(ip))
    {
        return;
    }
    add_address(&mut stream.request, &settings.header, ip);
}

fn add_address(request: &mut HttpMessage, name: &[u8], ip: IpAddr) {
    let mut text = [0; ADDRESS_TEXT_MAX];
    let length = write_address(ip, &mut text);
    // Ignores a failure, which means that rules have filled the head to its limit.
    let _ = request.add(name, &text[..length]);
}

/// Length in bytes of the longest address in text form.
const ADDRESS_TEXT_MAX: usize = 48;

/// Writes an address and returns its length. IPv4, once per request, is formatted by hand:
/// five times as fast as the formatting machinery.
fn write_address(ip: IpAddr, text: &mut [u8; ADDRESS_TEXT_MAX]) -> usize {
    let IpAddr::V4(ip) = ip else {
        let mut cursor = std::io::Cursor::new(&mut text[..]);
        // Ignores the result, because an address in text form always fits.
        let _ = write!(cursor, "{ip}");
        return cursor.position() as usize;
    };
    let mut at = 0;
    for (n, octet) in ip.octets().into_iter().enumerate() {
        if n > 0 {
            text[at] = b'.';
            at += 1;
        }
        if octet >= 100 {
            text[at] = b'0' + octet / 100;
            at += 1;
        }
        if octet >= 10 {
            text[at] = b'0' + octet / 10 % 10;
            at += 1;
        }
        text[at] = b'0' + octet % 10;
        at += 1;
    }
    at
}

/// Adds `X-Original-To` (`option originalto`) for IPv4 and IPv6.
fn original_to(stream: &mut ProxyStream) {
    let of = |proxy: &model::config::Proxy| proxy.original_to.is_some();
    if !of(stream.frontend()) && !stream.backend().is_some_and(of) {
        return;
    }
    let config = stream.config.clone();
    let backend = stream
        .route
        .backend
        .and_then(|b| config.proxy(b).original_to.as_ref());
    let frontend = config.proxy(stream.route.frontend).original_to.as_ref();
    let (Some(settings), Some(ip)) = (backend.or(frontend), stream.destination().ip()) else {
        return;
    };
    if [backend, frontend]
        .into_iter()
        .flatten()
        .any(|settings| settings.excepts(ip))
    {
        return;
    }
    add_address(&mut stream.request, &settings.header, ip);
}

/// Adds a value to the `Forwarded` header (`option forwarded` of the backend), after the values of
/// other proxies.
fn forwarded(stream: &mut ProxyStream) {
    let Some(option) = stream.backend().and_then(|b| b.forwarded.clone()) else {
        return;
    };
    let value = forwarded_value(&option, stream);
    if !value.is_empty() {
        // Ignores a failure, which means that rules have filled the head to its limit.
        let _ = stream.request.add(b"forwarded", &value);
    }
}

fn forwarded_value(option: &Arc<Forwarded>, stream: &ProxyStream) -> Vec<u8> {
    let mut out = Vec::new();
    if option.proto {
        let secure = stream.session.tls.is_some();
        out.extend_from_slice(if secure {
            b"proto=https"
        } else {
            b"proto=http"
        });
    }
    if let Some(told) = &option.host {
        let host = match told {
            ParameterSource::AsItIs => stream.request.get(b"host").map(<[u8]>::to_vec),
            ParameterSource::Found(expression) => expression
                .evaluate(stream)
                .map(|value| value.into_text().into_owned()),
        };
        // Leaves out a host that cannot be quoted.
        if let Some(host) = host.filter(|host| host.iter().all(|b| is_of_host(*b))) {
            begin(&mut out, b"host=\"");
            out.extend_from_slice(&host);
            out.push(b'"');
        }
    }
    node(
        &mut out,
        b"by=",
        &option.by,
        &option.by_port,
        stream,
        stream.destination(),
    );
    node(
        &mut out,
        b"for=",
        &option.for_,
        &option.for_port,
        stream,
        stream.source(),
    );
    out
}

fn begin(out: &mut Vec<u8>, name: &[u8]) {
    if !out.is_empty() {
        out.push(b';');
    }
    out.extend_from_slice(name);
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// Returns an obfuscated identifier (RFC 7239, section 6.3), or None if the text is not a
/// valid one.
fn hidden(text: &[u8]) -> Option<Vec<u8>> {
    let own = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    if text.is_empty() || !text.iter().all(own) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() + 1);
    if text.first() != Some(&b'_') {
        out.push(b'_');
    }
    out.extend_from_slice(text);
    Some(out)
}

/// Writes `by=` or `for=`: a node as address or obfuscated identifier, with its port.
fn node(
    out: &mut Vec<u8>,
    name: &[u8],
    who: &Option<ParameterSource>,
    port: &Option<ParameterSource>,
    stream: &ProxyStream,
    end: Endpoint,
) {
    if who.is_none() && port.is_none() {
        return;
    }
    let found = |told: &ParameterSource| match told {
        ParameterSource::AsItIs => None,
        ParameterSource::Found(expression) => {
            expression.evaluate(stream).map(SampleValue::into_owned)
        }
    };
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (ip.to_string().into_bytes(), false),
        IpAddr::V6(ip) => (format!("[{ip}]").into_bytes(), true),
    };
    let named = match who {
        None => None,
        Some(ParameterSource::AsItIs) => end.ip().map(address),
        Some(told) => found(told).and_then(|value| match value {
            SampleValue::Ipv4(ip) => Some(address(ip.into())),
            SampleValue::Ipv6(ip) => Some(address(ip.into())),
            other => hidden(&other.into_text()).map(|text| (text, false)),
        }),
    };
    let port = match port {
        None => None,
        Some(ParameterSource::AsItIs) => end.port().map(|port| port.to_string().into_bytes()),
        Some(told) => found(told).and_then(|value| match value {
            SampleValue::Int(port) => u16::try_from(port).ok().map(|p| p.to_string().into_bytes()),
            other => hidden(&other.into_text()),
        }),
    };
    let (named, quoted) = named.unwrap_or_else(|| (b"unknown".to_vec(), false));
    begin(out, name);
    let quoted = quoted || port.is_some();
    out.extend_from_slice(if quoted { b"\"" } else { b"" });
    out.extend_from_slice(&named);
    if let Some(port) = port {
        out.push(b':');
        out.extend_from_slice(&port);
    }
    out.extend_from_slice(if quoted { b"\"" } else { b"" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        for text in [
            "0.0.0.0",
            "1.20.103.9",
            "255.255.255.255",
            "10.0.0.100",
            "2001:db8::1",
        ] {
            let ip: IpAddr = text.parse().unwrap();
            let mut buffer = [0; ADDRESS_TEXT_MAX];
            let length = write_address(ip, &mut buffer);
            assert_eq!(&buffer[..length], text.as_bytes());
        }
    }
}
