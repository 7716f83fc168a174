//! Implements the converters for the header Forwarded (RFC 7239): validation, and access to its
//! parts.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FIELD: ConverterBuild = ConverterBuild::new(Type::Str, Type::Str, field)
    .takes(&[ArgumentKind::Text], 1)
    .prepare(check_field);

pub(super) static ROWS: &[ConverterRow] = rows! {
    "rfc7239_is_valid", ConverterBuild::new(Type::Str, Type::Bool, is_valid), "acl sound req.hdr(forwarded),rfc7239_is_valid",
        "Tests whether a Forwarded header is valid: elements with `for`, `by`, `host` and `proto`, each at most once, \
         with nodes, a host and `http` or `https`.";
    "rfc7239_field(<field>)", FIELD, "acl example req.hdr(forwarded),rfc7239_field(for) -m found",
        "Returns the first `for`, `by`, `host` or `proto` field of a Forwarded header, without its quotes.";
    "rfc7239_n2nn", ConverterBuild::new(Type::Str, Type::Any, node_name), "acl example req.hdr(forwarded),rfc7239_field(for),rfc7239_n2nn -m found",
        "Returns the name of a node from `for` or `by`, without its port: an address, `unknown`, or a name that \
         begins with `_`.";
    "rfc7239_n2np", ConverterBuild::new(Type::Str, Type::Any, node_port), "acl example req.hdr(forwarded),rfc7239_field(for),rfc7239_n2np -m found",
        "Returns the port of a node from `for` or `by`: a number, or a name that begins with `_`.";
    "rfc7239_nn", ConverterBuild::new(Type::Str, Type::Any, node_name), "acl example req.hdr(forwarded),rfc7239_field(for),rfc7239_nn -m found",
        "The same as `rfc7239_n2nn`.";
    "rfc7239_np", ConverterBuild::new(Type::Str, Type::Any, node_port), "acl example req.hdr(forwarded),rfc7239_field(for),rfc7239_np -m found",
        "The same as `rfc7239_n2np`.";
};

const FIELDS: [&[u8]; 4] = [b"for", b"by", b"host", b"proto"];

fn check_field(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.text(0) {
        Some(name) if FIELDS.contains(&name) => Ok(()),
        _ => Err(bad_argument(
            span,
            "valid fields: 'for', 'by', 'host' and 'proto'".into(),
        )),
    }
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Parses a value, optionally in quotes, and returns it with the rest of the text.
fn value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let length = text.iter().take_while(|b| is_token(b)).count();
        return (length > 0).then(|| (Cow::Borrowed(&text[..length]), &text[length..]));
    };
    let mut out = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((Cow::Owned(out), rest)),
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                rest = after;
                out.push(*escaped);
            }
            other => out.push(*other),
        }
    }
}

/// Passes each field of a header to `look`, until `look` returns false or the header is malformed.
/// Between two elements `look` gets an empty name and must return false to continue. Returns
/// whether the whole header was read.
fn fields<'t>(text: &'t [u8], mut look: impl FnMut(&'t [u8], Cow<'t, [u8]>) -> bool) -> bool {
    let blank = |text: &'t [u8]| text.trim_ascii_start();
    let mut rest = blank(text);
    loop {
        let length = rest.iter().take_while(|b| is_token(b)).count();
        let (name, behind) = rest.split_at(length);
        let Some((value, behind)) = behind.strip_prefix(b"=").and_then(value) else {
            return false;
        };
        if name.is_empty() || !look(name, value) {
            return false;
        }
        let behind_blank = blank(behind);
        rest = match behind_blank.split_first() {
            None => return true,
            Some((b';', after)) if behind.len() == behind_blank.len() => after,
            // A comma begins the next element.
            Some((b',', after)) if !look(b"", Cow::Borrowed(b"")) => blank(after),
            _ => return false,
        };
    }
}

/// Name of a node: an address, or a text such as `unknown`.
enum NodeName<'t> {
    Address(IpAddr),
    Text(&'t [u8]),
}

fn hidden(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"_");
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    rest.is_some_and(|rest| !rest.is_empty() && rest.iter().all(fits))
}

