//! Implements the dynamic table of HPACK (RFC 7541, section 2.3.2): entries are added at one end
//! and evicted at the other.
//!
//! The bytes of all entries are in one block of memory, in which they only move when its end is
//! reached. So an entry needs no allocation once the block has grown to the size of the table,
//! and an idle table with few entries is small. `T` is what the owner stores with an entry.

use super::super::fields::FIELD_OVERHEAD_BYTES;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    /// Number of bytes that were ever added before this entry, modulo 2^32.
    offset: u32,
    name_len: u32,
    value_len: u32,
    beside: T,
}

impl<T> Entry<T> {
    fn len(&self) -> usize {
        self.name_len as usize + self.value_len as usize
    }
}

/// Entries, the newest of which has number 0.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    bytes: Vec<u8>,
    /// Number of bytes that were ever added before the first byte in the arena, modulo 2^32.
    base: u32,
    entries: VecDeque<Entry<T>>,
    size: usize,
    size_max: usize,
    /// Number of entries ever added, modulo 2^16.
    inserted: u16,
}

const ARENA_BYTES_MIN: usize = 256;

impl<T: Copy> Table<T> {
    pub(super) fn new(size_max: usize) -> Self {
        Table {
            bytes: Vec::new(),
            base: 0,
            entries: VecDeque::new(),
            size: 0,
            size_max,
            inserted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the size as the RFC counts it, overhead included.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    pub(super) fn set_size_max(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.evict(0);
    }

    /// Returns the number of entries ever added: the newest entry has this number minus one.
    pub(super) fn inserted(&self) -> u16 {
        self.inserted
    }

    pub(super) fn get(&self, number: usize) -> Option<(&[u8], &[u8])> {
        let index = self.entries.len().checked_sub(number + 1)?;
        let entry = self.entries.get(index)?;
        let start = self.place(entry);
        let name_end = start + entry.name_len as usize;
        Some((
            &self.bytes[start..name_end],
            &self.bytes[name_end..start + entry.len()],
        ))
    }

    pub(super) fn beside(&self, number: usize) -> Option<T> {
        let index = self.entries.len().checked_sub(number + 1)?;
        self.entries.get(index).map(|entry| entry.beside)
    }

    fn place(&self, entry: &Entry<T>) -> usize {
        entry.offset.wrapping_sub(self.base) as usize
    }

    fn evict(&mut self, coming: usize) {
        while self.size + coming > self.size_max {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.size -= oldest.len() + FIELD_OVERHEAD_BYTES;
        }
    }

    /// Adds an entry; returns whether it was added. An entry larger than the whole table empties
    /// the table and is not added.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], beside: T) -> bool {
        let len = name.len() + value.len();
        let size = len + FIELD_OVERHEAD_BYTES;
        self.evict(size);
        if size > self.size_max {
            return false;
        }
        self.make_room(len);
        let offset = self.base.wrapping_add(self.bytes.len() as u32);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_back(Entry {
            offset,
            name_len: name.len() as u32,
            value_len: value.len() as u32,
            beside,
        });
        self.size += size;
        self.inserted = self.inserted.wrapping_add(1);
        true
    }

    /// Makes space at the end of the arena. If evicted entries have freed enough, the remaining
    /// ones are moved to the front; otherwise the arena grows.
    fn make_room(&mut self, len: usize) {
        if self.bytes.len() + len <= self.bytes.capacity() {
            return;
        }
        let dead = match self.entries.front() {
            Some(oldest) => self.place(oldest),
            None => self.bytes.len(),
        };
        let live = self.bytes.len() - dead;
        if dead >= len && dead >= live / 2 {
            self.bytes.copy_within(dead.., 0);
            self.bytes.truncate(live);
            self.base = self.base.wrapping_add(dead as u32);
        } else {
            let wanted = (self.bytes.len() + len).next_power_of_two();
            let wanted = wanted.max(ARENA_BYTES_MIN);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entry_is_the_first_and_the_oldest_go_out() {
        let mut table = Table::new(3 * 34);
        for n in 0..5u8 {
            assert!(table.insert(&[n], b"v", n));
        }
        assert_eq!((table.len(), table.size()), (3, 102));
        assert_eq!(table.get(0), Some((&[4][..], &b"v"[..])));
        assert_eq!(table.get(2), Some((&[2][..], &b"v"[..])));
        assert_eq!(table.beside(2), Some(2));
        assert_eq!(table.get(3), None);
        table.set_size_max(70);
        assert_eq!(table.len(), 2);
        table.set_size_max(0);
        assert_eq!((table.len(), table.size()), (0, 0));
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut table = Table::new(100);
        assert!(table.insert(b"a", b"b", ()));
        assert!(!table.insert(&[b'x'; 69], b"", ()));
        assert_eq!(table.len(), 0);
        assert!(table.insert(&[b'x'; 68], b"", ()));
        assert_eq!(table.size(), 100);
    }

    #[test]
    fn the_arena_stays_bounded_however_many_entries_pass() {
        let mut table = Table::new(4096);
        let mut expected = VecDeque::new();
        for n in 0..5000usize {
            let name = vec![n as u8; n * 7 % 90];
            let value = vec![b'v'; if n % 500 == 0 { 3900 } else { n * 13 % 300 }];
            table.insert(&name, &value, ());
            expected.push_front((name, value));
            expected.truncate(200);
            assert!(table.len() <= expected.len());
            for (number, (name, value)) in expected.iter().take(table.len()).enumerate() {
                assert_eq!(table.get(number), Some((&name[..], &value[..])));
            }
        }
        assert!(table.memory() < 16 * 1024, "{}", table.memory());
    }
}
