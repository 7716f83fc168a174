//! Optional white space around values.

/// Without the spaces and tabs at both ends. Other white space is no blank in
/// HTTP: `\x0cchunked` is not `chunked`.
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
