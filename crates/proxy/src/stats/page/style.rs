//! Tests that the colours of the statistics page have sufficient contrast (WCAG 2.2, 1.4.3).

use super::head::STYLE;

type Rgb = [f64; 3];

/// Returns the colours of a theme; the dark theme overrides some of the light one.
fn theme(dark: bool) -> impl Fn(&str) -> &'static str {
    let (light, rest) = STYLE
        .split_once("@media(prefers-color-scheme:dark)")
        .unwrap();
    let dark_rules = rest.split_once("}}").unwrap().0;
    move |name| {
        let find = |rules: &'static str| {
            let (_, value) = rules.split_once(&format!("--{name}:"))?;
            value.split([';', '}']).next()
        };
        let own = if dark { find(dark_rules) } else { None };
        own.or_else(|| find(light))
            .unwrap_or_else(|| panic!("--{name}"))
    }
}

fn color(text: &str) -> Rgb {
    let digits: Vec<u32> = text[1..].chars().map(|c| c.to_digit(16).unwrap()).collect();
    let byte = |n: usize| match digits.len() {
        3 => digits[n] * 17,
        _ => digits[2 * n] * 16 + digits[2 * n + 1],
    };
    [0, 1, 2].map(|n| f64::from(byte(n)) / 255.0)
}

fn percent(text: &str) -> f64 {
    text.trim_end_matches('%').parse::<f64>().unwrap() / 100.0
}

fn mix(first: Rgb, second: Rgb, share: f64) -> Rgb {
    [0, 1, 2].map(|n| first[n] * share + second[n] * (1.0 - share))
}

fn luminance(color: Rgb) -> f64 {
    let [red, green, blue] = color.map(|c| {
        if c <= 0.04045 {
            c / 12.92
        } else {
            ((c + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

const STATES: [&str; 11] = [
    "up",
    "going-down",
    "going-up",
    "down",
    "nolb",
    "drain",
    "maint",
    "none",
    "b-up",
    "b-going-down",
    "b-going-up",
];

/// Additional tint of a row under the pointer, as in the stylesheet.
const HOVER: f64 = 0.1;

#[test]
fn every_text_has_the_contrast_that_accessibility_asks_for() {
    assert!(STYLE.contains("calc(var(--tint) + 10%)"));
    for dark in [false, true] {
        let value = theme(dark);
        let of = |name: &str| color(value(name));
        let (text, card, ink, tint) = (
            of("text"),
            of("card"),
            percent(value("ink")),
            percent(value("tint")),
        );
        let mut pairs = vec![
            ("soft on card".to_owned(), of("soft"), card),
            ("soft on back".to_owned(), of("soft"), of("back")),
            ("soft on head".to_owned(), of("soft"), of("head")),
            ("link on card".to_owned(), of("link"), card),
            ("tip".to_owned(), of("tiptext"), of("tip")),
        ];
        for state in STATES {
            let own = mix(of(state), text, ink);
            for (place, share) in [
                ("badge", 0.0),
                ("row", tint),
                ("row below the pointer", tint + HOVER),
            ] {
                let back = mix(of(state), card, share);
                pairs.push((format!("{state}: {place}"), own, back));
                pairs.push((format!("text on {state}: {place}"), text, back));
            }
        }
        for (what, one, other) in pairs {
            let found = contrast(one, other);
            assert!(found >= 4.5, "{what} has {found:.2}, dark: {dark}");
        }
    }
}
