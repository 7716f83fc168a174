//! Holds sets of characters as sorted ranges that do not touch.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

/// Highest character when characters are bytes.
pub const BYTE_MAX: u32 = 0xff;
pub const POINT_MAX: u32 = 0x10_ffff;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Set {
    ranges: Vec<(u32, u32)>,
}

impl Set {
    pub fn from_ranges(ranges: &[(u32, u32)]) -> Self {
        let mut set = Set {
            ranges: ranges.to_vec(),
        };
        set.normalize();
        set
    }

    pub fn bytes(bytes: &[u8]) -> Self {
        let ranges: Vec<_> = bytes
            .iter()
            .map(|b| (u32::from(*b), u32::from(*b)))
            .collect();
        Self::from_ranges(&ranges)
    }

    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    pub fn contains(&self, char: u32) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= char);
        after > 0 && self.ranges[after - 1].1 >= char
    }

    pub fn add(&mut self, other: &Set) {
        self.ranges.extend_from_slice(&other.ranges);
        self.normalize();
    }

    /// Returns the characters up to `max` that are not in the set.
    pub fn negated(&self, max: u32) -> Set {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        let mut next = 0;
        for (first, last) in &self.ranges {
            if *first > next {
                ranges.push((next, first - 1));
            }
            next = last + 1;
        }
        if next <= max {
            ranges.push((next, max));
        }
        Set { ranges }
    }

    pub fn clipped(mut self, max: u32) -> Set {
        self.ranges.retain(|(first, _)| *first <= max);
        if let Some(last) = self.ranges.last_mut() {
            last.1 = last.1.min(max);
        }
        self
    }

    /// Adds the other cases of the characters: of ASCII, or of all of Unicode up to `max`.
    pub fn folded(mut self, unicode: bool, max: u32) -> Set {
        if unicode {
            let mut class = class(&self.ranges);
            class.case_fold_simple();
            self.ranges.extend(
                class
                    .iter()
                    .map(|range| (u32::from(range.start()), u32::from(range.end()))),
            );
            self.normalize();
            return self.clipped(max);
        }
        let mut other = Vec::new();
        for (first, last) in &self.ranges {
            for (low, high, delta) in [(0x41, 0x5a, 0x20i32), (0x61, 0x7a, -0x20)] {
                let (from, to) = (*first.max(&low), *last.min(&high));
                if from <= to {
                    other.push((
                        from.wrapping_add_signed(delta),
                        to.wrapping_add_signed(delta),
                    ));
                }
            }
        }
        self.ranges.extend(other);
        self.normalize();
        self
    }

    fn normalize(&mut self) {
        self.ranges.sort_unstable();
        let mut out: Vec<(u32, u32)> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges.drain(..) {
            match out.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => out.push((first, last)),
            }
        }
        self.ranges = out;
    }
}

/// Converts ranges to code points without surrogates.
pub(super) fn scalar_ranges(ranges: &[(u32, u32)]) -> Vec<(char, char)> {
    let mut out = Vec::with_capacity(ranges.len() + 1);
    for (first, last) in ranges {
        for (low, high) in [(0, 0xd7ff), (0xe000, POINT_MAX)] {
            let from = char::from_u32(*first.max(&low));
            let to = char::from_u32(*last.min(&high));
            if let (Some(from), Some(to)) = (from, to)
                && from <= to
            {
                out.push((from, to));
            }
        }
    }
    out
}

fn class(ranges: &[(u32, u32)]) -> ClassUnicode {
    let scalars = scalar_ranges(ranges);
    ClassUnicode::new(
        scalars
            .into_iter()
            .map(|(first, last)| ClassUnicodeRange::new(first, last)),
    )
}

/// Returns the set of a Unicode property by its PCRE2 name; case, spaces, hyphens and underscores
/// in the name are ignored.
pub(super) fn property(name: &str) -> Option<Set> {
    let name: String = name
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '_' | '\t'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    const CATEGORIES: &[&str] = &[
        "c", "cc", "cf", "cn", "co", "cs", "l", "lc", "ll", "lm", "lo", "lt", "lu", "m", "mc",
        "me", "mn", "n", "nd", "nl", "no", "p", "pc", "pd", "pe", "pf", "pi", "po", "ps", "s",
        "sc", "sk", "sm", "so", "z", "zl", "zp", "zs",
    ];
    let union = |names: &[&str]| {
        let mut set = Set::default();
        for name in names {
            set.add(&unicode(name)?);
        }
        Some(set)
    };
    match name.as_str() {
        "any" => return Some(Set::from_ranges(&[(0, POINT_MAX)])),
        "l&" | "lc" => return union(&["Lu", "Ll", "Lt"]),
        "cs" => return Some(Set::from_ranges(&[(0xd800, 0xdfff)])),
        "xan" => return union(&["L", "N"]),
        "xwd" => {
            let mut set = union(&["L", "N"])?;
            set.add(&Set::bytes(b"_"));
            return Some(set);
        }
        "xsp" | "xps" => {
            let mut set = union(&["Z"])?;
            set.add(&Set::from_ranges(&[(9, 13), (0x85, 0x85)]));
            return Some(set);
        }
        "xuc" => {
            return Some(Set::from_ranges(&[
                (0x24, 0x24),
                (0x40, 0x40),
                (0x60, 0x60),
                (0xa0, 0xd7ff),
                (0xe000, POINT_MAX),
            ]));
        }
        _ => {}
    }
    if CATEGORIES.contains(&name.as_str()) {
        return unicode(&format!("gc={name}"));
    }
    if let Some((kind, value)) = name.split_once([':', '=']) {
        return match kind {
            "script" | "sc" => unicode(&format!("sc={value}")),
            "scriptextensions" | "scx" => unicode(&format!("scx={value}")),
            _ => None,
        };
    }
    unicode(&format!("scx={name}")).or_else(|| {
        // PCRE2 has no long names of categories; `ascii` and `any` are no categories.
        let long_category = unicode(&format!("gc={name}")).is_some();
        (!long_category || matches!(&*name, "ascii" | "any")).then(|| unicode(&name))?
    })
}

fn unicode(query: &str) -> Option<Set> {
    let hir = regex_syntax::parse(&format!("\\p{{{query}}}")).ok()?;
    match hir.kind() {
        regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => {
            Some(Set::from_ranges(
                &class
                    .iter()
                    .map(|range| (u32::from(range.start()), u32::from(range.end())))
                    .collect::<Vec<_>>(),
            ))
        }
        // A property of a single character is parsed as a literal.
        regex_syntax::hir::HirKind::Literal(literal) => {
            let char = u32::from(std::str::from_utf8(&literal.0).ok()?.chars().next()?);
            Some(Set::from_ranges(&[(char, char)]))
        }
        _ => None,
    }
}
