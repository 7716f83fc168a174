//! Indexes the entries of a list or map that can be added and removed one by one. For exact
//! values, prefixes, suffixes and networks, the cost of a search does not depend on the number of
//! entries; other methods compare all entries, as they do in compiled lists.

use super::{Entry, How, ListError};
use crate::sample::map::{filled, parse};
use crate::sample::matching::{Method, Patterns};
use crate::sample::network::MaskedNetwork;
use crate::sample::plain;
use crate::sample::value::{Sample, SampleValue};
use prefix_trie::PrefixMap;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// Number of the list and of the entry, by which one of several matches is chosen.
pub(super) type Rank = (usize, u64);

/// Entries with the same pattern; the first one wins.
type PatternEntries = Vec<(Rank, Sample<'static>)>;

/// Compiled entries, in a table for their matching method.
#[derive(Debug)]
pub(super) struct Index {
    how: How,
    table: Table,
}

#[derive(Debug)]
enum Table {
    Exact(HashMap<Box<[u8]>, PatternEntries>),
    /// Patterns that are compared with the beginning or end of a value, and the number of patterns
    /// of each length.
    Edge(HashMap<Box<[u8]>, PatternEntries>, BTreeMap<usize, usize>),
    Networks(Box<NetworkTable>),
    /// Patterns that are compared one by one.
    Line(BTreeMap<Rank, (Patterns, Sample<'static>)>),
}

#[derive(Debug, Default)]
struct NetworkTable {
    v4: PrefixMap<(u32, u8), PatternEntries>,
    v6: PrefixMap<(u128, u8), PatternEntries>,
    /// Networks whose mask bits are not consecutive.
    holes: BTreeMap<Rank, (MaskedNetwork, Sample<'static>)>,
}

/// Pattern of an entry, in the form that its table needs.
enum Key {
    Bytes(Box<[u8]>),
    Network(MaskedNetwork),
    Patterns(Patterns),
}

fn put(slot: &mut PatternEntries, place: Rank, value: Sample<'static>) {
    match slot.binary_search_by_key(&place, |(place, _)| *place) {
        Ok(at) => slot[at].1 = value,
        Err(at) => slot.insert(at, (place, value)),
    }
}

/// Removes an entry from the entries with the same pattern; returns whether none is left.
fn take(slot: &mut PatternEntries, place: Rank) -> bool {
    slot.retain(|(other, _)| *other != place);
    slot.is_empty()
}

/// Removes an entry from a table; returns whether its pattern has no entry left.
fn take_from(table: &mut HashMap<Box<[u8]>, PatternEntries>, key: &[u8], place: Rank) -> bool {
    let gone = table.get_mut(key).is_some_and(|slot| take(slot, place));
    if gone {
        table.remove(key);
    }
    gone
}

pub(super) type IndexMatch<'i> = (Rank, Option<&'i SampleValue<'static>>);

fn first(slot: &PatternEntries) -> Option<IndexMatch<'_>> {
    slot.first().map(|(place, value)| (*place, value.as_ref()))
}

impl Index {
    pub(super) fn new(how: How) -> Index {
        let table = match how.method {
            Method::Str | Method::Bin => Table::Exact(HashMap::new()),
            Method::Beg | Method::End => Table::Edge(HashMap::new(), BTreeMap::new()),
            Method::Ip => Table::Networks(Box::default()),
            _ => Table::Line(BTreeMap::new()),
        };
        Index { how, table }
    }

    pub(super) fn of<'e>(
        how: How,
        entries: impl Iterator<Item = (usize, &'e Entry)>,
    ) -> Result<Index, ListError> {
        let mut index = Index::new(how);
        for (list, entry) in entries {
            index.insert(list, entry)?;
        }
        Ok(index)
    }

    pub(super) fn check(how: How, key: &[u8], value: Option<&[u8]>) -> Result<(), ListError> {
        Self::key(how, key)?;
        Self::value(how, value).map(drop)
    }

    fn key(how: How, key: &[u8]) -> Result<Key, ListError> {
        let text = std::str::from_utf8(key).ok();
        let network = || MaskedNetwork::parse(text?).map(Key::Network);
        let made = match how.method {
            Method::Bin => plain::unhex(key).map(|bytes| Key::Bytes(bytes.into())),
            Method::Str | Method::Beg | Method::End if how.ignore_case => {
                Some(Key::Bytes(key.to_ascii_lowercase().into()))
            }
            Method::Str | Method::Beg | Method::End => Some(Key::Bytes(key.into())),
            Method::Ip => network(),
            _ => plain::compile_plain(how.method, vec![key.into()], how.ignore_case, how.versions)
                .map(Key::Patterns),
        };
        made.ok_or(ListError::BadPattern)
    }

    fn value(how: How, value: Option<&[u8]>) -> Result<Sample<'static>, ListError> {
        let Some(gives) = how.gives else {
            return Ok(None);
        };
        let made = parse(gives, value.unwrap_or_default());
        made.map(Some).ok_or(ListError::BadValue)
    }

    pub(super) fn insert(&mut self, list: usize, entry: &Entry) -> Result<(), ListError> {
        let key = Self::key(self.how, &entry.key)?;
        let value = Self::value(self.how, entry.value.as_deref())?;
        let place = (list, entry.number);
        match (&mut self.table, key) {
            (Table::Exact(table), Key::Bytes(bytes)) => {
                put(table.entry(bytes).or_default(), place, value);
            }
            (Table::Edge(table, lengths), Key::Bytes(bytes)) => {
                let length = bytes.len();
                let slot = table.entry(bytes).or_insert_with(|| {
                    *lengths.entry(length).or_default() += 1;
                    PatternEntries::new()
                });
                put(slot, place, value);
            }
            (Table::Networks(table), Key::Network(network)) => table.insert(place, network, value),
            (Table::Line(line), Key::Patterns(patterns)) => {
                line.insert(place, (patterns, value));
            }
            // Keys are converted for their table, so this cannot happen.
            _ => return Err(ListError::BadPattern),
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, list: usize, entry: &Entry) {
        let place = (list, entry.number);
        let Ok(key) = Self::key(self.how, &entry.key) else {
            return;
        };
        match (&mut self.table, key) {
            (Table::Exact(table), Key::Bytes(bytes)) => _ = take_from(table, &bytes, place),
            (Table::Edge(table, lengths), Key::Bytes(bytes)) => {
                let gone = take_from(table, &bytes, place);
                let count = lengths.get_mut(&bytes.len()).filter(|_| gone);
                let last = count.is_some_and(|count| {
                    *count -= 1;
                    *count == 0
                });
                if last {
                    lengths.remove(&bytes.len());
                }
            }
            (Table::Networks(table), Key::Network(network)) => table.remove(place, network),
            (Table::Line(line), _) => _ = line.remove(&place),
            _ => {}
        }
    }

    pub(super) fn clear(&mut self, list: usize) {
        let gone = |slot: &mut PatternEntries| {
            slot.retain(|((of, _), _)| *of != list);
            slot.is_empty()
        };
        match &mut self.table {
            Table::Exact(table) => table.retain(|_, slot| !gone(slot)),
            Table::Edge(table, lengths) => {
                table.retain(|_, slot| !gone(slot));
                lengths.clear();
                for key in table.keys() {
                    *lengths.entry(key.len()).or_default() += 1;
                }
            }
            Table::Networks(table) => {
                table
                    .v4
                    .retain(|_, slot| slot.iter().any(|((of, _), _)| *of != list));
                table.v4.values_mut().for_each(|slot| _ = gone(slot));
                table
                    .v6
                    .retain(|_, slot| slot.iter().any(|((of, _), _)| *of != list));
                table.v6.values_mut().for_each(|slot| _ = gone(slot));
                table.holes.retain(|(of, _), _| *of != list);
            }
            Table::Line(line) => line.retain(|(of, _), _| *of != list),
        }
    }

    pub(super) fn find(&self, value: &SampleValue<'_>) -> Option<IndexMatch<'_>> {
        match &self.table {
            Table::Networks(table) => table.find(value.address()?),
            Table::Line(line) => line
                .iter()
                .find(|(_, (patterns, _))| patterns.find(value).is_some())
                .map(|(place, (_, value))| (*place, value.as_ref())),
            _ => value.with_text(|text| {
                if self.how.ignore_case {
                    self.find_text(&text.to_ascii_lowercase())
                } else {
                    self.find_text(text)
                }
            }),
        }
    }

    pub(super) fn fill(&self, value: &SampleValue<'_>) -> Sample<'static> {
        let Table::Line(line) = &self.table else {
            return None;
        };
        line.values().find_map(|(patterns, template)| {
            let at = patterns.find(value)?;
            filled(patterns, at, value, template.as_ref()?)
        })
    }

    fn find_text(&self, text: &[u8]) -> Option<IndexMatch<'_>> {
        match &self.table {
            Table::Exact(table) => first(table.get(text)?),
            Table::Edge(table, lengths) => {
                let lengths = lengths.range(..=text.len()).map(|(length, _)| length);
                if self.how.method == Method::Beg {
                    // Searches from the longest pattern on, because the longest matching beginning
                    // wins.
                    return lengths.rev().find_map(|n| first(table.get(&text[..*n])?));
                }
                lengths
                    .filter_map(|n| first(table.get(&text[text.len() - n..])?))
                    .min_by_key(|(place, _)| *place)
            }
            _ => None,
        }
    }
}

impl NetworkTable {
    fn insert(&mut self, place: Rank, network: MaskedNetwork, value: Sample<'static>) {
        match network {
            MaskedNetwork::V4(address, mask) if mask.leading_ones() == mask.count_ones() => {
                let prefix = (address, mask.count_ones() as u8);
                put(self.v4.entry(prefix).or_default(), place, value);
            }
            MaskedNetwork::V4(..) => _ = self.holes.insert(place, (network, value)),
            MaskedNetwork::V6(address, bits) => {
                put(self.v6.entry((address, bits)).or_default(), place, value);
            }
        }
    }

    fn remove(&mut self, place: Rank, network: MaskedNetwork) {
        match network {
            MaskedNetwork::V4(address, mask) if mask.leading_ones() == mask.count_ones() => {
                let prefix = (address, mask.count_ones() as u8);
                if self
                    .v4
                    .get_mut(&prefix)
                    .is_some_and(|slot| take(slot, place))
                {
                    self.v4.remove(&prefix);
                }
            }
            MaskedNetwork::V4(..) => _ = self.holes.remove(&place),
            MaskedNetwork::V6(address, bits) => {
                let prefix = (address, bits);
                if self
                    .v6
                    .get_mut(&prefix)
                    .is_some_and(|slot| take(slot, place))
                {
                    self.v6.remove(&prefix);
                }
            }
        }
    }

    /// Returns the narrowest network that contains an address. An IPv4-mapped IPv6 address is
    /// looked up in both forms.
    fn find(&self, address: IpAddr) -> Option<IndexMatch<'_>> {
        self.find_exactly(address).or_else(|| match address {
            IpAddr::V4(v4) => self.find_exactly(v4.to_ipv6_mapped().into()),
            IpAddr::V6(v6) => self.find_exactly(Ipv6Addr::to_ipv4_mapped(&v6)?.into()),
        })
    }

    fn find_exactly(&self, address: IpAddr) -> Option<IndexMatch<'_>> {
        let (bits, slot) = match address {
            IpAddr::V4(v4) => {
                let found = self.v4.get_lpm(&(u32::from(v4), 32));
                found.map(|((_, bits), slot)| (bits, slot)).unzip()
            }
            IpAddr::V6(v6) => {
                let found = self.v6.get_lpm(&(u128::from(v6), 128));
                found.map(|((_, bits), slot)| (bits, slot)).unzip()
            }
        };
        let mut best = slot.and_then(first);
        let mut length = bits;
        for (place, (network, value)) in &self.holes {
            if network.contains(address) && length.is_none_or(|length| network.length() > length) {
                length = Some(network.length());
                best = Some((*place, value.as_ref()));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::map::Gives;

    fn entry(number: u64, key: &str, value: &str) -> Entry {
        Entry {
            number,
            key: key.as_bytes().into(),
            value: Some(value.as_bytes().into()),
        }
    }

    fn index(method: Method, ignore_case: bool, keys: &[&str]) -> Index {
        let how = How {
            method,
            ignore_case,
            versions: false,
            gives: Some(Gives::Text),
        };
        let entries: Vec<Entry> = (1..).zip(keys).map(|(n, key)| entry(n, key, key)).collect();
        Index::of(how, entries.iter().map(|entry| (0, entry))).unwrap()
    }

    fn found(index: &Index, text: &str) -> Option<String> {
        let value = index.find(&SampleValue::text(text.as_bytes()))?.1?;
        Some(value.with_text(|text| String::from_utf8_lossy(text).into_owned()))
    }

    #[test]
    fn each_way_of_matching_finds_what_the_compiled_one_finds() {
        type Row = (
            Method,
            bool,
            &'static [&'static str],
            &'static str,
            Option<&'static str>,
        );
        let rows: &[Row] = &[
            (Method::Str, false, &["a", "b"], "b", Some("b")),
            (Method::Str, false, &["A"], "a", None),
            (Method::Str, true, &["A"], "a", Some("A")),
            (Method::Bin, false, &["4142"], "AB", Some("4142")),
            (Method::Beg, false, &["/", "/ab", "/a"], "/abc", Some("/ab")),
            (Method::Beg, false, &["/x"], "/", None),
            (Method::End, false, &["c", "bc"], "abc", Some("c")),
            (Method::Sub, false, &["x", "b"], "abc", Some("b")),
            (Method::Reg, false, &["^b", "c$"], "abc", Some("c$")),
            (Method::Int, false, &["1:5", "7"], "7", Some("7")),
            (Method::Len, false, &["3"], "abc", Some("3")),
            (
                Method::Ip,
                false,
                &["10.0.0.0/8", "10.1.0.0/16"],
                "10.1.2.3",
                Some("10.1.0.0/16"),
            ),
            (
                Method::Ip,
                false,
                &["10.0.0.0/255.0.0.255"],
                "10.9.9.0",
                Some("10.0.0.0/255.0.0.255"),
            ),
            (
                Method::Ip,
                false,
                &["2001:db8::/32"],
                "2001:db8::1",
                Some("2001:db8::/32"),
            ),
            (
                Method::Ip,
                false,
                &["::ffff:10.0.0.1"],
                "10.0.0.1",
                Some("::ffff:10.0.0.1"),
            ),
        ];
        for (method, ignore_case, keys, text, wanted) in rows {
            let index = index(*method, *ignore_case, keys);
            let got = match method {
                Method::Int => index
                    .find(&SampleValue::Int(text.parse().unwrap()))
                    .map(|f| {
                        f.1.unwrap()
                            .with_text(|text| String::from_utf8_lossy(text).into_owned())
                    }),
                _ => found(&index, text),
            };
            assert_eq!(got.as_deref(), *wanted, "{method:?} {keys:?} {text}");
        }
    }

    #[test]
    fn entries_come_and_go_one_by_one() {
        for method in [Method::Str, Method::Beg, Method::End, Method::Sub] {
            let mut index = index(method, false, &["a", "a"]);
            index.insert(0, &entry(3, "b", "new")).unwrap();
            assert_eq!(found(&index, "b").as_deref(), Some("new"));
            index.insert(0, &entry(3, "b", "newer")).unwrap();
            assert_eq!(found(&index, "b").as_deref(), Some("newer"));
            index.remove(0, &entry(1, "a", ""));
            assert_eq!(
                index.find(&SampleValue::text(b"a")).map(|f| f.0),
                Some((0, 2))
            );
            index.remove(0, &entry(2, "a", ""));
            index.remove(0, &entry(3, "b", ""));
            assert_eq!((found(&index, "a"), found(&index, "b")), (None, None));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let how = |method, gives| How {
            method,
            ignore_case: false,
            versions: false,
            gives,
        };
        let rows = [
            (Method::Ip, None, "x", ListError::BadPattern),
            (Method::Reg, None, "(", ListError::BadPattern),
            (Method::Int, None, "x", ListError::BadPattern),
            (Method::Str, Some(Gives::Int), "x", ListError::BadValue),
        ];
        for (method, gives, key, error) in rows {
            let checked = Index::check(how(method, gives), key.as_bytes(), Some(b"v"));
            assert_eq!(checked, Err(error), "{method:?} {key}");
        }
    }
}
