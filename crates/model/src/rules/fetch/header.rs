//! Implements the fetches of header fields in requests and responses.

use super::{FetchBuild, FetchRow, head};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type, leading_integer, leading_ipv4};
use crate::transaction::ProxyStream;
use std::borrow::Cow;

/// Maximum distance from the last value, as in HAProxy, which remembers that many.
const BACK_MAX: i64 = 10;

const NAME_AND_PLACE: &[ArgumentKind] = &[ArgumentKind::Text, ArgumentKind::Int];

const fn values(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Str, needs, |a, s| {
        pick(a, s, false).map(SampleValue::text)
    })
    .http()
    .takes(NAME_AND_PLACE, 0)
    .each(each_value)
    .variants()
}

const fn lines(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Str, needs, line)
        .http()
        .takes(NAME_AND_PLACE, 0)
        .each(each_line)
        .variants()
}

const fn counts(needs: Needs, one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Int, needs, one)
        .http()
        .takes(&[ArgumentKind::Text], 0)
}

const fn addresses(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Address, needs, address)
        .http()
        .takes(NAME_AND_PLACE, 0)
        .each(each_address)
}

const fn numbers(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Int, needs, number)
        .http()
        .takes(NAME_AND_PLACE, 0)
        .each(each_number)
}

const fn names(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Str, needs, field_names)
        .http()
        .takes(&[ArgumentKind::Text], 0)
}

const fn all(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Bin, needs, block).http()
}

const fn packed(needs: Needs) -> FetchBuild {
    FetchBuild::new(Type::Bin, needs, packed_fields).http()
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "req.hdr(<name>[,<occurrence>])", values(Needs::Request), "acl local req.hdr(host) -i localhost",
        "A value of a request header. Values are separated by the commas of all lines with that name; 1 is the first, \
         -1 the last and the default. Without an occurrence, an ACL tests all values. Use `req.fhdr` for headers with \
         commas inside their values.";
    "hdr(<name>[,<occurrence>])", values(Needs::EitherSide), "acl shop hdr(host) -i shop.example.com",
        "The same as `req.hdr` in rules for requests, and as `res.hdr` in rules for responses.";
    "req.fhdr(<name>[,<occurrence>])", lines(Needs::Request), "acl msie req.fhdr(user-agent) -m sub MSIE",
        "A whole line of a request header, including commas. Use it for `User-Agent`, dates and other headers that \
         are not lists.";
    "req.hdr_cnt[(<name>)]", counts(Needs::Request, count), "acl many req.hdr_cnt(x-forwarded-for) gt 3",
        "Number of comma-separated values of the headers with this name; without a name, of all headers.";
    "hdr_cnt[(<name>)]", counts(Needs::Request, count), "acl no_host hdr_cnt(host) 0",
        "The same as `req.hdr_cnt`.";
    "req.fhdr_cnt[(<name>)]", counts(Needs::Request, line_count), "acl two_hosts req.fhdr_cnt(host) gt 1",
        "Number of lines of a request header, or of all headers without a name.";
    "req.hdr_ip(<name>[,<occurrence>])", addresses(Needs::Request), "acl office req.hdr_ip(x-forwarded-for,-1) 192.0.2.0/24",
        "A value of a header as an address; an IPv6 address may be in brackets, and a port is ignored. Without an \
         occurrence, ACLs test all values.";
    "hdr_ip(<name>[,<occurrence>])", addresses(Needs::Request), "acl office hdr_ip(x-real-ip) 192.0.2.0/24",
        "The same as `req.hdr_ip`.";
    "req.hdr_val(<name>[,<occurrence>])", numbers(Needs::Request), "acl big req.hdr_val(content-length) gt 1000000",
        "A value of a header as a number, from its leading digits.";
    "hdr_val(<name>[,<occurrence>])", numbers(Needs::Request), "acl big hdr_val(content-length) gt 1000000",
        "The same as `req.hdr_val`.";
    "req.hdr_names[(<delimiter>)]", names(Needs::Request), "acl odd req.hdr_names -m sub x-scanner",
        "The names of all request headers in their order and in lower case, separated by commas or another delimiter.";
    "req.hdrs", all(Needs::Request), "acl huge req.hdrs,length gt 8000",
        "All request headers as one text, with their line ends and an empty line. Names are in lower case.";
    "req.hdrs_bin", packed(Needs::Request), "acl huge req.hdrs_bin,length gt 8000",
        "All request headers in binary form: each name in lower case and value, prefixed by their lengths as SPOE \
         encodes numbers; two empty strings at the end.";
    "res.hdrs_bin", packed(Needs::Response), "acl huge res.hdrs_bin,length gt 8000",
        "All response headers in binary form; see `req.hdrs_bin`.";
    "res.hdr(<name>[,<occurrence>])", values(Needs::Response), "acl html res.hdr(content-type) -m beg text/html",
        "A value of a response header; see `req.hdr`.";
    "shdr(<name>[,<occurrence>])", values(Needs::Response), "acl html shdr(content-type) -m beg text/html",
        "The older name of `res.hdr`.";
    "res.fhdr(<name>[,<occurrence>])", lines(Needs::Response), "acl expired res.fhdr(expires) 0",
        "A whole line of a response header; see `req.fhdr`.";
    "res.hdr_cnt[(<name>)]", counts(Needs::Response, count), "acl cookies res.hdr_cnt(set-cookie) gt 0",
        "Number of values of the response headers with this name; see `req.hdr_cnt`.";
    "shdr_cnt[(<name>)]", counts(Needs::Response, count), "acl cookies shdr_cnt(set-cookie) gt 0",
        "The older name of `res.hdr_cnt`.";
    "res.fhdr_cnt[(<name>)]", counts(Needs::Response, line_count), "acl cookies res.fhdr_cnt(set-cookie) gt 2",
        "Number of lines of a response header.";
    "res.hdr_ip(<name>[,<occurrence>])", addresses(Needs::Response), "acl inner res.hdr_ip(x-served-by) 10.0.0.0/8",
        "A value of a response header as an address; see `req.hdr_ip`.";
    "shdr_ip(<name>[,<occurrence>])", addresses(Needs::Response), "acl inner shdr_ip(x-served-by) 10.0.0.0/8",
        "The older name of `res.hdr_ip`.";
    "res.hdr_val(<name>[,<occurrence>])", numbers(Needs::Response), "acl big res.hdr_val(content-length) gt 1000000",
        "A value of a response header as a number; see `req.hdr_val`.";
    "shdr_val(<name>[,<occurrence>])", numbers(Needs::Response), "acl big shdr_val(content-length) gt 1000000",
        "The older name of `res.hdr_val`.";
    "res.hdr_names[(<delimiter>)]", names(Needs::Response), "acl php res.hdr_names -m sub x-powered-by",
        "The names of all response headers; see `req.hdr_names`.";
    "res.hdrs", all(Needs::Response), "acl huge res.hdrs,length gt 8000",
        "All response headers as one text; see `req.hdrs`.";
};