fn port_number(text: &[u8]) -> Option<u16> {
    let digits = text.len() <= 5 && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

fn node(text: &[u8]) -> Option<(NodeName<'_>, Option<&[u8]>)> {
    let as_text = |bytes| std::str::from_utf8(bytes).ok();
    let (name, rest) = if let Some(inner) = text.strip_prefix(b"[") {
        let end = memchr::memchr(b']', inner)?;
        let address: Ipv6Addr = as_text(&inner[..end])?.parse().ok()?;
        (NodeName::Address(address.into()), &inner[end + 1..])
    } else {
        let end = memchr::memchr(b':', text).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let name = match name {
            b"unknown" => NodeName::Text(name),
            name if hidden(name) => NodeName::Text(name),
            name => NodeName::Address(as_text(name)?.parse::<Ipv4Addr>().ok()?.into()),
        };
        (name, rest)
    };
    let port = match rest.split_first() {
        None => None,
        Some((b':', port)) if hidden(port) || port_number(port).is_some() => Some(port),
        _ => return None,
    };
    Some((name, port))
}

/// Returns whether a text is a host, with or without a port.
fn host(text: &[u8]) -> bool {
    let (name, rest) = match text.strip_prefix(b"[") {
        Some(inner) => {
            let Some(end) = memchr::memchr(b']', inner) else {
                return false;
            };
            let inside = std::str::from_utf8(&inner[..end]);
            if !inside.is_ok_and(|inside| inside.parse::<Ipv6Addr>().is_ok()) {
                return false;
            }
            (&b"v6"[..], &inner[end + 1..])
        }
        None => text.split_at(memchr::memchr(b':', text).unwrap_or(text.len())),
    };
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(b);
    let port = rest.is_empty()
        || rest
            .strip_prefix(b":")
            .is_some_and(|p| port_number(p).is_some());
    !name.is_empty() && name.iter().all(fits) && port
}

fn is_valid<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let mut seen = [false; FIELDS.len()];
    let valid = fields(&text, |name, value| {
        if name.is_empty() {
            seen = [false; FIELDS.len()];
            return false;
        }
        let Some(place) = FIELDS.iter().position(|f| f.eq_ignore_ascii_case(name)) else {
            return false;
        };
        let first = !std::mem::replace(&mut seen[place], true);
        first
            && match place {
                0 | 1 => node(&value).is_some(),
                2 => host(&value),
                _ => matches!(&*value, b"http" | b"https"),
            }
    });
    Some(SampleValue::Bool(valid))
}

fn field<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let wanted = arguments.text(0)?;
    let mut found = None;
    fields(&text, |name, value| {
        if name.eq_ignore_ascii_case(wanted) {
            found = Some(value.into_owned());
        }
        !name.is_empty() && found.is_none()
    });
    found.map(|text| SampleValue::Str(Cow::Owned(text)))
}

fn node_name<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    Some(match node(&text)?.0 {
        NodeName::Address(address) => SampleValue::ip(address),
        NodeName::Text(name) => SampleValue::Str(Cow::Owned(name.to_vec())),
    })
}

fn node_port<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let port = node(&text)?.1?;
    Some(match port_number(port) {
        Some(number) => SampleValue::Int(number.into()),
        None => SampleValue::Str(Cow::Owned(port.to_vec())),
    })
}

#[cfg(test)]
mod tests {
    use crate::transaction::sample;

    fn of(header: &str, converters: &str) -> Option<String> {
        let request = format!("GET / HTTP/1.1\r\nForwarded: {header}\r\n\r\n");
        let stream = sample::request(request.as_bytes());
        sample::evaluate(&format!("req.fhdr(forwarded),{converters}"), &stream)
    }

    #[test]
    fn headers_are_well_formed_or_not() {
        let rows = [
            ("for=127.0.0.1;proto=http", "1"),
            ("proto=custom", "0"),
            (
                "for=\"[2001:db8::1]:4711\";by=_me;host=\"a.example:80\"",
                "1",
            ),
            ("for=[2001:db8::1]", "0"),
            ("for=unknown, for=\"_a:_b\"", "1"),
            ("for=1.2.3.4;for=1.2.3.4", "0"),
            ("for=1.2.3", "0"),
            ("for=\"1.2.3.4:99999\"", "0"),
            ("For=1.2.3.4", "1"),
            ("for = 1.2.3.4", "0"),
            ("secret=1", "0"),
            ("for=\"1.2.3.4", "0"),
            ("", "0"),
        ];
        for (header, wanted) in rows {
            let found = of(header, "rfc7239_is_valid");
            assert!(
                found.as_deref() == Some(wanted) || header.is_empty(),
                "{header}"
            );
        }
    }

    #[test]
    fn fields_and_nodes_are_found() {
        let header =
            "proto=https;host=\"haproxy.example:80\";for=\"[2001:db8::17]:4711\";by=\"1.2.3.4:_p\"";
        let rows = [
            ("rfc7239_field(proto)", Some("https")),
            ("rfc7239_field(host)", Some("haproxy.example:80")),
            ("rfc7239_field(for)", Some("[2001:db8::17]:4711")),
            ("rfc7239_field(for),rfc7239_n2nn", Some("2001:db8::17")),
            ("rfc7239_field(for),rfc7239_n2np,add(1)", Some("4712")),
            ("rfc7239_field(by),rfc7239_n2nn", Some("1.2.3.4")),
            ("rfc7239_field(by),rfc7239_n2np", Some("_p")),
        ];
        for (converters, wanted) in rows {
            assert_eq!(of(header, converters).as_deref(), wanted, "{converters}");
        }
    }
}
