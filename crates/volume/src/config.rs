//! What a file says of volumes, for the node that runs them.

use crate::device::Backing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The volumes of this node, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Volumes(pub BTreeMap<String, Spec>);

/// A volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What its copy on this node is stored on.
    pub backing: Backing,
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, backing) = (size_words(self.size_bytes), backing_words(&self.backing));
        write!(f, "size {size}, backing {backing}")
    }
}

/// Returns a size as files have it: `40g`.
pub fn size_words(bytes: u64) -> String {
    let units = [(40, 't'), (30, 'g'), (20, 'm'), (10, 'k')];
    let whole = |(shift, _): &(u32, char)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match units.into_iter().find(whole) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Reads a size: a number of bytes, or of `k`, `m`, `g` or `t` (powers of 1024).
pub fn parse_size(word: &str) -> Option<u64> {
    let shift = match word.bytes().last()?.to_ascii_lowercase() {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        _ => 0,
    };
    let digits = match shift {
        0 => word,
        _ => word.get(..word.len() - 1)?,
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    number.checked_mul(1 << shift)
}

/// Returns a backing as files have it: `file /srv/volumes`.
pub fn backing_words(backing: &Backing) -> String {
    match backing {
        Backing::File(path) => format!("file {}", path.display()),
        Backing::Device(path) => format!("device {}", path.display()),
    }
}

/// Reads what [`backing_words`] wrote.
pub fn parse_backing(words: &str) -> Option<Backing> {
    let (kind, path) = words.split_once(' ')?;
    match kind {
        "file" => Some(Backing::File(path.into())),
        "device" => Some(Backing::Device(path.into())),
        _ => None,
    }
}

impl Backing {
    /// Its path: a directory or a device.
    pub fn path(&self) -> &Path {
        match self {
            Backing::File(path) | Backing::Device(path) => path,
        }
    }
}

/// Returns the differences between two payloads of the role, one line each.
pub fn difference(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String> {
    let read = |bytes: Option<&[u8]>| part::codec::decode::<Volumes>(bytes?).ok();
    let before = read(before).unwrap_or_default().0;
    let now = read(now).unwrap_or_default().0;
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    let mut lines: Vec<String> = gone.map(|name| format!("- volume {name}")).collect();
    for (name, spec) in &now {
        match before.get(name) {
            Some(same) if same == spec => {}
            None => lines.push(format!("+ volume {name}: {spec}")),
            Some(other) => {
                if other.size_bytes != spec.size_bytes {
                    let (from, to) = (size_words(other.size_bytes), size_words(spec.size_bytes));
                    lines.push(format!("~ volume {name}: size {from} -> {to}"));
                }
                if other.backing != spec.backing {
                    let (from, to) = (backing_words(&other.backing), backing_words(&spec.backing));
                    lines.push(format!("~ volume {name}: backing {from} -> {to}"));
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_with_the_largest_unit_that_fits() {
        for (word, bytes) in [
            ("40g", 40 << 30),
            ("16t", 16 << 40),
            ("4k", 4096),
            ("100m", 100 << 20),
            ("4097", 4097),
        ] {
            assert_eq!(parse_size(word), Some(bytes), "{word}");
            assert_eq!(size_words(bytes), word);
        }
        assert_eq!(parse_size("1G"), Some(1 << 30));
        for word in [
            "",
            "g",
            "-1g",
            "1x",
            "1.5g",
            "1gb",
            "99999999999999t",
            "+1g",
            "ö",
        ] {
            assert_eq!(parse_size(word), None, "{word}");
        }
    }

    #[test]
    fn a_backing_is_read_as_it_was_written() {
        for backing in [
            Backing::File("/srv/my volumes".into()),
            Backing::Device("/dev/sdb".into()),
        ] {
            assert_eq!(parse_backing(&backing_words(&backing)), Some(backing));
        }
    }

    #[test]
    fn differences_name_what_comes_goes_and_changes() {
        let volumes = |all: &[(&str, u64, &str)]| {
            let spec = |(name, size, path): &(&str, u64, &str)| {
                let backing = Backing::File(path.into());
                let size_bytes = *size;
                (
                    (*name).to_owned(),
                    Spec {
                        size_bytes,
                        backing,
                    },
                )
            };
            part::codec::encode(&Volumes(all.iter().map(spec).collect()))
        };
        let before = volumes(&[("a", 4096, "/x"), ("b", 4096, "/x"), ("c", 4096, "/x")]);
        let now = volumes(&[("a", 8192, "/x"), ("c", 4096, "/y"), ("d", 1 << 30, "/x")]);
        assert_eq!(
            difference(Some(&before), Some(&now)),
            [
                "- volume b",
                "~ volume a: size 4k -> 8k",
                "~ volume c: backing file /x -> file /y",
                "+ volume d: size 1g, backing file /x"
            ]
        );
    }
}