fn occurrence(arguments: &Arguments) -> i64 {
    arguments.int(1).unwrap_or(0)
}

/// Returns one value of a header: the requested occurrence, or the last one.
fn pick<'a>(arguments: &'a Arguments, stream: &'a ProxyStream, by_line: bool) -> Option<&'a [u8]> {
    let name = arguments.text(0)?;
    let place = match occurrence(arguments) {
        0 => -1,
        place if place < -BACK_MAX => return None,
        place => i32::try_from(place).ok()?,
    };
    let fields = head(arguments, stream)?.fields();
    if by_line {
        fields.nth_line(name, place)
    } else {
        fields.nth_value(name, place)
    }
}

fn line<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    pick(arguments, stream, true).map(SampleValue::text)
}

/// Passes the values that a test compares to the visitor: the requested occurrence, or all.
fn visit<'a>(
    arguments: &'a Arguments,
    stream: &'a ProxyStream,
    by_line: bool,
    take: &mut dyn FnMut(&'a [u8]) -> bool,
) -> bool {
    if occurrence(arguments) != 0 {
        return pick(arguments, stream, by_line).is_some_and(take);
    }
    let (Some(name), Some(head)) = (arguments.text(0), head(arguments, stream)) else {
        return false;
    };
    if by_line {
        head.fields().get_all(name).any(take)
    } else {
        head.fields().values(name).any(take)
    }
}

fn each_value<'a>(
    arguments: &'a Arguments,
    stream: &'a ProxyStream,
    take: &mut dyn FnMut(SampleValue<'a>) -> bool,
) -> bool {
    visit(arguments, stream, false, &mut |text| {
        take(SampleValue::text(text))
    })
}

fn each_line<'a>(
    arguments: &'a Arguments,
    stream: &'a ProxyStream,
    take: &mut dyn FnMut(SampleValue<'a>) -> bool,
) -> bool {
    visit(arguments, stream, true, &mut |text| {
        take(SampleValue::text(text))
    })
}

