//! Implements the fetches of the client's connection: its addresses, its listener, its HTTP
//! version, its error, and whether it began with a PROXY header.

use super::{FetchBuild, FetchRow, boolean, int, string};
use crate::rules::argument::Arguments;
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::{Endpoint, ProxyStream};
use language::Span;
use language::arguments::Built;
use std::net::IpAddr;
use tls::FailureCodes;

const fn address(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Address, Needs::Nothing, one)
}

const fn number(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Int, Needs::Nothing, one)
}

const fn truth(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Bool, Needs::Nothing, one)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "src", address(|_, s| ip(s.source())), "acl office src 192.0.2.0/24 2001:db8::/32",
        "The client's address: from the connection, a PROXY header, or a rule. A client on a Unix socket has none.";
    "src_port", number(|_, s| port(s.source())), "acl privileged src_port lt 1024",
        "The client's port, if known.";
    "dst", address(|_, s| ip(s.destination())), "acl second dst 192.0.2.2",
        "The destination address of the client's connection, also after a transparent redirection, or from a PROXY \
         header or a rule.";
    "dst_port", number(|_, s| port(s.destination())), "acl is_tls dst_port 443",
        "The destination port of the client's connection.";
    "src_is_local", truth(|_, s| is_local(s.source())), "acl from_here src_is_local",
        "True if the client's address is an address of this host.";
    "dst_is_local", truth(|_, s| is_local(s.destination())), "acl to_here dst_is_local",
        "True if the destination address of the client's connection is an address of this host. With interception it \
         may not be.";
    "fc_src",
        address(|_, s| ip(s.session.connection().0)).prepare(ask_connection),
        "acl balancer fc_src 10.0.0.0/8",
        "The source address of the connection itself: for a load balancer that sends PROXY headers, its own address. \
         A `tcp-request connection` rule can change it (`set-src`).";
    "fc_src_port",
        number(|_, s| port(s.session.connection().0)).prepare(ask_connection),
        "acl privileged fc_src_port lt 1024",
        "The source port of the connection itself, regardless of a PROXY header.";
    "fc_dst",
        address(|_, s| ip(s.session.connection().1)).prepare(ask_connection),
        "acl second fc_dst 192.0.2.2",
        "The destination address of the connection itself, regardless of a PROXY header. A `tcp-request connection` \
         rule can change it (`set-dst`).";
    "fc_dst_port",
        number(|_, s| port(s.session.connection().1)).prepare(ask_connection),
        "acl is_tls fc_dst_port 443",
        "The destination port of the connection itself, regardless of a PROXY header.";
    "fc_src_is_local",
        truth(|_, s| is_local(s.session.connection().0)).prepare(ask_connection),
        "acl from_here fc_src_is_local",
        "True if `fc_src` is an address of this host.";
    "fc_dst_is_local",
        truth(|_, s| is_local(s.session.connection().1)).prepare(ask_connection),
        "acl to_here fc_dst_is_local",
        "True if `fc_dst` is an address of this host.";
    "fc_rcvd_proxy", truth(fc_rcvd_proxy).prepare(ask_proxy_header), "acl proxied fc_rcvd_proxy",
        "True if the connection began with a PROXY header.";
    "fc_err",
        number(|_, s| int(broken(s).connection)), "acl failed fc_err gt 0",
        "The number of the error that ended the client's connection before it became a stream, as in HAProxy (34 is a \
         failed TLS handshake). Rules always see 0, because such a connection has no stream.";
    "fc_err_str", FetchBuild::new(Type::Str, Needs::Nothing, |_, s| string(broken(s).words())),
        "acl good fc_err_str Success", "The text of `fc_err`: `Success` for a working connection.";
    "fc_http_major", number(fc_http_major), "acl modern fc_http_major ge 2",
        "The major HTTP version of the client's connection: 1 or 2. Other connections have no value.";
    "so_id",
        number(|_, s| int(s.session.listener()?.id)),
        "acl first_listener so_id 1",
        "The id of the listener that accepted the connection (`id` on its `bind` line).";
    "so_name", FetchBuild::new(Type::Str, Needs::Nothing, so_name), "acl public so_name public",
        "The name of the listener that accepted the connection (`name` on its `bind` line), if it has one.";
};

fn ask_connection(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    loader.config.global.recording.connection = true;
    Ok(())
}

fn ip<'a>(endpoint: Endpoint) -> Sample<'a> {
    endpoint.ip().map(SampleValue::ip)
}

fn port<'a>(endpoint: Endpoint) -> Sample<'a> {
    endpoint.port().map(|port| SampleValue::Int(port.into()))
}

/// Returns whether an address belongs to this host, that is, can be bound.
fn is_local<'a>(endpoint: Endpoint) -> Sample<'a> {
    let address = endpoint.ip()?;
    let loopback = address.is_loopback();
    let wildcard = address.is_unspecified();
    boolean(loopback || (!wildcard && !is_multicast(address) && can_bind(address)))
}

fn is_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

fn can_bind(address: IpAddr) -> bool {
    // Tries to bind a datagram socket to an arbitrary port, which neither sends nor receives
    // anything.
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

fn fc_rcvd_proxy<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    stream.session.listener()?;
    boolean(stream.session.has_proxy_header())
}

fn ask_proxy_header(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    loader.config.global.recording.proxy_header = true;
    Ok(())
}

/// Returns the reason why the client's connection failed. Only the log format for failed
/// connections uses it.
fn broken(stream: &ProxyStream) -> FailureCodes {
    let tls = stream.session.tls.as_ref();
    tls.and_then(|tls| tls.broken).unwrap_or_default()
}

fn fc_http_major<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    use http::message::HttpVersion;
    if !stream.http {
        return None;
    }
    Some(SampleValue::Int(match stream.request.version() {
        HttpVersion::Http10 | HttpVersion::Http11 => 1,
        HttpVersion::Http2 => 2,
        HttpVersion::Http3 => 3,
    }))
}

fn so_name<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let name = stream.session.listener()?.name.as_bytes();
    (!name.is_empty()).then(|| SampleValue::text(name))
}
