//! Decoded fields in one arena, order and repeats kept, reused from block to
//! block.

/// What RFC 9113 section 6.5.2 adds to each field's bytes.
const FIELD_OVERHEAD_BYTES: usize = 32;

/// A list of fields.
#[derive(Debug)]
pub struct FieldList {
    arena: Vec<u8>,
    spans: Vec<(u32, u32, u32)>,
    bytes: usize,
    limit_bytes: usize,
    limit_fields: usize,
    overflowed: bool,
}

impl FieldList {
    /// An empty list that takes so many bytes (as RFC 9113 section 6.5.2 counts
    /// them) and fields.
    pub fn new(limit_bytes: usize, limit_fields: usize) -> FieldList {
        FieldList {
            arena: Vec::new(),
            spans: Vec::new(),
            bytes: 0,
            limit_bytes: limit_bytes.min(1 << 30),
            limit_fields,
            overflowed: false,
        }
    }

    /// Forgets the fields, keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.spans.clear();
        self.bytes = 0;
        self.overflowed = false;
    }

    /// Gives the memory back.
    pub fn release(&mut self) {
        *self = FieldList::new(self.limit_bytes, self.limit_fields);
    }

    /// Adds a field, or notes that the list has overflowed.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.bytes = self
            .bytes
            .saturating_add(name.len() + value.len() + FIELD_OVERHEAD_BYTES);
        if self.overflowed || self.bytes > self.limit_bytes || self.spans.len() >= self.limit_fields
        {
            self.overflowed = true;
            return;
        }
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(name);
        let middle = self.arena.len() as u32;
        self.arena.extend_from_slice(value);
        self.spans.push((start, middle, self.arena.len() as u32));
    }

    /// The fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans.iter().map(|&(start, middle, end)| {
            (
                &self.arena[start as usize..middle as usize],
                &self.arena[middle as usize..end as usize],
            )
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether there were more than the limits allow; those are missing.
    pub fn is_overflowed(&self) -> bool {
        self.overflowed
    }

    /// The size of the whole list, what overflowed included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
