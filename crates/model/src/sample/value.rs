//! Defines the values of rules, which fetches find and converters change. A value borrows from
//! the stream wherever possible. This module reads no streams and knows no keywords.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Result of a fetch or converter; None: there is no value.
pub type Sample<'a> = Option<SampleValue<'a>>;

/// Typed value of a fetch or converter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SampleValue<'a> {
    Bool(bool),
    Int(i64),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    /// Text, which may contain arbitrary bytes.
    Str(Cow<'a, [u8]>),
    Bin(Cow<'a, [u8]>),
    /// Name of an HTTP method.
    Method(Cow<'a, [u8]>),
}

/// Type of a value, or the type that a converter or a match requires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// Any type. As an output: known only at run time.
    Any,
    Bool,
    Int,
    /// An IPv4 or an IPv6 address.
    Address,
    Ipv4,
    Ipv6,
    Str,
    Bin,
    Method,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Type::Any => "any",
            Type::Bool => "boolean",
            Type::Int => "integer",
            Type::Address => "address",
            Type::Ipv4 => "IPv4 address",
            Type::Ipv6 => "IPv6 address",
            Type::Str => "string",
            Type::Bin => "binary",
            Type::Method => "method",
        }
    }

    /// Returns whether a value of this type can ever be cast to the other type. Impossible casts
    /// are refused when a file is loaded.
    pub fn casts_to(self, to: Type) -> bool {
        use Type::{Address, Any, Bin, Bool, Int, Ipv4, Ipv6, Method, Str};
        match (self, to) {
            (Any, _) | (_, Any) => true,
            (a, b) if a == b => true,
            (Bool, Int | Str) | (Int, Bool | Address | Ipv4 | Ipv6 | Str | Bin) => true,
            (Address, Ipv4 | Ipv6 | Int | Str | Bin) => true,
            (Ipv4, Address | Ipv6 | Int | Str | Bin) => true,
            (Ipv6, Address | Ipv4 | Str | Bin) => true,
            (Str, _) | (Method, Str | Bin) | (Bin, Str) => true,
            _ => false,
        }
    }
}

/// Maximum length of the text of a number or an address, in bytes.
const SHORT_TEXT_MAX: usize = 48;

impl<'a> SampleValue<'a> {
    pub fn text(bytes: &'a [u8]) -> Self {
        SampleValue::Str(Cow::Borrowed(bytes))
    }

    pub fn bytes(bytes: &'a [u8]) -> Self {
        SampleValue::Bin(Cow::Borrowed(bytes))
    }

