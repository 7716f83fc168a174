//! Stores an ordered list of header fields in one block of memory, in the form in which they are
//! sent (`name: value\r\n`), so that unchanged fields are written with one copy. Names are in
//! lower case.
//!
//! The module never parses a head and does not interpret headers. It stores no field that could
//! split a head: [`MessageEditError::Byte`].

use super::trim::trim;

/// Default limit of a message, bytes; the same as HAProxy's `tune.bufsize`.
pub const MESSAGE_BYTES_DEFAULT: usize = 16_384;
/// Maximum limit of a message, bytes: offsets have 32 bits.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Unused bytes in the arena below which it is not compacted.
const HOLES_TOLERATED: usize = 4096;

/// Reason why a change was refused. The message is unchanged, unless the function states otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageEditError {
    #[error("the message would exceed its buffer")]
    Full,
    /// A byte that would end the line, or that is not allowed in a name, method or target.
    #[error("invalid byte 0x{0:02x}")]
    Byte(u8),
    #[error("it would be empty")]
    Empty,
}

/// A field in the arena, `name: value\r\n` from `start` on.
#[derive(Clone, Copy, Debug)]
struct FieldRange {
    start: u32,
    name_len: u32,
    value_len: u32,
}

impl FieldRange {
    fn value_start(self) -> usize {
        self.start as usize + self.name_len as usize + 2
    }

    fn wire_end(self) -> usize {
        self.value_start() + self.value_len as usize + 2
    }

    fn wire_len(self) -> usize {
        self.wire_end() - self.start as usize
    }
}

/// Line before the fields (a start line), if any.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct First {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// Fields of a head or of a trailer section.
#[derive(Clone, Debug)]
pub struct Fields {
    bytes: Vec<u8>,
    list: Vec<FieldRange>,
    first: First,
    live: usize,
    limit: usize,
}

impl Default for Fields {
    fn default() -> Self {
        Fields {
            bytes: Vec::new(),
            list: Vec::new(),
            first: First::default(),
            live: 0,
            limit: MESSAGE_BYTES_DEFAULT,
        }
    }
}

/// Lower case of every byte that is allowed in a name; 0 for the others.
pub const NAME_BYTES: [u8; 256] = {
    let mut table = [0u8; 256];
    let extra = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_alphanumeric() {
            table[i] = b.to_ascii_lowercase();
        }
        i += 1;
    }
    let mut i = 0;
    while i < extra.len() {
        table[extra[i] as usize] = extra[i];
        i += 1;
    }
    table
};

fn value_fault(value: &[u8]) -> Option<u8> {
    memchr::memchr3(0, b'\r', b'\n', value).map(|at| value[at])
}

impl Fields {
    pub fn new() -> Self {
        Fields::default()
    }

