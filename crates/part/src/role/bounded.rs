//! Fields that are cut where they are written, and checked where a process without rights
//! may have written them.

use super::between::{LEASE_NAME_BYTES_MAX, LEASES_MAX, PART_BYTES_MAX};
use super::{PATH_BYTES_MAX, WORDS_BYTES_MAX};
use serde::{Serialize, Serializer};

/// Serializes a text, truncated at a character boundary.
///
/// # Errors
/// The serializer fails.
pub fn text<const MAX: usize, S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(cut(value, MAX))
}

/// Serializes the first texts of a list, each of them truncated.
///
/// # Errors
/// The serializer fails.
pub fn texts<const COUNT: usize, const MAX: usize, S: Serializer>(
    values: &[String],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().take(COUNT).map(|value| cut(value, MAX)))
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

fn cut(text: &str, max: usize) -> &str {
    let mut ends = (0..=text.len().min(max)).rev();
    let end = ends.find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Words that are printed as they are.
pub mod words {
    use super::{Serializer, WORDS_BYTES_MAX, printed};
    use serde::Deserializer;

    /// Serializes the text, truncated.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(words: &str, to: S) -> Result<S::Ok, S::Error> {
        super::text::<WORDS_BYTES_MAX, S>(words, to)
    }

    /// Deserializes the text.
    ///
    /// # Errors
    /// The deserializer fails, or the text is too long.
    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<String, D::Error> {
        printed(from, WORDS_BYTES_MAX)
    }
}

/// The name of a lease.
pub mod name {
    use super::{LEASE_NAME_BYTES_MAX, Serializer, printed};
    use serde::Deserializer;

    /// Serializes the name, truncated.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(name: &str, to: S) -> Result<S::Ok, S::Error> {
        super::text::<LEASE_NAME_BYTES_MAX, S>(name, to)
    }

    /// Deserializes the name.
    ///
    /// # Errors
    /// The deserializer fails, or the name is too long.
    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<String, D::Error> {
        printed(from, LEASE_NAME_BYTES_MAX)
    }
}

/// The name of a part.
pub mod part {
    use super::{PART_BYTES_MAX, Serializer, printed};
    use serde::Deserializer;

    /// Serializes the name, truncated.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(name: &str, to: S) -> Result<S::Ok, S::Error> {
        super::text::<PART_BYTES_MAX, S>(name, to)
    }

    /// Deserializes the name.
    ///
    /// # Errors
    /// The deserializer fails, or the name is too long.
    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<String, D::Error> {
        printed(from, PART_BYTES_MAX)
    }
}

/// The leases of a message.
pub mod leases {
    use super::{LEASES_MAX, Serialize, Serializer};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer};

    /// Serializes the list, truncated.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<T: Serialize, S: Serializer>(leases: &[T], to: S) -> Result<S::Ok, S::Error> {
        super::list::<LEASES_MAX, T, S>(leases, to)
    }

    /// Deserializes the list.
    ///
    /// # Errors
    /// The deserializer fails, or the list is too long.
    pub fn deserialize<'d, T: Deserialize<'d>, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let leases = Vec::deserialize(from)?;
        match leases.len() {
            ..=LEASES_MAX => Ok(leases),
            many => Err(D::Error::invalid_length(many, &"fewer leases")),
        }
    }
}

/// Reads a text that is printed as it is: what a terminal would obey is replaced, since a
/// process without rights may have written it.
fn printed<'d, D: serde::Deserializer<'d>>(from: D, max: usize) -> Result<String, D::Error> {
    use serde::{Deserialize, de::Error};
    let text = String::deserialize(from)?;
    if text.len() > max {
        return Err(D::Error::invalid_length(text.len(), &"a shorter text"));
    }
    let obeyed = |c: char| c.is_control() && c != '\n';
    Ok(match text.contains(obeyed) {
        true => text.replace(obeyed, "?"),
        false => text,
    })
}
