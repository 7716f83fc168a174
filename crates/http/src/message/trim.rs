//! Removes the optional white space around header values.

/// Removes spaces and tabs from both ends. Other white space is not blank in HTTP: `\x0cchunked` is
/// not `chunked`.
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