    /// Returns the allocated memory, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.list.capacity() * size_of::<FieldRange>()
    }

    /// Removes everything, but keeps the memory and the limit.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
        self.first = First::default();
        self.live = 0;
    }

    /// Sets the maximum number of live bytes, at most [`MESSAGE_BYTES_MAX`].
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes.min(MESSAGE_BYTES_MAX);
    }

    pub fn free_bytes(&self) -> usize {
        self.limit.saturating_sub(self.live)
    }

    /// Returns how many bytes can still be added once the first line has grown by `more` bytes and
    /// shrunk by `less` bytes.
    pub(super) fn free_bytes_after(&self, more: usize, less: usize) -> usize {
        self.limit
            .saturating_sub((self.live + more).saturating_sub(less))
    }

    pub(super) fn bytes_of_name(&self, name: &[u8]) -> usize {
        let of_name = self.list.iter().filter(|f| self.is(**f, name));
        of_name.map(|f| f.wire_len()).sum()
    }

    pub(super) fn growth_of_value(&self, index: usize, value: &[u8]) -> usize {
        let old_len = self.list.get(index).map_or(0, |f| f.value_len as usize);
        value.len().saturating_sub(old_len)
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the number of bytes that [`Self::write_lines`] writes, including the first line.
    pub fn wire_len(&self) -> usize {
        self.live
    }

    fn name_of(&self, field: FieldRange) -> &[u8] {
        let start = field.start as usize;
        &self.bytes[start..start + field.name_len as usize]
    }

    /// Returns the value without blanks that a rule may have added at its ends. They are sent, but
    /// are not part of the value (RFC 9110, section 5.5).
    #[inline]
    fn value_of(&self, field: FieldRange) -> &[u8] {
        trim(self.written(field))
    }

    fn written(&self, field: FieldRange) -> &[u8] {
        let start = field.value_start();
        &self.bytes[start..start + field.value_len as usize]
    }

    pub fn trim_values(&mut self) {
        for index in 0..self.list.len() {
            let written = self.written(self.list[index]);
            let value = trim(written);
            if value.len() != written.len() {
                let value = value.to_vec();
                // Ignores the result, because the value only becomes shorter.
                let _ = self.replace_value(index, &value);
            }
        }
    }

    /// Returns the fields in order, with names in lower case.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.list
            .iter()
            .map(|f| (self.name_of(*f), self.value_of(*f)))
    }

    pub fn at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let field = *self.list.get(index)?;
        Some((self.name_of(field), self.value_of(field)))
    }

    /// Returns the index of the first field of a name at or after `from`.
    pub fn position(&self, name: &[u8], from: usize) -> Option<usize> {
        self.list
            .iter()
            .enumerate()
            .skip(from)
            .find(|(_, f)| self.is(**f, name))
            .map(|(i, _)| i)
    }

    fn is(&self, field: FieldRange, name: &[u8]) -> bool {
        // Compares with the stored case first, which callers nearly always use.
        field.name_len as usize == name.len()
            && (self.name_of(field) == name || self.name_of(field).eq_ignore_ascii_case(name))
    }

    /// Returns the first value of a name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.list
            .iter()
            .find(|f| self.is(**f, name))
            .map(|f| self.value_of(*f))
    }

    /// Returns the values of a name in order, one per line.
    pub fn get_all<'a, 'n>(
        &'a self,
        name: &'n [u8],
    ) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a, 'n> {
        self.list
            .iter()
            .filter(move |f| self.is(**f, name))
            .map(|f| self.value_of(*f))
    }

    pub fn count(&self, name: &[u8]) -> usize {
        self.get_all(name).count()
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Adds a field at the end, with its name in lower case.
    ///
    /// # Errors
    /// `Empty` or `Byte` if the name is not a token. `Byte` if the value contains a NUL, CR or LF.
    /// `Full` if the field does not fit.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), MessageEditError> {
        check_name(name)?;
        self.check_value(name, value, 0)?;
        let field = self.append(name, value);
        self.list.push(field);
        self.compact_if_worth();
        Ok(())
    }

    /// Removes all fields of a name and adds one at the end.
    ///
    /// # Errors
    /// `Empty` or `Byte` if the name is not a token. `Byte` if the value contains a NUL, CR or LF.
    /// `Full` if the field does not fit in place of those that it replaces.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), MessageEditError> {
        check_name(name)?;
        let freed = self.bytes_of_name(name);
        self.check_value(name, value, freed)?;
        self.remove(name);
        self.add(name, value)
    }

    /// Replaces the value of the n-th field, in its position. Does nothing if there is no such
    /// field.
    ///
    /// # Errors
    /// `Byte` if the value contains a NUL, CR or LF. `Full` if the value is longer than before and
    /// does not fit.
    pub fn replace_value(&mut self, index: usize, value: &[u8]) -> Result<(), MessageEditError> {
        let Some(old) = self.list.get(index).copied() else {
            return Ok(());
        };
        if let Some(byte) = value_fault(value) {
            return Err(MessageEditError::Byte(byte));
        }
        if value.len() == old.value_len as usize {
            let start = old.value_start();
            self.bytes[start..start + value.len()].copy_from_slice(value);
            return Ok(());
        }
        if value.len() > old.value_len as usize
            && value.len() - old.value_len as usize > self.free_bytes()
        {
            return Err(MessageEditError::Full);
        }
        let start = self.bytes.len();
        let name = old.start as usize..old.start as usize + old.name_len as usize;
        self.bytes.extend_from_within(name);
        self.finish_line(value);
        self.list[index] = FieldRange {
            start: start as u32,
            name_len: old.name_len,
            value_len: value.len() as u32,
        };
        self.live = self.live + value.len() - old.value_len as usize;
        self.compact_if_worth();
        Ok(())
    }

    /// Replaces the n-th field by one with another name, in its position.
    ///
    /// # Errors
    /// `Empty` or `Byte` if the name is not a token, even if there is no such field. `Byte` if the
    /// value contains a NUL, CR or LF. `Full` if the field does not fit in place of the old one.
    pub fn replace(
        &mut self,
        index: usize,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), MessageEditError> {
        check_name(name)?;
        let Some(old) = self.list.get(index).copied() else {
            return Ok(());
        };
        self.check_value(name, value, old.wire_len())?;
        let new = self.append(name, value);
        self.live -= old.wire_len();
        self.list[index] = new;
        self.compact_if_worth();
        Ok(())
    }

    pub fn remove(&mut self, name: &[u8]) -> usize {
        self.remove_if(|n, _| n.eq_ignore_ascii_case(name))
    }

    pub fn remove_at(&mut self, index: usize) {
        if index < self.list.len() {
            self.live -= self.list.remove(index).wire_len();
            self.compact_if_worth();
        }
    }

    pub fn remove_if(&mut self, mut test: impl FnMut(&[u8], &[u8]) -> bool) -> usize {
        let before = self.list.len();
        let mut live = self.live;
        let bytes = &self.bytes;
        self.list.retain(|f| {
            let name_end = f.start as usize + f.name_len as usize;
            let value = &bytes[f.value_start()..f.wire_end() - 2];
            let gone = test(&bytes[f.start as usize..name_end], value);
            if gone {
                live -= f.wire_len();
            }
            !gone
        });
        self.live = live;
        self.compact_if_worth();
        before - self.list.len()
    }

    /// Writes the first line (if any) and the fields, without the final empty line. Contiguous
    /// fields are copied at once.
    pub fn write_lines(&self, out: &mut Vec<u8>) {
        let mut from = self.first.start as usize;
        let mut to = from + self.first.len as usize;
        for field in &self.list {
            if field.start as usize != to {
                out.extend_from_slice(&self.bytes[from..to]);
                from = field.start as usize;
            }
            to = field.wire_end();
        }
        out.extend_from_slice(&self.bytes[from..to]);
    }

    fn check_value(&self, name: &[u8], value: &[u8], freed: usize) -> Result<(), MessageEditError> {
        if let Some(byte) = value_fault(value) {
            return Err(MessageEditError::Byte(byte));
        }
        if line_len(name, value) > self.free_bytes() + freed {
            return Err(MessageEditError::Full);
        }
        Ok(())
    }

    fn append(&mut self, name: &[u8], value: &[u8]) -> FieldRange {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes[start..].make_ascii_lowercase();
        self.finish_line(value);
        let field = FieldRange {
            start: start as u32,
            name_len: name.len() as u32,
            value_len: value.len() as u32,
        };
        self.live += field.wire_len();
        field
    }

    fn finish_line(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends a field that a parser has validated: the value is trimmed and contains no line end.
    /// The parser enforces the total size; the limit is not checked.
    pub(crate) fn push_checked(&mut self, name: &[u8], value: &[u8]) {
        let field = self.append(name, value);
        self.list.push(field);
    }

    /// Like [`Self::push_checked`] for a whole line in wire form: a single copy, with the name
    /// converted to lower case in place.
    pub(crate) fn push_wire(&mut self, line: &[u8], name_len: usize) {
        debug_assert!(line.ends_with(b"\r\n") && line[name_len..].starts_with(b": "));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(line);
        self.bytes[start..start + name_len].make_ascii_lowercase();
        self.live += line.len();
        self.list.push(FieldRange {
            start: start as u32,
            name_len: name_len as u32,
            value_len: (line.len() - name_len - 4) as u32,
        });
    }

    /// Appends validated bytes to the value of the last field. Only for a parser that used nothing
    /// but [`Self::push_checked`] before.
    pub(crate) fn extend_last(&mut self, pieces: &[&[u8]]) {
        let Some(last) = self.list.last_mut() else {
            return;
        };
        self.bytes.truncate(last.wire_end());
        let line_end = self.bytes.len() - 2;
        self.bytes.truncate(line_end);
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
        let added = self.bytes.len() - line_end;
        self.bytes.extend_from_slice(b"\r\n");
        last.value_len += added as u32;
        self.live += added;
    }

    pub(crate) fn reserve(&mut self, bytes: usize, fields: usize) {
        self.bytes.reserve(bytes);
        self.list.reserve(fields);
    }

    pub(super) fn first(&self) -> First {
        self.first
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn set_first(
        &mut self,
        pieces: &[StartLinePiece<'_>],
    ) -> Result<(), MessageEditError> {
        let len: usize = pieces.iter().map(StartLinePiece::len).sum();
        let others = self.live - self.first.len as usize;
        if others + len > self.limit {
            return Err(MessageEditError::Full);
        }
        let start = self.bytes.len();
        for piece in pieces {
            match piece {
                StartLinePiece::New(bytes) => self.bytes.extend_from_slice(bytes),
                StartLinePiece::Old(range) => self.bytes.extend_from_within(range.clone()),
            }
        }
        self.first = First {
            start: start as u32,
            len: len as u32,
        };
        self.live = others + len;
        self.compact_if_worth();
        Ok(())
    }

    pub(super) fn patch_first(&mut self, at: usize, byte: u8) {
        if at < self.first.len as usize {
            self.bytes[self.first.start as usize + at] = byte;
        }
    }

    /// Compacts the arena, so that it never holds more than twice its live bytes plus a constant.
    fn compact_if_worth(&mut self) {
        let holes = self.bytes.len() - self.live;
        if holes <= HOLES_TOLERATED || holes <= self.live {
            return;
        }
        let mut bytes = Vec::with_capacity(self.live);
        let first = self.first.start as usize..(self.first.start + self.first.len) as usize;
        bytes.extend_from_slice(&self.bytes[first]);
        self.first.start = 0;
        for field in &mut self.list {
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[field.start as usize..field.wire_end()]);
            field.start = start as u32;
        }
        self.bytes = bytes;
    }
}

#[derive(Clone, Debug)]
pub(super) enum StartLinePiece<'a> {
    New(&'a [u8]),
    Old(std::ops::Range<usize>),
}

impl StartLinePiece<'_> {
    fn len(&self) -> usize {
        match self {
            StartLinePiece::New(bytes) => bytes.len(),
            StartLinePiece::Old(range) => range.len(),
        }
    }
}

