//! Implements the fetches of start lines: of requests the method, the target with its parts and
//! parameters, and the HTTP version; of responses the status and the HTTP version.

use super::{FetchBuild, FetchRow, boolean, head, int, request, request_awaited, string};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type, leading_integer};
use crate::sample::hash;
use crate::transaction::ProxyStream;
use http::http1::{Preface, http2_preface};
use http::message::{TargetForm, parameters};
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const fn text(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Str, Needs::Request, one).http()
}

const URL_PARAMETER: FetchBuild = text(url_parameter)
    .takes(URL_PARAMETER_ARGUMENTS, 0)
    .prepare(check_url_parameter)
    .each(url_parameters)
    .variants();

/// Arguments: name, delimiter, and the flag `i`.
const URL_PARAMETER_ARGUMENTS: &[ArgumentKind] =
    &[ArgumentKind::Text, ArgumentKind::Text, ArgumentKind::Text];

pub(super) static ROWS: &[FetchRow] = rows! {
    "method",
        FetchBuild::new(Type::Method, Needs::RequestKept, |_, s| Some(SampleValue::Method(Cow::Borrowed(request(s)?.method())))).http(),
        "acl is_post method POST",
        "The method of the request, such as `GET`. It is available until the end of the stream, so rules for responses \
         and logs can use it.";
    "path", text(path).variants(), "acl is_api path_beg /api/",
        "The path of the request URL: from the first slash after the host up to the question mark. Nothing is decoded. \
         `*` and the target of CONNECT have none.";
    "pathq", text(path_and_query), "acl is_search pathq -m beg /search?q=",
        "The path of the request URL with its query string. For a request in origin form this is the whole URL.";
    "query", text(|_, s| request(s)?.query().map(SampleValue::text)), "acl has_query query -m len gt 0",
        "The part of the URL after the first question mark; empty without one.";
    "url",
        text(|_, s| Some(SampleValue::text(request(s)?.target()))).variants(),
        "acl proxied url_beg http://",
        "The target of the request as sent, with scheme and host if the client sent them. Prefer `path`, which is the \
         same for proxied and direct requests.";
    "base", text(|_, s| joined(s, false)).variants(), "acl shop base_beg www.example.com/shop",
        "The first Host header and the path of the request as one text, without the query. Useful as a key for caches \
         or virtual hosts.";
    "baseq", text(|_, s| joined(s, true)), "acl found baseq -m sub ?q=",
        "The first Host header, the path and the query string of the request as one text.";
    "base32", FetchBuild::new(Type::Int, Needs::Request, base32).http(),
        "acl even_half base32,even",
        "A 32-bit hash of `base`: a short key for counting or distributing URLs.";
    "base32+src", FetchBuild::new(Type::Bin, Needs::Request, |_, s| Some(with_source(s, hashed(s, false)?))).http(),
        "acl known base32+src -m found",
        "The hash `base32` in four bytes, followed by the client's address in four or sixteen: a key for one client \
         and URL.";
    "url32", FetchBuild::new(Type::Int, Needs::Request, url32).http(), "acl odd_half url32,odd",
        "A 32-bit hash of the Host header, the path and the query string.";
    "url32+src", FetchBuild::new(Type::Bin, Needs::Request, |_, s| Some(with_source(s, hashed(s, true)?))).http(),
        "acl known url32+src -m found",
        "The hash `url32` in four bytes, followed by the client's address in four or sixteen.";
    "url_ip", FetchBuild::new(Type::Address, Needs::Request, url_ip).http(),
        "acl to_private url_ip 10.0.0.0/8",
        "The IP address in the host of an absolute URL. Names are not resolved; without an address there is no value.";
    "url_port", FetchBuild::new(Type::Int, Needs::Request, url_port).http(),
        "acl to_smtp url_port 25",
        "The port of an absolute URL whose host is an IP address; 80 or 443 according to its scheme if it has none.";
    "url_param[(<name>[,<delimiter>[,i]])]", URL_PARAMETER, "acl debug url_param(debug) -m found",
        "The undecoded value of the first parameter with this name in the query string (see `url_dec`); without a name \
         that of the first parameter. Another delimiter can replace the question mark, such as `;` for some session \
         ids. `i` ignores the case of the name.";
    "urlp[(<name>[,<delimiter>[,i]])]", URL_PARAMETER, "acl german urlp(lang) de",
        "The same as `url_param`.";
    "urlp_val[(<name>[,<delimiter>[,i]])]",
        FetchBuild::new(Type::Int, Needs::Request, url_parameter_value)
        .http()
        .takes(URL_PARAMETER_ARGUMENTS, 0)
        .prepare(check_url_parameter),
        "acl far urlp_val(page) gt 100",
        "The value of the parameter as a number, from its leading digits.";
    "req.ver", text(version), "acl old req.ver 1.0",
        "The HTTP version of the client: `1.0`, `1.1`, `2.0`.";
    "req_ver", text(version), "acl old req_ver 1.0",
        "The older name of `req.ver`.";
    "req.proto_http", FetchBuild::new(Type::Bool, Needs::RequestKept, is_http).http(),
        "acl is_http req.proto_http",
        "True if the stream is an HTTP request. In `tcp-request content` it waits until the request headers are \
         complete or invalid.";
    "req_proto_http", FetchBuild::new(Type::Bool, Needs::RequestKept, is_http).http(),
        "acl is_http req_proto_http",
        "The older name of `req.proto_http`.";
    "status", FetchBuild::new(Type::Int, Needs::ResponseKept, status).http(),
        "acl failed status 500:599",
        "The status code of the response.";
    "res.ver", FetchBuild::new(Type::Str, Needs::Response, version).http(),
        "acl old_server res.ver 1.0",
        "The HTTP version of the server's response.";
    "resp_ver", FetchBuild::new(Type::Str, Needs::Response, version).http(),
        "acl old_server resp_ver 1.0",
        "The older name of `res.ver`.";
};