    pub fn ip(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => SampleValue::Ipv4(v4),
            IpAddr::V6(v6) => SampleValue::Ipv6(v6),
        }
    }

    /// Creates a number from a count; saturates at the end of the range.
    pub fn count(n: impl TryInto<i64>) -> Self {
        SampleValue::Int(n.try_into().unwrap_or(i64::MAX))
    }

    pub fn kind(&self) -> Type {
        match self {
            SampleValue::Bool(_) => Type::Bool,
            SampleValue::Int(_) => Type::Int,
            SampleValue::Ipv4(_) => Type::Ipv4,
            SampleValue::Ipv6(_) => Type::Ipv6,
            SampleValue::Str(_) => Type::Str,
            SampleValue::Bin(_) => Type::Bin,
            SampleValue::Method(_) => Type::Method,
        }
    }

    pub fn into_owned(self) -> SampleValue<'static> {
        match self {
            SampleValue::Bool(b) => SampleValue::Bool(b),
            SampleValue::Int(n) => SampleValue::Int(n),
            SampleValue::Ipv4(ip) => SampleValue::Ipv4(ip),
            SampleValue::Ipv6(ip) => SampleValue::Ipv6(ip),
            SampleValue::Str(s) => SampleValue::Str(Cow::Owned(s.into_owned())),
            SampleValue::Bin(s) => SampleValue::Bin(Cow::Owned(s.into_owned())),
            SampleValue::Method(s) => SampleValue::Method(Cow::Owned(s.into_owned())),
        }
    }

    /// Returns the size of the value when it is stored in a variable: the bytes of texts and
    /// binary data.
    pub fn size(&self) -> usize {
        match self {
            SampleValue::Str(s) | SampleValue::Bin(s) | SampleValue::Method(s) => s.len(),
            _ => 0,
        }
    }

    /// Casts the value to another type as HAProxy does implicitly. Returns None if there is no such
    /// cast, or if the value has no counterpart in that type.
    pub fn cast(self, to: Type) -> Sample<'a> {
        match to {
            Type::Any => Some(self),
            Type::Bool => self.truth().map(SampleValue::Bool),
            Type::Int => self.integer().map(SampleValue::Int),
            Type::Address => match self {
                SampleValue::Ipv4(_) | SampleValue::Ipv6(_) => Some(self),
                other => other.address().map(SampleValue::ip),
            },
            Type::Ipv4 => match self.address()? {
                IpAddr::V4(v4) => Some(SampleValue::Ipv4(v4)),
                IpAddr::V6(v6) => v6.to_ipv4_mapped().map(SampleValue::Ipv4),
            },
            Type::Ipv6 => match self.address()? {
                IpAddr::V4(v4) => Some(SampleValue::Ipv6(v4.to_ipv6_mapped())),
                IpAddr::V6(v6) => Some(SampleValue::Ipv6(v6)),
            },
            Type::Str => Some(SampleValue::Str(self.into_text())),
            Type::Bin => self.into_bytes().map(SampleValue::Bin),
            Type::Method => match self {
                SampleValue::Method(_) => Some(self),
                SampleValue::Str(s) => Some(SampleValue::Method(s)),
                _ => None,
            },
        }
    }

    pub fn truth(&self) -> Option<bool> {
        match self {
            SampleValue::Bool(b) => Some(*b),
            SampleValue::Int(n) => Some(*n != 0),
            SampleValue::Str(s) if s.is_empty() => None,
            SampleValue::Str(s) => Some(leading_integer(s) != 0),
            _ => None,
        }
    }

    /// Casts the value to a number. A text counts as the number at its beginning, or as 0 if it
    /// begins with none. Returns None for an empty text, and for types that have no number.
    pub fn integer(&self) -> Option<i64> {
        match self {
            SampleValue::Bool(b) => Some(i64::from(*b)),
            SampleValue::Int(n) => Some(*n),
            SampleValue::Ipv4(ip) => Some(i64::from(u32::from(*ip))),
            SampleValue::Str(s) if s.is_empty() => None,
            SampleValue::Str(s) => Some(leading_integer(s)),
            _ => None,
        }
    }

    pub fn address(&self) -> Option<IpAddr> {
        match self {
            SampleValue::Ipv4(ip) => Some(IpAddr::V4(*ip)),
            SampleValue::Ipv6(ip) => Some(IpAddr::V6(*ip)),
            SampleValue::Int(n) => Some(IpAddr::V4(Ipv4Addr::from(*n as u32))),
            SampleValue::Str(s) => match leading_ipv4(s) {
                Some((address, _)) => Some(IpAddr::V4(address)),
                None => std::str::from_utf8(s).ok()?.parse().ok(),
            },
            _ => None,
        }
    }

    /// Returns the text form. For binary data, it ends before the first zero byte.
    pub fn into_text(self) -> Cow<'a, [u8]> {
        match self {
            SampleValue::Str(s) | SampleValue::Method(s) => s,
            SampleValue::Bin(Cow::Borrowed(s)) => Cow::Borrowed(before_nul(s)),
            SampleValue::Bin(Cow::Owned(mut s)) => {
                s.truncate(before_nul(&s).len());
                Cow::Owned(s)
            }
            other => {
                let mut text = Vec::with_capacity(SHORT_TEXT_MAX);
                other.write_text(&mut text);
                Cow::Owned(text)
            }
        }
    }

    pub fn write_text(&self, out: &mut Vec<u8>) {
        use std::io::Write;
        // Writing into memory does not fail.
        let _ = match self {
            SampleValue::Bool(b) => write!(out, "{}", u8::from(*b)),
            SampleValue::Int(n) => write!(out, "{n}"),
            SampleValue::Ipv4(ip) => write!(out, "{ip}"),
            SampleValue::Ipv6(ip) => write!(out, "{ip}"),
            SampleValue::Str(s) | SampleValue::Method(s) => out.write_all(s),
            SampleValue::Bin(s) => out.write_all(before_nul(s)),
        };
    }

    /// Passes the text form to `look`, without allocating if the value is a text.
    pub fn with_text<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            SampleValue::Str(s) | SampleValue::Method(s) => look(s),
            SampleValue::Bin(s) => look(before_nul(s)),
            other => {
                let mut text = Vec::with_capacity(SHORT_TEXT_MAX);
                other.write_text(&mut text);
                look(&text)
            }
        }
    }

    /// Returns the bytes: eight for a number, four or sixteen for an address, in big-endian order.
    pub fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(match self {
            SampleValue::Str(s) | SampleValue::Bin(s) | SampleValue::Method(s) => s,
            SampleValue::Int(n) => Cow::Owned(n.to_be_bytes().to_vec()),
            SampleValue::Ipv4(ip) => Cow::Owned(ip.octets().to_vec()),
            SampleValue::Ipv6(ip) => Cow::Owned(ip.octets().to_vec()),
            SampleValue::Bool(_) => return None,
        })
    }
}

