//! Address lines: `virtual_ipaddress` and `virtual_ipaddress_excluded`.

use super::draft::At;
use super::tables::SCOPE;
use crate::codes;
use crate::config::{Address, Lifetime, Scope};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use crate::dialect::value::bits;
use crate::dialect::words::SourceWord;
use language::keyword::Keyword;
use language::{Diagnostic, suggest};
use std::net::{IpAddr, Ipv4Addr};

/// Maximum length of a label in bytes: IFNAMSIZ without the terminating zero.
const LABEL_BYTES_MAX: usize = 15;

/// Iterator over the words of a line.
pub(in crate::dialect) struct WordIterator<'w> {
    words: &'w [SourceWord],
    at: usize,
}

impl<'w> WordIterator<'w> {
    pub(super) fn new(words: &'w [SourceWord]) -> WordIterator<'w> {
        WordIterator { words, at: 0 }
    }

    pub(super) fn next(&mut self) -> Option<&'w SourceWord> {
        let word = self.words.get(self.at);
        self.at += 1;
        word
    }

    pub(super) fn peek(&self) -> Option<&'w SourceWord> {
        self.words.get(self.at)
    }

    /// Returns the value behind the last word, and reports a missing one.
    pub(super) fn value(&mut self, l: &mut Loader<'_>) -> Option<&'w SourceWord> {
        let value = self.next();
        if value.is_none()
            && let Some(name) = self.words.last()
        {
            let message = format!("the value after '{}' is missing", name.text);
            l.error(&codes::MISSING_VALUE, name.span, message);
        }
        value
    }
}

/// Parses a word of an address line into the address.
pub(in crate::dialect) type Build = fn(&mut Loader<'_>, &mut WordIterator<'_>, &mut Address);

/// Blocks that contain address lines.
const ALL: &[&str] = &[
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "static_ipaddress",
];
const VIRTUAL: &[&str] = &["virtual_ipaddress", "virtual_ipaddress_excluded"];

type Row = Keyword<Build>;

pub(in crate::dialect) static OPTIONS: &[Row] = &[
    Row {
        places: ALL,
        syntax: "dev <interface>",
        doc: "The interface for the address; the default is that of the instance.",
        example: "192.0.2.10/24 dev eth1",
        build: |l, w, a| {
            let Some(word) = w.value(l) else { return };
            a.interface = Some(word.text.clone());
            let (value, span) = (word.text.clone(), word.span);
            l.drafts.interfaces.push((At { value, span }, "an address"));
        },
    },
    Row {
        places: ALL,
        syntax: "brd <address>|+|-",
        doc: "The broadcast address; `+` and `-` set or clear the host bits.",
        example: "192.0.2.10/24 brd +",
        build: broadcast,
    },
    Row {
        places: ALL,
        syntax: "broadcast <address>|+|-",
        doc: "Long form of `brd`.",
        example: "192.0.2.10/24 broadcast 192.0.2.255",
        build: broadcast,
    },
    Row {
        places: ALL,
        syntax: "scope global|site|link|host|nowhere",
        doc: "The scope of the address.",
        example: "192.0.2.10/24 scope global",
        build: |l, w, a| a.scope = w.value(l).and_then(|v| l.named_as(v, &SCOPE)).map(Scope),
    },
    Row {
        places: ALL,
        syntax: "label <name>",
        doc: "A label for the address, as shown by ifconfig: the interface, a colon, and a suffix. IPv4 only.",
        example: "192.0.2.10/24 dev eth0 label eth0:vip",
        build: label,
    },
    Row {
        places: ALL,
        syntax: "peer <address>",
        doc: "The other end of a point-to-point link.",
        example: "192.0.2.10 peer 192.0.2.11",
        build: |l, w, a| a.peer = w.value(l).and_then(|v| l.network(v)).map(|(peer, _)| peer),
    },
    Row {
        places: ALL,
        syntax: "home",
        doc: "Marks an IPv6 address as the home address of Mobile IPv6.",
        example: "2001:db8::10/64 home",
        build: |_, _, a| a.home = true,
    },
    Row {
        places: ALL,
        syntax: "-nodad",
        doc: "Disables duplicate address detection for this IPv6 address, which takes a second or more.",
        example: "2001:db8::10/64 -nodad",
        build: |_, _, a| a.no_dad = true,
    },
    Row {
        places: ALL,
        syntax: "mngtmpaddr",
        doc: "Lets the kernel derive temporary IPv6 addresses from this one.",
        example: "2001:db8::10/64 mngtmpaddr",
        build: |_, _, a| a.manage_temporary = true,
    },
    Row {
        places: ALL,
        syntax: "noprefixroute",
        doc: "Creates no route for the network of the address.",
        example: "192.0.2.10/24 noprefixroute",
        build: |_, _, a| a.no_prefix_route = true,
    },
    Row {
        places: ALL,
        syntax: "autojoin",
        doc: "Lets the kernel join the multicast group of the address.",
        example: "192.0.2.10/24 autojoin",
        build: |_, _, a| a.auto_join = true,
    },
    Row {
        places: ALL,
        syntax: "preferred_lft <seconds>|forever",
        doc: "Time for which new connections of this machine may use it as source address. 0, the default for a /128, \
            never; `forever` always.",
        example: "2001:db8::10/128 preferred_lft forever",
        build: preferred,
    },
    Row {
        places: VIRTUAL,
        syntax: "no_track",
        doc: "Ignores the removal of the address by other programs.",
        example: "192.0.2.10/24 no_track",
        build: |_, _, a| a.no_track = true,
    },
    Row {
        places: &["virtual_ipaddress", "virtual_ipaddress_excluded"],
        syntax: "use_vmac",
        doc: "An address on another interface (`dev`) uses the MAC address of the virtual router there.",
        example: "192.0.2.10/24 dev eth1 use_vmac",
        build: |_, _, a| a.vmac = true,
    },
    Row {
        places: &["static_ipaddress"],
        syntax: "track_group <name>",
        doc: "The instances of this group enter FAULT when the address is removed.",
        example: "192.0.2.10/24 dev eth0",
        build: |l, w, a| {
            a.track_group = track_group(l, w);
        },
    },
];