pub(super) fn line_len(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + 4
}

pub(super) fn check_name(name: &[u8]) -> Result<(), MessageEditError> {
    if name.is_empty() {
        return Err(MessageEditError::Empty);
    }
    match name.iter().find(|b| NAME_BYTES[**b as usize] == 0) {
        Some(byte) => Err(MessageEditError::Byte(*byte)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in list {
            fields.add(name.as_bytes(), value.as_bytes()).unwrap();
        }
        fields
    }

    fn wire(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write_lines(&mut out);
        assert_eq!(out.len(), fields.wire_len());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_become_lower_case_and_blanks_around_values_are_sent_but_not_read() {
        let f = fields(&[("X-Foo", "  a b\t"), ("HOST", "")]);
        assert_eq!(wire(&f), "x-foo:   a b\t\r\nhost: \r\n");
        assert_eq!(f.get(b"x-FOO"), Some(&b"a b"[..]));
        assert_eq!(f.get(b"host"), Some(&b""[..]));
        assert_eq!(f.get(b"hos"), None);
    }

    #[test]
    fn set_replaces_all_and_appends() {
        let mut f = fields(&[("a", "1"), ("b", "2"), ("A", "3"), ("c", "4")]);
        f.set(b"A", b"5").unwrap();
        assert_eq!(wire(&f), "b: 2\r\nc: 4\r\na: 5\r\n");
        assert_eq!(f.remove(b"zz"), 0);
        assert_eq!(f.remove(b"B"), 1);
        assert_eq!(wire(&f), "c: 4\r\na: 5\r\n");
    }

    #[test]
    fn a_replaced_value_keeps_its_place_whatever_its_length() {
        let mut f = fields(&[("a", "one"), ("b", "two"), ("c", "three")]);
        f.replace_value(1, b"owt").unwrap();
        f.replace_value(0, b"longer than before").unwrap();
        f.replace_value(2, b"").unwrap();
        f.replace_value(7, b"nowhere").unwrap();
        assert_eq!(wire(&f), "a: longer than before\r\nb: owt\r\nc: \r\n");
        f.remove_at(0);
        f.remove_at(9);
        assert_eq!(wire(&f), "b: owt\r\nc: \r\n");
    }

    #[test]
    fn a_field_under_another_name_keeps_its_place() {
        let mut f = fields(&[("a", "one"), ("b", "two"), ("c", "three")]);
        f.replace(1, b"X-B", b" other ").unwrap();
        f.replace(9, b"x", b"y").unwrap();
        assert!(f.replace(0, b"x y", b"z").is_err());
        assert!(f.replace(0, b"x", b"z\r\ny: 1").is_err());
        assert_eq!(wire(&f), "a: one\r\nx-b:  other \r\nc: three\r\n");
        f.set_limit(f.wire_len());
        assert_eq!(f.replace(0, b"aa", b"one"), Err(MessageEditError::Full));
    }

    #[test]
    fn line_ends_are_refused_in_fields() {
        let mut f = fields(&[("a", "1")]);
        for value in ["x\r\ny: 1", "x\ny", "x\0y", "a\rb"] {
            assert!(matches!(
                f.add(b"b", value.as_bytes()),
                Err(MessageEditError::Byte(_))
            ));
            assert!(matches!(
                f.set(b"a", value.as_bytes()),
                Err(MessageEditError::Byte(_))
            ));
            assert!(f.replace_value(0, value.as_bytes()).is_err());
        }
        for name in ["", "a b", "a:", "a\r\n", "\u{e9}"] {
            assert!(f.add(name.as_bytes(), b"1").is_err(), "{name:?}");
        }
        assert_eq!(wire(&f), "a: 1\r\n");
    }

    #[test]
    fn the_limit_holds_for_what_lives_and_is_freed_by_removal() {
        let mut f = Fields::new();
        f.set_limit(20);
        f.add(b"a", b"0123456789").unwrap();
        assert_eq!(f.add(b"b", b"1"), Err(MessageEditError::Full));
        assert_eq!(
            f.replace_value(0, b"0123456789abcdef"),
            Err(MessageEditError::Full)
        );
        f.set(b"a", b"0123456789abcde").unwrap();
        assert_eq!(f.free_bytes(), 0);
        f.remove(b"a");
        assert_eq!(f.free_bytes(), 20);
    }

    #[test]
    fn the_arena_stays_within_twice_what_lives_in_it() {
        let mut f = fields(&[("keep", "me"), ("x", "")]);
        for n in 0..20_000usize {
            let value = vec![b'v'; n % 700];
            f.set(b"x", &value).unwrap();
            f.replace_value(0, &b"123456789"[..n % 9]).unwrap();
            assert!(f.bytes.len() <= 2 * f.live + HOLES_TOLERATED + 1000);
        }
        assert_eq!(f.len(), 2);
        assert_eq!(f.at(0).unwrap().0, b"keep");
    }
}
