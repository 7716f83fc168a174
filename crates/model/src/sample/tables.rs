//! Looks values up in lists with many patterns, at a cost that hardly depends on their number.
//! Texts of `sub` and expressions of `reg` have no table, because each must be searched for
//! individually.

use std::collections::HashMap;
use std::ops::RangeInclusive;

/// Table of number ranges, split into pieces that do not overlap. Each piece refers to the first
/// range in the list that contains it.
#[derive(Clone, Debug)]
pub struct RangeTable {
    /// Start of each piece, in ascending order.
    starts: Vec<i128>,
    /// Range of each piece; None between ranges.
    ranges: Vec<Option<usize>>,
}

impl RangeTable {
    pub fn new(list: &[RangeInclusive<i64>]) -> Self {
        let behind = |range: &RangeInclusive<i64>| i128::from(*range.end()) + 1;
        let mut starts: Vec<i128> = list
            .iter()
            .flat_map(|range| [i128::from(*range.start()), behind(range)])
            .collect();
        starts.sort_unstable();
        starts.dedup();
        let mut ranges = vec![None; starts.len()];
        // For each piece: the first piece, from this one on, to which no range is assigned yet.
        let mut free: Vec<usize> = (0..=starts.len()).collect();
        for (n, range) in list.iter().enumerate() {
            let end = starts.partition_point(|start| *start < behind(range));
            let first = starts.partition_point(|start| *start < i128::from(*range.start()));
            let mut piece = next_free(&mut free, first);
            while piece < end {
                ranges[piece] = Some(n);
                free[piece] = piece + 1;
                piece = next_free(&mut free, piece);
            }
        }
        RangeTable { starts, ranges }
    }

    /// Returns the first range that contains a number.
    pub fn find(&self, number: i64) -> Option<usize> {
        let behind = self
            .starts
            .partition_point(|start| *start <= i128::from(number));
        *self.ranges.get(behind.checked_sub(1)?)?
    }
}

/// Returns the next piece without a range, and shortens the chain of references for later calls.
fn next_free(free: &mut [usize], from: usize) -> usize {
    let mut end = from;
    while free[end] != end {
        end = free[end];
    }
    let mut at = from;
    while free[at] != end {
        at = std::mem::replace(&mut free[at], end);
    }
    end
}

/// Table of texts that consist of parts between delimiters.
#[derive(Clone, Debug)]
pub struct PartTable {
    delimiters: &'static [u8],
    places: HashMap<Box<[u8]>, usize>,
    /// The distinct numbers of parts that the texts have: `a/b` has two parts.
    lengths: Vec<usize>,
}

impl PartTable {
    /// Builds the table of these texts. Delimiters around them are ignored.
    pub fn new(delimiters: &'static [u8], list: Vec<Box<[u8]>>) -> Self {
        let mut places = HashMap::with_capacity(list.len());
        let mut lengths = Vec::new();
        for (n, text) in list.iter().enumerate() {
            let bare = trimmed(text, delimiters);
            if !bare.is_empty() {
                lengths.push(bare.split(|b| delimiters.contains(b)).count());
                places.entry(bare.into()).or_insert(n);
            }
        }
        lengths.sort_unstable();
        lengths.dedup();
        PartTable {
            delimiters,
            places,
            lengths,
        }
    }

    /// Returns the first of the texts that a value contains.
    pub fn find(&self, value: &[u8]) -> Option<usize> {
        let is_delimiter = |at: &usize| self.delimiters.contains(&value[*at]);
        let ends = || (0..value.len()).filter(is_delimiter).chain([value.len()]);
        let starts = || std::iter::once(0).chain(ends().map(|end| end + 1));
        let mut best: Option<usize> = None;
        for length in &self.lengths {
            // Looks up every run of `length` consecutive parts.
            for (start, end) in starts().zip(ends().skip(length - 1)) {
                let found = value.get(start..end).and_then(|part| self.places.get(part));
                if let Some(place) = found {
                    best = Some(best.map_or(*place, |best| best.min(*place)));
                }
            }
        }
        best
    }
}

/// Returns a text without the delimiters around it.
pub fn trimmed<'t>(text: &'t [u8], delimiters: &[u8]) -> &'t [u8] {
    let inner = |b: &u8| !delimiters.contains(b);
    let start = text.iter().position(inner).unwrap_or(text.len());
    let end = text.iter().rposition(inner).map_or(start, |last| last + 1);
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_in_the_first_range_that_holds_it() {
        let list = [5..=10, 1..=7, i64::MIN..=0, 8..=8, 100..=i64::MAX, 20..=20];
        let table = RangeTable::new(&list);
        for number in (-3..=30).chain([99, 100, 101, i64::MAX, i64::MIN]) {
            let wanted = list.iter().position(|range| range.contains(&number));
            assert_eq!(table.find(number), wanted, "{number}");
        }
        assert_eq!(RangeTable::new(&[]).find(1), None);
    }

    #[test]
    fn parts_are_found_at_every_place() {
        let list = ["b", "/x/y/", "y/z", "", "/"].map(|text| text.as_bytes().into());
        let table = PartTable::new(b"/?", list.to_vec());
        let rows = [
            ("/a/b/c", Some(0)),
            ("/x/y/z", Some(1)),
            ("y/z", Some(2)),
            ("/xx/y", None),
            ("", None),
            ("//", None),
            ("/q?b", Some(0)),
        ];
        for (text, wanted) in rows {
            assert_eq!(table.find(text.as_bytes()), wanted, "{text}");
        }
    }
}
