//! Bytes to a recording. They may come from anyone: each length is compared
//! with what is left before anything is made of it, and nothing panics.

use super::{MAGIC, Recording, VERSION};
use crate::config::Service;
use crate::load::LoadOptions;
use configuration::outside::{
    Account, AccountKind, Answers, Entries, NAMED_FILE_BYTES_MAX, Secret, Unreadable,
};
use language::source::Text;
use language::{Environment, Facts};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Most entries of one list: as many lines as the largest file may have.
const ENTRIES_MAX: u64 = 1 << 24;
/// Largest file of a configuration, bytes: spans count in 32 bits.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of the longest number.
const NUMBER_BYTES_MAX: u32 = 10;

/// Why bytes are no recording, and at which of them that shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordingError {
    /// They do not begin as one.
    NotOne,
    /// They are of another version.
    Version(u32),
    /// They end too early.
    Truncated {
        /// Where more is needed.
        at: usize,
    },
    /// A number is larger than can be.
    TooLarge {
        /// Where it ends.
        at: usize,
        /// The number.
        number: u64,
    },
    /// A byte that chooses has none of the values that it may have.
    Choice {
        /// Where it ends.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// A name is not UTF-8.
    NotText {
        /// Where it ends.
        at: usize,
    },
    /// Something is answered twice.
    Twice {
        /// Where the second answer ends.
        at: usize,
    },
    /// Something stands behind the end.
    Trailing {
        /// The end.
        at: usize,
    },
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordingError::NotOne => f.write_str("this is no recording of a loading"),
            RecordingError::Version(version) => write!(
                f,
                "the recording has version {version} of its form, and {VERSION} is known"
            ),
            RecordingError::Truncated { at } => write!(f, "the recording ends early, at byte {at}"),
            RecordingError::TooLarge { at, number } => {
                write!(f, "the number {number} at byte {at} is too large")
            }
            RecordingError::Choice { at, byte } => {
                write!(f, "nothing is meant by {byte} at byte {at}")
            }
            RecordingError::NotText { at } => write!(f, "the name at byte {at} is not UTF-8"),
            RecordingError::Twice { at } => write!(f, "byte {at} answers what was answered"),
            RecordingError::Trailing { at } => write!(f, "something stands behind byte {at}"),
        }
    }
}

impl std::error::Error for RecordingError {}

type Read<T> = Result<T, RecordingError>;

struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

