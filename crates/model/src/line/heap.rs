//! Implements a heap of small integers, ordered by keys that can change.

/// A key, and a serial number that orders equal keys.
pub(crate) type Key = (u64, u64);

const ABSENT: u32 = u32::MAX;

/// Heap of the members `0..n`, each of which may be absent.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    keys: Vec<Key>,
    order: Vec<u32>,
    places: Vec<u32>,
}

impl Heap {
    /// Creates an empty heap for members below `n`.
    pub fn new(n: usize) -> Self {
        Heap {
            keys: vec![(0, 0); n],
            order: Vec::new(),
            places: vec![ABSENT; n],
        }
    }

    pub(crate) fn first(&self) -> Option<usize> {
        self.order.first().map(|member| *member as usize)
    }

    /// Returns the last key of a member, even of one that is not in the heap now.
    pub(crate) fn key(&self, member: usize) -> Key {
        self.keys[member]
    }

    /// Returns the last keys of all members, also of those that are not in the heap now.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(crate) fn members(&self) -> usize {
        self.order.len()
    }

    pub fn set(&mut self, member: usize, key: Key) {
        self.keys[member] = key;
        if self.places[member] == ABSENT {
            self.places[member] = self.order.len() as u32;
            self.order.push(member as u32);
        }
        let at = self.up(self.places[member] as usize);
        self.down(at);
    }

    pub(crate) fn remove(&mut self, member: usize) {
        let at = std::mem::replace(&mut self.places[member], ABSENT);
        if at == ABSENT {
            return;
        }
        let at = at as usize;
        self.order.swap_remove(at);
        if let Some(moved) = self.order.get(at) {
            self.places[*moved as usize] = at as u32;
            let at = self.up(at);
            self.down(at);
        }
    }

    /// Lowers the keys of all members by the same amount, also of those that are not in the heap
    /// now.
    pub(crate) fn rebase(&mut self, by: u64) {
        for key in &mut self.keys {
            key.0 = key.0.saturating_sub(by);
        }
    }

    fn before(&self, a: usize, b: usize) -> bool {
        self.keys[self.order[a] as usize] < self.keys[self.order[b] as usize]
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.order.swap(a, b);
        self.places[self.order[a] as usize] = a as u32;
        self.places[self.order[b] as usize] = b as u32;
    }

    fn up(&mut self, mut at: usize) -> usize {
        while at > 0 && self.before(at, (at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        at
    }

    fn down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.order.len() && self.before(child, least) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_is_always_the_least_of_those_in_it(
            steps in prop::collection::vec((0usize..20, prop::option::of(0u64..50)), 1..200)
        ) {
            let mut heap = Heap::new(20);
            let mut model = std::collections::BTreeMap::new();
            for (member, key) in steps {
                match key {
                    Some(key) => {
                        heap.set(member, (key, member as u64));
                        model.insert(member, key);
                    }
                    None => {
                        heap.remove(member);
                        model.remove(&member);
                    }
                }
                let least = model.iter().map(|(member, key)| (*key, *member)).min();
                prop_assert_eq!(heap.first(), least.map(|(_, member)| member));
                prop_assert_eq!(heap.members(), model.len());
            }
        }
    }
}
