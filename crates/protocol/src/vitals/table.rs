//! Assigns the slots of the memory shared by the proxy and the process that moves virtual
//! addresses: the proxy writes the name of a virtual router into each slot, and the other process
//! looks the name up.

use super::slot::at;
use super::{NAME_BYTES_MAX, SLOTS, SLOTS_MAX, TABLE_AT, Vitals};

const NAME_LENGTH: usize = 0;
const NAME: usize = 1;

const READS_MAX: usize = 3;

/// Truncates a name to the bytes that fit, at a character boundary.
fn cut(name: &str) -> &str {
    let end = (0..=NAME_BYTES_MAX.min(name.len()))
        .rev()
        .find(|n| name.is_char_boundary(*n));
    name.get(..end.unwrap_or(0)).unwrap_or("")
}

impl Vitals<'_> {
    /// Proxy: sets the names of the virtual routers, in the order of their slots, and clears slots
    /// that get another name. If a virtual router keeps its slot, the report of the other process
    /// about it stays.
    pub fn describe<'n>(&self, owner: u64, names: impl IntoIterator<Item = &'n str>) {
        if !self.is_owner(owner) {
            return;
        }
        let writing = self.get(TABLE_AT).wrapping_add(1) | 1;
        self.put(TABLE_AT, writing);
        let mut slots = 0;
        for (slot, name) in names.into_iter().take(SLOTS_MAX).enumerate() {
            if self.name(slot).as_deref() != Some(cut(name)) {
                self.clear(slot);
                self.put_name(slot, cut(name));
            }
            slots = slot + 1;
        }
        self.put(SLOTS, slots as u64);
        self.put(TABLE_AT, writing.wrapping_add(1));
    }

    fn put_name(&self, slot: usize, name: &str) {
        self.put(at(slot, NAME_LENGTH), name.len() as u64);
        let mut chunks = name.as_bytes().chunks(8);
        for word in 0..NAME_BYTES_MAX / 8 {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(chunks.next().unwrap_or_default()) {
                *to = *from;
            }
            self.put(at(slot, NAME + word), u64::from_ne_bytes(bytes));
        }
    }

    pub fn slots(&self) -> usize {
        (self.get(SLOTS) as usize).min(SLOTS_MAX)
    }

    /// Returns a number that changes when the table does.
    pub fn table_version(&self) -> u64 {
        self.get(TABLE_AT)
    }

    /// Returns the name of a slot; None if the slot is unused (or its name is incomplete).
    pub fn name(&self, slot: usize) -> Option<String> {
        if slot >= SLOTS_MAX {
            return None;
        }
        let length = usize::try_from(self.get(at(slot, NAME_LENGTH))).ok()?;
        let mut bytes: Vec<u8> = (0..NAME_BYTES_MAX / 8)
            .flat_map(|word| self.get(at(slot, NAME + word)).to_ne_bytes())
            .collect();
        bytes.truncate(length.min(NAME_BYTES_MAX));
        String::from_utf8(bytes)
            .ok()
            .filter(|name| !name.is_empty())
    }

    /// Returns the slot of the virtual router with this name; None also if the table is being
    /// written. The result is valid until [`Vitals::table_version`] changes.
    pub fn find(&self, name: &str) -> Option<usize> {
        let wanted = cut(name);
        for _ in 0..READS_MAX {
            let before = self.table_version();
            let found = (0..self.slots()).find(|slot| self.name(*slot).as_deref() == Some(wanted));
            if before.is_multiple_of(2) && self.table_version() == before {
                return found;
            }
            std::hint::spin_loop();
        }
        None
    }
}
