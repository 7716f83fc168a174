//! Finds the cookies of a message as `req.cook` and `res.cook` see them. Values keep their quotes
//! and are not interpreted.

use super::fields::Fields;
use super::trim::trim;

/// Names and values of the cookies of a line. Parts without `=` are ignored, and so are attributes
/// (`$Path`). A name or value may be empty.
#[derive(Clone, Debug)]
pub struct CookiePairs<'a, 'n> {
    /// Remaining pairs up to the next comma.
    element: &'a [u8],
    rest: &'a [u8],
    name: Option<&'n [u8]>,
    response: bool,
}

/// Returns the cookies of a `cookie` line, separated by `;` and `,`; with a name, only those with
/// this name. As in HAProxy, `name=` is not found by its name where a line or an element ends with
/// it and no blank precedes it.
pub fn request_cookies<'a, 'n>(line: &'a [u8], name: Option<&'n [u8]>) -> CookiePairs<'a, 'n> {
    CookiePairs {
        element: &[],
        rest: line,
        name,
        response: false,
    }
}

/// Returns the cookies of a `set-cookie` line; with a name, only those with this name. Between two
/// commas only the first pair is a cookie; the others are its attributes. As in HAProxy,
/// attributes with the name of the cookie that is searched are cookies, too.
pub fn response_cookies<'a, 'n>(line: &'a [u8], name: Option<&'n [u8]>) -> CookiePairs<'a, 'n> {
    CookiePairs {
        response: true,
        ..request_cookies(line, name)
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

impl<'a> Iterator for CookiePairs<'a, '_> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let cut = |text: &mut &'a [u8], stops: &[u8]| {
            let (part, rest) = text.split_at(pair_end(text, stops));
            *text = rest.get(1..).unwrap_or_default();
            part
        };
        loop {
            if self.element.is_empty() {
                if self.rest.is_empty() {
                    return None;
                }
                self.element = trim(cut(&mut self.rest, b","));
            }
            let length = self.element.len();
            let pair = cut(&mut self.element, b";");
            let Some(equals) = memchr::memchr(b'=', pair) else {
                continue;
            };
            let (name, value) = (trim(&pair[..equals]), trim(&pair[equals + 1..]));
            if name.starts_with(b"$") {
                continue;
            }
            let wanted = self.name.unwrap_or_default();
            let found = length > wanted.len() + 1 && self.name.is_none_or(|wanted| wanted == name);
            if self.response && !(found && self.name.is_some()) {
                self.element = &[];
            }
            if found {
                return Some((name, value));
            }
        }
    }
}

impl Fields {
    /// Returns the cookies of all `cookie` lines; with a name, only those with this name.
    pub fn request_cookies(&self, name: Option<&[u8]>) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.get_all(b"cookie")
            .flat_map(move |line| request_cookies(line, name))
    }

    /// Returns the cookies of all `set-cookie` lines; with a name, only those with this name.
    pub fn response_cookies(&self, name: Option<&[u8]>) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.get_all(b"set-cookie")
            .flat_map(move |line| response_cookies(line, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(all: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<String> {
        all.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
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
            (&["a=; b=1"], &[""]),
            (&["b=1; a="], &[""]),
            (&["b=1;a="], &[]),
            (&["b=1,a="], &[]),
            (&["b=1, a="], &[]),
            (&["a=;"], &[""]),
            (&["a=; a=1"], &["", "1"]),
            (&["a=1; a="], &["1", ""]),
            (&["a = ; b"], &[""]),
            (&["$a=1; a="], &[""]),
            (&["a=", "a=; b"], &[""]),
        ];
        for (lines, expected) in table {
            let mut fields = Fields::new();
            for line in *lines {
                fields.add(b"Cookie", line.as_bytes()).unwrap();
            }
            let found = values(fields.request_cookies(Some(b"a")));
            assert_eq!(found, *expected, "{lines:?}");
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
            (&["a=; Path=/"], &[""]),
            (&["a="], &[]),
            (&["b=; a=1"], &[]),
            (&["c; a=1"], &["1"]),
            (&["$b=1; a=2"], &["2"]),
            (&["=1; a=2"], &[]),
            (&["a=1; a="], &["1", ""]),
            (&["a=;,a=1"], &["", "1"]),
        ];
        for (lines, expected) in table {
            let mut fields = Fields::new();
            for line in *lines {
                fields.add(b"Set-Cookie", line.as_bytes()).unwrap();
            }
            let found = values(fields.response_cookies(Some(b"a")));
            assert_eq!(found, *expected, "{lines:?}");
        }
    }

    #[test]
    fn all_cookies_are_found_without_a_name() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("c=", &[""], &[""]),
            ("c=; d=1", &["", "1"], &[""]),
            ("=1; c=2", &["1", "2"], &["1"]),
            ("=; c=", &["", ""], &[""]),
            ("$v=1; c=2", &["2"], &["2"]),
            ("c=,d=1", &["", "1"], &["", "1"]),
            ("c; d=1", &["1"], &["1"]),
            ("=", &[], &[]),
            ("$=", &[], &[]),
            (";", &[], &[]),
            (",", &[], &[]),
        ];
        for (line, request, response) in table {
            let line = line.as_bytes();
            assert_eq!(values(request_cookies(line, None)), *request);
            assert_eq!(values(response_cookies(line, None)), *response);
        }
    }
}
