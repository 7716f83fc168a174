//! Splits a header into values as HAProxy's `hdr` counts them: at commas outside of quotes, over
//! all lines of the name. `fhdr` counts whole lines. No header is exempt, not even `date` or
//! `set-cookie`.

use super::fields::Fields;
use super::trim::trim;

/// The comma-separated values of one line.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    rest: Option<&'a [u8]>,
}

/// Splits one line at the commas outside quotes. An empty line
/// is one empty value.
pub fn split_values(line: &[u8]) -> Values<'_> {
    Values { rest: Some(line) }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.rest?;
        let end = comma(line);
        self.rest = line.get(end + 1..);
        Some(trim(&line[..end]))
    }
}

fn comma(line: &[u8]) -> usize {
    let mut quoted = false;
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
        at += 1;
    }
    line.len()
}

/// Returns the n-th item of an iterator: 1 is the first, -1 the last.
fn nth<'a>(mut all: impl Iterator<Item = &'a [u8]> + Clone, occurrence: i32) -> Option<&'a [u8]> {
    match occurrence {
        0 => None,
        1.. => all.nth(occurrence as usize - 1),
        _ => {
            let back = occurrence.unsigned_abs() as usize;
            let count = all.clone().count();
            all.nth(count.checked_sub(back)?)
        }
    }
}

impl Fields {
    pub fn values<'a, 'n>(
        &'a self,
        name: &'n [u8],
    ) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a, 'n> {
        self.lines(name).flat_map(split_values)
    }

    /// Returns a value as `hdr(name,occurrence)`: 1 is the first, -1 the last; 0 is none.
    pub fn nth_value(&self, name: &[u8], occurrence: i32) -> Option<&[u8]> {
        nth(self.values(name), occurrence)
    }

    /// Returns a whole line as `fhdr(name,occurrence)`.
    pub fn nth_line(&self, name: &[u8], occurrence: i32) -> Option<&[u8]> {
        nth(self.lines(name), occurrence)
    }

    /// Returns the number of values, as `hdr_cnt(name)`.
    pub fn count_values(&self, name: &[u8]) -> usize {
        self.values(name).count()
    }

    fn lines<'a, 'n>(
        &'a self,
        name: &'n [u8],
    ) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a, 'n> {
        (0..self.len())
            .filter_map(move |i| self.at(i))
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of one name, and the expected results: of `hdr` for 1, 2, -1 and -2, of `hdr_cnt`,
    /// and of `fhdr` for 1 and -2.
    type Case = (
        &'static [&'static str],
        [Option<&'static str>; 4],
        usize,
        [Option<&'static str>; 2],
    );

    const CASES: &[Case] = &[
        (
            &["x"],
            [Some("x"), None, Some("x"), None],
            1,
            [Some("x"), None],
        ),
        (
            &["x, y ,z"],
            [Some("x"), Some("y"), Some("z"), Some("y")],
            3,
            [Some("x, y ,z"), None],
        ),
        (
            &["x,,z"],
            [Some("x"), Some(""), Some("z"), Some("")],
            3,
            [Some("x,,z"), None],
        ),
        (
            &[",x"],
            [Some(""), Some("x"), Some("x"), Some("")],
            2,
            [Some(",x"), None],
        ),
        (
            &["x,"],
            [Some("x"), Some(""), Some(""), Some("x")],
            2,
            [Some("x,"), None],
        ),
        (&[""], [Some(""), None, Some(""), None], 1, [Some(""), None]),
        (
            &["x", "y,z"],
            [Some("x"), Some("y"), Some("z"), Some("y")],
            3,
            [Some("x"), Some("x")],
        ),
        (
            &["\"q,r\",s"],
            [Some("\"q,r\""), Some("s"), Some("s"), Some("\"q,r\"")],
            2,
            [Some("\"q,r\",s"), None],
        ),
        (
            &["\"q\\\",r\",s"],
            [
                Some("\"q\\\",r\""),
                Some("s"),
                Some("s"),
                Some("\"q\\\",r\""),
            ],
            2,
            [Some("\"q\\\",r\",s"), None],
        ),
        (
            &["a=\"b,c\";d,e"],
            [
                Some("a=\"b,c\";d"),
                Some("e"),
                Some("e"),
                Some("a=\"b,c\";d"),
            ],
            2,
            [Some("a=\"b,c\";d,e"), None],
        ),
        (
            &["\"open,a"],
            [Some("\"open,a"), None, Some("\"open,a"), None],
            1,
            [Some("\"open,a"), None],
        ),
        (&[], [None, None, None, None], 0, [None, None]),
    ];

    #[test]
    fn values_are_counted_as_haproxy_counts_them() {
        for (lines, hdr, count, fhdr) in CASES {
            let mut fields = Fields::new();
            for line in *lines {
                fields.add(b"A", line.as_bytes()).unwrap();
                fields.add(b"other", b"1,2,3").unwrap();
            }
            let got = [1, 2, -1, -2].map(|n| fields.nth_value(b"a", n));
            assert_eq!(got, hdr.map(|h| h.map(str::as_bytes)), "{lines:?}");
            assert_eq!(fields.count_values(b"a"), *count, "{lines:?}");
            let got = [1, -2].map(|n| fields.nth_line(b"a", n));
            assert_eq!(got, fhdr.map(|h| h.map(str::as_bytes)), "{lines:?}");
            assert_eq!(fields.nth_value(b"a", 0), None);
            assert_eq!(fields.nth_value(b"a", i32::MIN), None);
        }
    }
}
