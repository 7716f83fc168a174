//! Cookies as `req.cook` and `res.cook` see them. Values keep their quotes. The meaning of cookies
//! is not known here.

use super::fields::Fields;
use super::trim::trim;

/// The `name=value` pairs of a line. Pairs without `=` or without a value are ignored.
#[derive(Clone, Debug)]
pub struct CookiePairs<'a> {
    rest: &'a [u8],
    response: bool,
}

/// Returns the pairs of a `cookie` line, separated by `;` and `,`.
pub fn request_cookies(line: &[u8]) -> CookiePairs<'_> {
    CookiePairs {
        rest: line,
        response: false,
    }
}

/// Returns the pairs of a `set-cookie` line. Between two commas only the first pair is a cookie;
/// the others are its attributes.
pub fn response_cookies(line: &[u8]) -> CookiePairs<'_> {
    CookiePairs {
        rest: line,
        response: true,
    }
}

/// Returns the end of a pair: the first of these bytes outside of quotes.
pub fn pair_end(line: &[u8], stops: &[u8]) -> usize {
    let mut quoted = false;
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b if !quoted && stops.contains(&b) => return at,
            _ => {}
        }
        at += 1;
    }
    line.len()
}

impl<'a> Iterator for CookiePairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = pair_end(self.rest, b";,");
            let pair = &self.rest[..end];
            let mut next = end;
            if self.response {
                next = end + pair_end(&self.rest[end..], b",");
            }
            self.rest = self.rest.get(next + 1..).unwrap_or_default();
            let Some(equals) = memchr::memchr(b'=', pair) else {
                continue;
            };
            let name = trim(&pair[..equals]);
            let value = trim(&pair[equals + 1..]);
            if !name.is_empty() && !value.is_empty() {
                return Some((name, value));
            }
        }
        None
    }
}

impl Fields {
    /// Returns the pairs of all `cookie` lines.
    pub fn request_cookies(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.get_all(b"cookie").flat_map(request_cookies)
    }

    /// Returns the pairs of all `set-cookie` lines.
    pub fn response_cookies(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.get_all(b"set-cookie").flat_map(response_cookies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<'a>(all: impl Iterator<Item = (&'a [u8], &'a [u8])>, name: &str) -> Vec<String> {
        all.filter(|(n, _)| *n == name.as_bytes())
            .map(|(_, v)| String::from_utf8(v.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn request_cookies_are_found_as_haproxy_finds_them() {
        let table: &[(&[&str], &[&str])] = &[
            (&["a=1"], &["1"]),
            (&["a=1; b=2; a=3"], &["1", "3"]),
            (&["b=2;a=1"], &["1"]),
            (&["a=\"q;r\"; b=1"], &["\"q;r\""]),
            (&["a"], &[]),
            (&["a="], &[]),
            (&["A=1"], &[]),
            (&["a = 1 ; b=2"], &["1"]),
            (&["aa=1; a=2"], &["2"]),
            (&["a=1,a=2"], &["1", "2"]),
            (&["b=\"x; a=5\"; a=6"], &["6"]),
            (&["a=1", "a=2"], &["1", "2"]),
            (&[" a=1=2"], &["1=2"]),
            (&["; ;a=3"], &["3"]),
            (&["$Version=1; a=2; $Path=/"], &["2"]),
            (&["x; a=1"], &["1"]),
            (&["a==;"], &["="]),
            (&["a=1 2;b"], &["1 2"]),
            (&["=1; a=2"], &["2"]),
            (&[""], &[]),
            (&["\"\\"], &[]),
        ];
        for (lines, expected) in table {
            let mut fields = Fields::new();
            for line in *lines {
                fields.add(b"Cookie", line.as_bytes()).unwrap();
            }
            assert_eq!(pairs(fields.request_cookies(), "a"), *expected, "{lines:?}");
        }
    }

    #[test]
    fn only_the_first_pair_of_a_set_cookie_is_a_cookie() {
        let table: &[(&[&str], &[&str])] = &[
            (&["a=1; Path=/"], &["1"]),
            (&["a=1; Path=/", "b=2, a=3; x"], &["1", "3"]),
            (&["b=2", "a=\"q;r\"; x", "a=4"], &["\"q;r\"", "4"]),
            (&["b=1; a=2"], &[]),
            (&["a = 5 ; b"], &["5"]),
            (&["b=1, a=2"], &["2"]),
            (&["b=1; c, a=2; d"], &["2"]),
        ];
        for (lines, expected) in table {
            let mut fields = Fields::new();
            for line in *lines {
                fields.add(b"Set-Cookie", line.as_bytes()).unwrap();
            }
            assert_eq!(
                pairs(fields.response_cookies(), "a"),
                *expected,
                "{lines:?}"
            );
        }
    }
}