/// Parses the address of a line in the block `place`.
pub(super) fn read(l: &mut Loader<'_>, line: &ConfigStatement, place: &str) -> Option<At<Address>> {
    let first = line.words.first()?;
    let mut words = WordIterator::new(&line.words);
    words.next();
    let (address, prefix) = l.network(first)?;
    let mut built = Address::new(address, prefix.unwrap_or_else(|| bits(address)));
    while let Some(word) = words.next() {
        match find(OPTIONS, word, place) {
            Some(row) => (row.build)(l, &mut words, &mut built),
            None => {
                unknown_option(l, word, place);
                break;
            }
        }
    }
    if built.preferred.is_none() && address.is_ipv6() && built.prefix == 128 {
        built.preferred = Some(Lifetime::Seconds(0));
    }
    Some(At {
        value: built,
        span: first.span,
    })
}

/// Finds an option by name that is allowed in the block `place`.
pub(super) fn find<B>(
    options: &'static [Keyword<B>],
    word: &SourceWord,
    place: &str,
) -> Option<&'static Keyword<B>> {
    options
        .iter()
        .find(|row| row.name() == word.text && row.places.contains(&place))
}

/// Returns the option with the most similar name.
fn nearest<B>(options: &[Keyword<B>], word: &SourceWord, place: &str) -> Option<&'static str> {
    let here = options.iter().filter(|row| row.places.contains(&place));
    suggest::nearest(&word.text, here.map(Keyword::name))
}

/// Reports a word that is not an option of the line; `what` names the kind of line.
pub(super) fn unknown<B>(
    l: &mut Loader<'_>,
    options: &[Keyword<B>],
    word: &SourceWord,
    place: &str,
    what: &str,
) {
    let message = format!("unknown word '{}' in {what}", word.text);
    l.report(
        Diagnostic::error(&codes::UNKNOWN_KEYWORD, word.span, message)
            .did_you_mean(word.span, nearest(options, word, place)),
    );
}

/// Parses the value of `track_group`, whose block may follow further down.
pub(super) fn track_group(l: &mut Loader<'_>, words: &mut WordIterator<'_>) -> Option<String> {
    let word = words.value(l)?;
    let (value, span) = (word.text.clone(), word.span);
    l.drafts.track_group_uses.push(At { value, span });
    Some(word.text.clone())
}

fn unknown_option(l: &mut Loader<'_>, word: &SourceWord, place: &str) {
    let message = format!("unknown word '{}' after an address", word.text);
    let told = Diagnostic::error(&codes::UNKNOWN_KEYWORD, word.span, message);
    let near = nearest(OPTIONS, word, place);
    let another = word
        .text
        .split('/')
        .next()
        .unwrap_or_default()
        .parse::<IpAddr>();
    l.report(match (another, near) {
        (Ok(_), _) => told.help("write one address per line"),
        (_, Some(_)) => told.did_you_mean(word.span, near),
        _ => told.help("valid words: dev, brd, scope, label, peer, preferred_lft and others; see 'evenkeel keyword \
            virtual_ipaddress'"),
    });
}

fn broadcast(l: &mut Loader<'_>, words: &mut WordIterator<'_>, a: &mut Address) {
    let Some(word) = words.value(l) else { return };
    let IpAddr::V4(own) = a.address else {
        let message = "IPv6 has no broadcast addresses";
        l.error(&codes::BAD_ADDRESS, word.span, message);
        return;
    };
    let host = u32::MAX.checked_shr(u32::from(a.prefix)).unwrap_or(0);
    a.broadcast = match word.text.as_str() {
        "+" => Some(Ipv4Addr::from(u32::from(own) | host).into()),
        "-" => Some(Ipv4Addr::from(u32::from(own) & !host).into()),
        _ => match l.address(word) {
            Some(IpAddr::V6(_)) => {
                let message = "a broadcast address must be IPv4";
                l.error(&codes::BAD_ADDRESS, word.span, message);
                None
            }
            other => other,
        },
    };
}

fn label(l: &mut Loader<'_>, words: &mut WordIterator<'_>, a: &mut Address) {
    let Some(word) = words.value(l) else { return };
    if word.text.len() > LABEL_BYTES_MAX {
        let message = format!(
            "a label has at most {LABEL_BYTES_MAX} bytes, this one has {}",
            word.text.len()
        );
        l.error(&codes::OUT_OF_RANGE, word.span, message);
        return;
    }
    a.label = Some(word.text.clone());
}

fn preferred(l: &mut Loader<'_>, words: &mut WordIterator<'_>, a: &mut Address) {
    let Some(word) = words.value(l) else { return };
    a.preferred = match word.text.as_str() {
        "forever" => Some(Lifetime::Forever),
        _ => l
            .small(word, 0..=i64::from(u32::MAX - 1))
            .map(Lifetime::Seconds),
    };
}
