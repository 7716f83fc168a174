//! Resolves names of numbers (routing tables, routing protocols, scopes and so on) by fixed names
//! and by the files of iproute2 and `/etc/protocols`.

use crate::codes;
use crate::dialect::loader::Loader;
use crate::dialect::words::SourceWord;
use language::{Diagnostic, suggest};
use std::path::Path;

/// A kind of number, with its names.
pub(super) struct NumberNames {
    /// Description of the kind, for messages.
    pub(super) what: &'static str,
    pub(super) files: &'static [&'static str],
    /// Names that need no file.
    pub(super) fixed: &'static [(&'static str, u32)],
    pub(super) most: u32,
}

pub(super) static TABLE: NumberNames = NumberNames {
    what: "a routing table",
    files: &["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"],
    fixed: &[("default", 253), ("main", 254), ("local", 255)],
    most: u32::MAX,
};

/// `protocol` of routes and rules.
pub(super) static PROTOCOL: NumberNames = NumberNames {
    what: "a routing protocol",
    files: &["/etc/iproute2/rt_protos", "/usr/share/iproute2/rt_protos"],
    fixed: &[
        ("redirect", 1),
        ("kernel", 2),
        ("boot", 3),
        ("static", 4),
        ("gated", 8),
        ("ra", 9),
        ("mrt", 10),
        ("zebra", 11),
        ("bird", 12),
        ("dnrouted", 13),
        ("xorp", 14),
        ("ntk", 15),
        ("dhcp", 16),
        ("mrouted", 17),
        ("keepalived", 18),
        ("babel", 42),
        ("bgp", 186),
        ("isis", 187),
        ("ospf", 188),
        ("rip", 189),
        ("eigrp", 192),
    ],
    most: 255,
};

pub(super) static SCOPE: NumberNames = NumberNames {
    what: "a scope",
    files: &["/etc/iproute2/rt_scopes", "/usr/share/iproute2/rt_scopes"],
    fixed: &[
        ("global", 0),
        ("universe", 0),
        ("site", 200),
        ("link", 253),
        ("host", 254),
        ("nowhere", 255),
    ],
    most: 255,
};

pub(super) static TOS: NumberNames = NumberNames {
    what: "a type of service",
    files: &["/etc/iproute2/rt_dsfield", "/usr/share/iproute2/rt_dsfield"],
    fixed: &[],
    most: 255,
};

pub(super) static REALM: NumberNames = NumberNames {
    what: "a realm",
    files: &["/etc/iproute2/rt_realms", "/usr/share/iproute2/rt_realms"],
    fixed: &[("cosmos", 0)],
    most: 65535,
};

/// Names and numbers for the keyword `suppress_ifgroup`.
pub(super) static GROUP: NumberNames = NumberNames {
    what: "an interface group",
    files: &["/etc/iproute2/group", "/usr/share/iproute2/group"],
    fixed: &[("default", 0)],
    most: i32::MAX as u32,
};

pub(super) static IP_PROTOCOL: NumberNames = NumberNames {
    what: "an IP protocol",
    files: &["/etc/protocols"],
    fixed: &[
        ("icmp", 1),
        ("tcp", 6),
        ("udp", 17),
        ("dccp", 33),
        ("gre", 47),
        ("esp", 50),
        ("ah", 51),
        ("ipv6-icmp", 58),
        ("sctp", 132),
        ("udplite", 136),
    ],
    most: 255,
};

/// Parses a number in decimal or with 0x.
pub(super) fn plain(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Loader<'_> {
    /// Parses a number or its name. An unknown name is an error, with the most similar name as a
    /// suggestion.
    pub(super) fn named(&mut self, word: &SourceWord, names: &NumberNames) -> Option<u32> {
        let text = word.text.to_ascii_lowercase();
        if let Some(value) = plain(&text).filter(|v| *v <= names.most) {
            return Some(value);
        }
        if let Some((_, value)) = names.fixed.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let mut known: Vec<String> = names.fixed.iter().map(|(n, _)| (*n).to_owned()).collect();
        for file in names.files {
            let Ok(bytes) = self.outside.read(Path::new(file)) else {
                continue;
            };
            for (name, value) in entries(&String::from_utf8_lossy(&bytes)) {
                if name.eq_ignore_ascii_case(&text) && value <= names.most {
                    return Some(value);
                }
                known.push(name);
            }
        }
        let near = suggest::nearest(&word.text, known.iter().map(String::as_str));
        let message = format!(
            "'{}' is not {}: neither a number up to {} nor a name in {}",
            word.text,
            names.what,
            names.most,
            names.files.first().unwrap_or(&"")
        );
        self.report(
            Diagnostic::error(&codes::BAD_VALUE, word.span, message).did_you_mean(word.span, near),
        );
        None
    }

    /// Parses like [`Self::named`] into another type.
    pub(super) fn named_as<T: TryFrom<u32>>(
        &mut self,
        word: &SourceWord,
        names: &NumberNames,
    ) -> Option<T> {
        self.named(word, names).and_then(|n| T::try_from(n).ok())
    }
}

/// Parses lines such as `254 main` (iproute2) or `tcp 6 TCP` (/etc/protocols).
fn entries(text: &str) -> impl Iterator<Item = (String, u32)> {
    text.lines().filter_map(|line| {
        let line = line.split('#').next()?;
        let mut words = line.split_ascii_whitespace();
        let (first, second) = (words.next()?, words.next()?);
        match (plain(first), plain(second)) {
            (Some(value), _) => Some((second.to_owned(), value)),
            (None, Some(value)) => Some((first.to_owned(), value)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_files_have_entries() {
        let text = "# x\n254\tmain\n0x10 EF # y\ntcp 6 TCP\nodd\n";
        let all: Vec<_> = entries(text).collect();
        let want = [("main", 254), ("EF", 16), ("tcp", 6)];
        assert_eq!(all, want.map(|(n, v)| (n.to_owned(), v)));
    }
}
