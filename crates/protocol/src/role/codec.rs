//! Numbers, texts and lists as bytes, little-endian; every length is checked
//! against a bound before anything is taken.

use std::fmt;

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// It ends in the middle of a field.
    Short,
    /// It does not begin as a packet does.
    Magic,
    /// Another form of packets.
    Version(u8),
    /// More than a field may hold.
    TooLong {
        /// Which field.
        field: &'static str,
        /// How much it says that it has.
        length: usize,
    },
    /// A value that the field does not have.
    Value(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Short => f.write_str("the message ends in the middle of a field"),
            DecodeError::Magic => f.write_str("this is no message"),
            DecodeError::Version(version) => write!(f, "packets of version {version}"),
            DecodeError::TooLong { field, length } => {
                write!(f, "the field '{field}' is too long ({length})")
            }
            DecodeError::Value(field) => write!(f, "a value that '{field}' does not have"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Bytes that are being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Reader { bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], DecodeError> {
        let (head, tail) = self
            .bytes
            .split_at_checked(count)
            .ok_or(DecodeError::Short)?;
        self.bytes = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.bytes.split_first_chunk().ok_or(DecodeError::Short)?;
        self.bytes = tail;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value(field)),
        }
    }

    pub fn option<T>(
        &mut self,
        field: &'static str,
        one: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.bool(field)? {
            true => one(self).map(Some),
            false => Ok(None),
        }
    }

    pub fn bytes(&mut self, field: &'static str, max: usize) -> Result<Vec<u8>, DecodeError> {
        let length = self.u32()? as usize;
        if length > max {
            return Err(DecodeError::TooLong { field, length });
        }
        Ok(self.take(length)?.to_vec())
    }

    pub fn text(&mut self, field: &'static str, max: usize) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes(field, max)?).map_err(|_| DecodeError::Value(field))
    }

    /// A text that is printed as it is: what a terminal would obey is replaced,
    /// since a process without rights may have written it.
    pub fn words(&mut self, field: &'static str, max: usize) -> Result<String, DecodeError> {
        let text = self.text(field, max)?;
        let obeyed = |c: char| c.is_control() && c != '\n';
        Ok(match text.contains(obeyed) {
            true => text.replace(obeyed, "?"),
            false => text,
        })
    }

    pub fn list<T>(
        &mut self,
        field: &'static str,
        max: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let length = self.u32()? as usize;
        if length > max {
            return Err(DecodeError::TooLong { field, length });
        }
        // An element has one byte at least, so a lie about the length takes no memory.
        if length > self.bytes.len() {
            return Err(DecodeError::Short);
        }
        (0..length).map(|_| one(self)).collect()
    }
}

/// Bytes that are being written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    pub fn option<T>(&mut self, value: Option<&T>, one: impl FnOnce(&mut Self, &T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            one(self, value);
        }
    }

    /// The length always fits: what is longer than `max` is cut.
    pub fn slice(&mut self, value: &[u8], max: usize) {
        let value = &value[..value.len().min(max)];
        self.u32(value.len() as u32);
        self.bytes.extend(value);
    }

    /// A text, cut between two characters.
    pub fn text(&mut self, value: &str, max: usize) {
        let end = (0..=value.len().min(max))
            .rev()
            .find(|end| value.is_char_boundary(*end));
        self.slice(&value.as_bytes()[..end.unwrap_or(0)], max);
    }

    pub fn list<T>(&mut self, values: &[T], max: usize, mut one: impl FnMut(&mut Self, &T)) {
        let values = &values[..values.len().min(max)];
        self.u32(values.len() as u32);
        for value in values {
            one(self, value);
        }
    }
}
