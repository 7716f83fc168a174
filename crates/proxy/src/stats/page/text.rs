//! Formats text for the statistics page: escaped HTML, grouped numbers, short durations.

pub use part::report::escape;
use std::fmt::Write;

/// Appends a number. Large ones are shown in groups of three digits, but copied text contains no
/// separators.
pub fn number(out: &mut String, n: u64) {
    let mut digits = itoa(n);
    let mut rest: &str = digits.make();
    while rest.len() > 3 {
        let first = (rest.len() - 1) % 3 + 1;
        out.push_str("<s>");
        out.push_str(&rest[..first]);
        out.push_str("</s>");
        rest = &rest[first..];
    }
    out.push_str(rest);
}

/// Formats bytes with a unit and three digits; None below one megabyte.
pub fn bytes(n: u64) -> Option<String> {
    const UNITS: [(u64, &str); 5] = [
        (1_000_000_000_000_000_000, "EB"),
        (1_000_000_000_000_000, "PB"),
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
    ];
    let (size, unit) = UNITS.into_iter().find(|(size, _)| n >= *size)?;
    let (whole, hundredths) = (n / size, n % size / (size / 100));
    Some(match whole {
        0..10 => format!("{whole}.{hundredths:02} {unit}"),
        10..100 => format!("{whole}.{} {unit}", hundredths / 10),
        _ => format!("{whole} {unit}"),
    })
}

/// Appends a text with a tooltip; `more` appends the tooltip's text, escaped.
pub fn tip(out: &mut String, text: &str, more: impl FnOnce(&mut String)) {
    out.push_str("<span class=\"t\" tabindex=\"0\">");
    escape(out, text);
    out.push_str("<span>");
    more(out);
    out.push_str("</span></span>");
}

/// Digits of a number, formatted without an allocation.
struct Digits {
    n: u64,
    bytes: [u8; 20],
}

fn itoa(n: u64) -> Digits {
    Digits {
        n,
        bytes: [b'0'; 20],
    }
}

impl Digits {
    fn make(&mut self) -> &str {
        let mut at = self.bytes.len();
        loop {
            at -= 1;
            self.bytes[at] = b'0' + (self.n % 10) as u8;
            self.n /= 10;
            if self.n == 0 {
                break;
            }
        }
        std::str::from_utf8(&self.bytes[at..]).unwrap_or_default()
    }
}

/// Appends a duration in its two largest units: `1m20s`.
pub fn seconds(out: &mut String, s: u64) {
    let units = [
        (86_400 * 7, 'w'),
        (86_400, 'd'),
        (3600, 'h'),
        (60, 'm'),
        (1, 's'),
    ];
    let first = units
        .iter()
        .position(|(size, _)| s >= *size)
        .unwrap_or(units.len() - 1);
    let (size, unit) = units[first];
    // Ignores the results, because writing to a string cannot fail.
    let _ = write!(out, "{}{unit}", s / size);
    if let Some((next, unit)) = units.get(first + 1)
        && s % size / next > 0
    {
        let _ = write!(out, "{}{unit}", s % size / next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(f: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        f(&mut out);
        out
    }

    #[test]
    fn markup_in_text_is_escaped() {
        assert_eq!(
            made(|o| escape(o, "a<b> & \"c\" 'd' é")),
            "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39; é"
        );
    }

    #[test]
    fn large_numbers_have_groups() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "<s>1</s>000"),
            (123_456, "<s>123</s>456"),
            (
                u64::MAX,
                "<s>18</s><s>446</s><s>744</s><s>073</s><s>709</s><s>551</s>615",
            ),
        ] {
            assert_eq!(made(|o| number(o, n)), text);
        }
    }

    #[test]
    fn bytes_have_three_digits_and_a_unit() {
        for (n, text) in [
            (0, None),
            (999_999, None),
            (1_000_000, Some("1.00 MB")),
            (9_876_543_210, Some("9.87 GB")),
            (98_765_432_100, Some("98.7 GB")),
            (987_654_321_000, Some("987 GB")),
            (u64::MAX, Some("18.4 EB")),
        ] {
            assert_eq!(bytes(n).as_deref(), text);
        }
    }

    #[test]
    fn times_have_two_units_at_most() {
        for (s, text) in [
            (0, "0s"),
            (59, "59s"),
            (80, "1m20s"),
            (3600, "1h"),
            (3660, "1h1m"),
            (90_061, "1d1h"),
            (864_000, "1w3d"),
        ] {
            assert_eq!(made(|o| seconds(o, s)), text);
        }
    }
}