/// Returns the bytes before the first zero byte. In HAProxy, binary data that is used as text ends
/// there.
fn before_nul(bytes: &[u8]) -> &[u8] {
    memchr::memchr(0, bytes).map_or(bytes, |end| &bytes[..end])
}

/// Parses the number at the beginning of a text: an optional sign and digits. Returns 0 without
/// digits; saturates at the end of the range.
pub fn leading_integer(text: &[u8]) -> i64 {
    let (negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut n: i64 = 0;
    for digit in digits.iter().take_while(|b| b.is_ascii_digit()) {
        let digit = i64::from(digit - b'0');
        let digit = if negative { -digit } else { digit };
        n = n.saturating_mul(10).saturating_add(digit);
    }
    n
}

/// Parses a text that is a number and nothing else.
pub fn whole_integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Returns the IPv4 address at the start of a text, and its length. As in HAProxy, its numbers may
/// have leading zeros, and other text may follow: some gateways write the port of a client.
pub fn leading_ipv4(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let is_part = |b: &u8| b.is_ascii_digit() || *b == b'.';
    let end = text.iter().position(|b| !is_part(b)).unwrap_or(text.len());
    let mut numbers = text.get(..end)?.split(|b| *b == b'.');
    let mut octets = [0; 4];
    for octet in &mut octets {
        let digits = numbers.next().filter(|digits| !digits.is_empty())?;
        let add = |number: u8, digit: &u8| number.checked_mul(10)?.checked_add(digit - b'0');
        *octet = digits.iter().try_fold(0, add)?;
    }
    let is_whole = numbers.next().is_none();
    is_whole.then_some((Ipv4Addr::from(octets), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_are_those_of_haproxy() {
        let v4 = SampleValue::Ipv4(Ipv4Addr::new(127, 0, 0, 1));
        let rows: &[(SampleValue<'_>, Type, Sample<'_>)] = &[
            (
                SampleValue::Bool(true),
                Type::Str,
                Some(SampleValue::text(b"1")),
            ),
            (
                SampleValue::Bool(true),
                Type::Int,
                Some(SampleValue::Int(1)),
            ),
            (SampleValue::Bool(true), Type::Ipv4, None),
            (
                SampleValue::Int(5),
                Type::Bool,
                Some(SampleValue::Bool(true)),
            ),
            (
                SampleValue::Int(5),
                Type::Bin,
                Some(SampleValue::bytes(&[0, 0, 0, 0, 0, 0, 0, 5])),
            ),
            (
                SampleValue::Int(256),
                Type::Ipv4,
                Some(SampleValue::Ipv4(Ipv4Addr::new(0, 0, 1, 0))),
            ),
            (v4.clone(), Type::Int, Some(SampleValue::Int(2_130_706_433))),
            (v4.clone(), Type::Str, Some(SampleValue::text(b"127.0.0.1"))),
            (
                v4.clone(),
                Type::Bin,
                Some(SampleValue::bytes(&[127, 0, 0, 1])),
            ),
            (SampleValue::text(b"127.0.0.1"), Type::Address, Some(v4)),
            (
                SampleValue::text(b"12ab"),
                Type::Int,
                Some(SampleValue::Int(12)),
            ),
            (
                SampleValue::text(b"abc"),
                Type::Int,
                Some(SampleValue::Int(0)),
            ),
            (
                SampleValue::text(b"-3"),
                Type::Int,
                Some(SampleValue::Int(-3)),
            ),
            (SampleValue::text(b"nobody"), Type::Address, None),
            (
                SampleValue::text(b"GET"),
                Type::Method,
                Some(SampleValue::Method(Cow::Borrowed(b"GET"))),
            ),
            (SampleValue::bytes(b"x"), Type::Int, None),
        ];
        for (value, to, expected) in rows {
            assert_eq!(value.clone().cast(*to), *expected, "{value:?} as {to:?}");
        }
    }

    #[test]
    fn numbers_too_long_stay_at_the_end_of_the_range() {
        assert_eq!(leading_integer(b"99999999999999999999"), i64::MAX);
        assert_eq!(leading_integer(b"-99999999999999999999"), i64::MIN);
        assert_eq!(leading_integer(b"9223372036854775807"), i64::MAX);
        assert_eq!(leading_integer(b"-9223372036854775808"), i64::MIN);
    }

    #[test]
    fn a_refused_cast_never_succeeds() {
        let values = [
            SampleValue::Bool(true),
            SampleValue::Int(7),
            SampleValue::Ipv4(Ipv4Addr::LOCALHOST),
            SampleValue::Ipv6(Ipv6Addr::LOCALHOST),
            SampleValue::text(b"1"),
            SampleValue::bytes(b"1"),
            SampleValue::Method(Cow::Borrowed(b"GET")),
        ];
        let types = [
            Type::Bool,
            Type::Int,
            Type::Address,
            Type::Ipv4,
            Type::Ipv6,
            Type::Str,
            Type::Bin,
            Type::Method,
        ];
        for value in &values {
            for to in types {
                if !value.kind().casts_to(to) {
                    assert_eq!(value.clone().cast(to), None, "{value:?} as {to:?}");
                }
            }
        }
    }

    #[test]
    fn text_is_an_address_where_haproxy_finds_one() {
        for (text, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1:80", Some("10.0.0.1")),
            ("10.0.0.1;x", Some("10.0.0.1")),
            ("10.0.0.1/8", Some("10.0.0.1")),
            ("10.0.0.1x", Some("10.0.0.1")),
            ("010.000.00.01", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", Some("::ffff:10.0.0.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("10.0.0.1.", None),
            ("10.0.0.1.2", None),
            ("10.0.0", None),
            ("10..0.1", None),
            ("256.0.0.1", None),
            ("10.0.0.99999999999", None),
            ("0x0a.0.0.1", None),
            (" 10.0.0.1", None),
            ("unknown", None),
            ("", None),
        ] {
            let value = SampleValue::Str(text.as_bytes().into());
            let expected = expected.map(|address| address.parse::<IpAddr>().unwrap());
            assert_eq!(value.address(), expected, "{text:?}");
        }
    }
}
