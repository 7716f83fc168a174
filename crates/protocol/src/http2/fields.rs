//! Stores a decoded list of header fields: order and repetitions are kept, all in one block of
//! memory that is reused from header block to header block.
//!
//! The list never judges a field. It has two limits, one in bytes as RFC 9113 (section 6.5.2)
//! counts them and one in fields; anything beyond is left out and recorded as an overflow.

/// Overhead of each field in lists and tables, besides its bytes (RFC 7541, section 4.1).
pub(super) const FIELD_OVERHEAD_BYTES: usize = 32;

/// Position of a field in the arena: the name, then the value.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    name_len: u32,
    value_len: u32,
}

/// Decoded header fields in order, with repetitions. After one field did not fit, all later fields
/// are left out, too, and [`FieldList::is_overflowed`] is true.
#[derive(Clone, Debug)]
pub struct FieldList {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Size of the list as RFC 9113 counts it.
    size: usize,
    limit_bytes: usize,
    limit_fields: usize,
    overflowed: bool,
}

/// Maximum limit in bytes: an arena's offsets have 32 bits, and this leaves room for one more
/// field.
const LIMIT_BYTES_MAX: usize = 1 << 30;

impl FieldList {
    /// Creates a list for this number of bytes (overhead included) and of fields.
    pub fn new(limit_bytes: usize, limit_fields: usize) -> Self {
        FieldList {
            bytes: Vec::new(),
            spans: Vec::new(),
            size: 0,
            limit_bytes: limit_bytes.min(LIMIT_BYTES_MAX),
            limit_fields,
            overflowed: false,
        }
    }

    /// Removes the fields; keeps the memory and the limits.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.size = 0;
        self.overflowed = false;
    }

    /// Removes the fields, and releases the memory.
    pub fn release(&mut self) {
        self.clear();
        self.bytes = Vec::new();
        self.spans = Vec::new();
    }

    /// Appends a field, or records that there was no room.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        if !self.admits(name.len(), value.len()) {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.commit(start, name.len());
    }

    /// Returns the fields in order: name and value.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.spans.iter().map(|span| self.pair(*span))
    }

    pub fn at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.spans.get(index).map(|span| self.pair(*span))
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub fn is_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Returns the size of the list as RFC 9113 (section 6.5.2) counts it.
    pub fn bytes(&self) -> usize {
        self.size
    }

    /// Returns the total length of the names and values in bytes.
    pub fn content_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn pair(&self, span: Span) -> (&[u8], &[u8]) {
        let start = span.start as usize;
        let name_end = start + span.name_len as usize;
        let value_end = name_end + span.value_len as usize;
        (
            &self.bytes[start..name_end],
            &self.bytes[name_end..value_end],
        )
    }

    /// Returns whether a field of these lengths fits. After one field did not fit, no later field
    /// does, so that the list has no holes.
    pub(super) fn admits(&mut self, name_len: usize, value_len: usize) -> bool {
        let size = self.size + name_len + value_len + FIELD_OVERHEAD_BYTES;
        self.overflowed |= size > self.limit_bytes || self.spans.len() >= self.limit_fields;
        !self.overflowed
    }

    pub(super) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Returns the arena, for a decoder to append the bytes of one more field: [`Self::commit`]
    /// follows, or [`Self::discard`].
    pub(super) fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn commit(&mut self, start: usize, name_len: usize) {
        let value_len = self.bytes.len().saturating_sub(start + name_len);
        if !self.admits(name_len, value_len) {
            return self.discard(start);
        }
        self.size += name_len + value_len + FIELD_OVERHEAD_BYTES;
        self.spans.push(Span {
            start: start as u32,
            name_len: name_len as u32,
            value_len: value_len as u32,
        });
    }

    pub(super) fn discard(&mut self, start: usize) {
        self.bytes.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_their_repeats() {
        let mut list = FieldList::new(1000, 10);
        for (name, value) in [("a", "1"), ("b", ""), ("a", "2")] {
            list.push(name.as_bytes(), value.as_bytes());
        }
        let all: Vec<_> = list.iter().collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", b""), (b"a", b"2")];
        assert_eq!(all, expected);
        assert_eq!(list.bytes(), 3 * 32 + 5);
        assert_eq!(list.at(1), Some((&b"b"[..], &b""[..])));
        list.clear();
        assert!(list.is_empty() && list.bytes() == 0);
    }

    #[test]
    fn a_list_is_bounded_by_bytes_and_by_fields_and_has_no_holes() {
        let mut list = FieldList::new(2 * 34, 10);
        list.push(b"a", b"1");
        list.push(b"long", b"value");
        list.push(b"b", b"2");
        assert!(list.is_overflowed());
        assert_eq!(list.len(), 1);
        list.clear();
        assert!(!list.is_overflowed());
        let mut list = FieldList::new(1000, 1);
        list.push(b"a", b"1");
        assert!(!list.is_overflowed());
        list.push(b"b", b"2");
        assert!(list.is_overflowed() && list.len() == 1);
    }
}
