//! Finds parameters of a URL as `urlp(name,delimiter)` sees them: after the first delimiter,
//! separated by `&`, `;` and the delimiter itself. Nothing is decoded.

/// Returns the first value of a parameter. Empty if nothing follows its `=`.
pub fn query_parameter<'a>(target: &'a [u8], name: &[u8], delimiter: u8) -> Option<&'a [u8]> {
    parameters(target, delimiter)
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v)
}

/// Returns all parameters that have a `=`, in order.
pub fn parameters(target: &[u8], delimiter: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
    let all = match memchr::memchr(delimiter, target) {
        Some(at) => &target[at + 1..],
        None => &target[target.len()..],
    };
    all.split(move |b| *b == b'&' || *b == b';' || *b == delimiter)
        .filter_map(|part| {
            let equals = memchr::memchr(b'=', part)?;
            Some((&part[..equals], &part[equals + 1..]))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_as_haproxy_finds_them() {
        // Each row has a target, and the results of `urlp(a)` and `urlp(a,;)`.
        let table: &[(&str, Option<&str>, Option<&str>)] = &[
            ("/?a=1", Some("1"), None),
            ("/?a=1&a=2", Some("1"), None),
            ("/?b=1&a=2", Some("2"), None),
            ("/?b=1;a=2", Some("2"), Some("2")),
            ("/;a=3?a=4", Some("4"), Some("3?a=4")),
            ("/p;a=3", None, Some("3")),
            ("/?a", None, None),
            ("/?a=", Some(""), None),
            ("/?A=1", None, None),
            ("/?aa=1&a=2", Some("2"), None),
            ("/?x=a=1", None, None),
            ("/?b&a=%41+b", Some("%41+b"), None),
            ("/?a=1;2", Some("1"), None),
            ("/?&a=1", Some("1"), None),
            ("/?%61=1", None, None),
            ("/x?y?a=1", Some("1"), None),
            ("http://a/?a=9", Some("9"), None),
            ("*", None, None),
            ("", None, None),
        ];
        for (target, question, semicolon) in table {
            let get = |d| query_parameter(target.as_bytes(), b"a", d);
            assert_eq!(get(b'?'), question.map(str::as_bytes), "{target}");
            assert_eq!(get(b';'), semicolon.map(str::as_bytes), "{target}");
        }
    }
}
