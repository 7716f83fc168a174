//! Gives access to an entry of a stick table while a stream or connection holds it. An entry
//! stays while it is held, and its data is changed without a lock.

use super::data::{Cell, DataType, Shape};
use super::long::LongCounter;
use super::rate::{Rate, RateParts};
use super::store::{HEAD, Position, Row, Table, entry_time_now};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Reference to a table entry. The entry does not expire while one exists.
pub struct HeldEntry {
    table: Arc<Table>,
    place: Position,
}

impl std::fmt::Debug for HeldEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({:?}, {:?})", self.table, self.place)
    }
}

impl Drop for HeldEntry {
    fn drop(&mut self) {
        self.row().release();
    }
}

impl HeldEntry {
    pub(super) fn new(table: Arc<Table>, place: Position) -> HeldEntry {
        HeldEntry { table, place }
    }

    fn row(&self) -> Row<'_> {
        self.table.row(self.place)
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Returns a number that is unique in the table while the entry exists.
    pub fn id(&self) -> u64 {
        (u64::from(self.place.shard) << 32) + u64::from(self.place.slot) + 1
    }

    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        self.row().key(&mut key);
        key
    }

    pub fn others(&self) -> u32 {
        self.row().holders().saturating_sub(1)
    }

    pub fn touch(&self) {
        self.table.touch(self.row(), entry_time_now());
    }

    /// Queues an update for peers after a local change.
    pub fn queue_peer_update(&self) {
        self.table.note_news(self.place);
    }

    pub fn mark_as_sent(&self) {
        self.row().set_told();
    }

    /// Returns whether the entry was ever sent to a peer, whose copy may therefore be outdated.
    pub fn was_sent_to_peer(&self) -> bool {
        self.row().was_told()
    }

    /// Returns the milliseconds until expiry; 0 if the entry has expired or never expires.
    pub fn expires_in_ms(&self) -> u32 {
        if self.table.expire_ms() == 0 {
            return 0;
        }
        let left = self.row().expires().wrapping_sub(entry_time_now());
        if left as i32 > 0 { left } else { 0 }
    }

    pub fn set_expires_in_ms(&self, ms: u32) {
        self.row().set_expires(entry_time_now().wrapping_add(ms));
    }

    fn cell(&self, kind: DataType, element: u32) -> Option<(Cell, &[AtomicU32])> {
        let make = &self.table.make;
        let cell = make.layout.cell(kind, element)?;
        Some((cell, self.words(cell)))
    }

    fn words(&self, cell: Cell) -> &[AtomicU32] {
        let make = &self.table.make;
        let data = HEAD + make.key.bytes(make.length).div_ceil(4) as usize;
        self.row()
            .words(data + cell.at as usize, 3.min(cell.shape.words() as usize))
    }

    /// Returns a value: the number, or for a rate the number of events in the last period.
    pub fn get(&self, kind: DataType, element: u32) -> Option<u64> {
        let (cell, words) = self.cell(kind, element)?;
        Some(read(cell, words))
    }

    pub fn read(&self, cell: Cell) -> u64 {
        read(cell, self.words(cell))
    }

    /// Adds to a value and returns the new value. Returns None if the table does not store the
    /// value, and always for 64-bit counters.
    pub fn add(&self, kind: DataType, element: u32, count: u64) -> Option<u64> {
        let (cell, words) = self.cell(kind, element)?;
        match cell.shape {
            Shape::Number | Shape::Word => {
                let count = count as u32;
                let before = words.first()?.fetch_add(count, Relaxed);
                Some(before.wrapping_add(count).into())
            }
            Shape::Long => {
                LongCounter::of(words)?.add(count);
                None
            }
            Shape::Rate => {
                let now = entry_time_now();
                let rate = Rate::of(words)?;
                rate.add(now, cell.period_ms, count.min(u32::MAX.into()) as u32);
                Some(rate.read(now, cell.period_ms).into())
            }
        }
    }

    /// Decrements a number, at least to 0.
    pub fn take_one(&self, kind: DataType) {
        if let Some((_, [word, ..])) = self.cell(kind, 0) {
            let _ = word.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }

    /// Sets a value. Returns whether it is stored.
    pub fn set(&self, kind: DataType, element: u32, value: u64) -> bool {
        match self.cell(kind, element) {
            Some((cell, words)) => {
                write(cell, words, value);
                true
            }
            None => false,
        }
    }

    /// Sets a value to 0 and returns the previous one.
    pub fn clear(&self, kind: DataType, element: u32) -> Option<u64> {
        let (_, words) = self.cell(kind, element)?;
        Some(words.first()?.swap(0, Relaxed).into())
    }

    pub fn rate_parts(&self, cell: Cell) -> RateParts {
        let rate = Rate::of(self.words(cell));
        rate.map_or_else(RateParts::default, |rate| rate.parts(entry_time_now()))
    }

    pub fn set_rate_parts(&self, cell: Cell, parts: RateParts) {
        if let Some(rate) = Rate::of(self.words(cell)) {
            rate.set_parts(entry_time_now(), parts);
        }
    }

    pub fn write(&self, cell: Cell, value: u64) {
        write(cell, self.words(cell), value);
    }
}

fn read(cell: Cell, words: &[AtomicU32]) -> u64 {
    match (cell.shape, words) {
        (Shape::Number | Shape::Word, [word, ..]) => word.load(Relaxed).into(),
        (Shape::Long, words) => LongCounter::of(words).map_or(0, |counter| counter.read()),
        (Shape::Rate, words) => Rate::of(words)
            .map_or(0, |rate| rate.read(entry_time_now(), cell.period_ms))
            .into(),
        _ => 0,
    }
}

fn write(cell: Cell, words: &[AtomicU32], value: u64) {
    match (cell.shape, words) {
        (Shape::Number | Shape::Word, [word, ..]) => word.store(value as u32, Relaxed),
        (Shape::Long, words) => {
            if let Some(counter) = LongCounter::of(words) {
                counter.set(value);
            }
        }
        (Shape::Rate, words) => {
            if let Some(rate) = Rate::of(words) {
                rate.set(entry_time_now(), value.min(u32::MAX.into()) as u32);
            }
        }
        _ => {}
    }
}
