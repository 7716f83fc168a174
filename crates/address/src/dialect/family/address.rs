//! Parses the address lines of `virtual_ipaddress`, `virtual_ipaddress_excluded` and
//! `static_ipaddress` with their options.

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

    /// Returns the next word, the value of an option, and reports an error if the line has ended.
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

/// Parses an option and its values from the words of an address line into the address.
pub(in crate::dialect) type Build = fn(&mut Loader<'_>, &mut WordIterator<'_>, &mut Address);

const ADDRESSES: &[&str] = &[
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "static_ipaddress",
];
const VIRTUAL: &[&str] = &["virtual_ipaddress", "virtual_ipaddress_excluded"];

type Row = Keyword<Build>;

pub(in crate::dialect) static OPTIONS: &[Row] = language::rows! {
    "dev <interface>" ADDRESSES,
        |l, w, a| {
            let Some(word) = w.value(l) else { return };
            a.interface = Some(word.text.clone());
            l.drafts.require_interface(word.at(), "an address");
        },
        "192.0.2.10/24 dev eth1",
        "The interface for the address; the default is that of the instance.";
    "brd <address>|+|-" ADDRESSES, broadcast, "192.0.2.10/24 brd +",
        "The broadcast address; `+` and `-` set or clear the host bits.";
    "broadcast <address>|+|-" ADDRESSES, broadcast, "192.0.2.10/24 broadcast 192.0.2.255",
        "Long form of `brd`.";
    "scope global|site|link|host|nowhere" ADDRESSES,
        |l, w, a| a.scope = w.value(l).and_then(|v| l.named_as(v, &SCOPE)).map(Scope),
        "192.0.2.10/24 scope global", "The scope of the address.";
    "label <name>" ADDRESSES, label, "192.0.2.10/24 dev eth0 label eth0:vip",
        "A label for the address, as shown by ifconfig: the interface, a colon, and a suffix. IPv4 only.";
    "peer <address>" ADDRESSES,
        |l, w, a| a.peer = w.value(l).and_then(|v| l.network(v)).map(|(peer, _)| peer),
        "192.0.2.10 peer 192.0.2.11", "The other end of a point-to-point link.";
    "home" ADDRESSES, |_, _, a| a.home = true, "2001:db8::10/64 home",
        "Marks an IPv6 address as the home address of Mobile IPv6.";
    "-nodad" ADDRESSES, |_, _, a| a.no_dad = true, "2001:db8::10/64 -nodad",
        "Disables duplicate address detection for this IPv6 address, which takes a second or more.";
    "mngtmpaddr" ADDRESSES, |_, _, a| a.manage_temporary = true, "2001:db8::10/64 mngtmpaddr",
        "Lets the kernel derive temporary IPv6 addresses from this one.";
    "noprefixroute" ADDRESSES, |_, _, a| a.no_prefix_route = true, "192.0.2.10/24 noprefixroute",
        "Creates no route for the network of the address.";
    "autojoin" ADDRESSES, |_, _, a| a.auto_join = true, "192.0.2.10/24 autojoin",
        "Lets the kernel join the multicast group of the address.";
    "preferred_lft <seconds>|forever" ADDRESSES, preferred, "2001:db8::10/128 preferred_lft forever",
        "Time for which new connections of this machine may use it as source address. 0, the default for a /128, \
         never; `forever` always.";
    "no_track" VIRTUAL, |_, _, a| a.no_track = true, "192.0.2.10/24 no_track",
        "Ignores the removal of the address by other programs.";
    "use_vmac" VIRTUAL, |_, _, a| a.vmac = true, "192.0.2.10/24 dev eth1 use_vmac",
        "An address on another interface (`dev`) uses the MAC address of the virtual router there.";
    "track_group <name>" &["static_ipaddress"], |l, w, a| a.track_group = track_group(l, w),
        "192.0.2.10/24 dev eth0",
        "The instances of this group enter FAULT when the address is removed.";
};

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

/// Parses the value of `track_group`. The name is checked later, because its block may be further
/// down.
pub(super) fn track_group(l: &mut Loader<'_>, words: &mut WordIterator<'_>) -> Option<String> {
    let word = words.value(l)?;
    l.drafts.track_group_uses.push(word.at());
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
