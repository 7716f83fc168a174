//! An entry that somebody holds: as long as it does, the entry stays, and its
//! data is changed without a lock.

use super::data::{Cell, DataType, Shape};
use super::rate::Rate;
use super::store::{HEAD, Position, Row, Table, moment};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// A held entry.
pub struct Held {
    table: Arc<Table>,
    place: Position,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({:?}, {:?})", self.table, self.place)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.row().release();
    }
}

impl Held {
    pub(super) fn new(table: Arc<Table>, place: Position) -> Held {
        Held { table, place }
    }

    fn row(&self) -> Row<'_> {
        self.table.row(self.place)
    }

    /// Its table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// A number that tells it from others while it lives.
    pub fn id(&self) -> u64 {
        (u64::from(self.place.shard) << 32) + u64::from(self.place.slot) + 1
    }

    /// Its key.
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        self.row().key(&mut key);
        key
    }

    /// Who else holds it.
    pub fn others(&self) -> u32 {
        self.row().holders().saturating_sub(1)
    }

    /// It was used: it lives as long again.
    pub fn touch(&self) {
        self.table.touch(self.row(), moment());
    }

    /// Its data changed here: peers are told.
    pub fn note(&self) {
        self.table.note_news(self.place);
    }

    /// A peer was told of it as it is.
    pub fn set_told(&self) {
        self.row().set_told();
    }

    /// A peer was told of it: what a peer knows of it may be what it was then.
    pub fn was_told(&self) -> bool {
        self.row().was_told()
    }

    /// Milliseconds that it has left; 0 where it never expires.
    pub fn expires_in_ms(&self) -> u32 {
        if self.table.expire_ms() == 0 {
            return 0;
        }
        let left = self.row().expires().wrapping_sub(moment());
        if left as i32 > 0 { left } else { 0 }
    }

    /// It expires after so many milliseconds.
    pub fn set_expires_in_ms(&self, ms: u32) {
        self.row().set_expires(moment().wrapping_add(ms));
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

    /// A value: a count, or the events of the last period.
    pub fn get(&self, kind: DataType, element: u32) -> Option<u64> {
        let (cell, words) = self.cell(kind, element)?;
        Some(read(cell, words))
    }

    /// The value of a cell.
    pub fn read(&self, cell: Cell) -> u64 {
        read(cell, self.words(cell))
    }

    /// Adds to it; says what it is then. None where it is not stored.
    pub fn add(&self, kind: DataType, element: u32, count: u64) -> Option<u64> {
        let (cell, words) = self.cell(kind, element)?;
        match cell.shape {
            Shape::Number | Shape::Word => {
                let count = count as u32;
                let before = words.first()?.fetch_add(count, Relaxed);
                Some(before.wrapping_add(count).into())
            }
            Shape::Long => {
                let [low, high, ..] = words else { return None };
                let before = low.fetch_add(count as u32, Relaxed);
                let carry = before.checked_add(count as u32).is_none();
                let more = ((count >> 32) as u32).wrapping_add(carry.into());
                if more != 0 {
                    high.fetch_add(more, Relaxed);
                }
                None
            }
            Shape::Rate => {
                let now = moment();
                let rate = Rate::of(words)?;
                rate.add(now, cell.period_ms, count.min(u32::MAX.into()) as u32);
                Some(rate.read(now, cell.period_ms).into())
            }
        }
    }

    /// Takes one off a number, down to 0.
    pub fn take_one(&self, kind: DataType) {
        if let Some((_, [word, ..])) = self.cell(kind, 0) {
            let _ = word.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }

    /// Sets it; says whether it is stored.
    pub fn set(&self, kind: DataType, element: u32, value: u64) -> bool {
        match self.cell(kind, element) {
            Some((cell, words)) => {
                write(cell, words, value);
                true
            }
            None => false,
        }
    }

    /// Sets it to 0; says what it was.
    pub fn clear(&self, kind: DataType, element: u32) -> Option<u64> {
        let (_, words) = self.cell(kind, element)?;
        Some(words.first()?.swap(0, Relaxed).into())
    }

    /// The rate of a cell: how long its period has run, and both counts.
    pub fn rate_parts(&self, cell: Cell) -> (u32, u32, u32) {
        Rate::of(self.words(cell)).map_or((0, 0, 0), |rate| rate.parts(moment()))
    }

    /// The same taken over.
    pub fn set_rate_parts(&self, cell: Cell, parts: (u32, u32, u32)) {
        if let Some(rate) = Rate::of(self.words(cell)) {
            rate.set_parts(moment(), parts);
        }
    }

    /// The value of a cell taken over.
    pub fn write(&self, cell: Cell, value: u64) {
        write(cell, self.words(cell), value);
    }
}

fn read(cell: Cell, words: &[AtomicU32]) -> u64 {
    match (cell.shape, words) {
        (Shape::Number | Shape::Word, [word, ..]) => word.load(Relaxed).into(),
        (Shape::Long, [low, high, ..]) => {
            // A carry between the two reads would show a wrong sum.
            loop {
                let before = high.load(Relaxed);
                let sum = (u64::from(before) << 32) + u64::from(low.load(Relaxed));
                if high.load(Relaxed) == before {
                    return sum;
                }
            }
        }
        (Shape::Rate, words) => Rate::of(words)
            .map_or(0, |rate| rate.read(moment(), cell.period_ms))
            .into(),
        _ => 0,
    }
}

fn write(cell: Cell, words: &[AtomicU32], value: u64) {
    match (cell.shape, words) {
        (Shape::Number | Shape::Word, [word, ..]) => word.store(value as u32, Relaxed),
        (Shape::Long, [low, high, ..]) => {
            low.store(value as u32, Relaxed);
            high.store((value >> 32) as u32, Relaxed);
        }
        (Shape::Rate, words) => {
            if let Some(rate) = Rate::of(words) {
                rate.set(moment(), value.min(u32::MAX.into()) as u32);
            }
        }
        _ => {}
    }
}
