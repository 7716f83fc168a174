//! Reads LDAP distinguished names (RFC 4514).

/// Returns the first value of a distinguished name: for
/// `CN=Desktop\, all,OU=Groups,DC=example,DC=org` that is `Desktop, all`. None if the value is not
/// text.
pub fn first_value(name: &str) -> Option<String> {
    let (_, rest) = name.split_once('=')?;
    let mut bytes = rest.trim_start_matches(' ').bytes();
    if bytes.clone().next() == Some(b'#') {
        return None;
    }
    let (mut value, mut kept) = (Vec::new(), 0);
    while let Some(byte) = bytes.next() {
        match byte {
            b',' | b'+' | b';' => break,
            b'\\' => {
                let next = bytes.next()?;
                match digit(next) {
                    Some(high) => value.push(high << 4 | digit(bytes.next()?)?),
                    None => value.push(next),
                }
                kept = value.len();
            }
            b' ' => value.push(byte),
            _ => {
                value.push(byte);
                kept = value.len();
            }
        }
    }
    // Trailing spaces belong to the value only if they are escaped.
    value.truncate(kept);
    let value = String::from_utf8(value).ok()?;
    (!value.is_empty()).then_some(value)
}

pub(super) fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}