pub(super) fn recording(bytes: &[u8]) -> Read<Recording> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(RecordingError::NotOne)?;
    let at = MAGIC.len();
    let mut reader = Reader { rest, at };
    let version = u32::from_le_bytes(reader.array()?);
    if version != VERSION {
        return Err(RecordingError::Version(version));
    }
    // For those who look at no more than the head.
    reader.flag()?;
    let files = reader.list(|reader| {
        let name = reader.text()?;
        Ok((name, reader.file(FILE_BYTES_MAX)?))
    })?;
    let environment = reader.variables()?;
    let facts = reader.facts()?;
    let options = reader.options()?;
    let mut recording = Recording::new(files, environment, facts, options);
    recording.services = reader.services()?;
    recording.keep(reader.answers()?);
    if !reader.rest.is_empty() {
        return Err(RecordingError::Trailing { at: reader.at });
    }
    Ok(recording)
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(RecordingError::Truncated { at: self.at })?;
        (self.rest, self.at) = (rest, self.at + count);
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let at = self.at;
        let taken = self.take(N)?;
        taken
            .try_into()
            .map_err(|_| RecordingError::Truncated { at })
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn flag(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            byte => self.no_choice(byte),
        }
    }

    fn no_choice<T>(&self, byte: u8) -> Read<T> {
        Err(RecordingError::Choice { at: self.at, byte })
    }

    fn too_large<T>(&self, number: u64) -> Read<T> {
        Err(RecordingError::TooLarge {
            at: self.at,
            number,
        })
    }

    fn number(&mut self) -> Read<u64> {
        let mut number = 0_u64;
        for n in 0..NUMBER_BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits << (7 * n);
            if number >> (7 * n) != bits {
                break;
            }
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        self.too_large(u64::MAX)
    }

    fn number32(&mut self) -> Read<u32> {
        let number = self.number()?;
        u32::try_from(number).or_else(|_| self.too_large(number))
    }

    fn bytes(&mut self, max: u64) -> Read<&'a [u8]> {
        let number = self.number()?;
        match usize::try_from(number) {
            Ok(count) if number <= max => self.take(count),
            _ => self.too_large(number),
        }
    }

    fn file(&mut self, max: u64) -> Read<Text> {
        Ok(Text::new(self.bytes(max)?.to_vec()))
    }

    fn text(&mut self) -> Read<String> {
        let bytes = self.bytes(u64::MAX)?;
        let text = std::str::from_utf8(bytes);
        text.map(str::to_owned)
            .map_err(|_| RecordingError::NotText { at: self.at })
    }

    fn path(&mut self) -> Read<PathBuf> {
        Ok(OsStr::from_bytes(self.bytes(u64::MAX)?).into())
    }

    /// How many entries follow, each of one byte at least.
    fn count(&mut self) -> Read<usize> {
        let number = self.number()?;
        match usize::try_from(number) {
            Ok(count) if number <= ENTRIES_MAX && count <= self.rest.len() => Ok(count),
            _ => self.too_large(number),
        }
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count = self.count()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn table<K: Ord, A>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Read<(K, A)>,
    ) -> Read<BTreeMap<K, A>> {
        let mut table = BTreeMap::new();
        for _ in 0..self.count()? {
            let (name, answer) = read(self)?;
            if table.insert(name, answer).is_some() {
                return Err(RecordingError::Twice { at: self.at });
            }
        }
        Ok(table)
    }

    fn variables(&mut self) -> Read<Environment> {
        let mut environment = Environment::empty();
        for _ in 0..self.count()? {
            let name = self.text()?;
            if !environment.set_if_absent(name, self.bytes(u64::MAX)?) {
                return Err(RecordingError::Twice { at: self.at });
            }
        }
        Ok(environment)
    }

    fn facts(&mut self) -> Read<Facts> {
        let mut facts = Facts::new(self.text()?);
        facts.features = self.names()?;
        facts.enabled = self.names()?;
        facts.tls_library = self.text()?;
        facts.openssl_version = self.flag()?.then(|| self.text()).transpose()?;
        facts.awslc_api = self.flag()?.then(|| self.number32()).transpose()?;
        Ok(facts)
    }

    fn names(&mut self) -> Read<BTreeSet<String>> {
        let names = self.table(|reader| Ok((reader.text()?, ())))?;
        Ok(names.into_keys().collect())
    }

    fn options(&mut self) -> Read<LoadOptions> {
        let switches = match self.byte()? {
            byte @ 0..16 => byte,
            byte => return self.no_choice(byte),
        };
        Ok(LoadOptions {
            resolve_names: switches & 1 != 0,
            ignore_unresolved: switches & 2 != 0,
            diag: switches & 4 != 0,
            unverified_servers: switches & 8 != 0,
            host: self.text()?,
            node: self.flag()?.then(|| self.text()).transpose()?,
            nodes: self.list(Self::text)?,
            version: self.text()?,
        })
    }

    fn services(&mut self) -> Read<Vec<Service>> {
        self.list(|reader| {
            Ok(Service {
                name: reader.text()?.into(),
                interface: reader.text()?.into(),
                router_id: reader.byte()?,
                addresses: reader.list(Reader::address)?,
                backends: reader.list(|reader| Ok(reader.text()?.into()))?,
            })
        })
    }

    fn answers(&mut self) -> Read<Answers> {
        Ok(Answers {
            files: self.table(|reader| {
                let path = reader.path()?;
                Ok((
                    path,
                    reader.or_unreadable(|r| r.file(NAMED_FILE_BYTES_MAX))?,
                ))
            })?,
            secrets: self.table(|reader| {
                let path = reader.path()?;
                Ok((path, reader.or_unreadable(Reader::secret)?))
            })?,
            entries: self.table(|reader| {
                let path = reader.path()?;
                Ok((path, reader.or_unreadable(Reader::entries)?))
            })?,
            modes: self.table(|reader| Ok((reader.path()?, reader.flag()?)))?,
            directories: self.table(|reader| Ok((reader.path()?, reader.flag()?)))?,
            hosts: self.table(|reader| Ok((reader.text()?, reader.addresses()?)))?,
            accounts: self.table(|reader| {
                let kind = match reader.flag()? {
                    false => AccountKind::User,
                    true => AccountKind::Group,
                };
                Ok(((kind, reader.text()?), reader.account()?))
            })?,
            own_addresses: match self.byte()? {
                0 => None,
                1 => Some(None),
                2 => Some(Some(self.addresses()?)),
                byte => return self.no_choice(byte),
            },
        })
    }

    /// An answer, or why there is none.
    fn or_unreadable<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<Result<T, Unreadable>> {
        Ok(match self.byte()? {
            0 => Ok(read(self)?),
            1 => Err(Unreadable::TooLarge(self.number()?)),
            2 => Err(Unreadable::Refused(i32::from_le_bytes(self.array()?))),
            3 => Err(Unreadable::Unnameable),
            byte => return self.no_choice(byte),
        })
    }

    fn secret(&mut self) -> Read<Secret> {
        Ok(Secret::copy(self.bytes(NAMED_FILE_BYTES_MAX)?))
    }

    fn entries(&mut self) -> Read<Entries> {
        let names = self.list(|reader| Ok(OsStr::from_bytes(reader.bytes(u64::MAX)?).into()))?;
        Ok(names.into())
    }

    fn addresses(&mut self) -> Read<Arc<[IpAddr]>> {
        Ok(self.list(Reader::address)?.into())
    }

    fn address(&mut self) -> Read<IpAddr> {
        Ok(match self.byte()? {
            4 => IpAddr::from(self.array::<4>()?),
            6 => IpAddr::from(self.array::<16>()?),
            byte => return self.no_choice(byte),
        })
    }

    fn account(&mut self) -> Read<Account> {
        Ok(match self.byte()? {
            0 => Account::Known(self.number32()?),
            1 => Account::Unknown(None),
            2 => Account::Unknown(Some(self.text()?.into())),
            byte => return self.no_choice(byte),
        })
    }
}
