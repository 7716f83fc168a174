//! Parses and formats memory sizes in the notation of the configuration, such as `4g`.

/// Unit of a guest's memory size, bytes.
pub const MIB: u64 = 1 << 20;

/// Parses a size: a number, with or without the unit `k`, `m`, `g` or `t` (powers of 1024). Without
/// a unit the number counts bytes. Returns None for other text and for too large numbers.
pub fn parse(word: &str) -> Option<u64> {
    let (shift, unit_bytes) = match word.bytes().last()?.to_ascii_lowercase() {
        b'k' => (10, 1),
        b'm' => (20, 1),
        b'g' => (30, 1),
        b't' => (40, 1),
        _ => (0, 0),
    };
    let digits = word.get(..word.len() - unit_bytes)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    number.checked_mul(1 << shift)
}

/// Returns a size with the largest unit of which it is a whole number.
pub fn words(bytes: u64) -> String {
    let units = [(40, 't'), (30, 'g'), (20, 'm'), (10, 'k')];
    let whole = |(shift, _): &(u32, char)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match units.into_iter().find(whole) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        for (word, bytes) in [
            ("4g", Some(4 << 30)),
            ("512M", Some(512 << 20)),
            ("1536m", Some(1536 << 20)),
            ("1048576", Some(1 << 20)),
            ("1t", Some(1 << 40)),
            ("16777216t", None),
            ("g", None),
            ("", None),
            ("+1g", None),
            ("1.5g", None),
            ("4gb", None),
            ("4é", None),
        ] {
            assert_eq!(parse(word), bytes, "{word}");
        }
        assert_eq!([words(4 << 30), words(1536 << 20)], ["4g", "1536m"]);
        assert_eq!([words(0), words(1000)], ["0", "1000"]);
    }
}