fn path<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let path = request(stream)?.path();
    (!path.is_empty()).then(|| SampleValue::text(path))
}

fn path_and_query<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let path = request(stream)?.path_and_query();
    (!path.is_empty()).then(|| SampleValue::text(path))
}

/// Joins the host and the path, with or without the query.
fn joined(stream: &ProxyStream, with_query: bool) -> Sample<'_> {
    let message = request(stream)?;
    let path = if with_query {
        message.path_and_query()
    } else {
        message.path()
    };
    let host = message.fields().nth_value(b"host", 1).unwrap_or(b"");
    if host.is_empty() {
        return (!path.is_empty()).then(|| SampleValue::text(path));
    }
    Some(SampleValue::Str(Cow::Owned([host, path].concat())))
}

fn hashed(stream: &ProxyStream, with_query: bool) -> Option<u32> {
    let value = joined(stream, with_query)?;
    Some(value.with_text(|text| hash::avalanche(hash::sdbm(text))))
}

fn with_source(stream: &ProxyStream, hash: u32) -> SampleValue<'_> {
    let mut bytes = hash.to_be_bytes().to_vec();
    match stream.source().ip() {
        Some(IpAddr::V4(v4)) => bytes.extend(v4.octets()),
        Some(IpAddr::V6(v6)) => bytes.extend(v6.octets()),
        None => {}
    }
    SampleValue::Bin(Cow::Owned(bytes))
}

fn base32<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    int(hashed(stream, false)?)
}

fn url32<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    int(hashed(stream, true)?)
}

/// Returns the address and the port of an absolute URL.
fn url_address(stream: &ProxyStream) -> Option<(IpAddr, u16)> {
    let message = request(stream)?;
    let parts = message.target_parts();
    if parts.form != TargetForm::Absolute {
        return None;
    }
    let target = message.target();
    let default = if target[..parts.scheme_end].eq_ignore_ascii_case(b"https") {
        443
    } else {
        80
    };
    let authority = std::str::from_utf8(message.target_authority()?).ok()?;
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let port = rest
            .strip_prefix(':')
            .map_or(Some(default), |port| port.parse().ok())?;
        return Some((address.parse::<Ipv6Addr>().ok()?.into(), port));
    }
    let (address, port) = match authority.split_once(':') {
        Some((address, port)) => (address, port.parse().ok()?),
        None => (authority, default),
    };
    Some((address.parse::<Ipv4Addr>().ok()?.into(), port))
}

fn url_ip<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    Some(SampleValue::ip(url_address(stream)?.0))
}

fn url_port<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    int(url_address(stream)?.1)
}

fn delimiter(arguments: &Arguments) -> u8 {
    arguments
        .text(1)
        .and_then(|text| text.first().copied())
        .unwrap_or(b'?')
}

/// Converts the flag `i` to a boolean.
fn check_url_parameter(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.text(2) {
        None => return Ok(()),
        Some(b"i") => arguments.list[2] = Some(Argument::Bool(true)),
        Some(other) => {
            let message = format!(
                "the third argument is 'i' or nothing, not '{}'",
                String::from_utf8_lossy(other)
            );
            return Err(bad_argument(span, message));
        }
    }
    Ok(())
}

/// Returns whether a parameter of this name is requested; without a name, every one is.
fn is_asked_for(arguments: &Arguments, name: &[u8]) -> bool {
    let any_case = arguments.bool(2).unwrap_or(false);
    arguments.text(0).is_none_or(|wanted| {
        if any_case {
            wanted.eq_ignore_ascii_case(name)
        } else {
            wanted == name
        }
    })
}

fn url_parameter<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let target = request(stream)?.target();
    parameters(target, delimiter(arguments))
        .find(|(name, _)| is_asked_for(arguments, name))
        .map(|(_, value)| SampleValue::text(value))
}

fn url_parameters<'a>(
    arguments: &Arguments,
    stream: &'a ProxyStream,
    take: &mut dyn FnMut(SampleValue<'a>) -> bool,
) -> bool {
    let Some(message) = request(stream) else {
        return false;
    };
    parameters(message.target(), delimiter(arguments))
        .filter(|(name, _)| is_asked_for(arguments, name))
        .any(|(_, value)| take(SampleValue::text(value)))
}

fn url_parameter_value<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let value = url_parameter(arguments, stream)?;
    Some(value.with_text(|text| SampleValue::Int(leading_integer(text))))
}

fn version<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    string(head(arguments, stream)?.version().number())
}

fn is_http<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    if request(stream).is_some() {
        return boolean(true);
    }
    // Returns true for the HTTP/2 preface, which looks like the head of a request.
    if !stream.http && http2_preface(&stream.payloads.request) == Preface::Yes {
        return boolean(true);
    }
    (!request_awaited(stream)).then_some(SampleValue::Bool(false))
}

fn status<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    match stream.status() {
        0 => None,
        status => int(status),
    }
}
