//! Limits the size of fields: they are truncated when they are serialized, and checked when an
//! unprivileged process may have sent them.

use super::between::{LEASE_NAME_BYTES_MAX, LEASES_MAX, PART_BYTES_MAX, RECORD_BYTES_MAX};
use super::volumes::{USED_VOLUMES_MAX, VOLUME_NAME_BYTES_MAX, VOLUME_WHY_BYTES_MAX};
use super::{PATH_BYTES_MAX, WORDS_BYTES_MAX};
use crate::trace::OPERATION_BYTES_MAX;
use crate::words::rendered;
use language::log_levels::LEVELS_BYTES_MAX;
use language::truncated;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Serializes a text, truncated at a character boundary.
///
/// # Errors
/// The serializer fails.
pub fn text<const MAX: usize, S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(truncated(value, MAX))
}

/// Serializes the first texts of a list, each of them truncated.
///
/// # Errors
/// The serializer fails.
pub fn texts<const COUNT: usize, const MAX: usize, S: Serializer>(
    values: &[String],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().take(COUNT).map(|value| truncated(value, MAX)))
}

/// Serializes the first values of a list.
///
/// # Errors
/// The serializer fails.
pub fn list<const COUNT: usize, T: Serialize, S: Serializer>(
    values: &[T],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().take(COUNT))
}

/// Serializes a path, truncated to the limit of the kernel.
///
/// # Errors
/// The serializer fails.
pub fn path<S: Serializer>(path: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    let path = path
        .as_deref()
        .map(|path| &path[..path.len().min(PATH_BYTES_MAX)]);
    serde_bytes::serialize(&path, to)
}

/// A text of at most `MAX` bytes that is safe to print: when it is received, control characters
/// other than line feeds are replaced, because an unprivileged process may have sent the text.
pub struct Text<const MAX: usize>;

/// A text for operators of at most `MAX` bytes: rendered, so no receiver decides by it
/// ([`crate::words`]).
pub struct RenderedText<const MAX: usize>;

/// A text for operators.
pub type Words = RenderedText<WORDS_BYTES_MAX>;

/// A label that an operator chose, or another text of at most that length that is data and not
/// prose.
pub type Label = Text<WORDS_BYTES_MAX>;
pub type Name = Text<LEASE_NAME_BYTES_MAX>;
pub type VolumeName = Text<VOLUME_NAME_BYTES_MAX>;
pub type VolumeWhy = RenderedText<VOLUME_WHY_BYTES_MAX>;
pub type Levels = Text<LEVELS_BYTES_MAX>;
pub type Operation = Text<OPERATION_BYTES_MAX>;
pub type Part = Text<PART_BYTES_MAX>;

impl<const MAX: usize> Text<MAX> {
    /// Serializes the text, truncated.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
        text::<MAX, S>(value, to)
    }

    /// Deserializes the text.
    ///
    /// # Errors
    /// The deserializer fails, or the text is too long.
    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<String, D::Error> {
        let text = String::deserialize(from)?;
        if text.len() > MAX {
            return Err(D::Error::invalid_length(text.len(), &"a shorter text"));
        }
        let obeyed = |c: char| c.is_control() && c != '\n';
        Ok(if text.contains(obeyed) {
            text.replace(obeyed, "?")
        } else {
            text
        })
    }
}

impl<const MAX: usize> RenderedText<MAX> {
    /// Serializes the text, truncated.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
        text::<MAX, S>(&rendered(value), to)
    }

    /// Deserializes the text.
    ///
    /// # Errors
    /// The deserializer fails, or the text is too long.
    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<String, D::Error> {
        Text::<MAX>::deserialize(from)
    }
}

/// A text for operators of any length.
pub mod long_words {
    use super::{Deserialize, Deserializer, Serializer, rendered};

    /// Serializes the text.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&rendered(value))
    }

    /// Deserializes the text.
    ///
    /// # Errors
    /// The deserializer fails.
    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from)
    }
}

/// Serialization of the record of a lease.
pub mod record {
    use super::{RECORD_BYTES_MAX, Serializer};
    use serde::Deserializer;
    use serde::de::Error;

    /// Serializes the record without truncation, because a part of a record would have another
    /// meaning.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(record: &[u8], to: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(record, to)
    }

    /// Deserializes the record.
    ///
    /// # Errors
    /// The deserializer fails, or the record is too long.
    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<u8>, D::Error> {
        let record: Vec<u8> = serde_bytes::deserialize(from)?;
        match record.len() {
            ..=RECORD_BYTES_MAX => Ok(record),
            long => Err(D::Error::invalid_length(long, &"a shorter record")),
        }
    }
}

/// A list of at most `COUNT` values.
pub struct List<const COUNT: usize>;

pub type Leases = List<LEASES_MAX>;
pub type UsedOnes = List<USED_VOLUMES_MAX>;

impl<const COUNT: usize> List<COUNT> {
    /// Serializes the list, truncated.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<T: Serialize, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        list::<COUNT, T, S>(values, to)
    }

    /// Deserializes the list.
    ///
    /// # Errors
    /// The deserializer fails, or the list is too long.
    pub fn deserialize<'d, T: Deserialize<'d>, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let values = Vec::deserialize(from)?;
        match values.len() {
            few if few <= COUNT => Ok(values),
            many => Err(D::Error::invalid_length(many, &"a shorter list")),
        }
    }
}
