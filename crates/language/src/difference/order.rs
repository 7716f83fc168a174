//! Matches the entries of a new list with those of an old one, and finds which of them moved. Takes
//! O(n log n) time, however much the lists differ.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The result of matching two lists.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListMatching {
    /// The old index of each new entry.
    pub old_indices: Vec<Option<usize>>,
    /// True for each new entry that moved; the smallest set that explains the order.
    pub moved: Vec<bool>,
    pub removed: Vec<usize>,
}

pub(crate) fn match_entries<T: Eq + Hash>(old: &[T], new: &[T]) -> ListMatching {
    let mut places: HashMap<&T, VecDeque<usize>> = HashMap::new();
    for (at, entry) in old.iter().enumerate() {
        places.entry(entry).or_default().push_back(at);
    }
    let partners: Vec<Option<usize>> = new
        .iter()
        .map(|entry| places.get_mut(entry)?.pop_front())
        .collect();
    let mut gone: Vec<usize> = places.into_values().flatten().collect();
    gone.sort_unstable();
    let mut moved = vec![false; new.len()];
    let stood: Vec<(usize, usize)> = partners
        .iter()
        .enumerate()
        .filter_map(|(at, partner)| partner.map(|before| (at, before)))
        .collect();
    let stayed = longest_increasing_subsequence(
        &stood.iter().map(|(_, before)| *before).collect::<Vec<_>>(),
    );
    for ((at, _), stayed) in stood.iter().zip(stayed) {
        moved[*at] = !stayed;
    }
    ListMatching {
        old_indices: partners,
        moved,
        removed: gone,
    }
}

fn longest_increasing_subsequence(numbers: &[usize]) -> Vec<bool> {
    // For each length, the index of the lowest number that ends an increasing subsequence of that
    // length.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    for (at, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| numbers[*end] < *number);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut rises = vec![false; numbers.len()];
    let mut at = ends.last().copied();
    while let Some(place) = at {
        rises[place] = true;
        at = before[place];
    }
    rises
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_entries_that_explain_an_order_have_moved() {
        let places = match_entries(&["a", "b", "c", "d"], &["d", "a", "x", "b", "c"]);
        assert_eq!(places.moved, [true, false, false, false, false]);
        assert_eq!(
            places.old_indices,
            [Some(3), Some(0), None, Some(1), Some(2)]
        );
        assert!(places.removed.is_empty());
    }

    #[test]
    fn equal_entries_pair_one_by_one() {
        let places = match_entries(&["a", "a", "b"], &["a", "b", "b"]);
        assert_eq!(places.old_indices, [Some(0), Some(2), None]);
        assert_eq!(places.removed, [1]);
        assert_eq!(places.moved, [false; 3]);
    }
}
