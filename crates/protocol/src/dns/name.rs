//! Holds host and service names as text in lower case, and converts them to and from DNS
//! messages.

use std::fmt;

/// Maximum length of a name in wire format, in bytes.
pub const NAME_MAX: usize = 255;
pub const LABEL_MAX: usize = 63;
const POINTERS_MAX: usize = 64;
/// The two bits that mark a length byte as a pointer.
const POINTER: u8 = 0xc0;

/// A name in lower case without a final dot, so that names compare without regard to case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Box<str>);

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fits(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

impl DnsName {
    /// Parses a name as users write it; None if it is not a valid host or service name.
    pub fn new(text: &str) -> Option<DnsName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let good =
            |label: &str| !label.is_empty() && label.len() <= LABEL_MAX && label.bytes().all(fits);
        // The wire format has a length before each label and a zero at the end.
        if text.len() + 2 > NAME_MAX || !text.split('.').all(good) {
            return None;
        }
        Some(DnsName(text.to_ascii_lowercase().into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for label in self.0.split('.') {
            // The length was checked when the name was created.
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
    }

    /// Parses the name at an offset of a message; returns it with the offset after it. The inner
    /// None stands for a name that no query contains: the root, or a name with other bytes than
    /// letters, digits, `-` and `_`.
    pub(super) fn read(message: &[u8], at: usize) -> Option<(Option<DnsName>, usize)> {
        let mut text = String::new();
        let mut good = true;
        let (mut here, mut behind, mut wire, mut pointers) = (at, None, 1, 0);
        loop {
            let length = *message.get(here)?;
            if length & POINTER == POINTER {
                let low = *message.get(here + 1)?;
                let target = usize::from(length & !POINTER) << 8 | usize::from(low);
                behind.get_or_insert(here + 2);
                // Pointers only lead backwards, so that no name can loop.
                pointers += 1;
                if target >= here || pointers > POINTERS_MAX {
                    return None;
                }
                here = target;
                continue;
            }
            if length & POINTER != 0 {
                return None;
            }
            here += 1;
            if length == 0 {
                break;
            }
            let label = message.get(here..here + usize::from(length))?;
            here += label.len();
            wire += label.len() + 1;
            if wire > NAME_MAX {
                return None;
            }
            good &= label.iter().copied().all(fits);
            if good {
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
            }
        }
        let name = (good && !text.is_empty()).then(|| DnsName(text.into()));
        Some((name, behind.unwrap_or(here)))
    }
}
