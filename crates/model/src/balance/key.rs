//! Calculates the hash key by which a stream's server is chosen: from the client's address, the
//! request target, a parameter, a header or an expression. The hash functions and their inputs
//! equal HAProxy's, so that a key keeps its server when Evenkeel replaces HAProxy.

use super::table::hash_of;
use crate::config::{Balance, HashFunction, HashKey, HashType, Proxy};
use crate::sample::{SampleValue, hash, rdp_cookie};
use crate::transaction::ProxyStream;
use http::message::query_parameter;

impl HashType {
    fn of(self, bytes: &[u8]) -> u32 {
        let number = match self.function {
            HashFunction::Sdbm => hash::sdbm(bytes),
            HashFunction::Djb2 => hash::djb2(bytes),
            HashFunction::Wt6 => hash::wt6(bytes),
            HashFunction::Crc32 => hash::crc32(bytes),
            HashFunction::None => digits(bytes),
        };
        self.mixed(number)
    }

    fn mixed(self, number: u32) -> u32 {
        if self.avalanche {
            hash::avalanche(number)
        } else {
            number
        }
    }
}

/// Parses the leading digits of a text as a number.
fn digits(bytes: &[u8]) -> u32 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0u32, |number, digit| {
        number
            .wrapping_mul(10)
            .wrapping_add(u32::from(digit - b'0'))
    })
}

/// Returns the hash key of a stream; None if the stream has none, so that servers take turns.
pub fn of(stream: &ProxyStream, proxy: &Proxy) -> Option<u32> {
    let kind = proxy.hash;
    let key = match &proxy.balance {
        Balance::Source => {
            let source = stream.source().ip()?;
            return Some(kind.mixed(hash_of(source)));
        }
        Balance::Hash(hashed) => &hashed.key,
        _ => return None,
    };
    match key {
        HashKey::Source => Some(kind.mixed(hash_of(stream.source().ip()?))),
        HashKey::RdpCookie(name) => {
            let value = rdp_cookie(&stream.payloads.request, Some(name))?;
            (!value.is_empty()).then(|| kind.of(value))
        }
        // Returns no key: keys of log messages do not apply to streams.
        HashKey::Message(_) => None,
        HashKey::Expression(expression) => of_value(kind, expression.evaluate(stream)?),
        _ if !stream.http => None,
        HashKey::Uri {
            bytes_max,
            depth_max,
            whole,
            path_only,
        } => {
            let uri = if *path_only {
                stream.request.path_and_query()
            } else {
                stream.request.target()
            };
            Some(kind.of(uri_part(uri, *bytes_max, *depth_max, *whole)))
        }
        HashKey::UrlParameter { name, check_post } => {
            let target = stream.request.target();
            let value = query_parameter(target, name, b'?').or_else(|| {
                let searched = *check_post && stream.request.method() == b"POST";
                searched
                    .then(|| of_body(&stream.payloads.request, name))
                    .flatten()
            });
            value.map(|value| kind.of(value))
        }
        HashKey::Header { name, domain_only } => {
            let value = stream.request.fields().nth_value(name, 1)?;
            if value.is_empty() {
                return None;
            }
            Some(kind.of(if *domain_only { domain(value) } else { value }))
        }
    }
}

/// Returns the hash key of a log message (`balance log-hash`), or None, so that servers take
/// turns. `nobody` is a dummy stream for converters that need one.
pub fn of_message(message: &[u8], proxy: &Proxy, nobody: &ProxyStream) -> Option<u32> {
    let Balance::Hash(hashed) = &proxy.balance else {
        return None;
    };
    let HashKey::Message(converters) = &hashed.key else {
        return None;
    };
    let value = converters.apply(SampleValue::Str(message.into()), nobody)?;
    of_value(proxy.hash, value)
}

/// Hashes a value. With `hash-type … none`, a number is used as it is.
fn of_value(kind: HashType, value: SampleValue<'_>) -> Option<u32> {
    match value {
        SampleValue::Int(number) if kind.function == HashFunction::None => {
            Some(kind.mixed(number as u32))
        }
        SampleValue::Bool(value) => Some(kind.of(&u64::from(value).to_be_bytes())),
        value => Some(kind.of(&value.into_bytes()?)),
    }
}

fn uri_part(uri: &[u8], bytes_max: Option<u32>, depth_max: Option<u32>, whole: bool) -> &[u8] {
    let most = bytes_max.map_or(uri.len(), |max| uri.len().min(max as usize));
    let (mut slashes, mut end) = (0, 0);
    for byte in &uri[..most] {
        if *byte == b'/' {
            slashes += 1;
            if depth_max.is_some_and(|max| slashes > max) {
                break;
            }
        } else if *byte == b'?' && !whole {
            break;
        }
        end += 1;
    }
    &uri[..end]
}

/// Returns the value of a parameter in the body of a form.
fn of_body<'b>(body: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    body.split(|byte| *byte == b'&').find_map(|part| {
        let equals = memchr::memchr(b'=', part)?;
        (&part[..equals] == name).then(|| &part[equals + 1..])
    })
}

/// Returns the main part of a host name: `example` of `www.example.com`.
fn domain(host: &[u8]) -> &[u8] {
    let Some(last) = memchr::memrchr(b'.', host) else {
        return host;
    };
    // As in HAProxy, the byte before the last dot is skipped without a check.
    let before = &host[..last.saturating_sub(1)];
    let begin = memchr::memrchr(b'.', before).map_or(0, |at| at + 1);
    match &host[begin..last] {
        b"" => host,
        part => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_counts_up_to_its_query_and_its_bounds() {
        let all = |uri| uri_part(uri, None, None, false);
        assert_eq!(all(b"/a/b?c=/d"), b"/a/b");
        assert_eq!(uri_part(b"/a/b?c=/d", None, None, true), b"/a/b?c=/d");
        assert_eq!(uri_part(b"/a/b", Some(2), None, false), b"/a");
        assert_eq!(uri_part(b"/a/b/c", None, Some(2), false), b"/a/b");
        assert_eq!(uri_part(b"/a/b/c", None, Some(1), false), b"/a");
        assert_eq!(all(b""), b"");
    }

    #[test]
    fn the_main_part_of_a_host_is_found_as_haproxy_finds_it() {
        for (host, want) in [
            ("www.example.com", "example"),
            ("example.com", "example"),
            ("a.example.co.uk", "co"),
            ("localhost", "localhost"),
            ("x.example.com:8080", "example"),
            (".com", ".com"),
            ("a..com", "a."),
            ("", ""),
        ] {
            assert_eq!(domain(host.as_bytes()), want.as_bytes());
        }
    }

    #[test]
    fn a_parameter_is_found_in_a_form() {
        for (body, want) in [
            ("user=bob", Some("bob")),
            ("x=1&user=bob&y=2", Some("bob")),
            ("y=2&user=42\r\n", Some("42\r\n")),
            ("user=", Some("")),
            ("xuser=1&user", None),
            ("", None),
        ] {
            assert_eq!(of_body(body.as_bytes(), b"user"), want.map(str::as_bytes));
        }
    }

    #[test]
    fn numbers_are_read_from_their_digits() {
        assert_eq!(digits(b"12345x"), 12345);
        assert_eq!(digits(b"x"), 0);
        assert_eq!(digits(b"99999999999"), 99_999_999_999u64 as u32);
    }
}