fn count<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let fields = head(arguments, stream)?.fields();
    Some(SampleValue::count(match arguments.text(0) {
        Some(name) => fields.count_values(name),
        None => fields
            .iter()
            .map(|(_, line)| http::message::split_values(line).count())
            .sum(),
    }))
}

fn line_count<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let fields = head(arguments, stream)?.fields();
    Some(SampleValue::count(match arguments.text(0) {
        Some(name) => fields.count(name),
        None => fields.len(),
    }))
}

/// Parses an address in a header: alone, IPv4 followed by a port, or IPv6 in brackets with an
/// optional port (RFC 7239, 6).
fn parse_address(text: &[u8]) -> Sample<'static> {
    if let Some((address, length)) = leading_ipv4(text) {
        let port = std::str::from_utf8(text.get(length..)?).ok()?;
        if !port.is_empty() {
            port.strip_prefix(':')?.parse::<u16>().ok()?;
        }
        return Some(SampleValue::Ipv4(address));
    }
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse() {
        return Some(SampleValue::ip(address));
    }
    let (address, port) = text.strip_prefix('[')?.split_once(']')?;
    if !port.is_empty() {
        port.strip_prefix(':')?.parse::<u16>().ok()?;
    }
    address.parse().ok().map(SampleValue::Ipv6)
}

fn address<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    parse_address(pick(arguments, stream, false)?)
}

fn each_address<'a>(
    arguments: &Arguments,
    stream: &ProxyStream,
    take: &mut dyn FnMut(SampleValue<'a>) -> bool,
) -> bool {
    visit(arguments, stream, false, &mut |text| {
        parse_address(text).is_some_and(&mut *take)
    })
}

fn number<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    pick(arguments, stream, false).map(|text| SampleValue::Int(leading_integer(text)))
}

fn each_number<'a>(
    arguments: &Arguments,
    stream: &ProxyStream,
    take: &mut dyn FnMut(SampleValue<'a>) -> bool,
) -> bool {
    visit(arguments, stream, false, &mut |text| {
        take(SampleValue::Int(leading_integer(text)))
    })
}

fn field_names<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let delimiter = arguments.text(0).unwrap_or(b",");
    let mut out = Vec::new();
    for (n, (name, _)) in head(arguments, stream)?.fields().iter().enumerate() {
        if n > 0 {
            out.extend_from_slice(delimiter);
        }
        out.extend(name.iter().map(u8::to_ascii_lowercase));
    }
    Some(SampleValue::Str(Cow::Owned(out)))
}

/// Writes a number as SPOE does. Below 240 it is one byte. Otherwise the first byte has the low
/// four bits, and the rest follows in groups of seven bits, each but the last with its high bit
/// set.
fn put_number(mut number: usize, out: &mut Vec<u8>) {
    if number < 240 {
        out.push(number as u8);
        return;
    }
    out.push(number as u8 | 240);
    number = (number - 240) >> 4;
    while number >= 128 {
        out.push(number as u8 | 128);
        number = (number - 128) >> 7;
    }
    out.push(number as u8);
}

fn packed_fields<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let mut out = Vec::new();
    for (name, line) in head(arguments, stream)?.fields().iter() {
        put_number(name.len(), &mut out);
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        put_number(line.len(), &mut out);
        out.extend_from_slice(line);
    }
    out.extend_from_slice(&[0, 0]);
    Some(SampleValue::Bin(Cow::Owned(out)))
}

fn block<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let mut out = Vec::new();
    for (name, line) in head(arguments, stream)?.fields().iter() {
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        out.extend_from_slice(b": ");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Some(SampleValue::Bin(Cow::Owned(out)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_headers_may_have_brackets_and_ports() {
        let rows: &[(&str, Option<&str>)] = &[
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("192.000.02.1", Some("192.0.2.1")),
            ("192.0.2.1x", None),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("[2001:db8::1]443", None),
            ("[2001:db8::1]:", None),
            ("[2001:db8::1", None),
            ("[192.0.2.1]", None),
            ("[]", None),
            ("192.0.2.1:x", None),
        ];
        for (text, address) in rows {
            let found = parse_address(text.as_bytes()).map(|value| {
                let mut text = Vec::new();
                value.write_text(&mut text);
                String::from_utf8(text).unwrap()
            });
            assert_eq!(found.as_deref(), *address, "{text}");
        }
    }
}
